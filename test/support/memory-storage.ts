import {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {checkObjectName} from '../../src/storage/object-name.js'
import type {
  GetOptions,
  Leftover,
  ObjectInfo,
  PutOptions,
  StorageProvider,
} from '../../src/storage/provider.js'
import {DbbakError} from '../../src/support/errors.js'

interface StoredObject {
  bytes: Buffer
  modifiedAt: Date
  etag: string
}

/** A destination in memory, for tests of what is built on destinations. Keeps every promise but durability. */
export class MemoryStorage implements StorageProvider {
  private readonly objects = new Map<string, StoredObject>()
  private puts = 0

  constructor(private readonly name = 'memory') {}

  describe(): string {
    return this.name
  }

  async put(key: string, body: Readable, options: PutOptions = {}): Promise<ObjectInfo> {
    body.on('error', () => {}) // it may fail before it is read from, or when nobody reads it any more
    try {
      return await this.store(key, body, options)
    } catch (error) {
      body.destroy()
      throw options.signal?.aborted ? options.signal.reason : error
    }
  }

  private async store(key: string, body: Readable, {signal, overwrite}: PutOptions): Promise<ObjectInfo> {
    const refuseTaken = () => {
      if (!overwrite && this.objects.has(key)) throw new DbbakError('OBJECT_EXISTS', `${key} exists already.`)
    }
    checkObjectName(key)
    signal?.throwIfAborted()
    refuseTaken()
    if (body.errored) throw body.errored
    const chunks: Buffer[] = []
    const collect = async (source: AsyncIterable<Buffer | string>) => {
      for await (const chunk of source) chunks.push(Buffer.from(chunk))
    }
    await pipeline(body, collect, signal ? {signal} : {})
    refuseTaken() // another put may have been faster
    this.objects.set(key, {bytes: Buffer.concat(chunks), modifiedAt: new Date(), etag: this.newEtag()})
    return this.info(key)
  }

  async get(key: string, {signal, start = 0, end}: GetOptions = {}): Promise<Readable> {
    checkObjectName(key)
    signal?.throwIfAborted()
    const object = this.objects.get(key)
    if (!object) throw new DbbakError('OBJECT_NOT_FOUND', `There is no ${key}.`)
    const stream = Readable.from(
      inPieces(object.bytes.subarray(start, end === undefined ? undefined : end + 1)),
      {objectMode: false},
    )
    signal?.addEventListener('abort', () => stream.destroy(signal.reason as Error), {once: true})
    return stream
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkObjectName(key)
    return this.objects.has(key) ? this.info(key) : undefined
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix))
    keys.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
    for (const key of keys) if (this.objects.has(key)) yield this.info(key)
  }

  async remove(key: string): Promise<void> {
    checkObjectName(key)
    this.objects.delete(key)
  }

  /** What a failed put had is garbage, and collected as such. */
  async *leftovers(): AsyncGenerator<Leftover> {}

  async sweep(): Promise<Leftover[]> {
    return []
  }

  async close(): Promise<void> {}

  /** Changes what is stored, as no provider would: for tests of what notices it. */
  damage(key: string, change: (bytes: Buffer) => Buffer): void {
    const object = this.objects.get(key)
    if (!object) throw new Error(`There is no ${key} to damage.`)
    this.objects.set(key, {...object, bytes: change(Buffer.from(object.bytes)), etag: this.newEtag()})
  }

  private info(key: string): ObjectInfo {
    const {bytes, modifiedAt, etag} = this.objects.get(key)!
    return {key, size: bytes.length, modifiedAt, etag}
  }

  private newEtag(): string {
    return `"${++this.puts}"`
  }
}

function* inPieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}
