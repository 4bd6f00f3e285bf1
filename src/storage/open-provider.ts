import {homedir} from 'node:os'
import {join, resolve} from 'node:path'
import {fileURLToPath} from 'node:url'
import {DbbakError, messageOf} from '../support/errors.js'
import {LocalStorage} from './local.js'
import type {StorageProvider} from './provider.js'

/** What a destination's text says. */
export type Destination =
  | {kind: 'local'; path: string}
  | {kind: 's3' | 'gs' | 'azblob'; /** Bucket or container. */ bucket: string; prefix: string}

export interface OpenOptions {
  /** What a relative path is relative to. */
  cwd: string
}

/**
 * The provider of a destination; nothing is created or contacted yet.
 * @throws DbbakError DESTINATION_INVALID, DESTINATION_NOT_SUPPORTED
 */
// Asynchronous because a provider with a heavy SDK is imported only when it is asked for.
// eslint-disable-next-line @typescript-eslint/require-await
export async function openProvider(destination: string, options: OpenOptions): Promise<StorageProvider> {
  const parsed = parseDestination(destination)
  if (parsed.kind === 'local') return new LocalStorage(resolve(options.cwd, parsed.path))
  throw new DbbakError(
    'DESTINATION_NOT_SUPPORTED',
    `This version keeps backups in local folders; ${parsed.kind}:// destinations cannot be used.`,
    {
      suggestions: [
        'dbbak backup --to ./backups',
        'Copy the folder to the bucket with a tool of your cloud.',
      ],
    },
  )
}

/**
 * Reads a destination: a path (`~/` is the home folder), `file:///path`, `s3://bucket/prefix`,
 * `gs://bucket/prefix` or `azblob://container/prefix`.
 * @throws DbbakError DESTINATION_INVALID
 */
export function parseDestination(text: string): Destination {
  if (text.trim() === '') throw invalid('A destination is empty.')
  if (text.includes('\0')) throw invalid('A destination holds a NUL character.')
  if (/^[A-Za-z]:/.test(text)) return {kind: 'local', path: text} // a Windows drive
  const scheme = schemeOf(text)
  switch (scheme) {
    case undefined:
      return {kind: 'local', path: expandHome(text)}
    case 'file':
      return {kind: 'local', path: pathOfUrl(text)}
    case 's3':
    case 'gs':
    case 'azblob':
      return {kind: scheme, ...bucketOf(text, scheme)}
    default:
      // Only the scheme is repeated: the rest may hold a password.
      throw invalid(`Destinations beginning with ${scheme}:// are unknown.`)
  }
}

/** `name://…`, and `name:…` where the name is one of ours; any other colon is part of a path. */
function schemeOf(text: string): string | undefined {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):(\/\/)?/.exec(text)
  const scheme = match?.[1]?.toLowerCase()
  if (match === null || scheme === undefined) return undefined
  return match[2] !== undefined || ['file', 's3', 'gs', 'azblob'].includes(scheme) ? scheme : undefined
}

/** The shell expands it where it stands alone, but not in a config file or after an `=`. */
function expandHome(path: string): string {
  if (path === '~') return homedir()
  if (/^~[/\\]/.test(path)) return join(homedir(), path.slice(2))
  if (path.startsWith('~'))
    throw invalid(`The home folder of another user (${path}) is not looked up; write the path out.`)
  return path
}

function pathOfUrl(text: string): string {
  try {
    const url = new URL(text)
    if (url.search !== '' || url.hash !== '') throw new Error('write ? and # as %3F and %23')
    if (!/^file:\//i.test(text)) throw new Error('it is not absolute')
    return fileURLToPath(url)
  } catch (cause) {
    throw invalid(`The destination is not a file URL of this machine: ${messageOf(cause)}.`, cause)
  }
}

function bucketOf(text: string, scheme: string): {bucket: string; prefix: string} {
  const match = /^[A-Za-z0-9]+:\/\/([^/?#@]+)(?:\/([^?#]*))?$/.exec(text)
  if (match === null) {
    const place = scheme === 'azblob' ? 'container' : 'bucket'
    throw invalid(`A ${scheme} destination is written ${scheme}://${place}/prefix, without credentials.`)
  }
  return {bucket: match[1] ?? '', prefix: (match[2] ?? '').replace(/^\/+|\/+$/g, '')}
}

function invalid(sentence: string, cause?: unknown): DbbakError {
  return new DbbakError('DESTINATION_INVALID', sentence, {
    cause,
    suggestions: [
      'Write it as a path (./backups), file:///path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix.',
    ],
  })
}
