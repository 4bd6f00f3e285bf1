import {DbbakError} from './errors.js'

const unitMs: Record<string, number> = {
  ms: 1,
  s: 1000,
  sec: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** The longest time that the server's own timeouts take: some 24 days. */
export const longestTimeoutMs = 2 ** 31 - 1

/** Reads `500ms`, `30s`, `5min`, `26h`, `8d`. @returns milliseconds @throws DbbakError OPTION_INVALID */
export function parseDuration(text: string, option: string, longestMs = Infinity): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(text.trim().toLowerCase())
  const unit = match?.[2] === undefined ? undefined : unitMs[match[2]]
  if (!match || unit === undefined) {
    throw new DbbakError(
      'OPTION_INVALID',
      `${option} takes a number with a unit (ms, s, min, h, d), and "${text}" is none.`,
      {
        suggestions: [`For example: ${option} 30s`],
      },
    )
  }
  const durationMs = Math.round(Number(match[1]) * unit)
  if (durationMs <= longestMs) return durationMs
  const days = Math.floor(longestMs / unitMs.d!)
  throw new DbbakError('OPTION_INVALID', `${option} is at most ${days}d, and "${text}" is more.`, {
    suggestions: [`For example: ${option} ${days}d`],
  })
}
