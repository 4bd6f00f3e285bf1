import {buffer} from 'node:stream/consumers'
import type {StorageProvider} from '../storage/provider.js'
import {DbbakError, messageOf, type ErrorCode} from '../support/errors.js'
import {maxManifestBytes, parseManifest, type Manifest} from './manifest.js'
import {globalsName, manifestEnding, verificationName} from './naming.js'
import {parseVerification, type VerificationRecord} from './verify/verification-record.js'

/** One backup as a destination has it. */
export interface CatalogEntry {
  manifest: Manifest
  /** The archive's name, a file's or a folder's. */
  archive: string
  /** When the manifest was written, by the destination's clock. */
  storedAt: Date
  verification: VerificationRecord | null
}

/** A manifest that does not make a backup, and why. */
export interface CatalogProblem {
  /** The manifest's key. */
  key: string
  code: ErrorCode
  message: string
}

export interface Catalog {
  /** Complete backups, newest snapshot first. */
  backups: CatalogEntry[]
  problems: CatalogProblem[]
  /** Files that no manifest names: what failed or cut-off runs left, and files of others. */
  unclaimed: {key: string; size: number; modifiedAt: Date}[]
}

/** Manifests are read so many at a time. */
const readersAtOnce = 16

/** Reads what a destination holds: a listing, and every manifest. The only catalogue there is. */
export async function readCatalog(store: StorageProvider): Promise<Catalog> {
  const objects = new Map<string, {key: string; size: number; modifiedAt: Date}>()
  for await (const object of store.list('')) objects.set(object.key, object)
  const catalog: Catalog = {backups: [], problems: [], unclaimed: []}
  const manifests = [...objects.keys()].filter((key) => key.endsWith(manifestEnding) && !key.includes('/'))
  await forEach(manifests, readersAtOnce, async (key) => {
    try {
      const entry = await readEntry(store, key, objects)
      if (entry) catalog.backups.push(entry)
    } catch (error) {
      catalog.problems.push({
        key,
        code: error instanceof DbbakError ? error.code : 'INTERNAL',
        message: messageOf(error),
      })
    }
  })
  catalog.backups.sort(newestFirst)
  catalog.problems.sort((a, b) => (a.key < b.key ? -1 : 1))
  catalog.unclaimed = unclaimedObjects(objects, catalog)
  return catalog
}

/** By the time of the snapshot: the text of a time may be written with more digits or fewer. */
export function newestFirst(a: CatalogEntry, b: CatalogEntry): number {
  const difference = snapshotMs(b) - snapshotMs(a)
  if (difference !== 0) return difference
  return a.manifest.id < b.manifest.id ? 1 : -1
}

/** When the backup's snapshot was taken, in milliseconds since 1970. */
export const snapshotMs = ({manifest}: CatalogEntry): number => Date.parse(manifest.snapshotAt)

/** @returns undefined when the manifest was removed meanwhile */
async function readEntry(
  store: StorageProvider,
  key: string,
  objects: Map<string, {key: string; size: number; modifiedAt: Date}>,
): Promise<CatalogEntry | undefined> {
  const size = objects.get(key)?.size ?? 0
  if (size > maxManifestBytes) throw tooLarge(key, size)
  const manifest = await readManifest(store, key)
  if (!manifest) return undefined
  const archive = key.slice(0, -manifestEnding.length)
  for (const file of manifest.files) checkPresent(file, objects)
  const verification = objects.has(verificationName(archive))
    ? await readVerification(store, archive, manifest.id)
    : null
  return {manifest, archive, storedAt: objects.get(key)?.modifiedAt ?? new Date(0), verification}
}

function checkPresent({path, bytes}: Manifest['files'][number], objects: Map<string, {size: number}>): void {
  const object = objects.get(path)
  const suggestions = [
    'Use another backup: dbbak list',
    'See what is wrong with this one: dbbak verify --all',
  ]
  if (!object)
    throw new DbbakError('ARCHIVE_MISSING', `${path} is named by its manifest but is not there.`, {
      suggestions,
    })
  if (object.size !== bytes) {
    throw new DbbakError(
      'ARCHIVE_SIZE_MISMATCH',
      `${path} has ${object.size} bytes; its manifest says ${bytes}.`,
      {suggestions},
    )
  }
}

/**
 * Reads one manifest and holds it to its own name: it may only speak of its own archive and globals.
 * @returns undefined when there is none
 */
export async function readManifest(store: StorageProvider, key: string): Promise<Manifest | undefined> {
  const text = await readSmallObject(store, key, maxManifestBytes)
  if (text === undefined) return undefined
  const manifest = parseManifest(text, key)
  const fault = faultOfNames(manifest, key.slice(0, -manifestEnding.length))
  if (fault === undefined) return manifest
  throw new DbbakError('MANIFEST_INVALID', `${key} is not a valid manifest: ${fault}.`, {
    suggestions: otherBackup,
  })
}

const otherBackup = ['Use another backup: dbbak list']

/** A manifest that names none of its archive's files, or another backup's, would vouch for what it does not hold. */
function faultOfNames({id, format, files}: Manifest, archive: string): string | undefined {
  if (!archive.startsWith(`${id}.`)) return `it is for ${id}, not for ${archive}`
  const paths = files.map(({path}) => path)
  const isOwn = (path: string) =>
    path === globalsName(id) ||
    (format === 'directory' ? /^[^/]+$/.test(restOf(path, `${archive}/`)) : path === archive)
  const foreign = paths.find((path) => !isOwn(path))
  if (foreign !== undefined) return `it is for ${id}, and ${foreign} does not belong to that`
  if (new Set(paths).size < paths.length) return 'it names a file twice'
  const first = format === 'directory' ? `${archive}/toc.dat` : archive
  return paths.includes(first) ? undefined : `it does not name ${first}`
}

/** What follows a beginning; empty where it has another. */
const restOf = (text: string, beginning: string): string =>
  text.startsWith(beginning) ? text.slice(beginning.length) : ''

/** A damaged result is no result, nor is another backup's. */
async function readVerification(
  store: StorageProvider,
  archive: string,
  id: string,
): Promise<VerificationRecord | null> {
  try {
    const text = await readSmallObject(store, verificationName(archive), maxManifestBytes)
    const record = text === undefined ? null : parseVerification(text)
    return record?.id === id ? record : null
  } catch {
    return null
  }
}

async function readSmallObject(
  store: StorageProvider,
  key: string,
  limitBytes: number,
): Promise<string | undefined> {
  try {
    const content = await buffer(await store.get(key, {end: limitBytes}))
    if (content.length > limitBytes) throw tooLarge(key, content.length)
    return content.toString('utf8')
  } catch (error) {
    if (error instanceof DbbakError && error.code === 'OBJECT_NOT_FOUND') return undefined
    throw error
  }
}

function tooLarge(key: string, bytes: number): DbbakError {
  return new DbbakError(
    'MANIFEST_INVALID',
    `${key} is not a valid manifest: it has ${bytes} bytes, more than any manifest.`,
    {suggestions: otherBackup},
  )
}

function unclaimedObjects(
  objects: Map<string, {key: string; size: number; modifiedAt: Date}>,
  catalog: Catalog,
): Catalog['unclaimed'] {
  const claimed = new Set(catalog.problems.map(({key}) => key))
  for (const {manifest, archive} of catalog.backups) {
    claimed.add(archive + manifestEnding).add(verificationName(archive))
    for (const {path} of manifest.files) claimed.add(path)
  }
  return [...objects.values()].filter(({key}) => !claimed.has(key))
}

/** Runs `work` for every item, `limit` at a time. */
export async function forEach<T>(items: T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const worker = async () => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({length: Math.min(limit, items.length)}, worker))
}
