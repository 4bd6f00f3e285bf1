import {stripVTControlCharacters} from 'node:util'

/** Bytes in decimal units, as disks and clouds count them: 512 B, 9.8 kB, 112 MB, 1.1 GB. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes)
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let unit = 0
  for (; unit < units.length - 1 && Math.abs(value) >= (unit === 0 ? 1000 : 999.5); unit++) value /= 1000
  return `${unit === 0 ? String(value) : shortNumber(value)} ${units[unit]}`
}

/** One decimal below a hundred, none above: never more than three digits of which the last may be noise. */
function shortNumber(value: number): string {
  const tenths = value.toFixed(1)
  return Math.abs(Number(tenths)) < 100 ? tenths : value.toFixed(0)
}

export function formatSpeed(bytesPerSecond: number): string {
  return `${formatBytes(Math.round(bytesPerSecond))}/s`
}

/** 412 ms, 9.8 s, 4 min 12 s, 2 h 5 min, 3 d 4 h. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`
  if (milliseconds < 59_950) return `${(milliseconds / 1000).toFixed(1)} s`
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 3600) return twoUnits(Math.floor(seconds / 60), 'min', seconds % 60, 's')
  const minutes = Math.round(seconds / 60)
  if (minutes < 24 * 60) return twoUnits(Math.floor(minutes / 60), 'h', minutes % 60, 'min')
  const hours = Math.round(minutes / 60)
  return twoUnits(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

function twoUnits(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
}

/** How old something is, in one unit: 42 s, 12 min, 3 h, 5 d. Clocks differ: the future counts as now. */
export function formatAge(seconds: number): string {
  const age = Math.max(0, Math.floor(seconds))
  if (age < 60) return `${age} s`
  if (age < 3600) return `${Math.floor(age / 60)} min`
  if (age < 48 * 3600) return `${Math.floor(age / 3600)} h`
  return `${Math.floor(age / 86_400)} d`
}

/** 1,234,567 */
export function formatCount(count: number | bigint): string {
  return count.toLocaleString('en-US')
}

/** "1 table", "12 tables", "1,234 rows". */
export function formatCountOf(count: number | bigint, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${BigInt(count) === 1n ? one : many}`
}

/** Text from a server, a manifest or a destination, made harmless: it cannot move the cursor or start a new line. */
export function printable(text: string): string {
  return text.replace(unprintable, (character) => {
    if (character === '\n' || character === '\t') return ' '
    return `\\u{${character.codePointAt(0)!.toString(16)}}`
  })
}

// Control characters, and those that turn the direction of writing around.
const unprintable = /[\p{Cc}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/** The columns that a terminal uses for a text, styled or not. */
export function displayWidth(text: string): number {
  const plain = stripVTControlCharacters(text)
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length
  let width = 0
  for (const {segment} of graphemes.segment(plain)) width += graphemeWidth(segment)
  return width
}

const graphemes = new Intl.Segmenter(undefined, {granularity: 'grapheme'})

function graphemeWidth(grapheme: string): number {
  if (/^[\p{Cc}\p{Cf}\p{M}]+$/u.test(grapheme)) return 0
  const isWide = /^(\p{Emoji_Presentation}|.\uFE0F)/u.test(grapheme) || wideScripts.test(grapheme)
  return isWide ? 2 : 1
}

const wideScripts =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u

/** Cuts a plain text to so many columns; a cut is shown as an ellipsis. */
export function truncate(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text
  let kept = ''
  let width = 0
  for (const {segment} of graphemes.segment(text)) {
    width += graphemeWidth(segment)
    if (width > columns - 1) break
    kept += segment
  }
  return columns < 1 ? '' : `${kept.trimEnd()}…`
}

/** Fills a text up to so many columns. */
export function pad(text: string, columns: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, columns - displayWidth(text)))
  return align === 'left' ? text + space : space + text
}
