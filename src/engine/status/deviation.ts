/** A number that was measured with a backup, and when. */
export interface Sample {
  value: number
  atMs: number
}

export interface Deviation {
  direction: 'fell' | 'grew'
  /** The median of what it was lately. */
  usual: number
  /** Now against then: 0.4 is 60 % less. */
  ratio: number
  /** How much it varied before, of its logarithm; null where there are too few to know that. */
  sigma: number | null
  /** Beyond the percentage that is allowed, or so far from all that was seen that it cannot be chance. */
  isGross: boolean
  /** Unusual for a database that hardly varies, but no more than a small purge takes away. */
  isSmall: boolean
  /** It is no news: see isSettled. */
  isSettled: boolean
}

/** So many backups are looked back. */
export const lookBack = 30
/** With fewer there is no telling how much a value varies: the fixed percentage is the rule. What is usual is the median of so many. */
const recent = 8
/** The median absolute deviation of normally distributed values, times this, is their standard deviation. */
const madToSigma = 1.4826
/** A history that does not vary at all is taken to vary by this much (of the logarithm: 2.5 %). */
const leastSigma = 0.025
const unusualSigmas = 4
const grossSigmas = 8
/** Values within 15 % of each other are the same level. */
const sameLevel = 0.15
const settledBackups = 3
const settledMs = 60 * 3_600_000

/**
 * Whether a value is unlike those before it: by its distance from the median in units of their own spread (the median
 * absolute deviation, of the logarithms: half as much and twice as much are equally far).
 * @param history oldest first
 * @param maxChange the change that is allowed at all: 0.5 is 50 %
 */
export function deviationOf(newest: Sample, history: Sample[], maxChange: number): Deviation | undefined {
  const before = history.slice(-lookBack)
  if (before.length === 0) return undefined
  const logs = before.map(({value}) => logOf(value))
  const center = median(logs.slice(-recent))
  const distance = logOf(newest.value) - center
  const ratio = Math.exp(distance)
  const isBeyond = (low: number, high: number) =>
    newest.value < low * (1 - maxChange) || newest.value > high * (1 + maxChange)
  const isOverLimit = isBeyond(Math.exp(center), Math.exp(center))
  const sigma = spreadOf(logs)
  const hasStatistics = before.length >= recent
  // While one level gives way to another the spread is wide; what is far outside all that was seen still stands out.
  const isUnseen = isBeyond(Math.exp(Math.min(...logs)), Math.exp(Math.max(...logs)))
  const isUnusual = hasStatistics ? Math.abs(distance) > unusualSigmas * sigma || isUnseen : isOverLimit
  // Growth within what is allowed is what databases do.
  if (!isUnusual || (distance > 0 && !isOverLimit)) return undefined
  if (hasStatistics && !isOverLimit && isGradual([...logs.slice(-recent), logOf(newest.value)]))
    return undefined
  const same = Math.min(Math.max(sameLevel, sigma), Math.abs(distance) / 2)
  return {
    direction: distance < 0 ? 'fell' : 'grew',
    usual: Math.exp(center),
    ratio,
    sigma: hasStatistics ? sigma : null,
    isGross: isOverLimit || (hasStatistics && Math.abs(distance) > grossSigmas * sigma),
    isSmall: !isOverLimit && Math.abs(distance) <= sameLevel,
    isSettled: isSettled(
      before.map(({atMs}, index) => {
        const away = Math.abs(logs[index]! - logOf(newest.value))
        return {atMs, isSame: away <= same, isUsual: away > Math.abs(logs[index]! - center)}
      }),
      newest.atMs,
    ),
  }
}

/** It came down in small steps, none of which would be told by itself: what is old is removed bit by bit. */
const isGradual = (logs: number[]): boolean =>
  logs.slice(1).every((log, index) => logs[index]! - log <= unusualSigmas * leastSigma)

/**
 * How much the values vary. That of all is too wide where they went over from one level to another (an import, a
 * purge): then the recent ones tell, and the steps from each to the next.
 */
function spreadOf(logs: number[]): number {
  const steps = logs.slice(1).map((log, index) => log - logs[index]!)
  const ofSteps = (madToSigma * median(steps.map(Math.abs))) / Math.SQRT2
  const spread = Math.min(sigmaOf(logs), Math.max(sigmaOf(logs.slice(-recent)), ofSteps))
  return Math.max(leastSigma, spread)
}

function sigmaOf(logs: number[]): number {
  const center = median(logs)
  return madToSigma * median(logs.map((log) => Math.abs(log - center)))
}

/** A backup before the newest: whether it was as the newest is, or as is usual; between the two it is neither. */
export interface Former {
  atMs: number
  isSame: boolean
  isUsual: boolean
}

/**
 * Whether it is the new state of things: it has been so in the last backups, for some days; or it is so again and again
 * (weekends).
 * @param before oldest first
 */
export function isSettled(before: Former[], nowMs: number): boolean {
  const run = before.slice(before.findLastIndex(({isSame}) => !isSame) + 1)
  const lasts = run.length >= settledBackups && nowMs - run[0]!.atMs >= settledMs
  return lasts || recurs(before)
}

/** It was left and came back. What was so once, before an import, say, is no pattern: to be so again is to have lost that. */
function recurs(before: Former[]): boolean {
  const clear = before.filter(({isSame, isUsual}) => isSame || isUsual)
  const times = clear.filter(({isSame}, index) => isSame && !clear[index - 1]?.isSame).length
  const count = before.filter(({isSame}) => isSame).length
  return times >= 2 && count >= Math.max(settledBackups, before.length / 5)
}

/** Nothing is one, for the logarithm's sake. */
const logOf = (value: number): number => Math.log(Math.max(value, 1))

export function median(values: number[]): number {
  if (values.length === 0) return 0
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
