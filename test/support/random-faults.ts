import {StoreError} from '../../src/storage/objects/store-error.js'

/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Faults that a second try may not meet: half of them before the request is carried out, half after. */
export function randomFaults(seed: number, rate: number): () => Error | undefined {
  const next = randomNumbers(seed)
  return () => {
    if (next() >= rate / 2) return undefined
    return next() < 0.5
      ? new StoreError('transient', 'InternalError')
      : Object.assign(new Error('read ECONNRESET'), {code: 'ECONNRESET'})
  }
}
