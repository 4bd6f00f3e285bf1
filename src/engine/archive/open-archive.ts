import {createWriteStream} from 'node:fs'
import {mkdtemp, mkdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, dirname, join} from 'node:path'
import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {decompressor} from '../../archive/compression.js'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import {guardian} from '../../support/guardian.js'
import type {CatalogEntry} from '../catalog.js'
import type {ArchiveFile, Manifest} from '../manifest.js'

/** Where a backup lies. */
export interface StoredBackup {
  store: StorageProvider
  entry: Pick<CatalogEntry, 'manifest' | 'archive'>
}

/** The files that make up the archive itself: all but the globals. */
export function archiveFiles({manifest, archive}: StoredBackup['entry']): ArchiveFile[] {
  return manifest.files.filter(({path}) => path === archive || path.startsWith(`${archive}/`))
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

/** A local folder or file that the tools can read, and how to let go of it. */
export interface LocalCopy {
  path: string
  release(): Promise<void>
}

/** The folder of a directory-format backup: in place where the destination is local, else fetched. */
export async function localFolder({store, entry}: StoredBackup, signal: AbortSignal): Promise<LocalCopy> {
  const files = archiveFiles(entry)
  const inPlace = files[0] && (await store.fileFor?.(files[0].path))
  if (inPlace) return {path: dirname(inPlace), release: async () => {}}
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  const release = async () => {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
  try {
    await mkdir(join(folder, 'dump'))
    for (const {path} of files)
      await fetchFile(store, path, join(folder, 'dump', plainName(entry, path)), signal)
    return {path: join(folder, 'dump'), release}
  } catch (error) {
    await release()
    throw error
  }
}

/** A directory-format dump has no folders inside; a name that says otherwise is not one of pg_dump's. */
function plainName({archive}: StoredBackup['entry'], path: string): string {
  const name = path.slice(archive.length + 1)
  if (name === basename(name) && name !== '') return name
  throw new DbbakError('MANIFEST_INVALID', `${path} cannot be part of a directory-format dump.`)
}

async function fetchFile(
  store: StorageProvider,
  key: string,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  await pipeline(await store.get(key, {signal}), createWriteStream(file, {flags: 'wx', mode: 0o600}), {
    signal,
  })
}
