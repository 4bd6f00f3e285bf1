import {createHash} from 'node:crypto'
import {Transform, type Readable, type TransformCallback} from 'node:stream'
import {pipeline} from 'node:stream/promises'

/** How much went through, and its SHA-256 in lower-case hexadecimal digits. */
export interface DigestResult {
  bytes: number
  sha256: string
}

/** Passes bytes on unchanged while it counts and sums them. */
export function digest(): Digest {
  return new Digest()
}

/** Reads a stream to its end. @throws what the stream failed with; the signal's reason when aborted */
export async function digestOf(
  readable: Readable | AsyncIterable<Buffer>,
  options: {signal?: AbortSignal | undefined} = {},
): Promise<DigestResult> {
  const sum = new RunningSum()
  const {signal} = options
  try {
    await pipeline(
      readable,
      async (chunks: AsyncIterable<Buffer | string>) => {
        for await (const chunk of chunks) sum.add(chunk)
      },
      signal === undefined ? {} : {signal},
    )
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error
  }
  return sum.result()
}

/** See `digest`. */
export class Digest extends Transform {
  private readonly sum = new RunningSum()
  private final: DigestResult | undefined

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.sum.add(chunk)
    callback(null, chunk)
  }

  override _flush(callback: TransformCallback): void {
    this.final = this.sum.result()
    callback()
  }

  /** Sum and size of everything. @throws as long as the stream has not ended: half a sum means nothing */
  result(): DigestResult {
    if (this.final === undefined) throw new Error('The digest was asked for before its stream had ended.')
    return this.final
  }
}

class RunningSum {
  private readonly hash = createHash('sha256')
  private bytes = 0

  add(chunk: Buffer | string): void {
    this.hash.update(chunk)
    this.bytes += Buffer.byteLength(chunk)
  }

  result(): DigestResult {
    return {bytes: this.bytes, sha256: this.hash.digest('hex')}
  }
}
