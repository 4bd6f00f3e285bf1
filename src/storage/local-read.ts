import type {FileHandle} from 'node:fs/promises'
import {Readable} from 'node:stream'

const chunkBytes = 256 * 1024

export interface FileRange {
  /** First byte. */
  start: number
  /** The byte after the last. */
  end: number
  signal?: AbortSignal | undefined
  /** What a file system error means. */
  explain: (error: unknown) => Promise<unknown>
}

/** Reads a range of an open file and closes it, whatever happens. */
export class FileReader extends Readable {
  private position: number
  private readonly onAbort = () => this.destroy(asError(this.range.signal?.reason))

  constructor(
    private readonly handle: FileHandle,
    private readonly range: FileRange,
  ) {
    super({highWaterMark: chunkBytes})
    this.position = range.start
    range.signal?.addEventListener('abort', this.onAbort, {once: true})
    if (range.signal?.aborted === true) this.onAbort()
  }

  override _read(): void {
    const wanted = Math.min(chunkBytes, this.range.end - this.position)
    if (wanted <= 0) return void this.push(null)
    this.readChunk(wanted).then(
      (chunk) => this.push(chunk),
      async (error: unknown) => this.destroy(asError(await this.range.explain(error))),
    )
  }

  private async readChunk(wanted: number): Promise<Buffer | null> {
    const {buffer, bytesRead} = await this.handle.read(Buffer.allocUnsafe(wanted), 0, wanted, this.position)
    this.position += bytesRead
    // An object never shrinks; where a file did all the same, its reader's size or checksum check will tell.
    return bytesRead === 0 ? null : buffer.subarray(0, bytesRead)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.range.signal?.removeEventListener('abort', this.onAbort)
    this.handle.close().then(
      () => callback(error),
      (closing: unknown) => callback(error ?? asError(closing)),
    )
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}
