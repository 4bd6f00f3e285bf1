/** The periods of one moment, in words that sort by time: `2026-11-20`, `2026-W47`, `2026-11`, `2026`. */
export interface Periods {
  day: string
  week: string
  month: string
  year: string
}

export type Period = keyof Periods

/**
 * Tells in which day, ISO week, month and year of a time zone a moment lies. By the date that a calendar there shows,
 * so that days of 23 and 25 hours, and dates that a zone leaves out, are right without being thought of.
 */
export function periodsIn(timeZone: string): (ms: number) => Periods {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
  })
  const known = new Map<number, Periods>()
  const tell = (ms: number): Periods => {
    const parts = new Map(format.formatToParts(ms).map(({type, value}) => [type, Number(value)]))
    const date = {year: parts.get('year')!, month: parts.get('month')!, day: parts.get('day')!}
    const year = digits(date.year, 4)
    const month = `${year}-${digits(date.month, 2)}`
    return {day: `${month}-${digits(date.day, 2)}`, week: isoWeek(date), month, year}
  }
  return (ms) => {
    const periods = known.get(ms) ?? tell(ms)
    known.set(ms, periods)
    return periods
  }
}

const dayMs = 86_400_000

/** ISO 8601: weeks begin on Monday; a week belongs to the year in which its Thursday lies. */
function isoWeek({year, month, day}: {year: number; month: number; day: number}): string {
  const date = Date.UTC(year, month - 1, day)
  const daysSinceMonday = (new Date(date).getUTCDay() + 6) % 7
  const thursday = date + (3 - daysSinceMonday) * dayMs
  const weekYear = new Date(thursday).getUTCFullYear()
  const week = 1 + Math.floor((thursday - Date.UTC(weekYear, 0, 1)) / (7 * dayMs))
  return `${digits(weekYear, 4)}-W${digits(week, 2)}`
}

const digits = (number: number, count: number): string => String(number).padStart(count, '0')
