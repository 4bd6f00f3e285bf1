import {Transform, type TransformCallback} from 'node:stream'

/**
 * The few messages of PostgreSQL's frontend/backend protocol 3.0 that a lent session needs to speak itself.
 * Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".
 */
const sslRequest = 80877103
const gssEncryptionRequest = 80877104
const cancelRequest = 80877102
const protocolMajor = 3

export type Startup = 'start' | 'refuse-encryption' | 'cancel' | 'unknown' | 'incomplete'

/** What a client's first message asks for, and how long it is. */
export function readStartup(bytes: Buffer): {kind: Startup; length: number} {
  if (bytes.length < 8) return {kind: 'incomplete', length: 0}
  const length = bytes.readInt32BE(0)
  if (bytes.length < length) return {kind: 'incomplete', length}
  const code = bytes.readInt32BE(4)
  if (code === sslRequest || code === gssEncryptionRequest) return {kind: 'refuse-encryption', length}
  if (code === cancelRequest) return {kind: 'cancel', length}
  return {kind: code >> 16 === protocolMajor ? 'start' : 'unknown', length}
}

export function message(type: string, ...parts: (Buffer | string)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part)),
  )
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** `I` idle, `T` in a transaction. */
export const readyForQuery = (status: 'I' | 'T') => message('Z', Buffer.from(status, 'latin1'))

/** Everything a server says after a successful start. */
export function greeting(parameters: Record<string, string>, status: 'I' | 'T'): Buffer {
  return Buffer.concat([
    message('R', int32(0)),
    ...Object.entries(parameters).map(([name, value]) => message('S', name, value)),
    message('K', int32(process.pid), int32(0)),
    readyForQuery(status),
  ])
}

/** A statement longer than this is never one of those that are looked at. */
const longestInspectedBytes = 4096

export interface Inspector {
  /** Sees every short simple query; `false` keeps it from the server. */
  passQuery(sql: string): boolean
  /** The client says goodbye; never passed on. */
  goodbye(): void
}

/**
 * Client to server: passes the client's messages on as they come, whatever their size, except those that the
 * inspector keeps back. Only short simple queries are ever held in memory.
 */
export class ClientMessages extends Transform {
  private held: Buffer<ArrayBufferLike> = Buffer.alloc(0)
  /** Bytes of a message's body that go by without being looked at. */
  private passing = 0

  constructor(private readonly inspector: Inspector) {
    super()
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let rest = this.held.length > 0 ? Buffer.concat([this.held, chunk]) : chunk
    this.held = Buffer.alloc(0)
    while (rest.length > 0) {
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
    if (bytes.length < 5) return 0
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
    if (this.inspector.passQuery(bytes.subarray(5, length - 1).toString('utf8')))
      this.push(bytes.subarray(0, length))
    return length
  }
}
