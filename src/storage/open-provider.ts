import {homedir} from 'node:os'
import {join, resolve} from 'node:path'
import {fileURLToPath} from 'node:url'
import {DbbakError, messageOf} from '../support/errors.js'
import {LocalStorage} from './local.js'
import {isObjectName} from './object-name.js'
import type {ObjectClient} from './objects/object-client.js'
import type {AzureOptions, GcsOptions, RequestOptions, S3Options} from './objects/store-options.js'
import type {StorageProvider} from './provider.js'

/** What a destination's text says. */
export type Destination =
  | {kind: 'local'; path: string}
  | {kind: 's3' | 'gs' | 'azblob'; /** Bucket or container. */ bucket: string; prefix: string}

export interface OpenOptions {
  /** What a relative path is relative to. */
  cwd: string
  request: RequestOptions
  s3: S3Options
  gcs: GcsOptions
  azure: AzureOptions
}

/**
 * The provider of a destination; nothing is created or contacted yet. A cloud's SDK is loaded only with the first
 * destination that needs it.
 * @throws DbbakError DESTINATION_INVALID, or what is wrong with the settings of its store
 */
export async function openProvider(destination: string, options: OpenOptions): Promise<StorageProvider> {
  const parsed = parseDestination(destination)
  if (parsed.kind === 'local') return new LocalStorage(resolve(options.cwd, parsed.path))
  const {prefix} = parsed
  try {
    const client = await openClient(parsed, options)
    const {ObjectStorage} = await import('./objects/object-storage.js')
    return new ObjectStorage(client, {prefix, retryForMs: options.request.retryForMs})
  } catch (error) {
    const {destinationError} = await import('./objects/destination-error.js')
    throw destinationError(error, {place: `${parsed.kind}://${parsed.bucket}/${prefix}`})
  }
}

async function openClient(
  {kind, bucket}: Exclude<Destination, {kind: 'local'}>,
  options: OpenOptions,
): Promise<ObjectClient> {
  const {request} = options // the settings of another cloud are not looked at: they may have a fault
  switch (kind) {
    case 's3':
      return (await import('./s3/s3-client.js')).openS3Client(bucket, options.s3, request)
    case 'gs':
      return (await import('./gcs/gcs-client.js')).openGcsClient(bucket, options.gcs, request)
    case 'azblob':
      return (await import('./azure/azure-client.js')).openAzureClient(bucket, options.azure, request)
  }
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
  const prefix = (match[2] ?? '').replace(/^\/+|\/+$/g, '')
  if (prefix !== '' && !isObjectName(prefix, 'linux'))
    throw invalid(
      `The prefix of a ${scheme} destination holds a part that no name may have (empty, . or ..).`,
    )
  return {bucket: match[1] ?? '', prefix}
}

function invalid(sentence: string, cause?: unknown): DbbakError {
  return new DbbakError('DESTINATION_INVALID', sentence, {
    cause,
    suggestions: [
      'Write it as a path (./backups), file:///path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix.',
    ],
  })
}
