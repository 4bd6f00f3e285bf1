import type {StoredObject, Upload, UploadPart} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import {crc32c, crcText} from './crc32c.js'
import type {GcsHttp, GcsRequest} from './gcs-http.js'
import {storedObject, type ObjectResource} from './gcs-object.js'

/** Sessions keep whole blocks of this, until the end. */
export const blockBytes = 256 * 1024

export interface UploadHooks {
  /** The object of this name, if it is the one that this upload made. */
  findOurs(signal: AbortSignal): Promise<ObjectResource | undefined>
  removeGeneration(generation: string, signal: AbortSignal): Promise<void>
}

/**
 * A resumable upload. The session is told nothing of the total size until `complete`: the request that names it makes
 * the object. So the last part's end, of which the session would keep no whole block, waits for that.
 */
export class GcsUpload implements Upload {
  /** Bytes that the session holds; undefined when that has to be asked. */
  private persisted: number | undefined = 0
  private crc = 0
  private crcBytes = 0
  private end: {bytes: Buffer; total: number} | undefined
  private stored: ObjectResource | undefined
  /** A request was sent that makes the object. */
  private mayExist = false

  /** @param uri whoever has it may write: never to be shown */
  constructor(
    private readonly http: GcsHttp,
    private readonly uri: string,
    private readonly ifAbsent: boolean,
    private readonly hooks: UploadHooks,
  ) {}

  async part({offset, bytes, last}: UploadPart, signal: AbortSignal): Promise<void> {
    if (!last && bytes.length % blockBytes !== 0)
      throw new StoreError('failed', `a part has to be a multiple of ${blockBytes} bytes`)
    this.addToCrc(offset, bytes)
    const waiting = last ? bytes.length % blockBytes || Math.min(bytes.length, blockBytes) : 0
    const whole = bytes.subarray(0, bytes.length - waiting)
    // A copy: the caller may use its buffer again.
    if (last) this.end = {bytes: Buffer.from(bytes.subarray(whole.length)), total: offset + bytes.length}
    await this.advance(offset, whole, undefined, signal)
  }

  async complete(signal: AbortSignal): Promise<StoredObject> {
    const {end} = this
    if (!end) throw new StoreError('failed', 'the upload has had no last part')
    await this.advance(end.total - end.bytes.length, end.bytes, end.total, signal)
    const stored = storedObject(this.stored)
    const isWhole =
      stored.size === end.total && (this.stored?.crc32c ?? crcText(this.crc)) === crcText(this.crc)
    if (isWhole) return stored
    await this.hooks.removeGeneration(stored.etag, signal)
    throw new StoreError('failed', 'the bytes were damaged on their way to the store')
  }

  async abort(signal: AbortSignal): Promise<void> {
    // 499 is the answer to a session that was ended so; the others say that there is none.
    const expected = [400, 404, 410, 499]
    await this.http.json({method: 'DELETE', url: this.uri, expected}, signal)
    // Instead of an object that was there before, a whole one is better than none.
    if (!this.mayExist || !this.ifAbsent) return
    const ours = await this.hooks.findOurs(signal)
    if (ours) await this.hooks.removeGeneration(ours.generation, signal)
  }

  /** In order, and once each, however often a part is sent. */
  private addToCrc(offset: number, bytes: Buffer): void {
    if (offset + bytes.length <= this.crcBytes) return
    if (offset !== this.crcBytes) throw new StoreError('failed', 'parts of an upload have to come in order')
    this.crc = crc32c(bytes, this.crc)
    this.crcBytes += bytes.length
  }

  /**
   * Sends what the session does not hold yet of bytes that begin at `offset`; with a total, up to the object. A session
   * may keep less than it was sent.
   */
  private async advance(
    offset: number,
    bytes: Buffer,
    total: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const end = offset + bytes.length
    try {
      this.persisted ??= await this.ask({...status(), url: this.uri}, signal)
      while (!this.stored && (total !== undefined || this.persisted < end)) {
        const from = this.persisted
        if (from < offset || from > end)
          throw new StoreError('failed', `the upload's session holds ${from} bytes, which does not fit`)
        this.mayExist ||= total !== undefined
        const range = `${from === end ? '*' : `${from}-${end - 1}`}/${total ?? '*'}`
        const body = [bytes.subarray(from - offset)]
        this.persisted = await this.ask(
          {method: 'PUT', url: this.uri, headers: this.headers(range, total), body},
          signal,
        )
        if (!this.stored && this.persisted <= from)
          throw new StoreError('transient', 'the store kept nothing of what was sent')
      }
    } catch (error) {
      // How far it came is known to the session only.
      this.persisted = undefined
      throw error
    }
  }

  private headers(range: string, total: number | undefined): Record<string, string> {
    return {
      'content-range': `bytes ${range}`,
      // With the last bytes: then the store makes no object of damaged ones.
      ...(total !== undefined && {'x-goog-hash': `crc32c=${crcText(this.crc)}`}),
    }
  }

  /** @returns bytes that the session holds; `stored` is set when the object is made */
  private async ask(
    request: Omit<GcsRequest, 'expected' | 'troubles'>,
    signal: AbortSignal,
  ): Promise<number> {
    const troubles = {400: 'failed', 404: 'gone', 410: 'gone', 412: 'exists', 499: 'gone'} as const
    const response = await this.http.json<ObjectResource>({...request, expected: [308], troubles}, signal)
    if (response.status === 308) {
      const last = /^bytes=0-(\d+)$/.exec(response.headers.range ?? '')?.[1]
      return last === undefined ? 0 : Number(last) + 1
    }
    this.stored = response.body?.generation ? response.body : await this.hooks.findOurs(signal)
    if (!this.stored) throw new StoreError('gone', 'the store has ended the upload, and has no such object')
    return this.end?.total ?? 0
  }
}

/** How far did it come? Without the total: that would make the object. */
function status(): {method: 'PUT'; headers: Record<string, string>} {
  return {method: 'PUT', headers: {'content-range': 'bytes */*'}}
}
