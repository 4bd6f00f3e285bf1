import {DbbakError} from './errors.js'

const unitBytes: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  kib: 1024,
  m: 1e6,
  mb: 1e6,
  mib: 1024 ** 2,
  g: 1e9,
  gb: 1e9,
  gib: 1024 ** 3,
}

/** Slower than this, a store's own time limits would end every request. */
const slowest = 10_000

/** Reads `20MB`, `20MB/s`, `800k`, `5MiB/s`. @returns bytes a second @throws DbbakError OPTION_INVALID */
export function parseByteRate(text: string, option: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]*?)(?:\/s)?$/.exec(text.trim().toLowerCase()) ?? []
  const factor = unitBytes[unit]
  const suggestions = [`For example: ${option} 20MB`]
  if (number === undefined || factor === undefined) {
    throw new DbbakError(
      'OPTION_INVALID',
      `${option} takes bytes a second with a unit (kB, MB, MiB, GB), and "${text}" is none.`,
      {suggestions},
    )
  }
  const rate = Number(number) * factor
  if (rate >= slowest) return rate
  throw new DbbakError('OPTION_INVALID', `${option} is at least 10kB a second, and "${text}" is less.`, {
    suggestions,
  })
}
