import {createReadStream} from 'node:fs'
import {mkdtemp, readdir, rm, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {compressor} from '../../archive/compression.js'
import {digest, digestOf} from '../../archive/digest.js'
import type {ClientTools} from '../../postgres/client-tools.js'
import {openWideOutput} from '../../postgres/wide-output.js'
import {startDump, type DumpRequest, type ToolContext} from '../../postgres/dump.js'
import {guardian} from '../../support/guardian.js'
import type {StorageProvider} from '../../storage/provider.js'
import type {ArchiveFile, Compression} from '../manifest.js'
import {severalAtATime} from '../several-at-a-time.js'
import {dumpBytes, type StreamCounter} from './dump-stream.js'
import {noSpaceLeft, ranOutOfSpace} from './dump-errors.js'
import {dumpFiles} from './dump-folder.js'
import {alive, attemptAt, everywhere, storeEverywhere, throwIfNoneLeft, type Branch} from './fan-out.js'

export interface WriteRequest {
  tools: ClientTools
  dump: DumpRequest
  context: ToolContext
  /** The archive's name at the destination. */
  archive: string
  compression: Compression
  branches: Branch[]
  signal: AbortSignal
  /** See StreamOptions. */
  expectedBytes: number
  stalledAfterMs: number
  onProgress: (bytes: number) => void
}

export interface WrittenArchive {
  files: ArchiveFile[]
  uncompressedBytes: number
}

/** Custom and plain format: pg_dump's output flows through compressor and digest to the destinations; no temporary file. */
export async function writeStream(request: WriteRequest): Promise<WrittenArchive> {
  const {archive, compression, branches} = request
  const counter: StreamCounter = {bytes: 0}
  const format = request.dump.format as 'custom' | 'plain'
  const packing =
    compression.by === 'dbbak'
      ? compressor({algorithm: compression.algorithm, level: compression.level ?? undefined})
      : undefined
  // The compressor is done with a piece before it asks for the next; without one the pieces live on in queues.
  const wide = packing ? await openWideOutput().catch(() => undefined) : undefined // no folder for its socket: slower
  const tool = startDump(request.tools, request.dump, request.context, wide?.toolEnd)
  wide?.toolEnd.destroy()
  const hash = digest()
  const source = dumpBytes(tool, wide?.pieces ?? tool.stdout, format, counter, request.onProgress)
  const store = (stream: AsyncIterable<Buffer>) => storeEverywhere(branches, archive, stream, request)
  if (packing) await pipeline(source, packing, hash, store)
  else await pipeline(source, hash, store)
  return {files: [{path: archive, ...hash.result()}], uncompressedBytes: counter.bytes}
}

/** Directory format: pg_dump fills a work folder in parallel, then its files are stored, several at a time. */
export async function writeDirectory(request: WriteRequest): Promise<WrittenArchive> {
  const work = await workFolder(request.branches)
  try {
    const folder = join(work.path, 'dump')
    const tool = startDump(request.tools, {...request.dump, folder}, request.context)
    await watchSize(folder, request.onProgress, () => tool.finished)
    const files = await storeFiles(request, folder, await dumpFiles(folder))
    return {files, uncompressedBytes: files.reduce((sum, {bytes}) => sum + bytes, 0)}
  } catch (error) {
    if (!ranOutOfSpace(error)) throw error
    throw noSpaceLeft(work.store?.describe() ?? work.path, await work.store?.freeBytes?.())
  } finally {
    await rm(work.path, {recursive: true, force: true})
    work.unregister()
  }
}

interface Work {
  path: string
  /** The destination it lies at, if it does. */
  store: StorageProvider | undefined
  unregister(): void
}

/**
 * A folder to dump into: on a destination's own file system, so that the files can be moved in instead of copied, the
 * roomiest first; else where temporary files go.
 */
async function workFolder(branches: Branch[]): Promise<Work> {
  for (const branch of await roomiestFirst(branches)) {
    const {store} = branch
    if (!store.workFolder) continue
    const path = await attemptAt(branch, async () => newFolder((await store.workFolder?.()) ?? tmpdir()))
    if (path !== undefined) return {path, store, unregister: guardian().folder(path)}
  }
  throwIfNoneLeft(branches)
  const path = await newFolder(tmpdir())
  return {path, store: undefined, unregister: guardian().folder(path)}
}

const newFolder = (parent: string): Promise<string> => mkdtemp(join(parent, 'dbbak-dump-'))

async function roomiestFirst(branches: Branch[]): Promise<Branch[]> {
  const room = await Promise.all(
    alive(branches).map(async (branch) => ({branch, bytes: (await branch.store.freeBytes?.()) ?? 0})),
  )
  return room.sort((a, b) => b.bytes - a.bytes).map(({branch}) => branch)
}

/** So many files are stored at a time. */
const filesAtOnce = 4

/** @returns the files in the order of their names */
async function storeFiles(request: WriteRequest, folder: string, names: string[]): Promise<ArchiveFile[]> {
  const stops = new Map(request.branches.map((branch) => [branch, new AbortController()]))
  const storeOne = (name: string, signal: AbortSignal) => storeFile({...request, signal}, folder, name, stops)
  return severalAtATime(names, filesAtOnce, storeOne, request.signal)
}

/** @param stops end what is still under way to a destination that has failed */
async function storeFile(
  {archive, branches, signal}: WriteRequest,
  folder: string,
  name: string,
  stops: Map<Branch, AbortController>,
): Promise<ArchiveFile> {
  const file = join(folder, name)
  const key = `${archive}/${name}`
  const sum = await digestOf(createReadStream(file), {signal})
  // The last one may take the file itself; several copy it while it is still there.
  const isLast = alive(branches).length === 1
  await everywhere(branches, async (branch) => {
    const {store} = branch
    const stop = stops.get(branch) ?? new AbortController()
    const options = {signal: AbortSignal.any([signal, stop.signal]), expectedBytes: sum.bytes}
    try {
      if (store.adopt && isLast) await store.adopt(key, file, options)
      else await store.put(key, createReadStream(file), options)
      branch.stored.push(key)
    } catch (error) {
      stop.abort(error)
      throw error
    }
  })
  return {path: key, ...sum}
}

/** Reports how much a folder holds while something fills it. */
async function watchSize(
  folder: string,
  onBytes: (bytes: number) => void,
  work: () => Promise<unknown>,
): Promise<void> {
  const timer = setInterval(() => void sizeOf(folder).then(onBytes, () => {}), 1000)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
}

async function sizeOf(folder: string): Promise<number> {
  const sizes = await Promise.all(
    (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}
