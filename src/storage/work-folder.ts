import {lstat, mkdir, open, readdir, rm, rmdir, utimes, type FileHandle} from 'node:fs/promises'
import {join} from 'node:path'
import {isMissing} from './local-errors.js'
import {makeFolder} from './local-folders.js'
import {workFolderName} from './object-name.js'
import type {Leftover} from './provider.js'
import {isWorkName, ownerOf, stateOf, workName} from './work-owner.js'

const minuteMs = 60_000
/** A running owner touches its files every few minutes, so after a day without there is none. */
const heartbeatMs = 5 * minuteMs
const presumedRunningMs = 60 * minuteMs
const abandonedMs = 24 * 60 * minuteMs

/** An unfinished file, open for writing. */
export interface WorkFile {
  path: string
  handle: FileHandle
  /** Closes the file; it stays. */
  close(): Promise<void>
  /** Closes and removes the file. */
  discard(): Promise<void>
}

/** The folder of a local destination that holds unfinished files, never read as objects. */
export class WorkFolder {
  readonly path: string
  private folder: Promise<string> | undefined
  private stopHeartbeat: (() => void) | undefined
  private isOurs = false

  constructor(root: string) {
    this.path = join(root, workFolderName)
  }

  /** The root exists already; the work folder is made when it is needed first. */
  async createFile(): Promise<WorkFile> {
    const path = join(this.path, workName('put'))
    const handle = await this.inside(() => open(path, 'wx', 0o600))
    const stop = keepFresh(path)
    const close = async () => {
      stop()
      await handle.close()
    }
    const discard = async () => {
      await close().catch(() => undefined) // what failed before matters more
      await rm(path, {force: true}).catch(() => undefined) // else the next sweep finds it
    }
    return {path, handle, close, discard}
  }

  /** One folder for files that are prepared here; the same until `close`. */
  preparationFolder(): Promise<string> {
    this.folder ??= this.createFolder().catch((error: unknown) => {
      this.folder = undefined
      throw error
    })
    return this.folder
  }

  private async createFolder(): Promise<string> {
    const path = join(this.path, workName('folder'))
    await this.inside(() => mkdir(path, {mode: 0o700}))
    this.stopHeartbeat = keepFresh(path)
    return path
  }

  /**
   * Another process may take the empty folder away, which it has made, in the moment before something is in it, or
   * while it is looked at here.
   */
  private async inside<T>(make: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        if (await makeFolder(this.path)) this.isOurs = true
        return await make()
      } catch (error) {
        if (!isMissing(error) || attempt === 20) throw error
      }
    }
  }

  /** Takes the folder away where this made it and nobody has anything in it. */
  async tidy(): Promise<void> {
    if (this.isOurs) await rmdir(this.path).catch(() => undefined) // not empty: somebody works there
    this.isOurs = false
  }

  /** Files whose owner does not run, as far as can be told. */
  async *leftovers(): AsyncGenerator<Leftover> {
    for await (const entry of this.entries()) if (entry.state !== 'running') yield entry.leftover
  }

  /** Removes the files whose owner certainly does not run. */
  async sweep(): Promise<Leftover[]> {
    const removed: Leftover[] = []
    for await (const {state, path, leftover} of this.entries()) {
      if (state !== 'abandoned') continue
      await rm(path, {recursive: true, force: true})
      removed.push(leftover)
    }
    return removed
  }

  /** Removes the preparation folder if its user left it empty. */
  async close(): Promise<void> {
    const path = await this.folder
    this.stopHeartbeat?.()
    this.folder = undefined
    if (path !== undefined) await rmdir(path).catch(() => undefined) // not empty: somebody still wants what is in it
  }

  private async *entries() {
    for (const name of await this.names()) {
      if (!isWorkName(name)) continue // not ours
      const path = join(this.path, name)
      const found = await lstat(path).catch(ifMissing(undefined))
      if (found === undefined) continue
      const ageMs = Date.now() - found.mtimeMs
      const size = found.isDirectory() ? await folderBytes(path) : found.size
      const leftover = {key: `${workFolderName}/${name}`, size, modifiedAt: found.mtime}
      yield {state: workState(stateOf(ownerOf(name)), ageMs), path, leftover}
    }
  }

  /** Nothing where the work folder is a symbolic link: a sweep must not reach outside the destination. */
  private async names(): Promise<string[]> {
    const found = await lstat(this.path).catch(ifMissing(undefined))
    if (found?.isDirectory() !== true) return []
    return (await readdir(this.path).catch(ifMissing([]))).sort()
  }
}

/** Where the owner cannot be asked, the time since it last touched the file must tell. */
function workState(
  owner: 'running' | 'gone' | 'unknown',
  ageMs: number,
): 'running' | 'abandoned' | 'unknown' {
  if (owner === 'running') return 'running'
  if (owner === 'gone' || ageMs > abandonedMs) return 'abandoned'
  return ageMs < presumedRunningMs ? 'running' : 'unknown'
}

function keepFresh(path: string): () => void {
  const timer = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => undefined) // gone or read-only: whoever writes there will hear of it
  }, heartbeatMs)
  timer.unref()
  return () => clearInterval(timer)
}

async function folderBytes(path: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(path, {withFileTypes: true}).catch(ifMissing([]))) {
    const at = join(path, entry.name)
    bytes += entry.isDirectory()
      ? await folderBytes(at)
      : ((await lstat(at).catch(ifMissing(undefined)))?.size ?? 0)
  }
  return bytes
}

/** For files that may vanish while they are looked at. */
function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isMissing(error)) return value
    throw error
  }
}
