import {Contents} from './archive-contents.js'
import {NotAnArchive, numberIn, type DataEntry, type TableOfContents} from './archive-toc.js'

/** What a piece of an archive begins with after its table of contents. */
type Expected = 'block' | 'piece' | 'large-object'
const dataBlock = 1
const largeObjectsBlock = 3

/**
 * Follows the bytes of a custom-format archive as they go by, and so knows whether they stop where pg_dump stops: an
 * archive has no end mark, and one that was cut restores without an error up to the cut.
 */
export class ArchiveFollower {
  private readonly contents = new Contents()
  private toc: TableOfContents | undefined
  private expected: Expected = 'block'
  private inLargeObjects = false
  /** Bytes of data that go by without being looked at. */
  private passing = 0
  /** The beginning of a number that the last chunk ended in. */
  private held = Buffer.alloc(0)
  private blocks = 0

  /** @param onData told whose data begins; undefined for what the table of contents does not know */
  constructor(private readonly onData: (entry: DataEntry | undefined) => void = () => {}) {}

  /** @throws NotAnArchive at the first byte that no pg_dump would have written */
  take(chunk: Buffer): void {
    if (this.contents.isUnknown) return
    const rest = this.toc ? chunk : this.takeContents(chunk)
    if (rest && this.toc) this.takeData(rest, this.toc.numberBytes)
  }

  /** Once it has gone by. */
  get tableOfContents(): TableOfContents | undefined {
    return this.toc
  }

  /** Whether everything that the table of contents promises has come, to its last byte; true where it cannot be told. */
  get isWhole(): boolean {
    if (this.contents.isUnknown) return true
    const atBoundary = this.expected === 'block' && this.passing === 0 && this.held.length === 0
    return this.toc !== undefined && atBoundary && this.blocks === this.toc.entriesWithData
  }

  private takeContents(chunk: Buffer): Buffer | undefined {
    const rest = this.contents.take(chunk)
    this.toc = this.contents.result
    return rest
  }

  private takeData(chunk: Buffer, numberBytes: number): void {
    let at = this.completeHeld(chunk, numberBytes)
    while (at < chunk.length) {
      if (this.passing > 0) {
        const step = Math.min(this.passing, chunk.length - at)
        this.passing -= step
        at += step
        continue
      }
      const length = this.markLength(numberBytes)
      if (chunk.length - at < length) {
        this.held = Buffer.from(chunk.subarray(at)) // the chunk's memory is used again
        return
      }
      this.takeMark(chunk, at, numberBytes)
      at += length
    }
  }

  /** @returns how many bytes of the chunk belonged to the mark that the chunk before had begun */
  private completeHeld(chunk: Buffer, numberBytes: number): number {
    if (this.held.length === 0) return 0
    const missing = this.markLength(numberBytes) - this.held.length
    const mark = Buffer.concat([this.held, chunk.subarray(0, missing)])
    if (chunk.length < missing) {
      this.held = mark
      return chunk.length
    }
    this.held = Buffer.alloc(0)
    this.takeMark(mark, 0, numberBytes)
    return missing
  }

  private markLength(numberBytes: number): number {
    return this.expected === 'block' ? 2 + numberBytes : 1 + numberBytes
  }

  private takeMark(bytes: Buffer, at: number, numberBytes: number): void {
    if (this.expected === 'block') {
      this.startBlock(bytes[at]!)
      return this.onData(this.toc?.data.get(numberIn(bytes, at + 1, numberBytes)))
    }
    const value = numberIn(bytes, at, numberBytes)
    if (value < 0) throw new NotAnArchive()
    if (this.expected === 'large-object') this.expected = value === 0 ? 'block' : 'piece'
    else if (value > 0) this.passing = value
    else this.expected = this.inLargeObjects ? 'large-object' : 'block'
  }

  private startBlock(kind: number): void {
    if (kind !== dataBlock && kind !== largeObjectsBlock) throw new NotAnArchive()
    this.blocks++
    this.inLargeObjects = kind === largeObjectsBlock
    this.expected = this.inLargeObjects ? 'large-object' : 'piece'
  }
}
