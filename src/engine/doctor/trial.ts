import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import type {GetOptions, ObjectInfo, PutOptions, StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf} from '../../support/errors.js'

/** A destination does not allow something, to these credentials or at all; nothing is broken. */
export const isRefusal = (error: unknown): error is DbbakError =>
  error instanceof DbbakError &&
  ['DESTINATION_DENIED', 'OBJECT_LOCKED', 'DESTINATION_READ_ONLY'].includes(error.code)

/** Asking it anything more would only take long. */
export const isOutOfReach = (error: unknown): boolean =>
  error instanceof DbbakError &&
  ['DESTINATION_UNREACHABLE', 'DESTINATION_STALLED', 'CREDENTIALS_REFUSED', 'CLOCK_SKEW'].includes(error.code)

/** An object of ours that could not be removed. */
export interface Left {
  key: string
  why: string
}

/** Objects below one name of their own at a destination, to see what it does with them. */
export class Trial {
  /** Everything is put below it. */
  readonly folder = `dbbak-doctor-${randomBytes(6).toString('hex')}`
  private readonly made = new Set<string>()

  constructor(
    readonly store: StorageProvider,
    readonly signal: AbortSignal,
  ) {}

  key(name: string): string {
    return `${this.folder}/${name}`
  }

  put(name: string, content: Buffer, options: PutOptions = {}): Promise<ObjectInfo> {
    return this.putStream(name, inPieces(content), options)
  }

  putStream(name: string, body: Readable, options: PutOptions = {}): Promise<ObjectInfo> {
    const key = this.key(name)
    this.made.add(key) // also where the put fails: it may have left something all the same
    const signal = options.signal ? AbortSignal.any([this.signal, options.signal]) : this.signal
    // Not into an archive (GLACIER), from which nothing is read at once.
    return this.store.put(key, body, {readOften: true, ...options, signal})
  }

  async read(name: string, range: Pick<GetOptions, 'start' | 'end'> = {}): Promise<Buffer> {
    return buffer(await this.store.get(this.key(name), {...range, signal: this.signal}))
  }

  async head(name: string): Promise<ObjectInfo | undefined> {
    this.signal.throwIfAborted()
    return this.store.head(this.key(name))
  }

  /** What is listed of ours, without the folder. */
  async list(prefix = ''): Promise<{name: string; size: number}[]> {
    this.signal.throwIfAborted()
    const found: {name: string; size: number}[] = []
    for await (const {key, size} of this.store.list(this.key(prefix)))
      found.push({name: key.slice(this.folder.length + 1), size})
    return found
  }

  async remove(name: string): Promise<void> {
    this.signal.throwIfAborted()
    await this.store.remove(this.key(name))
  }

  /** Removes all of it as far as possible, also after an interruption. @returns what is left */
  async cleanUp(): Promise<Left[]> {
    const left: Left[] = []
    let unreachable: string | undefined
    for (const key of new Set([...this.made, ...(await this.listed())])) {
      if (unreachable !== undefined) left.push({key, why: unreachable})
      else
        await this.store.remove(key).catch((error: unknown) => {
          left.push({key, why: messageOf(error)})
          if (!isRefusal(error)) unreachable = messageOf(error)
        })
    }
    if (left.length > 0) return this.thatExist(left)
    return (await this.listed()).map((key) => ({key, why: 'it was removed, and is still listed'}))
  }

  /** What could not be removed and was never stored is not left. */
  private async thatExist(left: Left[]): Promise<Left[]> {
    const listed = new Set(await this.listed())
    return listed.size === 0 ? left : left.filter(({key}) => listed.has(key))
  }

  /** Nothing where it may not be listed. */
  private async listed(): Promise<string[]> {
    const keys: string[] = []
    try {
      for await (const {key} of this.store.list(`${this.folder}/`)) keys.push(key)
    } catch {
      // then what we know of has to do
    }
    return keys
  }
}

const pieceBytes = 256 * 1024

function inPieces(content: Buffer): Readable {
  const pieces = function* () {
    for (let at = 0; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes)
  }
  return Readable.from(pieces(), {objectMode: false})
}
