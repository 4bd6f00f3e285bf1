import {buffer} from 'node:stream/consumers'
import type {ObjectInfo, StorageProvider} from '../storage/provider.js'
import {DbbakError, messageOf, type ErrorCode} from '../support/errors.js'
import type {CatalogCache} from './catalog-cache.js'
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
const readersAtOnce = 32

type Objects = Map<string, ObjectInfo>

/**
 * Reads what a destination holds: a listing, and every manifest. The only catalogue there is.
 * @param cache saves reading what was read before
 */
export async function readCatalog(store: StorageProvider, cache?: CatalogCache): Promise<Catalog> {
  const objects: Objects = new Map()
  for await (const object of store.list('')) objects.set(object.key, object)
  const read = cache ? cachedReader(store, objects, cache) : reader(store)
  const catalog: Catalog = {backups: [], problems: [], unclaimed: []}
  const manifests = [...objects.keys()].filter((key) => key.endsWith(manifestEnding) && !key.includes('/'))
  await forEach(manifests, readersAtOnce, async (key) => {
    try {
      const entry = await readEntry(key, objects, read)
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
  await cache?.flush(objects)
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
async function readEntry(key: string, objects: Objects, read: ReadText): Promise<CatalogEntry | undefined> {
  const size = objects.get(key)?.size ?? 0
  if (size > maxManifestBytes) throw tooLarge(key, size)
  const manifest = await manifestOf(key, read)
  if (!manifest) return undefined
  const archive = key.slice(0, -manifestEnding.length)
  for (const file of manifest.files) checkPresent(file, objects)
  const verification = objects.has(verificationName(archive))
    ? await readVerification(archive, manifest.id, read)
    : null
  return {manifest, archive, storedAt: objects.get(key)?.modifiedAt ?? new Date(0), verification}
}

function checkPresent({path, bytes}: Manifest['files'][number], objects: Objects): void {
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
export function readManifest(store: StorageProvider, key: string): Promise<Manifest | undefined> {
  return manifestOf(key, reader(store))
}

async function manifestOf(key: string, read: ReadText): Promise<Manifest | undefined> {
  const text = await read(key)
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
  archive: string,
  id: string,
  read: ReadText,
): Promise<VerificationRecord | null> {
  try {
    const text = await read(verificationName(archive))
    const record = text === undefined ? null : parseVerification(text)
    return record?.id === id ? record : null
  } catch {
    return null
  }
}

/** Reads a manifest or a verification result. @returns undefined where there is none */
type ReadText = (key: string) => Promise<string | undefined>

function reader(store: StorageProvider): ReadText {
  return async (key) => {
    try {
      const content = await buffer(await store.get(key, {end: maxManifestBytes}))
      if (content.length > maxManifestBytes) throw tooLarge(key, content.length)
      return content.toString('utf8')
    } catch (error) {
      if (error instanceof DbbakError && error.code === 'OBJECT_NOT_FOUND') return undefined
      throw error
    }
  }
}

/** Reads what the cache does not hold, where the listing tells by an etag whether a content is still the same. */
function cachedReader(store: StorageProvider, objects: Objects, cache: CatalogCache): ReadText {
  const read = reader(store)
  return async (key) => {
    const {etag, size} = objects.get(key) ?? {}
    if (etag === undefined || size === undefined) return read(key)
    const object = {key, size, etag}
    const known = await cache.get(object)
    if (known !== undefined) return known
    const text = await read(key)
    // Of another size it was replaced since it was listed; what cannot be read may have been damaged on the way.
    if (text !== undefined && Buffer.byteLength(text) === size && isReadable(key, text))
      cache.set(object, text)
    return text
  }
}

function isReadable(key: string, text: string): boolean {
  try {
    if (key.endsWith(manifestEnding)) parseManifest(text, key)
    else parseVerification(text)
    return true
  } catch {
    return false
  }
}

function tooLarge(key: string, bytes: number): DbbakError {
  return new DbbakError(
    'MANIFEST_INVALID',
    `${key} is not a valid manifest: it has ${bytes} bytes, more than any manifest.`,
    {suggestions: otherBackup},
  )
}

function unclaimedObjects(objects: Objects, catalog: Catalog): Catalog['unclaimed'] {
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
