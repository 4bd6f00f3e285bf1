import {invalid} from './errors.js'

export interface RelatedParts {
  resource: Record<string, unknown>
  mediaType: string | undefined
  media: AsyncIterable<Buffer>
}

/**
 * A multipart/related body of exactly two parts: an object resource as JSON, then the content, which is not gathered
 * but passed on as it comes.
 */
export async function readRelated(body: AsyncIterable<Buffer>, contentType: string): Promise<RelatedParts> {
  const boundary = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType)
  if (!boundary) throw invalid('Multipart body has no boundary')
  const delimiter = `--${boundary[1] ?? boundary[2]}`
  const reader = new Reader(body)
  await reader.until(delimiter)
  await reader.until('\r\n')
  const resourceHeaders = headersOf(await reader.until('\r\n\r\n'))
  if (!/^application\/json/i.test(resourceHeaders.get('content-type') ?? ''))
    throw invalid('The first part of a multipart body has to be JSON')
  const text = await reader.until(`\r\n${delimiter}`)
  await reader.until('\r\n')
  const mediaHeaders = headersOf(await reader.until('\r\n\r\n'))
  return {
    resource: parseResource(text),
    mediaType: mediaHeaders.get('content-type'),
    media: reader.passUntil(`\r\n${delimiter}`),
  }
}

export function parseResource(text: Buffer | string): Record<string, unknown> {
  try {
    return JSON.parse(text.toString()) as Record<string, unknown>
  } catch {
    throw invalid('Parse Error')
  }
}

function headersOf(text: Buffer): Map<string, string> {
  const lines = text.toString('latin1').split('\r\n')
  return new Map(lines.map((line) => [line.replace(/:.*/, '').toLowerCase(), line.replace(/^[^:]*:\s*/, '')]))
}

class Reader {
  private held: Buffer = Buffer.alloc(0)
  private readonly chunks: AsyncIterator<Buffer>

  constructor(body: AsyncIterable<Buffer>) {
    this.chunks = body[Symbol.asyncIterator]()
  }

  /** What comes before the mark; the mark itself is dropped. */
  async until(mark: string): Promise<Buffer> {
    for (;;) {
      const at = this.held.indexOf(mark)
      if (at >= 0) {
        const before = this.held.subarray(0, at)
        this.held = this.held.subarray(at + mark.length)
        return before
      }
      this.held = Buffer.concat([this.held, await this.more()])
    }
  }

  async *passUntil(mark: string): AsyncGenerator<Buffer> {
    for (;;) {
      const at = this.held.indexOf(mark)
      if (at >= 0) {
        yield this.held.subarray(0, at)
        // What follows the last delimiter means nothing, but has to be taken.
        while (!(await this.chunks.next()).done);
        return
      }
      const sure = Math.max(0, this.held.length - mark.length)
      if (sure > 0) yield this.held.subarray(0, sure)
      this.held = Buffer.concat([this.held.subarray(sure), await this.more()])
    }
  }

  private async more(): Promise<Buffer> {
    const {value, done} = await this.chunks.next()
    if (done) throw invalid('Multipart body ends too early')
    return value
  }
}
