import {addAbortListener} from 'node:events'
import type {Readable} from 'node:stream'
import type {CreateOptions, ObjectClient, StoredObject, Upload} from './object-client.js'
import type {InFlight} from './in-flight.js'
import {partBytes} from './part-size.js'
import type {Retrying} from './patience.js'
import {settled} from './settled.js'
import {StoreError} from './store-error.js'

export interface SendRequest {
  client: ObjectClient
  retrying: Retrying
  inFlight: InFlight
  name: string
  create: CreateOptions
  expectedBytes: number | undefined
  signal: AbortSignal
  /** Called before an upload in parts begins; what it gives is called when that has ended, well or not. */
  claim: () => Promise<() => Promise<void>>
}

/** Cleaning up does not keep a user waiting who has pressed Ctrl-C. */
const cleanUpMs = 8_000

/**
 * Stores what a stream gives: in one request where it is small, else in parts, several at a time, while the next is
 * being filled. Memory is bounded by the parts in flight.
 * @throws StoreError; the stream's own error; the signal's reason
 */
export async function send(body: Readable, request: SendRequest): Promise<StoredObject> {
  const {signal} = request
  signal.throwIfAborted()
  if (body.errored) throw body.errored
  const listener = addAbortListener(signal, () => body.destroy(signal.reason as Error))
  const sender = new Sender(request, (error) => body.destroy(error as Error))
  try {
    for await (const chunk of body as AsyncIterable<Buffer | string>)
      await sender.take(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    return await sender.end()
  } catch (error) {
    throw await sender.giveUp(signal.aborted ? signal.reason : error)
  } finally {
    listener[Symbol.dispose]()
  }
}

/** Whatever fails first is what counts: a part's failure ends the stream, whose error is only its echo. */
class Sender {
  private readonly stop = new AbortController()
  private readonly signal: AbortSignal
  private readonly running = new Set<Promise<void>>()
  private readonly spare: Buffer[] = []
  private failure: {error: unknown} | undefined
  /** Set when a request was sent that makes the object visible. */
  private mayBeStored = false
  private upload: Upload | undefined
  private release: (() => Promise<void>) | undefined
  /** The store may have begun an upload whose name we were not told. */
  private mayHaveOthers = false
  /** The part that is being filled; the pieces of a small object are only gathered. */
  private filling: Buffer | Buffer[] = []
  private filled = 0
  private number = 1
  private offset = 0

  constructor(
    private readonly request: SendRequest,
    private readonly endSource: (error: unknown) => void,
  ) {
    this.signal = AbortSignal.any([request.signal, this.stop.signal])
  }

  async take(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length;) {
      // A full part goes out only when more comes: the last one has to be known as such.
      if (this.filled === this.partBytes()) await this.dispatch(false)
      const piece = chunk.subarray(at, at + this.partBytes() - this.filled)
      this.append(piece)
      at += piece.length
    }
  }

  async end(): Promise<StoredObject> {
    if (!this.upload && this.filled <= this.request.client.putBytesMax) return this.putWhole()
    await this.dispatch(true)
    await Promise.all(this.running)
    this.throwIfFailed()
    return this.complete()
  }

  /** @returns the error that the put fails with */
  async giveUp(error: unknown): Promise<unknown> {
    const first = this.failure?.error ?? error
    this.stop.abort(first)
    await Promise.allSettled(this.running)
    const {upload} = this
    if (upload) await this.withinLimit((signal) => upload.abort(signal))
    if (this.mayBeStored && this.request.create.ifAbsent)
      await this.withinLimit((signal) => this.removeOurs(signal))
    await this.letGo()
    return first
  }

  private partBytes(): number {
    return partBytes(this.number, this.request.expectedBytes, this.request.client.limits)
  }

  private append(piece: Buffer): void {
    if (Array.isArray(this.filling)) {
      if (this.filled + piece.length <= gatheredBytesMax) {
        this.filling.push(piece)
        this.filled += piece.length
        return
      }
      const gathered = this.filling
      this.filling = this.newBuffer()
      let at = 0
      for (const one of gathered) at += one.copy(this.filling, at)
    }
    this.filled += piece.copy(this.filling, this.filled)
  }

  private newBuffer(): Buffer {
    const bytes = this.partBytes()
    const spare = this.spare.pop()
    return spare?.length === bytes ? spare : Buffer.allocUnsafeSlow(bytes)
  }

  private content(): Buffer {
    return Array.isArray(this.filling) ? Buffer.concat(this.filling) : this.filling.subarray(0, this.filled)
  }

  /** Sends the part that is filled, as soon as there is room for one more in flight. */
  private async dispatch(last: boolean): Promise<void> {
    await this.begin()
    const bytes = this.content()
    const {retrying, inFlight, client} = this.request
    if (client.limits.sequential) await Promise.all(this.running)
    this.throwIfFailed()
    const leave = await inFlight.enter(bytes.length, this.signal)
    const part = {number: this.number, offset: this.offset, bytes, last}
    const sent = retrying
      .run(this.signal, () => this.upload!.part(part, this.signal))
      .then(
        () => void this.spare.push(bytes),
        (error: unknown) => this.partFailed(error),
      )
      .finally(() => {
        leave()
        this.running.delete(sent)
      })
    this.running.add(sent)
    this.number++
    this.offset += bytes.length
    this.filled = 0
    if (!last) this.filling = this.newBuffer()
  }

  private async begin(): Promise<void> {
    if (this.upload) return
    const {client, retrying, name, create} = this.request
    this.release = await this.request.claim()
    this.mayHaveOthers = true
    let tries = 0
    this.upload = await retrying.run(this.signal, () => {
      tries++
      return settled(this.signal, (late) => client.startUpload(name, create, late))
    })
    this.mayHaveOthers = tries > 1
  }

  /** Ends what was begun without an answer, of which nobody else would know, and then the claim. */
  private async letGo(): Promise<void> {
    const {client, name, create} = this.request
    // Without a claim of its own to the name another's upload may be under way.
    if (this.mayHaveOthers && create.ifAbsent)
      await this.withinLimit((signal) => client.discardUnfinished(name, signal))
    await this.release?.()
  }

  private partFailed(error: unknown): void {
    if (this.failure) return
    this.failure = {error}
    this.stop.abort(error)
    this.endSource(error)
  }

  private throwIfFailed(): void {
    if (this.failure) throw this.failure.error
  }

  private async complete(): Promise<StoredObject> {
    const stored = await this.publish((signal) => this.upload!.complete(signal), this.offset)
    await this.letGo()
    return stored
  }

  private async putWhole(): Promise<StoredObject> {
    const {client, name, create} = this.request
    const bytes = this.content()
    return this.publish((signal) => client.put(name, bytes, create, signal), bytes.length)
  }

  private async publish(
    work: (signal: AbortSignal) => Promise<StoredObject>,
    bytes: number,
  ): Promise<StoredObject> {
    this.mayBeStored = true
    const stored = await this.request.retrying.run(this.signal, () =>
      settled(this.signal, (late) => work(late).catch((error: unknown) => this.unlessStored(error, late))),
    )
    if (stored.size === bytes) return stored
    throw new StoreError('failed', `the store has ${stored.size} bytes of the ${bytes} that were sent`)
  }

  /** The request that failed, or was given up, may have been carried out all the same. */
  private async removeOurs(signal: AbortSignal): Promise<void> {
    const {client, name, create} = this.request
    const found = await client.head(name, signal)
    if (found?.token === create.token) await client.remove(name, signal)
  }

  /** An earlier try may have done it, and only its answer was lost: then the object that is there is ours. */
  private async unlessStored(error: unknown, signal: AbortSignal): Promise<StoredObject> {
    const trouble = error instanceof StoreError ? error.trouble : undefined
    if (trouble !== 'exists' && trouble !== 'gone') throw error
    const {client, name, create} = this.request
    const found = await client.head(name, signal)
    if (found?.token === create.token) return found
    throw found && create.ifAbsent ? new StoreError('exists', 'the name is taken', {cause: error}) : error
  }

  /** Best effort: what is left is found by the next sweep. */
  private async withinLimit(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const signal = AbortSignal.timeout(cleanUpMs)
    await this.request.retrying.run(signal, () => work(signal)).catch(() => {})
  }
}

/** Most objects are manifests, for which no part's buffer is needed. */
const gatheredBytesMax = 1024 * 1024
