import {mkdtemp, rm} from 'node:fs/promises'
import {connect, createServer, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {guardian} from '../support/guardian.js'

/**
 * A tool's output read in large pieces into a few buffers that are used again and again. Node's own pipe allocates
 * 64 KiB for every read: at 700 MB/s that is garbage faster than it is collected (some 60 MB more memory and a third
 * more processor time, measured on a dump of 738 MB).
 */
export interface WideOutput {
  /** For the tool's stdout; destroyed by the caller once the tool has started. */
  toolEnd: Socket
  /** Each piece is valid only until the next one is asked for. Ends with the tool's output. */
  pieces: AsyncIterableIterator<Buffer>
  close(): void
}

const bufferBytes = 256 * 1024
const bufferCount = 4
/** A piece is handed on when it has at least this much, or at the end. */
const pieceBytes = 192 * 1024

/** Where there are Unix sockets; undefined elsewhere, and the tool's pipe has to do. */
export async function openWideOutput(): Promise<WideOutput | undefined> {
  if (process.platform === 'win32') return undefined
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  try {
    const path = join(folder, 'output')
    const server = createServer({pauseOnConnect: true})
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
    const pieces = new Pieces(path)
    const toolEnd = await accepted
    server.close()
    toolEnd.on('error', () => {}) // only its descriptor is used
    return {toolEnd, pieces, close: () => pieces.close()}
  } finally {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
}

class Pieces implements AsyncIterableIterator<Buffer> {
  private readonly free = Array.from({length: bufferCount}, () => Buffer.allocUnsafeSlow(bufferBytes))
  private readonly filled: {buffer: Buffer<ArrayBuffer>; length: number}[] = []
  /** Being filled by one read after the other: pg_dump writes 4 KiB at a time. */
  private current = this.free.pop() as Buffer<ArrayBuffer>
  private length = 0
  private lent: Buffer<ArrayBuffer> | undefined
  private ended = false
  private failure: Error | undefined
  private wake: () => void = () => {}
  private readonly socket: Socket

  constructor(path: string) {
    const buffer = () => this.current.subarray(this.length)
    this.socket = connect({path, onread: {buffer, callback: (length) => this.take(length)}})
    this.socket.on('end', () => this.end())
    this.socket.on('close', () => this.end())
    this.socket.on('error', (error) => this.end(error))
  }

  /** Node asks for the next buffer right after this, paused or not: one must always be left. */
  private take(length: number): boolean {
    this.length += length
    if (this.length < pieceBytes) return true
    this.handOver()
    return this.free.length > 0
  }

  private handOver(): void {
    this.filled.push({buffer: this.current, length: this.length})
    this.current = this.free.pop() as Buffer<ArrayBuffer>
    this.length = 0
    this.wake()
  }

  private end(error?: Error): void {
    this.failure ??= error
    if (!this.ended && this.length > 0) this.filled.push({buffer: this.current, length: this.length})
    this.ended = true
    this.wake()
  }

  async next(): Promise<IteratorResult<Buffer>> {
    this.giveBack()
    while (this.filled.length === 0 && !this.ended)
      await new Promise<void>((resolve) => (this.wake = resolve))
    const piece = this.filled.shift()
    if (!piece) {
      if (this.failure) throw this.failure
      return {done: true, value: undefined}
    }
    this.lent = piece.buffer
    return {done: false, value: piece.buffer.subarray(0, piece.length)}
  }

  private giveBack(): void {
    if (!this.lent) return
    this.free.push(this.lent)
    this.lent = undefined
    if (!this.ended) this.socket.resume()
  }

  return(): Promise<IteratorResult<Buffer>> {
    this.close()
    return Promise.resolve({done: true, value: undefined})
  }

  close(): void {
    this.socket.destroy()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
