import {stripVTControlCharacters} from 'node:util'

export {
  formatAge,
  formatBytes,
  formatCount,
  formatCountOf,
  formatDuration,
  formatSpeed,
} from '../support/figures.js'

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
