import {Readable, type Duplex} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {pipeline} from 'node:stream/promises'
import {compressor, decompressor, type CompressionChoice} from '../../src/archive/compression.js'

/** What comes out of a stream when these chunks go in. */
export async function passedThrough(stream: Duplex | undefined, chunks: Buffer[]): Promise<Buffer> {
  let out = Buffer.alloc(0)
  const source = Readable.from(chunks, {objectMode: false})
  const collect = async (result: AsyncIterable<Buffer>) => {
    out = await buffer(result)
  }
  await (stream ? pipeline(source, stream, collect) : pipeline(source, collect))
  return out
}

export function compressed(choice: CompressionChoice, ...chunks: Buffer[]): Promise<Buffer> {
  return passedThrough(compressor(choice), chunks)
}

export function decompressed(
  algorithm: CompressionChoice['algorithm'],
  ...chunks: Buffer[]
): Promise<Buffer> {
  return passedThrough(decompressor(algorithm), chunks)
}

/** Cuts bytes into chunks at the given places (taken modulo the length). */
export function inChunks(bytes: Buffer, places: number[]): Buffer[] {
  const cuts = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort(
    (one, other) => one - other,
  )
  return [...cuts, bytes.length]
    .map((cut, index) => bytes.subarray(cuts[index - 1] ?? 0, cut))
    .filter(({length}) => length > 0)
}
