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

/** Reads `500ms`, `30s`, `5min`, `26h`, `8d`. @returns milliseconds @throws DbbakError OPTION_INVALID */
export function parseDuration(text: string, option: string): number {
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
  return Math.round(Number(match[1]) * unit)
}
