/** How long something is, in one unit: 42 s, 12 min, 3 h, 5 d. */
export function ageText(seconds: number): string {
  const age = Math.max(0, Math.floor(seconds))
  if (age < 60) return `${age} s`
  if (age < 3600) return `${Math.floor(age / 60)} min`
  if (age < 48 * 3600) return `${Math.floor(age / 3600)} h`
  return `${Math.floor(age / 86_400)} d`
}

/** Bytes in decimal units: 512 B, 9.8 kB, 112 MB. */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  let value = bytes
  let unit = 0
  for (; unit < units.length - 1 && value >= (unit === 0 ? 1000 : 999.5); unit++) value /= 1000
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`
}

export const countText = (count: number): string => Math.round(count).toLocaleString('en-US')

/** `1 backup`, `12 backups` */
export const countOf = (count: number, one: string, many = `${one}s`): string =>
  `${countText(count)} ${count === 1 ? one : many}`

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

/** 2025-01-15 14:30 UTC */
export const timeText = (time: string | number): string =>
  `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
