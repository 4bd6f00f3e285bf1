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
  /** What part of the database it holds, in any words that are the same for the same part; null for all of it. */
  part: string | null
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
 * - The newest always stays, and so does the newest that did not fail its verification, and the same of those of the
 *   whole database. No policy gets around this.
 * - Known to be broken is what failed its newest verification. It never takes a place from one that is not: the places
 *   of keep-last and of days, weeks, months and years are given to the others as if it were not there, and what the
 *   rules would keep without looking at verifications is kept besides. In a day that has both, the newest of the
 *   others stays.
 * - A backup of a part of the database (some tables, some schemas) never stands for one of the whole, nor for one of
 *   another part: each has the rules to itself. Else an hourly backup of one table would push out the daily ones.
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
  const keep: Keep<B> = (backup, reason) => void reasons.get(backup)?.push(reason)
  const [past, future] = split(sorted, ({snapshotMs}) => snapshotMs <= now.getTime())
  for (const backup of future) keep(backup, 'its snapshot lies in the future: a clock is or was wrong')
  const [ordinary, safety] = split(past, ({kind}) => kind === 'backup')
  const why = new Map<B, string[]>()
  const anchors = keepNewest(ordinary, keep)
  const periodsOf = periodsIn(policy.timeZone)
  for (const series of seriesOf(ordinary)) applyRules(series, {policy, now, keep, why, periodsOf})
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

/** @param backups newest first, as everywhere below */
function keepNewest<B extends RetentionBackup>(backups: B[], keep: Keep<B>): B[] {
  const whole = backups.filter(({part}) => part === null)
  const candidates: [string, B | undefined][] = [
    ['the newest, which always stays', backups[0]],
    ['the newest that did not fail its verification', backups.find(isGood)],
    ['the newest of the whole database', whole[0]],
    ['the newest of the whole database that did not fail its verification', whole.find(isGood)],
  ]
  const anchors = new Set<B>()
  for (const [reason, backup] of candidates) {
    if (backup === undefined || anchors.has(backup)) continue
    keep(backup, reason)
    anchors.add(backup)
  }
  return [...anchors]
}

const isGood = ({verification}: RetentionBackup): boolean => verification?.verdict !== 'failed'

/** Those that hold the same part of the database, together. */
function seriesOf<B extends RetentionBackup>(backups: B[]): Iterable<B[]> {
  return Map.groupBy(backups, ({part}) => part).values()
}

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
  const passed = backups.filter(({verification}) => hasPassedRestoreTest(verification))
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
