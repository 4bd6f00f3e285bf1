import type {Duplex} from 'node:stream'
import {constants, createGunzip, createGzip, createZstdCompress, createZstdDecompress} from 'node:zlib'
import {DbbakError} from '../support/errors.js'
import {CheckedDecoder} from './checked-decoder.js'
import {GzipInput} from './gzip-input.js'
import {ZstdInput} from './zstd-input.js'

export type Algorithm = 'zstd' | 'gzip' | 'lz4' | 'none'

export interface CompressionChoice {
  algorithm: Algorithm
  /** undefined: the algorithm's default. */
  level: number | undefined
}

/** Levels that each algorithm knows; `none` has none. */
const levels: Record<Algorithm, {lowest: number; highest: number; usual: number} | undefined> = {
  zstd: {lowest: 1, highest: 22, usual: 3},
  gzip: {lowest: 1, highest: 9, usual: 6},
  lz4: {lowest: 1, highest: 12, usual: 1},
  none: undefined,
}

const chunkSize = 128 * 1024

/**
 * Level 1's table of matches, 2^13 entries instead of 2^14: rows of ids, numbers and times have many short chance
 * matches that cost more than they save (a dump of 600 MB: 224.3 MB instead of 225.9, pg_dump's gzip 225.0).
 */
const smallHashLog = 13

/** So low that a writer that waits for `drain` may use a chunk's memory again: it has been taken in by then. */
const takenAtOnce = {writableHighWaterMark: 1}

/**
 * Reads `zstd`, `zstd:5`, `gzip:9`, `lz4`, `none`.
 * @throws DbbakError OPTION_INVALID
 */
export function parseCompression(text: string): CompressionChoice {
  const [, name = '', level] = /^([^:]*)(?::(.*))?$/s.exec(text) ?? []
  if (!Object.hasOwn(levels, name)) throw invalid(`There is no compression ${JSON.stringify(text)}.`)
  const algorithm = name as Algorithm
  if (level === undefined) return {algorithm, level: undefined}
  const range = levels[algorithm]
  if (range === undefined) throw invalid('No compression has no levels.')
  const number = /^\d{1,2}$/.test(level) ? Number(level) : NaN
  if (number >= range.lowest && number <= range.highest) return {algorithm, level: number}
  throw invalid(
    `The level of ${algorithm} is a whole number from ${range.lowest} to ${range.highest}, not ${JSON.stringify(level)}.`,
  )
}

/** The level that a choice means; null where there are no levels. */
export function levelOf({algorithm, level}: CompressionChoice): number | null {
  return level ?? levels[algorithm]?.usual ?? null
}

/**
 * A stream that compresses what is written to it; undefined for `none`. The result holds a checksum of its content.
 * @throws DbbakError COMPRESSION_NOT_SUPPORTED
 */
export function compressor(choice: CompressionChoice): Duplex | undefined {
  const level = levelOf(choice) ?? 0
  switch (choice.algorithm) {
    case 'zstd':
      // One thread: with worker threads (ZSTD_c_nbWorkers) Node 22 to 26 lose input, as they take what zstd has not
      // consumed yet for the end of the stream. One is faster than pg_dump writes.
      return createZstdCompress({
        chunkSize,
        ...takenAtOnce,
        params: {
          [constants.ZSTD_c_compressionLevel]: level,
          [constants.ZSTD_c_checksumFlag]: 1,
          ...(level === 1 ? {[constants.ZSTD_c_hashLog]: smallHashLog} : {}),
        },
      })
    case 'gzip':
      return createGzip({chunkSize, ...takenAtOnce, level})
    case 'lz4':
      throw lz4NotSupported('compress')
    case 'none':
      return undefined
  }
}

/**
 * A stream that undoes a compression; undefined for `none`. Takes what the stock tools take (several frames or
 * members, skippable frames, zero bytes after gzip data) and fails with ARCHIVE_CORRUPT for anything cut off, damaged,
 * empty or followed by something else, before its end is reported.
 * @throws DbbakError COMPRESSION_NOT_SUPPORTED
 */
export function decompressor(algorithm: Algorithm): Duplex | undefined {
  switch (algorithm) {
    case 'zstd':
      return new CheckedDecoder(createZstdDecompress({chunkSize}), new ZstdInput())
    case 'gzip':
      return new CheckedDecoder(createGunzip({chunkSize}), new GzipInput())
    case 'lz4':
      throw lz4NotSupported('decompress')
    case 'none':
      return undefined
  }
}

function invalid(sentence: string): DbbakError {
  return new DbbakError('OPTION_INVALID', sentence, {
    suggestions: ['dbbak backup --compress zstd', 'Write zstd[:1-22], gzip[:1-9], lz4[:1-12] or none.'],
  })
}

function lz4NotSupported(verb: string): DbbakError {
  const suggestions =
    verb === 'compress'
      ? [
          'dbbak backup --compress zstd',
          'dbbak backup --format directory --compress lz4 (pg_dump 16 or newer compresses itself)',
        ]
      : ['Undo it with the lz4 program first: lz4 -d FILE.lz4 FILE']
  return new DbbakError('COMPRESSION_NOT_SUPPORTED', `dbbak cannot ${verb} lz4 itself.`, {suggestions})
}
