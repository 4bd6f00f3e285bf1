import {corrupt, type InputCheck} from './checked-decoder.js'

/** The parts of zstd data, and whether their bytes are looked at here. */
const parts = {
  magic: true,
  descriptor: true,
  frameHeader: false,
  blockHeader: true,
  block: false,
  checksum: false,
  skipSize: true,
  skipped: false,
}

type Part = keyof typeof parts

const frameMagic = 0xfd2fb528
const skippableMagic = 0x184d2a50

/**
 * Follows the frames of zstd data (RFC 8878): the decoder gets each in pieces of its own and no skippable frames, and
 * the end must come where a frame ends.
 */
export class ZstdInput implements InputCheck {
  readonly name = 'zstd'
  private part: Part = 'magic'
  /** Bytes of this part still to come. */
  private missing = 4
  /** Those that came, where they are looked at. */
  private seen: number[] = []
  private hasChecksum = false
  private isLastBlock = false
  private frames = 0

  take(chunk: Buffer): Buffer[] {
    const pieces: Buffer[] = []
    let from = 0 // what lies before is in a piece already, or is not for the decoder
    let at = 0
    while (at < chunk.length) {
      const step = Math.min(this.missing, chunk.length - at)
      if (parts[this.part]) this.seen.push(...chunk.subarray(at, at + step))
      at += step
      this.missing -= step
      if (this.missing > 0) break
      const wasInFrame = this.isInFrame()
      this.leave()
      if (!wasInFrame) from = at
      if (!wasInFrame && this.isInFrame()) pieces.push(magicBytes())
      if (wasInFrame && !this.isInFrame()) pieces.push(chunk.subarray(from, (from = at)))
    }
    if (this.isInFrame() && from < at) pieces.push(chunk.subarray(from, at))
    return pieces
  }

  end(): void {
    if (this.part !== 'magic' || this.missing < 4) throw corrupt(this.name, 'it is cut off')
    if (this.frames === 0) throw corrupt(this.name, 'it is empty')
  }

  /** A frame's magic number is held back until it is whole: it may turn out to begin a skippable frame. */
  private isInFrame(): boolean {
    return this.part !== 'magic' && this.part !== 'skipSize' && this.part !== 'skipped'
  }

  /** A part is complete: what follows it? */
  private leave(): void {
    const value = this.seen.reduceRight((sum, byte) => sum * 256 + byte, 0)
    switch (this.part) {
      case 'magic':
        return this.leaveMagic(value)
      case 'descriptor':
        this.hasChecksum = (value & 4) !== 0
        return this.enter('frameHeader', frameHeaderBytes(value))
      case 'frameHeader':
        return this.enter('blockHeader', 3)
      case 'blockHeader':
        return this.leaveBlockHeader(value)
      case 'block':
        if (!this.isLastBlock) return this.enter('blockHeader', 3)
        return this.enter('checksum', this.hasChecksum ? 4 : 0)
      case 'skipSize':
        return this.enter('skipped', value)
      case 'checksum':
      case 'skipped':
        return this.enter('magic', 4)
    }
  }

  private leaveMagic(value: number): void {
    if (value === frameMagic) {
      this.frames++
      return this.enter('descriptor', 1)
    }
    if (value - (value % 16) === skippableMagic) return this.enter('skipSize', 4)
    throw corrupt(
      this.name,
      this.frames === 0 ? 'it does not begin as zstd data does' : 'something follows its end',
    )
  }

  private leaveBlockHeader(value: number): void {
    this.isLastBlock = (value & 1) === 1
    const isOneByteRepeated = ((value >> 1) & 3) === 1
    this.enter('block', isOneByteRepeated ? 1 : value >> 3)
  }

  private enter(part: Part, bytes: number): void {
    this.part = part
    this.missing = bytes
    this.seen = []
    if (bytes === 0) this.leave()
  }
}

/** Window, dictionary and content size, as the descriptor says. */
function frameHeaderBytes(descriptor: number): number {
  const isSingleSegment = (descriptor & 32) !== 0
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0
  const contentSize = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  return (isSingleSegment ? 0 : 1) + dictionary + contentSize
}

function magicBytes(): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(frameMagic)
  return bytes
}
