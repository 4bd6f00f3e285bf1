import {mkdir, mkdtemp, open, rm, statfs} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join} from 'node:path'
import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {digest} from '../../archive/digest.js'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError, systemCode} from '../../support/errors.js'
import {guardian} from '../../support/guardian.js'
import {shellWord} from '../../support/shell.js'
import type {ArchiveFile} from '../manifest.js'
import {severalAtATime} from '../several-at-a-time.js'
import {checkFile, otherSize} from './check-file.js'
import type {StoredBackup} from './open-archive.js'

/** A local folder that the tools can read, and how to let go of it. */
export interface LocalCopy {
  path: string
  release(): Promise<void>
}

/** The files that make up the archive itself: all but the globals. */
export function archiveFiles({manifest, archive}: StoredBackup['entry']): ArchiveFile[] {
  return manifest.files.filter(({path}) => path === archive || path.startsWith(`${archive}/`))
}

/** So many files are fetched at a time. */
const filesAtOnce = 4

export interface FetchOptions {
  signal: AbortSignal
  /** Told how much of all files has come. */
  onProgress?: ((bytes: number) => void) | undefined
  /** Where the temporary folder is made. */
  parent?: string
}

/**
 * Fetches the files of a directory-format backup into a temporary folder, and holds sizes and SHA-256 against the
 * manifest as they are written. After a failure nothing of it is left.
 * @throws DbbakError TEMPORARY_SPACE, CHECKSUM_MISMATCH, ARCHIVE_SIZE_MISMATCH, MANIFEST_INVALID; OBJECT_NOT_FOUND
 */
export async function fetchFolder({store, entry}: StoredBackup, options: FetchOptions): Promise<LocalCopy> {
  const {parent = tmpdir(), signal} = options
  const files = archiveFiles(entry).map((file) => ({...file, name: plainName(entry.archive, file.path)}))
  await checkRoom(parent, files)
  const folder = await mkdtemp(join(parent, 'dbbak-'))
  const release = removal(folder)
  try {
    const path = join(folder, 'dump')
    await mkdir(path, {mode: 0o700})
    const onBytes = counter(options.onProgress)
    await severalAtATime(
      files,
      filesAtOnce,
      (file, one) => fetchFile(store, file, {path: join(path, file.name), signal: one, onBytes}),
      signal,
    )
    return {path, release}
  } catch (error) {
    const free = ranOutOfSpace(error) ? ((await roomAt(parent))?.freeBytes ?? 0) : undefined // before it is removed
    await release()
    throw free === undefined ? error : noRoom(parent, totalBytes(files), free, error)
  }
}

/** One copy for all who need it, one after the other: fetched when the first of them does. */
export class FolderCopy {
  private fetching: Promise<LocalCopy> | undefined

  constructor(private readonly backup: StoredBackup) {}

  /** Where it is; a fetch that failed is tried again by the next who asks. */
  async path(options: FetchOptions): Promise<string> {
    options.signal.throwIfAborted()
    this.fetching ??= fetchFolder(this.backup, options).catch((error: unknown) => {
      this.fetching = undefined
      throw error
    })
    return (await this.fetching).path
  }

  /** Where it is, if anybody has needed it yet. */
  async pathIfFetched(): Promise<string | undefined> {
    return (await this.fetching)?.path
  }

  async release(): Promise<void> {
    const copy = await this.fetching?.catch(() => undefined) // it failed, and has removed what it made
    this.fetching = undefined
    await copy?.release()
  }
}

/** Works with a backup so that all steps that need its folder locally share one copy, which is removed at the end. */
export async function withOneCopy<T>(
  backup: StoredBackup,
  work: (backup: StoredBackup) => Promise<T>,
): Promise<T> {
  const copy = new FolderCopy(backup)
  try {
    return await work({...backup, copy})
  } finally {
    await copy.release()
  }
}

/** A directory-format dump has no folders inside; a name that says otherwise is not one of pg_dump's. */
function plainName(archive: string, path: string): string {
  const name = path.slice(archive.length + 1)
  if (name === basename(name) && name !== '') return name
  throw new DbbakError('MANIFEST_INVALID', `${path} cannot be part of a directory-format dump.`)
}

/** What cannot be removed now is left to the guardian, which tries when we are gone: the work itself has its result. */
function removal(folder: string): () => Promise<void> {
  const unregister = guardian().folder(folder)
  return async () => {
    try {
      await rm(folder, {recursive: true, force: true, maxRetries: 3})
      unregister()
    } catch {
      // see above
    }
  }
}

interface FetchTarget {
  path: string
  signal: AbortSignal
  onBytes: (bytes: number) => void
}

async function fetchFile(
  store: StorageProvider,
  file: ArchiveFile,
  {path, signal, onBytes}: FetchTarget,
): Promise<void> {
  const handle = await open(path, 'wx', 0o600)
  try {
    const sum = digest()
    let bytes = 0
    const write = async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) {
        bytes += chunk.length
        if (bytes > file.bytes) throw otherSize(file, 'more bytes') // for which there may be no room
        await handle.appendFile(chunk)
        onBytes(chunk.length)
      }
    }
    await pipeline(await openObject(store, file.path, signal), sum, write, {signal})
    checkFile(file, sum.result())
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    await handle.close() // waits for a write that is under way
  }
}

/** A pipeline that begins with an aborted signal does not end its streams. */
async function openObject(store: StorageProvider, key: string, signal: AbortSignal): Promise<Readable> {
  const stream = await store.get(key, {signal})
  if (!signal.aborted) return stream
  stream.on('error', () => {}).destroy()
  throw signal.reason
}

function counter(onProgress: ((bytes: number) => void) | undefined): (bytes: number) => void {
  let total = 0
  return (bytes) => {
    total += bytes
    onProgress?.(total)
  }
}

const totalBytes = (files: ArchiveFile[]) => files.reduce((sum, {bytes}) => sum + bytes, 0)

const ranOutOfSpace = (error: unknown): boolean =>
  !(error instanceof DbbakError) && ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '')

/** A disk that runs full would stop the fetch too, but late, and not only the fetch. */
async function checkRoom(parent: string, files: ArchiveFile[]): Promise<void> {
  const room = await roomAt(parent)
  if (!room) return
  const {freeBytes, blockBytes} = room
  const neededBytes = files.reduce(
    (sum, {bytes}) => sum + Math.ceil(bytes / blockBytes) * blockBytes, // each takes whole blocks
    0,
  )
  if (neededBytes > freeBytes) throw noRoom(parent, neededBytes, freeBytes)
}

/** @returns undefined where it cannot be known */
async function roomAt(folder: string): Promise<{freeBytes: number; blockBytes: number} | undefined> {
  try {
    const {bavail, bsize} = await statfs(folder)
    return {freeBytes: bavail * bsize, blockBytes: Math.max(1, bsize)}
  } catch {
    return undefined
  }
}

function noRoom(parent: string, neededBytes: number, freeBytes: number, cause?: unknown): DbbakError {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
  const variable = process.platform === 'win32' ? 'TEMP' : 'TMPDIR'
  const look = process.platform === 'win32' ? [] : [`df -h ${shellWord(parent)}`]
  return new DbbakError(
    'TEMPORARY_SPACE',
    `A backup in the directory format is fetched before pg_restore can read it: that takes ${megabytes(neededBytes)}, and the temporary folder ${parent} has ${megabytes(freeBytes)} left.`,
    {
      cause,
      details: {path: parent, neededBytes, freeBytes},
      suggestions: [`Name a folder with room: export ${variable}=/path/to/folder`, ...look],
    },
  )
}
