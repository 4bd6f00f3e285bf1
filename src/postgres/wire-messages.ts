import {Transform, type TransformCallback} from 'node:stream'
import type {TransactionStatus} from './wire.js'

/** A type byte and a length, which counts itself. */
const headBytes = 5
const shortestLength = 4

/** A statement longer than this is never one of those that are looked at. */
const longestInspectedBytes = 4096

export interface Inspector {
  /** Sees every short simple query; `false` keeps it from the server. */
  passQuery(sql: string): boolean
  /** The client says goodbye; never passed on. */
  goodbye(): void
  /** What came is not the protocol; nothing of it is passed on any more. */
  nonsense(): void
}

/**
 * Client to server: passes the client's messages on as they come, whatever their size, except those that the
 * inspector keeps back. Only short simple queries are ever held in memory.
 */
export class ClientMessages extends Transform {
  private held: Buffer<ArrayBufferLike> = Buffer.alloc(0)
  /** Bytes of a message's body that go by without being looked at. */
  private passing = 0
  private broken = false

  constructor(private readonly inspector: Inspector) {
    super()
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let rest = this.held.length > 0 ? Buffer.concat([this.held, chunk]) : chunk
    this.held = Buffer.alloc(0)
    while (rest.length > 0 && !this.broken) {
      const taken = this.passing > 0 ? this.pass(rest) : this.startMessage(rest)
      if (taken === 0) {
        this.held = rest
        break
      }
      rest = rest.subarray(taken)
    }
    done()
  }

  private pass(bytes: Buffer): number {
    const part = bytes.subarray(0, this.passing)
    this.passing -= part.length
    this.push(part)
    return part.length
  }

  /** @returns how many bytes were dealt with; 0 when more are needed to tell */
  private startMessage(bytes: Buffer): number {
    if (bytes.length < headBytes) return 0
    if (bytes.readInt32BE(1) < shortestLength) return this.giveUp(bytes)
    const length = bytes.readInt32BE(1) + 1
    const type = String.fromCharCode(bytes[0] as number)
    if (type === 'X') {
      this.inspector.goodbye()
      return length
    }
    if (type !== 'Q' || length > longestInspectedBytes) {
      this.passing = length
      return this.pass(bytes)
    }
    if (bytes.length < length) return 0
    if (this.inspector.passQuery(bytes.subarray(headBytes, length - 1).toString('utf8')))
      this.push(bytes.subarray(0, length))
    return length
  }

  private giveUp(bytes: Buffer): number {
    this.broken = true
    this.inspector.nonsense()
    return bytes.length
  }
}

const [readyForQueryType, errorType] = ['Z', 'E'].map((type) => type.charCodeAt(0))

/**
 * Server to client: passes everything on as it comes, notes the transaction's status each time the server is ready,
 * and lets answers of our own in between two messages, never into one.
 */
export class ServerMessages extends Transform {
  /** It has answered all that it was asked. */
  isReady = true
  /** It has said an error since it was asked last. */
  hasFailed = false
  private head = Buffer.alloc(0)
  private passing = 0
  private isStatusNext = false
  private waiting: Buffer[] = []

  constructor(private readonly onStatus: (status: TransactionStatus) => void) {
    super()
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.follow(chunk)
    this.push(chunk)
    if (this.isBetweenMessages) for (const answer of this.waiting.splice(0)) this.push(answer)
    done()
  }

  /** To be called when the client has asked for something. */
  asked(): void {
    if (this.isReady) this.hasFailed = false
    this.isReady = false
  }

  /** Says something to the client in the server's place. */
  answer(bytes: Buffer): void {
    if (this.isBetweenMessages) this.push(bytes)
    else this.waiting.push(bytes)
  }

  private get isBetweenMessages(): boolean {
    return this.head.length === 0 && this.passing === 0
  }

  private follow(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      if (this.passing > 0) {
        if (this.isStatusNext) this.note(String.fromCharCode(bytes[at] as number) as TransactionStatus)
        const taken = Math.min(this.passing, bytes.length - at)
        this.passing -= taken
        at += taken
        continue
      }
      const taken = bytes.subarray(at, at + headBytes - this.head.length)
      this.head = Buffer.concat([this.head, taken])
      at += taken.length
      if (this.head.length === headBytes) this.startMessage()
    }
  }

  private startMessage(): void {
    if (this.head[0] === errorType) this.hasFailed = true
    this.isStatusNext = this.head[0] === readyForQueryType
    this.passing = this.head.readInt32BE(1) - shortestLength
    this.head = Buffer.alloc(0)
  }

  private note(status: TransactionStatus): void {
    this.isStatusNext = false
    this.isReady = true
    this.onStatus(status)
  }
}
