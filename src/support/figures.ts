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

/** 2025-01-15 14:30 UTC */
export const formatTime = (time: string | number): string =>
  `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`
