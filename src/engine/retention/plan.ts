import {hasPassedRestoreTest, type VerificationRecord} from '../verify/verification-record.js'
import {checkPolicy, type RetentionPolicy} from './policy.js'
import {periodsIn, type Period, type Periods} from './periods.js'

/** What the rules look at in a backup. */
export interface RetentionBackup {
  /** In the result; two archives of one moment in different formats share it. */
  id: string
  /** The archive's name, which nothing else at the destination has. */
  name: string
  kind: 'backup' | 'safety'
  /** Of the snapshot, in milliseconds since 1970. */
  snapshotMs: number
  /** Its newest result, if it was ever verified. */
  verification: Pick<VerificationRecord, 'level' | 'verdict' | 'restoredAt'> | null
  /** What was selected, in any words that are the same for the same selection; null for all of the database. */
  series: string | null
}

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
 *   not fail its verification, and the newest that passed a restore test. No policy gets around this.
 * - Known to be broken is what failed its newest verification. It never takes a place from one that is not: the places
 *   of keep-last and of days, weeks, months and years are given to the others as if it were not there, and what the
 *   rules would keep without looking at verifications is kept besides. In a day that has both, the newest of the
 *   others stays.
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
    const newest = newestOf(series, series[0] === ordinary[0])
    for (const [backup, reason] of newest) keep(backup, reason)
    anchors.push(...newest.keys())
    applyRules(series, {policy, now, keep, why, periodsOf})
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
  periodsOf: (ms: number) => Periods
}

/** Of the same moment, the name decides: the order in which a destination lists them means nothing. */
function newestFirst(one: RetentionBackup, other: RetentionBackup): number {
  if (one.snapshotMs !== other.snapshotMs) return other.snapshotMs - one.snapshotMs
  return one.name < other.name ? 1 : one.name > other.name ? -1 : 0
}

/**
 * Of one series what always stays, and why.
 * @param backups newest first, as everywhere below
 * @param hasNewestOfAll no other series has a newer one
 */
function newestOf<B extends RetentionBackup>(backups: B[], hasNewestOfAll: boolean): Map<B, string> {
  const what = `the newest ${backups[0]?.series === null ? 'of the whole database' : 'of its selection'}`
  const candidates: [B | undefined, string][] = [
    [backups[0], hasNewestOfAll ? 'the newest, which always stays' : what],
    [backups.find(isGood), `${hasNewestOfAll ? 'the newest' : what} that did not fail its verification`],
    [backups.find(hasPassed), 'the newest that passed a restore test'],
  ]
  const anchors = new Map<B, string>()
  for (const [backup, reason] of candidates)
    if (backup !== undefined && !anchors.has(backup)) anchors.set(backup, reason)
  return anchors
}

const isGood = ({verification}: RetentionBackup): boolean => verification?.verdict !== 'failed'
const hasPassed = ({verification}: RetentionBackup): boolean => hasPassedRestoreTest(verification)

function applyRules<B extends RetentionBackup>(backups: B[], rules: Rules<B>): void {
  const {policy, now, keep, why} = rules
  const {keepDays, keepLast, keepVerified} = policy
  for (const backup of backups) {
    why.set(backup, isGood(backup) ? [] : ['its verification failed'])
    if (keepDays === 0) continue
    if (ageDays(backup, now) < keepDays) keep(backup, `newer than ${countOf(keepDays, 'day')}`)
    else why.get(backup)!.push(`older than ${countOf(keepDays, 'day')}`)
  }
  keepLastOnes(backups, keepLast, rules)
  for (const [period, count] of periodRules(policy)) keepPeriods(backups, period, count, rules)
  const passed = backups.filter(hasPassed)
  for (const [index, backup] of passed.entries()) {
    if (index < keepVerified) keep(backup, `${newestSo(keepVerified)} that passed a restore test`)
    else if (keepVerified > 0)
      why.get(backup)!.push(`not ${newestSo(keepVerified)} that passed a restore test`)
  }
}

function keepLastOnes<B extends RetentionBackup>(backups: B[], count: number, {keep, why}: Rules<B>): void {
  if (count === 0) return
  let good = 0
  for (const [index, backup] of backups.entries()) {
    const isAmongGood = isGood(backup) && good++ < count
    if (index < count) keep(backup, newestSo(count))
    else if (isAmongGood) keep(backup, `${newestSo(count)} that did not fail a verification`)
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
 * A period's place is its newest backup's that is not known to be broken. Periods that have none such take no place
 * from the others: among the newest so many of all, they keep the newest they have.
 */
function keepPeriods<B extends RetentionBackup>(
  backups: B[],
  period: Period,
  count: number,
  {keep, why, periodsOf}: Rules<B>,
): void {
  if (count === 0) return
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
