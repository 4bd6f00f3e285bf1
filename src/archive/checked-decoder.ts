import {Duplex, finished} from 'node:stream'
import type {Gunzip, ZstdDecompress} from 'node:zlib'
import {DbbakError, messageOf} from '../support/errors.js'

/** Watches the compressed bytes for what a decoder does not notice. Both throw what `corrupt` makes. */
export interface InputCheck {
  /** The name of the compression, for messages. */
  readonly name: string
  /** @returns the pieces in which the decoder is to get this chunk */
  take(chunk: Buffer): Buffer[]
  /** The input has ended, and the decoder has used this many bytes of what it got. */
  end(usedBytes: number): void
}

/**
 * A decoder that does not end well unless its input was whole.
 *
 * Node's own decoders do: createZstdDecompress ends without an error on input that is cut off (Node 22), passes over
 * what follows a frame in the same chunk (22, 24) or after the last frame (26); createGunzip passes over what follows a
 * zero byte after a member. Several frames are common: Node's own compressor often adds an empty one.
 */
export class CheckedDecoder extends Duplex {
  private ending: ((error?: Error | null) => void) | undefined

  constructor(
    private readonly decoder: Gunzip | ZstdDecompress,
    private readonly check: InputCheck,
  ) {
    super()
    decoder.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) decoder.pause()
    })
    decoder.on('error', () => {}) // `finished` tells the first; a later one is no news
    finished(decoder, (error) => {
      if (error) this.destroy(decodingError(this.check.name, error))
      else this.settle()
    })
  }

  override _read(): void {
    this.decoder.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    try {
      this.feed(this.check.take(chunk), callback)
    } catch (error) {
      callback(error as Error)
    }
  }

  private feed(pieces: Buffer[], callback: (error?: Error | null) => void): void {
    const [piece, ...rest] = pieces
    if (piece === undefined) return callback()
    this.decoder.write(piece, (error) => {
      if (!error) this.feed(rest, callback)
    })
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.ending = callback
    this.decoder.end()
  }

  /** Everything was decoded and has been read from the decoder. */
  private settle(): void {
    try {
      this.check.end(this.decoder.bytesWritten)
      this.push(null)
      this.ending?.()
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.decoder.destroy()
    callback(error)
  }
}

/** The error for compressed data that is not as it was written. */
export function corrupt(name: string, what: string, cause?: unknown): DbbakError {
  return new DbbakError('ARCHIVE_CORRUPT', `The ${name} data is damaged: ${what}.`, {
    cause,
    suggestions: [
      'Compare the file with its checksum: dbbak verify --level checksum',
      'Use another backup: dbbak list',
    ],
  })
}

/** No memory is no fault of the data. */
function decodingError(name: string, error: Error): Error {
  const {code = ''} = error as NodeJS.ErrnoException
  if (code === 'Z_MEM_ERROR' || code === 'ZSTD_error_memory_allocation') return error
  if (code === 'ERR_STREAM_PUSH_AFTER_EOF') return corrupt(name, 'something follows its end', error)
  return corrupt(name, messageOf(error), error)
}
