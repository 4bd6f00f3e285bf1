import {formatCount, formatCountOf} from '../../support/figures.js'

/** A figure of statistics may lie between two whole numbers. */
export const countText = (count: number): string => formatCount(Math.round(count))

/** `1 backup`, `12 backups` */
export const countOf = (count: number, one: string, many?: string): string =>
  formatCountOf(Math.round(count), one, many)

/** By how much something changed, without a sign: 61 %, 0.5 %. */
export function changeText(ratio: number): string {
  const percent = Math.abs(ratio - 1) * 100
  // What is left of a great loss must not be rounded away.
  return `${percent < 10 || (percent > 99 && percent < 100) ? percent.toFixed(1) : percent.toFixed(0)} %`
}

const shown = 3

/** The first few, and how many more there are. */
export function someOf(items: string[]): string {
  const more = items.length - shown
  if (more <= 0) return items.join(', ')
  return `${items.slice(0, shown).join(', ')} and ${countText(more)} more`
}
