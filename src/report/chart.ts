import type {HistoryEntry} from '../engine/status/status-of-database.js'
import {formatDay} from './format.js'
import {formatBytes, formatCountOf, formatTime} from '../support/figures.js'
import {markup, type Html} from './html.js'

const width = 640
const height = 220
const plot = {left: 58, right: 12, top: 14, bottom: 30}

interface Point {
  x: number
  y: number
  entry: HistoryEntry
}

/** More points than this are drawn as a line only: nobody can point at one of them. */
const mostDots = 60

/** Sizes over time, with what verification said of each. @param id unique on the page */
export function sizeChart(entries: HistoryEntry[], database: string, id: string): Html {
  const [first] = entries
  const last = entries.at(-1)
  if (!first || !last) return markup``
  const highest = Math.max(...entries.map(({bytes}) => bytes), 1)
  const step = niceStep(highest)
  const top = Math.max(step, Math.ceil((highest * 1.04) / step) * step)
  const points = placed(entries, top)
  const largest = entries.reduce((one, other) => (other.bytes > one.bytes ? other : one))
  const smallest = entries.reduce((one, other) => (other.bytes < one.bytes ? other : one))
  const description =
    entries.length === 1
      ? `One backup, of ${formatDay(first.snapshotAt)}, with ${formatBytes(first.bytes)}.`
      : `${formatCountOf(entries.length, 'backup')} from ${formatDay(first.snapshotAt)} to ${formatDay(last.snapshotAt)}: the newest has ${formatBytes(last.bytes)}, the smallest ${formatBytes(smallest.bytes)}, the largest ${formatBytes(largest.bytes)}.`
  return markup`<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">Backup sizes of ${database} over time</title><desc id="${id}-desc">${description}</desc>
${gridLines(top, step)}${monthMarks(points)}${timeLabels(points)}${curve(points)}${dots(points)}</svg>
<p class="note-below">${meaning(points)}</p>`
}

function placed(entries: HistoryEntry[], top: number): Point[] {
  const times = entries.map(({snapshotAt}) => Date.parse(snapshotAt))
  const from = times[0]!
  const span = times.at(-1)! - from
  const inner = width - plot.left - plot.right
  const tall = height - plot.top - plot.bottom
  return entries.map((entry, index) => ({
    entry,
    x: round(plot.left + (span === 0 ? inner / 2 : 8 + ((times[index]! - from) / span) * (inner - 16))),
    y: round(plot.top + (1 - entry.bytes / top) * tall),
  }))
}

const round = (value: number): number => Math.round(value * 10) / 10

/** 1, 2 or 5 times a power of ten, so that some four lines fit. */
function niceStep(highest: number): number {
  const raw = highest / 4
  const power = 10 ** Math.floor(Math.log10(raw))
  const factor = [1, 2, 5, 10].find((one) => one * power >= raw) ?? 10
  return Math.max(1, factor * power)
}

function gridLines(top: number, step: number): Html[] {
  const lines: Html[] = []
  for (let value = 0; value <= top + step / 2; value += step) {
    const y = round(plot.top + (1 - value / top) * (height - plot.top - plot.bottom))
    lines.push(
      markup`<line class="grid" x1="${plot.left}" x2="${width - plot.right}" y1="${y}" y2="${y}"/><text class="label" x="${plot.left - 8}" y="${y + 4}" text-anchor="end">${formatBytes(value).replace('.0 ', ' ')}</text>`,
    )
  }
  return lines
}

function timeLabels(points: Point[]): Html[] {
  const first = points[0]!
  const last = points.at(-1)!
  const y = height - 8
  const label = ({x, entry}: Point, anchor: string) =>
    markup`<text class="label" x="${x}" y="${y}" text-anchor="${anchor}">${formatDay(entry.snapshotAt)}</text>`
  if (last.x - first.x < 200) return [label(last, last.x > width / 2 + 40 ? 'end' : 'middle')]
  return [label(first, 'start'), label(last, 'end')]
}

/** Room for a month's name between two marks, and beside the days at the ends. */
const monthRoom = 80
const endRoom = 150

/** The months between the first day and the last, as many as there is room for. */
function monthMarks(points: Point[]): Html[] {
  const [first, last] = [points[0]!, points.at(-1)!]
  const [from, to] = [Date.parse(first.entry.snapshotAt), Date.parse(last.entry.snapshotAt)]
  const xOf = (at: number) => round(first.x + ((at - from) / (to - from)) * (last.x - first.x))
  const monthWidth = ((30.4 * 86_400_000) / (to - from)) * (last.x - first.x)
  const step = [1, 2, 3, 6, 12].find((months) => months * monthWidth >= monthRoom)
  if (to === from || step === undefined) return []
  const begin = new Date(from)
  const months = Array.from({length: 15}, (_, index) =>
    Date.UTC(begin.getUTCFullYear(), begin.getUTCMonth() + 1 + index, 1),
  ).filter((at) => at < to && new Date(at).getUTCMonth() % step === 0)
  return months.map((at) => {
    const x = xOf(at)
    const hasRoom = x - first.x >= endRoom && last.x - x >= endRoom
    const label = markup`<text class="label" x="${x}" y="${height - 8}" text-anchor="middle">${monthText(at)}</text>`
    return markup`<line class="grid" x1="${x}" x2="${x}" y1="${plot.top}" y2="${height - plot.bottom}"/>${hasRoom && label}`
  })
}

/** Jul; of a January the year. */
const monthText = (at: number): string =>
  new Date(at).toLocaleDateString('en-US', {
    ...(new Date(at).getUTCMonth() === 0 ? {year: 'numeric'} : {month: 'short'}),
    timeZone: 'UTC',
  })

/** What can be seen besides the line. */
function meaning(points: Point[]): string {
  const kinds = new Set(points.map(({entry}) => kindOf(entry)))
  const failed = kinds.has('failed') ? '; a cross failed its verification' : ''
  if (points.length > mostDots)
    return `A line through all ${points.length} backups; the dot is the newest${failed}.`
  const verified = kinds.has('verified') ? ', a green one passed a restore test' : ''
  return `Each dot is a backup${verified}${failed}.`
}

function curve(points: Point[]): Html | undefined {
  if (points.length < 2) return undefined
  const line = points.map(({x, y}) => `${x},${y}`).join(' ')
  const base = height - plot.bottom
  const area = `${points[0]!.x},${base} ${line} ${points.at(-1)!.x},${base}`
  return markup`<polygon class="area" points="${area}" /><polyline class="line" points="${line}" />`
}

/** What failed is always shown, the newest too. */
function dots(points: Point[]): Html[] {
  const isSparse = points.length <= mostDots
  return points
    .filter(({entry}, index) => isSparse || index === points.length - 1 || kindOf(entry) === 'failed')
    .map(({x, y, entry}) => {
      const kind = kindOf(entry)
      const title = markup`<title>${formatTime(entry.snapshotAt)}: ${formatBytes(entry.bytes)}${entry.rows === null ? '' : `, ${formatCountOf(entry.rows, 'row')}`}${verdictText(entry)}</title>`
      return kind === 'failed'
        ? markup`<g class="dot failed">${title}<path d="M${round(x - 4)} ${round(y - 4)}l8 8m0-8l-8 8" /></g>`
        : markup`<circle class="dot ${kind}" cx="${x}" cy="${y}" r="4">${title}</circle>`
    })
}

export type EntryKind = 'verified' | 'failed' | 'taken'

export function kindOf({verification, isVerified}: HistoryEntry): EntryKind {
  if (verification?.verdict === 'failed') return 'failed'
  return isVerified ? 'verified' : 'taken'
}

export function verdictText({verification}: HistoryEntry): string {
  if (verification === null) return ''
  const {verdict, level} = verification
  const what = level === 'restore' ? 'restore test' : `${level} check`
  return `, ${what} ${verdict.replaceAll('-', ' ')}`
}
