import {createReadStream} from 'node:fs'
import {dirname, join} from 'node:path'
import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {decompressor} from '../../archive/compression.js'
import type {StorageProvider} from '../../storage/provider.js'
import type {CatalogEntry} from '../catalog.js'
import type {ArchiveFile, Manifest} from '../manifest.js'
import {archiveFiles, fetchFolder, type FolderCopy, type LocalCopy} from './fetched-folder.js'

/** Where a backup lies. */
export interface StoredBackup {
  store: StorageProvider
  entry: Pick<CatalogEntry, 'manifest' | 'archive'> & Partial<Pick<CatalogEntry, 'verification'>>
  /** What all steps of one operation share, where they need the files locally: see `withOneCopy`. */
  copy?: FolderCopy
}

/** The archive of a custom or plain backup as pg_restore or psql reads it. Errors of any part end the stream. */
export async function openArchive({store, entry}: StoredBackup, signal: AbortSignal): Promise<Readable> {
  const stored = await store.get(entry.archive, {signal})
  const unpack = unpacking(entry.manifest)
  if (!unpack) return stored
  pipeline(stored, unpack, {signal}).catch((error: unknown) => unpack.destroy(error as Error))
  return unpack
}

function unpacking({compression}: Manifest): ReturnType<typeof decompressor> {
  return compression.by === 'dbbak' ? decompressor(compression.algorithm) : undefined
}

/** The folder of a directory-format backup: in place where the destination is local, else fetched. */
export async function localFolder(
  backup: StoredBackup,
  signal: AbortSignal,
  onProgress?: (bytes: number) => void,
): Promise<LocalCopy> {
  const path = (await folderInPlace(backup)) ?? (await backup.copy?.path({signal, onProgress}))
  if (path !== undefined) return {path, release: async () => {}}
  return fetchFolder(backup, {signal, onProgress})
}

/**
 * Fetches the folder of a directory-format backup ahead, where steps to come share a copy of it.
 * @returns the files that were held against the manifest on the way
 */
export async function fetchAhead(
  backup: StoredBackup,
  signal: AbortSignal,
  onProgress?: (bytes: number) => void,
): Promise<ArchiveFile[]> {
  const {entry, copy} = backup
  if (!copy || entry.manifest.format !== 'directory' || (await folderInPlace(backup))) return []
  await copy.path({signal, onProgress})
  return archiveFiles(entry)
}

/** The table of contents of a directory-format backup: of the copy if there is one already, else it alone. */
export async function openContents(
  {store, entry, copy}: StoredBackup,
  signal: AbortSignal,
): Promise<Readable> {
  const folder = await copy?.pathIfFetched()
  if (folder !== undefined) return createReadStream(join(folder, contentsFile), {signal})
  return store.get(`${entry.archive}/${contentsFile}`, {signal})
}

const contentsFile = 'toc.dat'

async function folderInPlace({store, entry}: StoredBackup): Promise<string | undefined> {
  const [first] = archiveFiles(entry)
  const file = first && (await store.fileFor?.(first.path))
  return file && dirname(file)
}
