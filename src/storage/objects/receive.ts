import {Readable} from 'node:stream'
import type {ObjectClient} from './object-client.js'
import type {Retrying} from './patience.js'
import {StoreError} from './store-error.js'

export interface ReceiveRequest {
  client: ObjectClient
  retrying: Retrying
  name: string
  /** First and last byte wanted; the last may lie beyond the end. */
  start: number
  end: number
  signal: AbortSignal | undefined
  /** What a failure is told as. */
  explain: (error: unknown) => unknown
}

const mebibyte = 1024 * 1024
/** Small objects come with one request, and large ones begin early. */
const firstBytes = mebibyte
const windowBytes = 4 * mebibyte
/** One connection to a far store is slower than the line. */
const windowsAtOnce = 4
const pieceBytes = 64 * 1024

/**
 * The bytes of an object, fetched in ranges, several ahead of the reader. A range that breaks off goes on at the byte
 * where it broke, and only while the object is still the same.
 */
export async function receive(request: ReceiveRequest): Promise<Readable> {
  const {start, end} = request
  const stop = new AbortController()
  const signal = request.signal ? AbortSignal.any([request.signal, stop.signal]) : stop.signal
  const first = await beginning({...request, end: Math.min(end, start + firstBytes - 1)}, signal)
  return new ObjectReader({...request, end: Math.min(end, first.size - 1)}, first, {stop, signal})
}

interface Beginning {
  pieces: Buffer[]
  /** Of the whole object. */
  size: number
  etag: string | undefined
}

async function beginning(request: ReceiveRequest, signal: AbortSignal): Promise<Beginning> {
  const known: {size?: number; etag?: string} = {}
  try {
    const pieces = await fetchRange({...request, known}, signal)
    return {pieces, size: known.size ?? 0, etag: known.etag}
  } catch (error) {
    if (!(error instanceof StoreError) || error.trouble !== 'beyond-end') throw error
    return {pieces: [], size: error.size ?? 0, etag: undefined}
  }
}

interface RangeRequest extends ReceiveRequest {
  /** Filled in by the first answer; every later one has to be of the same object. */
  known: {size?: number; etag?: string | undefined}
}

/** @returns the pieces as they came from the connection: copying them together would only hold them twice */
async function fetchRange(request: RangeRequest, signal: AbortSignal): Promise<Buffer[]> {
  const {client, retrying, name, start, end, known} = request
  const patience = retrying.begin(signal)
  const pieces: Buffer[] = []
  let at = 0
  let damaged = 0
  for (;;) {
    try {
      const answer = await client.get(name, {start: start + at, end, etag: known.etag}, signal)
      known.etag ??= answer.etag
      known.size ??= answer.size
      const wanted = Math.min(end - start + 1, answer.size - start)
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        if (at + chunk.length > wanted)
          throw new StoreError('failed', 'the store sent more than it was asked for')
        pieces.push(chunk)
        at += chunk.length
        patience.progressed()
      }
      if (at < wanted) throw new StoreError('transient', `the answer ended ${wanted - at} bytes early`)
      if (start > 0 || wanted < answer.size || answer.isWhole?.(pieces) !== false) return pieces
      damaged++
      at = 0
      pieces.length = 0
      // The checksum itself may be what was damaged, and the ETag with it.
      delete known.etag
      delete known.size
      throw damagedOnTheWay(damaged)
    } catch (error) {
      await patience.afterFailure(error)
    }
  }
}

/** So often in a row it is not the way that damages it. */
const damagedAtMost = 5

function damagedOnTheWay(times: number): StoreError {
  const message = 'what arrived is not what the store has: its checksum differs'
  return times < damagedAtMost
    ? new StoreError('transient', message)
    : new StoreError('failed', `${message} (read ${times} times)`)
}

interface Ending {
  stop: AbortController
  signal: AbortSignal
}

/** Gives the windows in order while the next ones are being fetched. */
class ObjectReader extends Readable {
  private readonly windows: Promise<Buffer[]>[] = []
  private pieces: Buffer[]
  private next: number
  private readonly known: RangeRequest['known']

  constructor(
    private readonly request: ReceiveRequest,
    first: Beginning,
    private readonly ending: Ending,
  ) {
    super({highWaterMark: pieceBytes})
    this.pieces = first.pieces
    this.next = request.start + first.pieces.reduce((sum, {length}) => sum + length, 0)
    this.known = {size: first.size, etag: first.etag}
    request.signal?.addEventListener('abort', this.onAbort, {once: true})
    if (request.signal?.aborted) this.onAbort()
  }

  /** One piece a call: the stream asks again when it wants more, and not before it has got this one. */
  override _read(): void {
    this.nextPiece().then(
      (piece) => void this.push(piece ?? null),
      (error: unknown) => this.destroy(this.errorFor(error)),
    )
  }

  private async nextPiece(): Promise<Buffer | undefined> {
    this.fetchAhead()
    while (this.pieces.length === 0) {
      const window = this.windows.shift()
      if (!window) return undefined
      this.pieces = await window
      this.fetchAhead()
    }
    return this.pieces.shift()
  }

  private fetchAhead(): void {
    const {end} = this.request
    while (this.windows.length < windowsAtOnce && this.next <= end && !this.destroyed) {
      const start = this.next
      this.next = Math.min(end + 1, start + windowBytes)
      const range = {...this.request, start, end: this.next - 1, known: this.known}
      const window = fetchRange(range, this.ending.signal)
      window.catch(() => {}) // told when its turn comes; that it failed is not to end the process before
      this.windows.push(window)
    }
  }

  private errorFor(error: unknown): Error {
    const {signal} = this.request
    const told = signal?.aborted ? (signal.reason as unknown) : this.request.explain(error)
    return told instanceof Error ? told : new Error(String(told))
  }

  private readonly onAbort = () => this.destroy(this.request.signal?.reason as Error)

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.request.signal?.removeEventListener('abort', this.onAbort)
    this.ending.stop.abort()
    this.windows.length = 0
    this.pieces = []
    callback(error)
  }
}
