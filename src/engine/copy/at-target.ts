import {digestOf} from '../../archive/digest.js'
import type {ObjectInfo, StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import {readManifest, type CatalogEntry} from '../catalog.js'
import type {ArchiveFile, Manifest} from '../manifest.js'
import {manifestEnding, manifestName} from '../naming.js'

/** What a target has of one backup. */
export interface AtTarget {
  /** Its manifest, which names the same files: the target's own backup of that name. */
  hasManifest: boolean
  /** Files that are not there. */
  absent: ArchiveFile[]
  /** Files that are there without a manifest: a copy was cut off, or another one is at work. */
  unclaimed: Map<string, ObjectInfo>
}

/**
 * Looks at what a target has of a backup.
 * @throws DbbakError OBJECT_EXISTS where another backup has its name; ARCHIVE_SIZE_MISMATCH where its copy there is
 *   damaged. Nothing that a manifest speaks for is ever replaced.
 */
export async function lookAt(target: StorageProvider, entry: CatalogEntry): Promise<AtTarget> {
  const {files, id} = entry.manifest
  const objects = new Map<string, ObjectInfo>()
  for await (const object of target.list(`${id}.`)) objects.set(object.key, object)
  const hasManifest = objects.has(manifestName(entry.archive)) && (await isSameBackup(target, entry))
  const damaged = files.find(({path, bytes}) => bytes !== (objects.get(path)?.size ?? bytes))
  if (hasManifest && damaged) throw damagedThere(target, entry, damaged, objects.get(damaged.path)?.size)
  return {
    hasManifest,
    absent: files.filter(({path}) => !objects.has(path)),
    unclaimed: hasManifest ? new Map<string, ObjectInfo>() : objects,
  }
}

/** @returns false where the manifest went away meanwhile @throws DbbakError OBJECT_EXISTS where it is another one */
async function isSameBackup(target: StorageProvider, entry: CatalogEntry): Promise<boolean> {
  let found: Manifest | undefined
  try {
    found = await readManifest(target, manifestName(entry.archive))
  } catch (cause) {
    if (!isManifestTrouble(cause)) throw cause
    throw nameTaken(target, entry, 'a manifest of that name lies there and cannot be used', cause)
  }
  if (found === undefined) return false
  if (hasSameFiles(found, entry.manifest)) return true
  throw nameTaken(target, entry, 'another backup of that name lies there, with other files')
}

const isManifestTrouble = (error: unknown): error is DbbakError =>
  error instanceof DbbakError && error.code.startsWith('MANIFEST_')

function hasSameFiles(one: Manifest, other: Manifest): boolean {
  const listed = ({files}: Manifest) =>
    JSON.stringify(files.map(({path, bytes, sha256}) => [path, bytes, sha256]).sort())
  return listed(one) === listed(other)
}

/** Whether what lies there is, byte by byte, the manifest's file. */
export async function isSameFile(
  target: StorageProvider,
  found: ObjectInfo,
  file: ArchiveFile,
  signal: AbortSignal,
): Promise<boolean> {
  if (found.size !== file.bytes) return false
  const sum = await digestOf(await target.get(file.path, {signal}), {signal})
  return sum.bytes === file.bytes && sum.sha256 === file.sha256
}

/**
 * Removes a file that is not the one that belongs there, and that no backup has; leaves it alone when it is another
 * one by now, which a copy that runs at the same time has put.
 * @throws DbbakError OBJECT_EXISTS where a manifest speaks for it
 */
export async function removeForeign(
  target: StorageProvider,
  entry: CatalogEntry,
  found: ObjectInfo,
): Promise<void> {
  for await (const {key} of target.list(`${entry.manifest.id}.`)) {
    if (!key.endsWith(manifestEnding) || key.includes('/')) continue
    if (await speaksFor(target, key, found.key))
      throw nameTaken(target, entry, `${found.key} belongs to a backup there, and has other content`)
  }
  const now = await target.head(found.key)
  const isStillThat = now?.size === found.size && now.etag === found.etag && isSameTime(now, found)
  if (isStillThat) await target.remove(found.key)
}

const isSameTime = (one: ObjectInfo, other: ObjectInfo): boolean =>
  one.modifiedAt.getTime() === other.modifiedAt.getTime()

/** A manifest that cannot be read may speak for anything. */
async function speaksFor(target: StorageProvider, manifest: string, path: string): Promise<boolean> {
  try {
    const {files} = (await readManifest(target, manifest)) ?? {files: []}
    return files.some((file) => file.path === path)
  } catch (error) {
    if (isManifestTrouble(error)) return true
    throw error
  }
}

function nameTaken(
  target: StorageProvider,
  {archive}: CatalogEntry,
  why: string,
  cause?: unknown,
): DbbakError {
  return new DbbakError(
    'OBJECT_EXISTS',
    `${archive} cannot be copied to ${target.describe()}: ${why}. It was left as it is.`,
    {cause, suggestions: atTargetSuggestions(target, archive)},
  )
}

function damagedThere(
  target: StorageProvider,
  {archive}: CatalogEntry,
  {path, bytes}: ArchiveFile,
  found: number | undefined,
): DbbakError {
  return new DbbakError(
    'ARCHIVE_SIZE_MISMATCH',
    `The copy at ${target.describe()} is damaged: ${path} has ${found} bytes there; its manifest says ${bytes}. It was left as it is.`,
    {suggestions: atTargetSuggestions(target, archive)},
  ).during(8)
}

const atTargetSuggestions = (target: StorageProvider, archive: string): string[] => [
  `Look at the one there: dbbak verify ${shellWord(archive)} --level checksum --from ${shellWord(target.describe())}`,
  'Copy to another destination, or move the one there out of the way first.',
]
