import {constants, createReadStream} from 'node:fs'
import {link, lstat, open, rm} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import type {Readable} from 'node:stream'
import {DbbakError} from '../support/errors.js'
import {destinationError, freeBytesAt, hasCode, isMissing} from './local-errors.js'
import {
  checkFoldersOf,
  foldersExist,
  identityOfFolder,
  makeRoot,
  removeEmptyFoldersOf,
  syncFolder,
} from './local-folders.js'
import {infoOf, listFiles} from './local-list.js'
import {objectExists, publish} from './local-publish.js'
import {FileReader} from './local-read.js'
import {writeDurably} from './local-write.js'
import {checkObjectName} from './object-name.js'
import type {GetOptions, Leftover, ObjectInfo, PutOptions, StorageProvider} from './provider.js'
import {WorkFolder} from './work-folder.js'
import {shellWord} from '../support/shell.js'

export interface LocalStorageOptions {
  /** Replaces the system's link(), to try what happens on a file system without hard links. */
  link?: typeof link
}

/**
 * Keeps objects as files in a folder, which is made by the first put.
 *
 * A put writes to a file in `.dbbak-work`, syncs it, and gives it its name in one step. Folders are 0700, files
 * 0600. Symbolic links below the folder are never followed: what lies behind one is no object.
 */
export class LocalStorage implements StorageProvider {
  private readonly work: WorkFolder
  private readonly link: typeof link

  /** @param root absolute path */
  constructor(
    private readonly root: string,
    options: LocalStorageOptions = {},
  ) {
    this.work = new WorkFolder(root)
    this.link = options.link ?? link
  }

  describe(): string {
    return this.root
  }

  identity(): Promise<string> {
    return identityOfFolder(this.root)
  }

  async put(key: string, body: Readable, options: PutOptions = {}): Promise<ObjectInfo> {
    body.on('error', () => {}) // it may fail before it is read from, or when nobody reads it any more
    try {
      return await this.putFile(key, body, options)
    } catch (error) {
      body.destroy()
      throw options.signal?.aborted === true ? options.signal.reason : error
    }
  }

  private async putFile(key: string, body: Readable, options: PutOptions): Promise<ObjectInfo> {
    const file = await this.writing(async () => {
      await this.prepare(key, options)
      return this.work.createFile()
    })
    try {
      await writeDurably(file, body, {signal: options.signal, explain: this.explainWrite})
      return await this.writing(async () => {
        const {size, mtime} = await file.handle.stat()
        await file.close()
        await this.publish(file.path, key, options)
        return {key, size, modifiedAt: mtime}
      })
    } catch (error) {
      await file.discard()
      throw error
    }
  }

  /** All that can be refused before the first byte is read. */
  private async prepare(key: string, {signal, overwrite}: PutOptions): Promise<void> {
    checkObjectName(key)
    signal?.throwIfAborted()
    await makeRoot(this.root)
    await checkFoldersOf(this.root, key)
    if (overwrite !== true && (await exists(join(this.root, key)))) throw objectExists(key, this.root)
  }

  private async publish(file: string, key: string, {signal, overwrite = false}: PutOptions): Promise<void> {
    signal?.throwIfAborted()
    await publish({file, root: this.root, key, overwrite, link: this.link})
  }

  async adopt(key: string, file: string, options: PutOptions = {}): Promise<ObjectInfo> {
    try {
      return await this.adoptFile(key, file, options)
    } catch (error) {
      if (!hasCode(error, 'EXDEV')) {
        throw options.signal?.aborted === true ? options.signal.reason : await this.explainWrite(error)
      }
    }
    const info = await this.put(key, createReadStream(file), options) // the file lies on another file system
    await rm(file, {force: true})
    return info
  }

  private async adoptFile(key: string, file: string, options: PutOptions): Promise<ObjectInfo> {
    await this.prepare(key, options)
    const {size, mtime} = await secureFile(file)
    await this.publish(file, key, options)
    return {key, size, modifiedAt: mtime}
  }

  async get(key: string, options: GetOptions = {}): Promise<Readable> {
    checkObjectName(key)
    options.signal?.throwIfAborted()
    return this.reading(() => this.openObject(key, options))
  }

  private async openObject(key: string, {start = 0, end, signal}: GetOptions): Promise<Readable> {
    const info = await this.find(key)
    if (info === undefined) throw this.notFound(key)
    const handle = await open(join(this.root, key), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch(
      (error: unknown) => {
        throw isMissing(error) || hasCode(error, 'ELOOP') ? this.notFound(key, error) : error
      },
    )
    const {size} = await handle.stat()
    return new FileReader(handle, {
      start,
      end: Math.min(size, (end ?? size) + 1),
      signal,
      explain: this.explainRead,
    })
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkObjectName(key)
    return this.reading(() => this.find(key))
  }

  async fileFor(key: string): Promise<string | undefined> {
    return (await this.head(key)) ? join(this.root, key) : undefined
  }

  private async find(key: string): Promise<ObjectInfo | undefined> {
    return (await foldersExist(this.root, key)) ? infoOf(this.root, key) : undefined
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    try {
      yield* listFiles(this.root, prefix)
    } catch (error) {
      throw await this.explainRead(error)
    }
  }

  async remove(key: string): Promise<void> {
    checkObjectName(key)
    await this.writing(async () => {
      if ((await this.find(key)) === undefined) return
      const path = join(this.root, key)
      await rm(path, {force: true})
      // Where the folder is gone too, somebody else removed both.
      await syncFolder(dirname(path)).catch(ignoreMissing)
      await removeEmptyFoldersOf(this.root, key)
    })
  }

  async *leftovers(): AsyncGenerator<Leftover> {
    try {
      yield* this.work.leftovers()
    } catch (error) {
      throw await this.explainRead(error)
    }
  }

  sweep(): Promise<Leftover[]> {
    return this.writing(() => this.work.sweep())
  }

  workFolder(): Promise<string> {
    return this.writing(async () => {
      await makeRoot(this.root)
      return this.work.preparationFolder()
    })
  }

  tidy(): Promise<void> {
    return this.work.tidy()
  }

  isThere(): Promise<boolean> {
    return this.reading(() => exists(this.root))
  }

  freeBytes(): Promise<number | undefined> {
    return freeBytesAt(this.root)
  }

  close(): Promise<void> {
    return this.work.close()
  }

  private async reading<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw await this.explainRead(error)
    }
  }

  private async writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw await this.explainWrite(error)
    }
  }

  private readonly explainWrite = (error: unknown) =>
    destinationError(error, {root: this.root, doing: 'write'})

  private readonly explainRead = (error: unknown) => destinationError(error, {root: this.root, doing: 'read'})

  private notFound(key: string, cause?: unknown): DbbakError {
    return new DbbakError('OBJECT_NOT_FOUND', `There is no ${key} at ${this.root}.`, {
      cause,
      suggestions: [`dbbak list --from ${shellWord(this.root)}`],
    })
  }
}

/** Also a folder or a symbolic link takes a name. */
async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

/** Another program made it, perhaps readable by others; and it may not be on the disk yet. */
async function secureFile(path: string) {
  const handle = await open(path, 'r+')
  try {
    // A file system without permissions (FAT) has nothing to protect.
    await handle.chmod(0o600).catch((error: unknown) => {
      if (!hasCode(error, 'EPERM', 'ENOTSUP', 'ENOSYS')) throw error
    })
    await handle.sync()
    return await handle.stat()
  } finally {
    await handle.close()
  }
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error
}
