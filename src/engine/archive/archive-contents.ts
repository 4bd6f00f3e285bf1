import {readTableOfContents, type TableOfContents} from './archive-toc.js'

/** The table of contents, put together from chunks. */
export class Contents {
  result: TableOfContents | undefined
  /** Of a version that this program does not know. */
  isUnknown = false
  private readonly reading: ReturnType<typeof readTableOfContents>
  private wanted = 0
  private pieces: Buffer[] = []
  private heldBytes = 0

  constructor({withDefinitions = false} = {}) {
    this.reading = readTableOfContents(withDefinitions)
    this.step(Buffer.alloc(0))
  }

  /** @returns what follows the table of contents, once it is complete */
  take(chunk: Buffer): Buffer | undefined {
    this.heldBytes += chunk.length
    if (this.heldBytes < this.wanted) {
      this.pieces.push(Buffer.from(chunk)) // the chunk's memory is used again
      return undefined
    }
    const bytes = this.pieces.length === 0 ? chunk : Buffer.concat([...this.pieces, chunk])
    let at = 0
    while (!this.isDone && bytes.length - at >= this.wanted) {
      const part = bytes.subarray(at, at + this.wanted)
      at += this.wanted
      this.step(part)
    }
    const rest = bytes.subarray(at)
    if (this.isDone) return rest
    this.pieces = [Buffer.from(rest)]
    this.heldBytes = rest.length
    return undefined
  }

  get isDone(): boolean {
    return this.result !== undefined || this.isUnknown
  }

  private step(part: Buffer): void {
    const {value, done} = this.reading.next(part)
    if (!done) this.wanted = value
    else if (value === undefined) this.isUnknown = true
    else this.result = value
  }
}

/** Reads the table of contents of a directory-format dump. @returns undefined for one that is not whole */
export function parseContents(bytes: Buffer): TableOfContents | 'unknown' | undefined {
  const contents = new Contents()
  const rest = contents.take(bytes)
  if (contents.isUnknown) return 'unknown'
  return rest?.length === 0 ? contents.result : undefined
}
