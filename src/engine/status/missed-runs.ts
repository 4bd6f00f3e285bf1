import {median} from './deviation.js'

/** A time in which backups would have been taken, and none was. */
export interface Gap {
  fromMs: number
  toMs: number
}

const dayMs = 86_400_000
const hourMs = 3_600_000
const lookBackMs = 30 * dayMs
/** So much longer than the usual interval is no run that began late. */
const late = 1.5
/** So much longer is a gap even where the age that is allowed is longer. */
const farLarger = 4

/**
 * The gaps of the last 30 days that are far larger than the usual interval. No gaps are those of the schedule itself
 * (nights, weekends), which come again and again, nor those that retention makes, which thins out what is old.
 * @param times when the backups were taken, newest first
 */
export function missedRuns(times: number[], maxAgeMs: number, now: number): Gap[] {
  const intervals = intervalsOf(times)
  if (intervals.length < 4) return []
  const usual = median(intervals.slice(0, 60).map(lengthOf))
  const isMissed = (gap: Gap, index: number) => {
    const length = lengthOf(gap)
    const isLong = (length > late * usual && length > maxAgeMs) || length > farLarger * usual
    if (!isLong || gap.toMs < now - lookBackMs) return false
    return isDenseBehind(intervals, index, usual) && !recurs(gap, intervals)
  }
  return intervals.filter(isMissed)
}

function intervalsOf(times: number[]): Gap[] {
  return times.slice(1).map((fromMs, index) => ({fromMs, toMs: times[index]!}))
}

const lengthOf = ({fromMs, toMs}: Gap): number => toMs - fromMs

/** Before the gap runs came as usual; where they did not, it is where retention began to remove some. */
function isDenseBehind(intervals: Gap[], index: number, usual: number): boolean {
  const behind = intervals.slice(index + 1, index + 6)
  return behind.filter((interval) => lengthOf(interval) <= late * usual).length >= 3
}

/** Many like it, or several that began at the same hour of the week: that is the schedule. */
function recurs(gap: Gap, intervals: Gap[]): boolean {
  const isAlike = (other: Gap) =>
    other !== gap && lengthOf(other) > 0.7 * lengthOf(gap) && lengthOf(other) < 1.4 * lengthOf(gap)
  const near = intervals.filter(({toMs}) => Math.abs(toMs - gap.toMs) <= 2 * lookBackMs)
  const alike = near.filter(isAlike)
  if (alike.length >= Math.max(3, near.length / 10)) return true
  const isSameHour = ({fromMs}: Gap) => {
    const offset = Math.abs(fromMs - gap.fromMs) % (7 * dayMs)
    return Math.min(offset, 7 * dayMs - offset) <= 2 * hourMs
  }
  return alike.filter(isSameHour).length >= 3
}
