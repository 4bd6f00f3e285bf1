import {createHash, type Hash} from 'node:crypto'

/** CRC32C (Castagnoli) and MD5 of what was taken, as Google writes them: base64, the CRC big-endian. */
export class Checksums {
  private crc = 0
  private readonly md5: Hash = createHash('md5')

  take(bytes: Uint8Array): void {
    this.crc = crc32c(bytes, this.crc)
    this.md5.update(bytes)
  }

  end(): {crc32c: string; md5Hash: string} {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(this.crc)
    return {crc32c: bytes.toString('base64'), md5Hash: this.md5.digest('base64')}
  }
}

const tables = Array.from({length: 4}, () => new Uint32Array(256))
for (let index = 0; index < 256; index++) {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  tables[0][index] = value
}
for (let table = 1; table < 4; table++) {
  for (let index = 0; index < 256; index++) {
    const before = tables[table - 1][index]
    tables[table][index] = (before >>> 8) ^ tables[0][before & 255]
  }
}

/** Continues from the CRC of what came before. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const [first, second, third, fourth] = tables
  let crc = ~before
  let at = 0
  for (; at + 4 <= bytes.length; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    crc = fourth[crc & 255] ^ third[(crc >>> 8) & 255] ^ second[(crc >>> 16) & 255] ^ first[crc >>> 24]
  }
  for (; at < bytes.length; at++) crc = first[(crc ^ bytes[at]) & 255] ^ (crc >>> 8)
  return ~crc >>> 0
}
