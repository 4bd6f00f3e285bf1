import {randomUUID} from 'node:crypto'
import {once} from 'node:events'
import {Readable} from 'node:stream'
import type {
  CreateOptions,
  ObjectClient,
  RangeAnswer,
  StoredObject,
  StoreProtection,
  UnfinishedUpload,
  Upload,
  UploadPart,
} from '../../src/storage/objects/object-client.js'
import type {ObjectLock} from '../../src/storage/provider.js'
import {connectionTrouble, StoreError} from '../../src/storage/objects/store-error.js'

interface Held {
  bytes: Buffer
  modifiedAt: Date
  etag: string
  token: string
}

export interface MemoryClientOptions {
  /** Gives names in no useful order. */
  unordered?: boolean
  /** Parts must come one after the other. */
  sequential?: boolean
  /** As Google's. */
  uploadsArePrivate?: boolean
  /** Completes an upload without looking at its condition, as Ceph 16 does. */
  ignoresConditions?: boolean
  pageSize?: number
  partsMax?: number
  /** Asked before and after each request: what it gives is thrown; `after` is an answer that got lost. */
  fault?: (request: string, when: 'before' | 'after') => Error | undefined
  /** Requests of this kind wait in the store until they are let go, and are carried out then, their caller gone or not. */
  held?: {request: string; letGo: Promise<unknown>}
  /** Changes what a reading gives, on its way; the checksum stays that of what is stored. */
  onTheWay?: (bytes: Buffer) => Buffer
  /** What the bucket says of itself; absent: no versions, and nothing can be locked. */
  protection?: {keepsVersions: boolean | undefined; warnings?: string[]; lists?: boolean}
  /** By name. Told by listings (`lists`), or to who asks; a removal is refused unless there are versions. */
  locks?: Map<string, ObjectLock>
}

/** An object store in memory, at the level of requests: for what is built on those, and for faults that no server makes. */
export class MemoryClient implements ObjectClient {
  readonly place = 'memory://bucket'
  readonly putBytesMax = 64 * 1024 * 1024
  readonly uploadsArePrivate: boolean
  readonly limits
  readonly listsInOrder: boolean
  readonly requests: string[] = []
  readonly parts: {bytes: number; number: number}[] = []
  /** How many requests have reached the store and wait there, or did. */
  heldRequests = 0
  private readonly objects = new Map<string, Held>()
  private readonly uploads = new Map<string, {name: string; parts: Map<number, Buffer>; activeAt: Date}>()
  private count = 0

  constructor(readonly options: MemoryClientOptions = {}) {
    const {sequential = false, partsMax = 10_000} = options
    this.limits = {partBytesMin: 5 * 1024 * 1024, partBytesMax: 5 * 1024 ** 3, partsMax, sequential}
    this.listsInOrder = !options.unordered
    this.uploadsArePrivate = options.uploadsArePrivate === true
  }

  head(name: string, signal: AbortSignal) {
    return this.request('head', signal, () => {
      const held = this.objects.get(name)
      return held && {...this.stored(name, held), token: held.token}
    })
  }

  get(name: string, range: {start: number; end: number; etag: string | undefined}, signal: AbortSignal) {
    return this.request('get', signal, (): RangeAnswer => {
      const held = this.objects.get(name)
      if (!held) throw new StoreError('missing', 'NoSuchKey')
      const {bytes, etag} = held
      if (range.etag !== undefined && range.etag !== etag)
        throw new StoreError('changed', 'PreconditionFailed')
      if (range.start >= bytes.length)
        throw new StoreError('beyond-end', 'InvalidRange', {size: bytes.length})
      const part = bytes.subarray(range.start, range.end + 1)
      const body = this.body(this.options.onTheWay?.(part) ?? part)
      return {body, size: bytes.length, etag, isWhole: (pieces) => Buffer.concat(pieces).equals(bytes)}
    })
  }

  private body(bytes: Buffer): Readable {
    const fault = this.options.fault
    return Readable.from(
      (function* () {
        for (let at = 0; at < bytes.length; at += 65_536) {
          const broken = fault?.('body', 'before')
          if (broken) throw broken
          yield Buffer.from(bytes.subarray(at, at + 65_536))
        }
      })(),
      {objectMode: false},
    )
  }

  list(prefix: string, next: string | undefined, signal: AbortSignal) {
    return this.request('list', signal, () => {
      const names = [...this.objects.keys()].filter((name) => name.startsWith(prefix))
      names.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
      if (this.options.unordered) names.reverse()
      const from = next === undefined ? 0 : names.findIndex((name) => name === next) + 1 || names.length
      const page = names.slice(from, from + (this.options.pageSize ?? 1000))
      const objects = page.map((name) => this.stored(name, this.objects.get(name)!))
      return {objects, next: from + page.length < names.length ? page.at(-1) : undefined}
    })
  }

  remove(name: string, signal: AbortSignal) {
    return this.request('remove', signal, () => {
      const {locks, protection} = this.options
      if (locks?.has(name) && !protection?.keepsVersions) throw new StoreError('locked', 'ObjectLocked')
      this.objects.delete(name)
    })
  }

  protection(signal: AbortSignal) {
    return this.request('protection', signal, (): StoreProtection => {
      const {protection: {keepsVersions = false, warnings = [], lists = false} = {}, locks} = this.options
      const lockOf = (name: string, whileAsked: AbortSignal) =>
        this.request('lock', whileAsked, () => locks?.get(name))
      return {keepsVersions, warnings: [...warnings], ...(locks && !lists && {lockOf})}
    })
  }

  put(name: string, bytes: Buffer, options: CreateOptions, signal: AbortSignal) {
    return this.request('put', signal, () => this.store(name, Buffer.from(bytes), options))
  }

  startUpload(name: string, options: CreateOptions, signal: AbortSignal) {
    return this.request('start', signal, () => {
      const id = randomUUID()
      this.uploads.set(id, {name, parts: new Map(), activeAt: new Date()})
      return this.upload(id, name, options)
    })
  }

  private upload(id: string, name: string, options: CreateOptions): Upload {
    const known = () => {
      const upload = this.uploads.get(id)
      if (!upload) throw new StoreError('gone', 'NoSuchUpload')
      return upload
    }
    return {
      part: ({number, offset, bytes, last}: UploadPart, signal) =>
        this.request('part', signal, () => {
          const {parts} = known()
          const before = [...parts].filter(([other]) => other < number)
          const follows = before.reduce((sum, [, one]) => sum + one.length, 0) === offset
          if (this.limits.sequential && !follows) throw new StoreError('failed', 'out of order')
          if (!last && bytes.length < this.limits.partBytesMin)
            throw new StoreError('failed', 'EntityTooSmall')
          if (number > this.limits.partsMax) throw new StoreError('failed', 'too many parts')
          parts.set(number, Buffer.from(bytes))
          this.parts.push({number, bytes: bytes.length})
        }),
      complete: (signal) =>
        this.request('complete', signal, () => {
          const {parts} = known()
          const whole = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, bytes]) => bytes))
          const ifAbsent = options.ifAbsent && !this.options.ignoresConditions
          const stored = this.store(name, whole, {...options, ifAbsent})
          this.uploads.delete(id)
          return stored
        }),
      abort: (signal) => this.request('abort', signal, () => void this.uploads.delete(id)),
    }
  }

  unfinished(name: string, signal: AbortSignal) {
    return this.request('unfinished', signal, (): UnfinishedUpload | undefined => {
      const uploads = [...this.uploads.values()].filter((upload) => upload.name === name)
      if (uploads.length === 0) return undefined
      const parts = uploads.flatMap((upload) => [...upload.parts.values()])
      return {size: parts.reduce((sum, {length}) => sum + length, 0), activeAt: uploads[0].activeAt}
    })
  }

  discardUnfinished(name: string, signal: AbortSignal) {
    return this.request('discard', signal, () => {
      for (const [id, upload] of this.uploads) if (upload.name === name) this.uploads.delete(id)
    })
  }

  explain(error: unknown): StoreError {
    if (error instanceof StoreError) return error
    return connectionTrouble(error) ?? new StoreError('failed', String(error), {cause: error})
  }

  async close(): Promise<void> {}

  unfinishedUploads(): number {
    return this.uploads.size
  }

  names(): string[] {
    return [...this.objects.keys()]
  }

  private async request<T>(name: string, signal: AbortSignal, work: () => T): Promise<T> {
    signal.throwIfAborted()
    this.requests.push(name)
    const fail = (when: 'before' | 'after') => {
      const fault = this.options.fault?.(name, when)
      if (fault) throw fault
    }
    await new Promise(setImmediate)
    signal.throwIfAborted()
    fail('before')
    const {held} = this.options
    const result = held?.request === name ? await this.afterHeld(held.letGo, signal, work) : work()
    fail('after')
    return result
  }

  private async afterHeld<T>(letGo: Promise<unknown>, signal: AbortSignal, work: () => T): Promise<T> {
    this.heldRequests++
    const done = letGo.then(work)
    const gone = once(signal, 'abort').then(() => {
      throw signal.reason
    })
    return Promise.race([done, gone])
  }

  private store(name: string, bytes: Buffer, {ifAbsent, token}: CreateOptions): StoredObject {
    if (ifAbsent && this.objects.has(name)) throw new StoreError('exists', 'PreconditionFailed')
    const held = {bytes, modifiedAt: new Date(), etag: `"${++this.count}"`, token}
    this.objects.set(name, held)
    return this.stored(name, held)
  }

  private stored(name: string, {bytes, modifiedAt, etag}: Held): StoredObject {
    const {protection, locks} = this.options
    const lock = protection?.lists ? locks?.get(name) : undefined
    return {name, size: bytes.length, modifiedAt, etag, ...(lock && {lock})}
  }
}
