import type {DatabaseStatus} from '../engine/status/status-of-database.js'
import {kindOf} from './chart.js'
import {formatDay} from './format.js'
import {formatCountOf} from '../support/figures.js'
import {markup, type Html} from './html.js'

const dayMs = 86_400_000
const cell = 14
const gap = 3

interface Day {
  taken: number
  verified: number
  failed: number
}

/** The last months, at most twelve, a small sheet each: on which days backups were taken, were verified, or failed. */
export function calendar({history, failedRuns}: DatabaseStatus, now: string, id: string): Html {
  const days = new Map<string, Day>()
  const count = (time: string, what: keyof Day) => {
    const day = days.get(time.slice(0, 10)) ?? {taken: 0, verified: 0, failed: 0}
    day[what]++
    days.set(time.slice(0, 10), day)
  }
  for (const entry of history) count(new Date(entry.snapshotAt).toISOString(), kindOf(entry))
  for (const {at} of failedRuns) count(at, 'failed')
  const firstDay = [...days.keys()].sort()[0] ?? now.slice(0, 10)
  return markup`<ol class="months">${monthsSince(firstDay, now).map(
    (first) => markup`<li>${month(first, days, {firstDay, nowMs: Date.parse(now), id})}</li>`,
  )}</ol>`
}

const mostMonths = 12
/** Fewer would look lost. */
const leastMonths = 3

/** The first days of the months from the first backup until now. */
function monthsSince(firstDay: string, now: string): number[] {
  const today = new Date(now)
  const first = new Date(firstDay)
  const span =
    12 * (today.getUTCFullYear() - first.getUTCFullYear()) + today.getUTCMonth() - first.getUTCMonth() + 1
  const count = Math.min(mostMonths, Math.max(leastMonths, span))
  return Array.from({length: count}, (_, index) =>
    Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - count + 1 + index, 1),
  )
}

interface Sheet {
  /** Before it nobody took backups. */
  firstDay: string
  nowMs: number
  id: string
}

function month(first: number, days: Map<string, Day>, {firstDay, nowMs, id}: Sheet): Html {
  const date = new Date(first)
  const named = (month: 'long' | 'short') =>
    date.toLocaleDateString('en-US', {month, year: 'numeric', timeZone: 'UTC'})
  const length = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  const offset = (date.getUTCDay() + 6) % 7 // weeks begin on Monday
  const sheet = Array.from({length}, (_, index) => first + index * dayMs).filter((day) => day <= nowMs)
  const keys = sheet.map((day) => new Date(day).toISOString().slice(0, 10))
  const titleId = `${id}-${date.toISOString().slice(0, 7)}`
  const side = 7 * (cell + gap) - gap
  return markup`<p>${named('short')}</p><svg viewBox="0 0 ${side} ${6 * (cell + gap) - gap}" role="img" aria-labelledby="${titleId}">
<title id="${titleId}">${named('long')}: ${sumText(keys.map((key) => days.get(key)))}</title>
${keys.map((key, index) => square(sheet[index]!, index + offset, days.get(key), key < firstDay))}</svg>`
}

function sumText(days: (Day | undefined)[]): string {
  const count = (what: (day: Day) => number) => days.filter((day) => day && what(day) > 0).length
  const parts = [
    `backups on ${formatCountOf(
      count(({taken, verified}) => taken + verified),
      'day',
    )}`,
    `verified on ${count(({verified}) => verified)}`,
  ]
  const failed = count((day) => day.failed)
  return [...parts, ...(failed > 0 ? [`failures on ${failed}`] : [])].join(', ')
}

/** A sign in each, so that nothing hangs on telling colours apart. */
function square(day: number, place: number, known: Day | undefined, isBefore: boolean): Html {
  const x = (place % 7) * (cell + gap)
  const y = Math.floor(place / 7) * (cell + gap)
  const kind = !known
    ? isBefore
      ? 'before'
      : 'none'
    : known.failed > 0
      ? 'failed'
      : known.verified > 0
        ? 'verified'
        : 'taken'
  const box = markup`<rect class="day ${kind}" x="${x}" y="${y}" width="${cell}" height="${cell}" rx="3" />`
  return markup`<g><title>${formatDay(day)}: ${dayText(known)}</title>${box}${sign(kind, x, y)}</g>`
}

function sign(kind: string, x: number, y: number): Html | undefined {
  if (kind === 'failed') return markup`<path class="sign" d="M${x + 4.5} ${y + 4.5}l5 5m0-5l-5 5" />`
  if (kind === 'verified') return markup`<path class="sign" d="M${x + 3.8} ${y + 7.4}l2.3 2.3l4.2-4.8" />`
  return undefined
}

function dayText(day: Day | undefined): string {
  if (!day) return 'no backup'
  const parts = [
    ...(day.taken + day.verified > 0 ? [formatCountOf(day.taken + day.verified, 'backup')] : []),
    ...(day.verified > 0 ? [`${day.verified} verified`] : []),
    ...(day.failed > 0 ? [`${day.failed} failed`] : []),
  ]
  return parts.join(', ')
}

/** What the colours and signs mean. */
export const legend: Html = markup`<ul class="legend">${(
  [
    ['verified', 'restore test passed'],
    ['taken', 'backup taken'],
    ['failed', 'failed'],
    ['none', 'no backup'],
  ] as const
).map(
  ([kind, text]) =>
    markup`<li><svg viewBox="0 0 ${cell} ${cell}" aria-hidden="true"><rect class="day ${kind}" width="${cell}" height="${cell}" rx="3"/>${sign(kind, 0, 0)}</svg>${text}</li>`,
)}</ul>`
