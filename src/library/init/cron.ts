import {DbbakError} from '../../support/errors.js'

/** When something runs, as the five fields of cron say it. */
export interface Schedule {
  /** The five fields, one space between them; Sunday is 0 (Kubernetes and GitHub know no 7). */
  cron: string
  /** For systemd: the schedule is the union of them. */
  onCalendar: string[]
  /** "every day at 02:00", or the fields themselves where no short sentence says it. */
  words: string
}

interface Field {
  name: string
  from: number
  to: number
  names?: string[]
}

const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

const fields: Field[] = [
  {name: 'minute', from: 0, to: 59},
  {name: 'hour', from: 0, to: 23},
  {name: 'day of the month', from: 1, to: 31},
  {name: 'month', from: 1, to: 12, names: months},
  {name: 'day of the week', from: 0, to: 7, names: weekdays},
]

/** What `@daily` and its like stand for: not every scheduler knows them. */
const nicknames: Record<string, string> = {
  '@hourly': '0 * * * *',
  '@daily': '0 2 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 2 * * 0',
  '@monthly': '0 2 1 * *',
}

/**
 * Reads the five fields of cron, and says the same for systemd.
 * @param option where it came from, for messages
 * @throws DbbakError OPTION_INVALID
 */
export function parseSchedule(text: string, option = '--schedule'): Schedule {
  const parts = text.trim().split(/\s+/)
  const nickname = nicknames[parts[0]?.toLowerCase() ?? '']
  if (nickname) throw invalid(option, `"${text}" is not known to every scheduler`, nickname)
  if (parts.length !== fields.length) {
    const count = text.trim() === '' ? 0 : parts.length
    throw invalid(option, `takes five fields (minute, hour, day, month, weekday), and "${text}" has ${count}`)
  }
  const values = parts.map((part, index) => valuesOf(part, fields[index]!, option))
  const [minute, hour, day, month, weekday] = values as [Values, Values, Values, Values, Values]
  if (!canHappen(day, month, weekday))
    throw invalid(option, `"${text}" never comes: there is no such day in that month`)
  return {
    cron: parts.map((part, index) => (index === 4 ? sundayIsZero(part, weekday) : part)).join(' '),
    onCalendar: onCalendar({minute, hour, day, month, weekday}),
    words: inWords(parts, {minute, hour, day, month, weekday}),
  }
}

/** The values that a field allows; `null` is all. A field that begins with a star counts as open. */
interface Values {
  list: number[] | null
  isOpen: boolean
}

function valuesOf(part: string, field: Field, option: string): Values {
  if (part === '*') return {list: null, isOpen: true}
  const found = new Set<number>()
  for (const item of part.split(',')) for (const value of itemValues(item, field, option)) found.add(value)
  const isWeekday = field.to === 7
  const list = [...found].map((value) => (isWeekday && value === 7 ? 0 : value))
  return {list: [...new Set(list)].sort((a, b) => a - b), isOpen: part.startsWith('*')}
}

/** `5`, `1-5`, every so many of all or of a range (10-50/20), `mon-fri`. */
function itemValues(item: string, field: Field, option: string): number[] {
  const match = /^(?:(\*)|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(item)
  const wrong = (why: string) => invalid(option, `has "${item}" as its ${field.name}: ${why}`)
  if (!match) throw wrong('only numbers, names, ranges, lists and steps are known to every scheduler')
  const [, star, first = '', last, stepText] = match
  const step = Number(stepText ?? 1)
  if (step < 1) throw wrong('a step is at least 1')
  if (star !== undefined) return everyOf(field.from, field.to === 7 ? 6 : field.to, step)
  if (stepText !== undefined && last === undefined)
    throw wrong(`a step needs a range before it, such as ${first}-${field.to}/${stepText}`)
  const from = valueOf(first, field)
  const to = last === undefined ? from : valueOf(last, field)
  if (from === undefined || to === undefined) throw wrong(`it goes from ${field.from} to ${field.to}`)
  if (from > to) throw wrong('the range ends before it begins')
  return everyOf(from, to, step)
}

const everyOf = (from: number, to: number, step: number): number[] =>
  Array.from({length: Math.floor((to - from) / step) + 1}, (_, index) => from + index * step)

function valueOf(text: string, {names, from, to}: Field): number | undefined {
  const named = names?.indexOf(text.toLowerCase()) ?? -1
  if (named >= 0) return named + from
  if (!/^\d+$/.test(text)) return undefined
  const value = Number(text)
  return value >= from && value <= to ? value : undefined
}

function canHappen(day: Values, month: Values, weekday: Values): boolean {
  if (day.list === null || !weekday.isOpen) return true
  const longest = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  const shortestDay = Math.min(...day.list)
  return (month.list ?? longest.map((_, index) => index + 1)).some((m) => shortestDay <= longest[m - 1]!)
}

function sundayIsZero(part: string, {list}: Values): string {
  return /7/.test(part.replace(/\/\d+/g, '')) ? (list ?? []).join(',') : part
}

interface FieldValues {
  minute: Values
  hour: Values
  day: Values
  month: Values
  weekday: Values
}

/** cron runs on either day where both are restricted; systemd wants both, so it gets two expressions. */
function onCalendar({minute, hour, day, month, weekday}: FieldValues): string[] {
  const time = `${two(hour)}:${two(minute)}:00 UTC`
  const date = (days: Values) => `*-${two(month)}-${two(days)}`
  const all: Values = {list: null, isOpen: true}
  const weekly = weekday.list === null ? '' : `${weekday.list.map(shortName).join(',')} `
  if (!day.isOpen && !weekday.isOpen) return [`${date(day)} ${time}`, `${weekly}${date(all)} ${time}`]
  return [`${weekly}${date(day)} ${time}`]
}

const shortName = (day: number): string => ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][day]!

const pad = (value: number): string => String(value).padStart(2, '0')

const two = ({list}: Values): string => (list === null ? '*' : list.map(pad).join(','))

function inWords(parts: string[], {minute, hour, weekday}: FieldValues): string {
  const [, , day, month] = parts
  const [m, ...moreMinutes] = minute.list ?? []
  const [h, ...moreHours] = hour.list ?? []
  const isOnce = moreMinutes.length === 0 && moreHours.length === 0 && m !== undefined
  if (!isOnce || day !== '*' || month !== '*') return `at "${parts.join(' ')}"`
  if (h === undefined) return `every hour, at minute ${m}`
  const time = `${pad(h)}:${pad(m)}`
  if (weekday.list === null) return `every day at ${time}`
  return `every ${weekday.list.map(longName).join(', ')} at ${time}`
}

const longName = (day: number): string =>
  ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'][day]!

function invalid(option: string, why: string, instead = '0 2 * * *'): DbbakError {
  return new DbbakError('OPTION_INVALID', `${option} ${why}.`, {
    suggestions: [`For example: dbbak init --schedule '${instead}'`],
  })
}
