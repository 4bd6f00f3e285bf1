import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
import {gzipSync, zstdCompressSync} from 'node:zlib'
import {compressor, decompressor, levelOf, parseCompression} from '../../src/archive/compression.js'
import {compressed, decompressed, inChunks} from './passing-through.js'

const algorithms = ['zstd', 'gzip'] as const
const levels = {zstd: [1, 3, 5, 9, 19], gzip: [1, 6, 9]}

/** Looks like a dump: words that repeat, numbers that do not. */
const dumpLike = Buffer.from(
  Array.from({length: 600}, (_, row) => `${row}\tcustomer ${(row * 7919) % 1000}\tpaid\n`).join(''),
)

const anyBytes = fc.oneof(
  fc.uint8Array({maxLength: 5000}).map((bytes) => Buffer.from(bytes)),
  // Long runs and repeats give other kinds of blocks, and output beyond one chunk of the decoder.
  fc
    .tuple(fc.uint8Array({minLength: 1, maxLength: 40}), fc.integer({min: 1, max: 20_000}))
    .map(([bytes, times]) => Buffer.concat(Array<Uint8Array>(times).fill(bytes))),
)
const places = fc.array(fc.nat({max: 1_000_000}), {maxLength: 12})

describe('reading the option', () => {
  test.each([
    ['zstd', {algorithm: 'zstd', level: undefined}],
    ['zstd:5', {algorithm: 'zstd', level: 5}],
    ['zstd:22', {algorithm: 'zstd', level: 22}],
    ['gzip:9', {algorithm: 'gzip', level: 9}],
    ['lz4:12', {algorithm: 'lz4', level: 12}],
    ['none', {algorithm: 'none', level: undefined}],
  ])('%s is understood', (text, choice) => {
    expect(parseCompression(text)).toEqual(choice)
  })

  test.each([
    '',
    'zip',
    'ZSTD',
    'zstd:',
    'zstd:0',
    'zstd:23',
    'zstd:-1',
    'zstd:3.5',
    'zstd:3:4',
    'gzip:10',
    'none:1',
    'constructor',
    'zstd\n',
  ])('%j is refused', (text) => {
    expect(() => parseCompression(text)).toThrow(
      expect.objectContaining({code: 'OPTION_INVALID', exitCode: 2}),
    )
  })

  test('a level out of range is refused with the range', () => {
    expect(() => parseCompression('gzip:10')).toThrow('from 1 to 9')
  })

  test('the default levels are those of the stock tools', () => {
    expect(levelOf(parseCompression('zstd'))).toBe(3)
    expect(levelOf(parseCompression('gzip'))).toBe(6)
    expect(levelOf(parseCompression('none'))).toBeNull()
  })

  test('lz4 is left to pg_dump', () => {
    expect(() => compressor({algorithm: 'lz4', level: undefined})).toThrow(
      expect.objectContaining({code: 'COMPRESSION_NOT_SUPPORTED'}),
    )
    expect(() => decompressor('lz4')).toThrow(expect.objectContaining({code: 'COMPRESSION_NOT_SUPPORTED'}))
  })

  test('no compression is no stream', () => {
    expect(compressor({algorithm: 'none', level: undefined})).toBeUndefined()
    expect(decompressor('none')).toBeUndefined()
  })
})

describe.each(algorithms)('%s', (algorithm) => {
  const pack = (...chunks: Buffer[]) => compressed({algorithm, level: undefined}, ...chunks)

  test.each(levels[algorithm])('any bytes in any chunks come back at level %i', async (level) => {
    await fc.assert(
      fc.asyncProperty(anyBytes, places, places, async (bytes, cutsIn, cutsOut) => {
        const packed = await compressed({algorithm, level}, ...inChunks(bytes, cutsIn))
        const unpacked = await decompressed(algorithm, ...inChunks(packed, cutsOut))
        expect(unpacked.equals(bytes)).toBe(true)
      }),
      {numRuns: level === 19 ? 10 : 30},
    )
  })

  test.each([0, 1, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 256 * 1024, 1024 * 1024])(
    '%i bytes come back',
    async (length) => {
      const bytes = Buffer.alloc(length, 'dbbak')
      expect((await decompressed(algorithm, await pack(bytes))).equals(bytes)).toBe(true)
    },
  )

  test('data that is cut off at any place is refused', async () => {
    const packed = await pack(dumpLike)
    for (let length = 0; length < packed.length; length++) {
      await expect(decompressed(algorithm, packed.subarray(0, length))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
    }
  })

  test('any data that is cut off at any place is refused, however it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes, fc.nat(), places, async (bytes, place, cuts) => {
        const packed = await pack(bytes)
        const cut = packed.subarray(0, place % packed.length)
        await expect(decompressed(algorithm, ...inChunks(cut, cuts))).rejects.toMatchObject({
          code: 'ARCHIVE_CORRUPT',
        })
      }),
      {numRuns: 100},
    )
  })

  test('a byte that changed, whichever, is noticed or makes no difference', async () => {
    const packed = await pack(dumpLike.subarray(0, 4000))
    let noticed = 0
    for (let at = 0; at < packed.length; at++) {
      for (const mask of [0x01, 0x04, 0x10, 0x80, 0xff]) {
        const damaged = Buffer.from(packed)
        damaged[at] ^= mask
        noticed += await noticedOrSame(damaged, dumpLike.subarray(0, 4000))
      }
    }
    expect(noticed).toBeGreaterThan(packed.length * 4)
  })

  test('a changed byte in any data is noticed or makes no difference', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyBytes,
        fc.nat(),
        fc.integer({min: 1, max: 255}),
        places,
        async (bytes, place, mask, cuts) => {
          const damaged = await pack(bytes)
          damaged[place % damaged.length] ^= mask
          await noticedOrSame(damaged, bytes, cuts)
        },
      ),
      {numRuns: 300},
    )
  })

  /** @returns 1 when the damage was noticed */
  async function noticedOrSame(damaged: Buffer, original: Buffer, cuts: number[] = []): Promise<number> {
    try {
      const unpacked = await decompressed(algorithm, ...inChunks(damaged, cuts))
      expect(unpacked.equals(original)).toBe(true)
      return 0
    } catch (error) {
      expect(error).toMatchObject({code: 'ARCHIVE_CORRUPT'})
      return 1
    }
  }

  test('several pieces one after the other are read as one, however they arrive', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyBytes, {minLength: 2, maxLength: 4}), places, async (pieces, cuts) => {
        const packed = Buffer.concat(await Promise.all(pieces.map((piece) => pack(piece))))
        const unpacked = await decompressed(algorithm, ...inChunks(packed, cuts))
        expect(unpacked.equals(Buffer.concat(pieces))).toBe(true)
      }),
      {numRuns: 100},
    )
  })

  test('a second piece that is cut off or damaged is refused', async () => {
    const one = await pack(dumpLike)
    for (const length of [1, 2, 3, 4, 5, 10, one.length - 5, one.length - 1]) {
      const cut = one.subarray(0, length)
      await expect(decompressed(algorithm, Buffer.concat([one, cut]))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
      await expect(decompressed(algorithm, one, cut)).rejects.toMatchObject({code: 'ARCHIVE_CORRUPT'})
    }
    for (const first of [0x00, 0x20, 0xff]) {
      const damaged = Buffer.concat([Buffer.of(first), one.subarray(1)])
      await expect(decompressed(algorithm, Buffer.concat([one, damaged]))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
      await expect(decompressed(algorithm, one, damaged)).rejects.toMatchObject({code: 'ARCHIVE_CORRUPT'})
    }
  })

  test('anything after the end is refused, in the same chunk or in one of its own', async () => {
    const packed = await pack(dumpLike)
    for (const garbage of ['x', 'garbage', 'PGDMP', '\0\0\0x', '\0'.repeat(70_000) + 'x']) {
      const rest = Buffer.from(garbage)
      await expect(decompressed(algorithm, Buffer.concat([packed, rest]))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
      await expect(decompressed(algorithm, packed, rest)).rejects.toMatchObject({code: 'ARCHIVE_CORRUPT'})
    }
  })

  test('the bytes of something else are refused', async () => {
    for (const other of ['PGDMP\x01\x0e', 'hello', '<html>', '\0\0\0\0\0\0\0\0']) {
      await expect(decompressed(algorithm, Buffer.from(other))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
    }
    const wrong = algorithm === 'zstd' ? gzipSync(dumpLike) : zstdCompressSync(dumpLike)
    await expect(decompressed(algorithm, wrong)).rejects.toMatchObject({code: 'ARCHIVE_CORRUPT'})
  })

  test('a decoder that is given up holds nothing up', async () => {
    const stream = decompressor(algorithm)!
    stream.on('error', () => {})
    stream.write(await pack(dumpLike))
    stream.destroy(new Error('enough'))
    await new Promise((closed) => stream.once('close', closed))
    expect(stream.destroyed).toBe(true)
  })

  test('reading slowly loses nothing', async () => {
    const bytes = Buffer.alloc(3_000_000, dumpLike)
    const stream = decompressor(algorithm)!
    stream.end(await pack(bytes))
    const chunks: Buffer[] = []
    for await (const chunk of stream) {
      chunks.push(chunk as Buffer)
      await new Promise((later) => setTimeout(later, 2))
    }
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
  })
})

describe('what only one of them has', () => {
  const packed = zstdCompressSync(dumpLike)
  const skippable = (length: number) => {
    const frame = Buffer.alloc(8 + length, 0xfd)
    frame.writeUInt32LE(0x184d2a53, 0)
    frame.writeUInt32LE(length, 4)
    return frame
  }

  test('skippable frames of zstd are passed over wherever they lie, however they arrive', async () => {
    const input = Buffer.concat([skippable(0), packed, skippable(3), skippable(5000), packed, skippable(1)])
    for (const step of [1, 2, 3, 7, 100, input.length]) {
      const cuts = Array.from({length: Math.ceil(input.length / step)}, (_, index) => index * step)
      expect(
        (await decompressed('zstd', ...inChunks(input, cuts))).equals(Buffer.concat([dumpLike, dumpLike])),
      ).toBe(true)
    }
  })

  test('a skippable frame that is cut off, or that is all there is, is refused', async () => {
    await expect(decompressed('zstd', packed, skippable(9).subarray(0, 12))).rejects.toMatchObject({
      code: 'ARCHIVE_CORRUPT',
    })
    await expect(decompressed('zstd', skippable(9))).rejects.toMatchObject({code: 'ARCHIVE_CORRUPT'})
  })

  test('zero bytes after gzip data are padding, as for the stock gzip', async () => {
    const member = gzipSync(dumpLike)
    const zeros = Buffer.alloc(512)
    expect((await decompressed('gzip', Buffer.concat([member, zeros]))).equals(dumpLike)).toBe(true)
    expect((await decompressed('gzip', member, zeros, zeros, zeros)).equals(dumpLike)).toBe(true)
  })

  test('a gzip member behind padding is not passed over in silence', async () => {
    const member = gzipSync(dumpLike)
    const zeros = Buffer.alloc(512)
    await expect(decompressed('gzip', Buffer.concat([member, zeros, member]))).rejects.toMatchObject({
      code: 'ARCHIVE_CORRUPT',
    })
    await expect(decompressed('gzip', member, zeros, member)).rejects.toMatchObject({code: 'ARCHIVE_CORRUPT'})
  })
})
