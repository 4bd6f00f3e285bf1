/**
 * The few messages of PostgreSQL's frontend/backend protocol 3.0 that a lent session needs to speak itself.
 * Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".
 */
const sslRequest = 80877103
const gssEncryptionRequest = 80877104
const cancelRequest = 80877102
const protocolMajor = 3

export type Startup = 'start' | 'refuse-encryption' | 'cancel' | 'unknown' | 'incomplete'

/** The server's own bounds for a first message. */
const startupBytes = {min: 8, max: 10_000}

/** What a client's first message asks for, and how long it is. */
export function readStartup(bytes: Buffer): {kind: Startup; length: number} {
  if (bytes.length < startupBytes.min) return {kind: 'incomplete', length: 0}
  const length = bytes.readInt32BE(0)
  if (length < startupBytes.min || length > startupBytes.max) return {kind: 'unknown', length: bytes.length}
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

/** `I` idle, `T` in a transaction, `E` in one that has failed. */
export type TransactionStatus = 'I' | 'T' | 'E'

export const readyForQuery = (status: TransactionStatus) => message('Z', Buffer.from(status, 'latin1'))

/** Everything a server says after a successful start. */
export function greeting(parameters: Record<string, string>, status: TransactionStatus): Buffer {
  return Buffer.concat([
    message('R', int32(0)),
    ...Object.entries(parameters).map(([name, value]) => message('S', name, value)),
    message('K', int32(process.pid), int32(0)),
    readyForQuery(status),
  ])
}
