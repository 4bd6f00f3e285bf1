import {checkPolicy, type RetentionPolicy} from './policy.js'
import {periodsIn, type Period, type Periods} from './periods.js'
import {faultsOf, hasPassed, newestOf, type RetentionBackup, type Series} from './standing.js'

export type {Content, RetentionBackup} from './standing.js'

export interface PlannedBackup<B> {
  id: string
  backup: B
  /** Why, in words for people. */
  reasons: string[]
}

export interface RetentionPlan<B> {
  /** Newest first, both. */
  kept: PlannedBackup<B>[]
  removed: PlannedBackup<B>[]
  /** What no rule and no policy ever removes: as long as these are there, the rest may go. */
  anchors: B[]
}

const dayMs = 86_400_000

/**
 * Decides which backups of one database to keep, and says why. Depends on nothing but its arguments, and not on the
 * order of the backups. A backup is kept if any rule keeps it; the rules, and what is easily got wrong about them:
 *
 * - Of each series (what was taken with the same selection) the newest always stays, and so does the newest that did
 *   not fail its verification, the newest that passed a restore test, and the newest from before the database was
 *   emptied. No policy gets around this.
 * - What failed its newest verification, and what is empty while those before it are not, never takes a place from a
 *   good one: the places of keep-last and of days, weeks, months and years are given to the others as if it were not
 *   there, and what these rules would keep without looking at that is kept besides. In a day that has both, the newest
 *   of the good ones stays.
 * - One whose verification result cannot be read may be broken, or the last that was restored: it stays, and takes no
 *   place either.
 * - A backup never stands for one of another series: each has the rules to itself. Else an hourly backup of one table
 *   would push out the daily ones of the whole database, or of all but the logs.
 * - A snapshot that lies in the future was taken by a wrong clock, or this one is wrong. It is kept, and takes no
 *   place from any other: it would hold that for years.
 * - The last N days are the last N that have backups, so that nothing is lost because no backups were taken.
 * - Safety backups have their own age; they never count for the other rules.
 *
 * @param backups of one database, by its name and system identifier
 * @throws DbbakError OPTION_INVALID for a policy that would keep nothing
 */
export function planRetention<B extends RetentionBackup>(
  backups: readonly B[],
  policy: RetentionPolicy,
  now: Date,
): RetentionPlan<B> {
  checkPolicy(policy)
  const sorted = [...backups].sort(newestFirst)
  const reasons = new Map<B, string[]>(sorted.map((backup) => [backup, []]))
  const keep: Keep<B> = (backup, reason) => {
    const told = reasons.get(backup)!
    if (!told.includes(reason)) told.push(reason)
  }
  const [past, future] = split(sorted, ({snapshotMs}) => snapshotMs <= now.getTime())
  for (const backup of future) keep(backup, 'its snapshot lies in the future: a clock is or was wrong')
  const [ordinary, safety] = split(past, ({kind}) => kind === 'backup')
  const why = new Map<B, string[]>()
  const periodsOf = periodsIn(policy.timeZone)
  const anchors: B[] = []
  for (const series of Map.groupBy(ordinary, (backup) => backup.series).values()) {
    const faults = faultsOf(series)
    const newest = newestOf(series, faults, series[0] === ordinary[0])
    for (const [backup, reason] of newest) keep(backup, reason)
    anchors.push(...newest.keys())
    applyRules(series, {policy, now, keep, why, faults, periodsOf})
  }
  for (const backup of safety) {
    if (ageDays(backup, now) < policy.safetyKeepDays)
      keep(backup, `a safety backup newer than ${countOf(policy.safetyKeepDays, 'day')}`)
    else why.set(backup, [`a safety backup older than ${countOf(policy.safetyKeepDays, 'day')}`])
  }
  const planned = (backup: B, texts: string[]) => ({id: backup.id, backup, reasons: texts})
  const [kept, removed] = split(sorted, (backup) => reasons.get(backup)!.length > 0)
  return {
    kept: kept.map((backup) => planned(backup, reasons.get(backup)!)),
    removed: removed.map((backup) => planned(backup, why.get(backup) ?? [])),
    anchors,
  }
}

type Keep<B> = (backup: B, reason: string) => void

interface Rules<B> {
  policy: RetentionPolicy
  now: Date
  keep: Keep<B>
  /** Why those go that no rule keeps. */
  why: Map<B, string[]>
  /** Those that take no place from the others, and why. */
  faults: Map<B, string>
  periodsOf: (ms: number) => Periods
}

/** Of the same moment, the name decides: the order in which a destination lists them means nothing. */
function newestFirst(one: RetentionBackup, other: RetentionBackup): number {
  if (one.snapshotMs !== other.snapshotMs) return other.snapshotMs - one.snapshotMs
  return one.name < other.name ? 1 : one.name > other.name ? -1 : 0
}

function applyRules<B extends RetentionBackup>(backups: Series<B>, rules: Rules<B>): void {
  const {policy, now, keep, why, faults} = rules
  const {keepDays, keepLast, keepVerified} = policy
  for (const backup of backups) {
    const fault = faults.get(backup)
    why.set(backup, fault === undefined ? [] : [fault])
    if (backup.verification === 'unreadable') keep(backup, 'its verification result cannot be read')
    if (keepDays === 0) continue
    if (ageDays(backup, now) < keepDays) keep(backup, `newer than ${countOf(keepDays, 'day')}`)
    else why.get(backup)!.push(`older than ${countOf(keepDays, 'day')}`)
  }
  keepLastOnes(backups, keepLast, rules)
  for (const [period, count] of periodRules(policy)) keepPeriods(backups, period, count, rules)
  const passed = backups.filter((backup) => hasPassed(backup) && !faults.has(backup))
  for (const [index, backup] of passed.entries()) {
    if (index < keepVerified) keep(backup, `${newestSo(keepVerified)} that passed a restore test`)
    else if (keepVerified > 0)
      why.get(backup)!.push(`not ${newestSo(keepVerified)} that passed a restore test`)
  }
}

function keepLastOnes<B extends RetentionBackup>(
  backups: Series<B>,
  count: number,
  {keep, why, faults}: Rules<B>,
): void {
  if (count === 0) return
  let good = 0
  for (const [index, backup] of backups.entries()) {
    const isAmongGood = !faults.has(backup) && good++ < count
    if (index < count) keep(backup, newestSo(count))
    else if (isAmongGood) keep(backup, `${newestSo(count)} good ${count === 1 ? 'one' : 'ones'}`)
    else why.get(backup)!.push(`not ${newestSo(count)}`)
  }
}

const periodRules = (policy: RetentionPolicy): [Period, number][] => [
  ['day', policy.keepDaily],
  ['week', policy.keepWeekly],
  ['month', policy.keepMonthly],
  ['year', policy.keepYearly],
]

/**
 * A period's place is its newest good backup's. Periods that have none take no place from the others: among the newest
 * so many of all, they keep the newest they have.
 */
function keepPeriods<B extends RetentionBackup>(
  backups: Series<B>,
  period: Period,
  count: number,
  {keep, why, faults, periodsOf}: Rules<B>,
): void {
  if (count === 0) return
  const isGood = (backup: B) => !faults.has(backup)
  const all = Map.groupBy(backups, ({snapshotMs}) => periodsOf(snapshotMs)[period])
  const good = [...all].filter(([, ones]) => ones.some(isGood)).slice(0, count)
  const broken = [...all].slice(0, count).filter(([, ones]) => !ones.some(isGood))
  const places = new Map([...good, ...broken].map(([name, ones]) => [name, ones.find(isGood) ?? ones[0]]))
  for (const [name, ones] of all) {
    for (const backup of ones) {
      if (places.get(name) === backup) keep(backup, `newest of ${name}`)
      else
        why
          .get(backup)!
          .push(places.has(name) ? `not the newest of ${name}` : `not of the last ${countOf(count, period)}`)
    }
  }
}

function split<T>(items: T[], isFirst: (item: T) => boolean): [T[], T[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))]
}

const ageDays = ({snapshotMs}: RetentionBackup, now: Date): number => (now.getTime() - snapshotMs) / dayMs

const newestSo = (count: number): string => (count === 1 ? 'the newest' : `among the newest ${count}`)
const countOf = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`
