import type {UploadLimits} from './object-client.js'

const mebibyte = 1024 * 1024
/** Large enough to keep a connection busy, small enough that several fit into memory; twice that where one follows another. */
const smallestPart = 8 * mebibyte

/**
 * How large a part has to be so that an object whose length nobody knows yet fits into the store's number of parts.
 *
 * With an expected length, parts of one size, also beyond it: some stores (R2) complete no upload of different parts, and
 * what is expected is a guess. Only when four fifths of the parts are used up, the size doubles with every hundredth.
 * Without one, it doubles with every tenth of the parts: 10,000 parts hold 8 TiB then, 1,000 parts 800 GiB, and a small
 * object still has small parts.
 */
export function partBytes(
  number: number,
  expectedBytes: number | undefined,
  {partBytesMin, partBytesMax, partsMax, sequential}: UploadLimits,
): number {
  const least = Math.max(sequential ? 2 * smallestPart : smallestPart, partBytesMin)
  const evenParts = 0.8 * partsMax
  const even = Math.max(least, wholeMebibytes((expectedBytes ?? 0) / evenParts))
  const doublings =
    expectedBytes === undefined
      ? Math.floor((number - 1) / Math.max(1, partsMax / 10))
      : Math.ceil((Math.max(0, number - evenParts) * 100) / partsMax)
  return Math.min(even * 2 ** Math.min(doublings, 30), partBytesMax)
}

const wholeMebibytes = (bytes: number): number => Math.ceil(bytes / mebibyte) * mebibyte
