import type {Place} from './faults.js'
import type {Framing, Head} from './messages.js'

/** Finds a place in a body that comes by in pieces. */
export class Mark {
  private passed = 0
  private at: number | undefined

  constructor(
    private readonly place: Place,
    framing: Framing,
  ) {
    if (place.afterBytes !== undefined) this.at = place.afterBytes
    else if (framing === 'none') this.at = 0
    else if (typeof framing === 'object') this.at = this.share(framing.bytes)
  }

  get isAtStart(): boolean {
    return this.at === 0
  }

  /** How many of these bytes come before the place, when it lies in them or at their end. */
  find(bytes: Buffer): number | undefined {
    this.at ??= this.share(bytes.length) // Of a body whose length is not known, the first piece has to do.
    const offset = this.at - this.passed
    this.passed += bytes.length
    return offset >= 0 && offset <= bytes.length ? offset : undefined
  }

  private share(length: number): number {
    const share = Math.max(0, Math.min(1, this.place.afterShare ?? 0.5))
    return Math.min(length - 1, Math.floor(share * length))
  }
}

/** An editor of a body that comes by in pieces; gives the piece itself when it lets it be. */
export type Edit = (bytes: Buffer) => Buffer

export function flipAt(place: Place, framing: Framing, flipped: () => void): Edit {
  const mark = new Mark(place, framing)
  let isDone = false
  return (bytes) => {
    const at = isDone ? undefined : mark.find(bytes)
    if (at === undefined || at === bytes.length) return bytes
    isDone = true
    flipped()
    return withFlippedBit(bytes, at)
  }
}

/** Flips the first byte of the second part of a multipart/related body: the object, after what is told of it. */
export function flipSecondPart(flipped: () => void): Edit {
  let seen = Buffer.alloc(0)
  let isDone = false
  return (bytes) => {
    if (isDone) return bytes
    const before = seen.length
    seen = Buffer.concat([seen, bytes])
    const first = seen.indexOf('\r\n\r\n')
    const second = first < 0 ? -1 : seen.indexOf('\r\n\r\n', first + 4)
    const at = second + 4 - before
    if (second < 0 || at >= bytes.length) return bytes
    isDone = true
    if (bytes.subarray(at, at + 4).equals(Buffer.from('\r\n--'))) return bytes // an empty object
    flipped()
    return withFlippedBit(bytes, at)
  }
}

function withFlippedBit(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] ^= 1
  return changed
}

/** Headers with checksums of objects; the ETag is one for many stores, and changes with the content for all. */
const checksumHeader = /^(content-md5|x-amz-checksum-(?!type).*|x-ms-content-crc64|x-ms-blob-content-md5)$/

/** The same head with wrong checksums, of the same length. */
export function withWrongChecksums(head: Head): Head {
  return head.edited((name, value) => {
    if (name === 'etag') return value.replace(/[0-9A-Za-z](?=(?:-\d+)?=*"?$)/, another)
    if (name === 'x-goog-hash') return value.replace(/(?<=(?:crc32c|md5)=)[^,]/g, another)
    return checksumHeader.test(name) ? value.replace(/^./, another) : value
  })
}

/** Google tells checksums in its JSON answers. */
export function wrongJsonChecksums(changed: () => void): Edit {
  return (bytes) => {
    const text = bytes.toString('latin1')
    const wrong = text.replace(/(?<="(?:md5Hash|crc32c)"\s*:\s*")./g, another)
    if (wrong === text) return bytes
    changed()
    return Buffer.from(wrong, 'latin1')
  }
}

/** Another character of the same alphabet. */
function another(character: string): string {
  if (/\d/.test(character)) return character === '0' ? '1' : '0'
  if (/[a-z]/.test(character)) return character === 'a' ? 'b' : 'a'
  return character === 'A' ? 'B' : 'A'
}
