import {formatAge, formatTime} from '../../support/figures.js'
import {snapshotMs, type CatalogEntry} from '../catalog.js'
import {planRetention, type RetentionBackup} from '../retention/plan.js'
import type {RetentionPolicy} from '../retention/policy.js'
import type {Commands} from './commands.js'
import {median} from './deviation.js'
import type {StatusFinding} from './finding.js'
import type {Question} from './question.js'
import {ageSecondsOf, isVerified, type BackupSeries} from './status-of-database.js'
import {countOf, someOf} from './wording.js'

type Found = Omit<StatusFinding, 'database' | 'destination'>

/** How old what is known to be restorable is. */
export function verifiedFindings(
  series: BackupSeries,
  question: Question,
  commands: Commands,
  now: Date,
): Found[] {
  const {counting, destination} = series
  const {maxVerifiedAgeMs} = question.limits
  const [newest] = counting
  if (!newest) return []
  const suggestion = commands.verify(newest, destination, '--level restore')
  const verified = counting.find(isVerified)
  if (!verified) return [neverVerified(series, question, suggestion, now)]
  const ageSeconds = ageSecondsOf(verified, now)
  if (ageSeconds * 1000 <= maxVerifiedAgeMs) return []
  const message = `The newest backup that passed a restore test is ${formatAge(ageSeconds)} old; it should be at most ${formatAge(maxVerifiedAgeMs / 1000)}.`
  return [{code: 'VERIFIED_TOO_OLD', severity: 'error', message, suggestion}]
}

function neverVerified(
  {counting, entries}: BackupSeries,
  {limits, policy}: Question,
  suggestion: string,
  now: Date,
): Found {
  const ageMs = now.getTime() - snapshotMs(entries.at(-1)!)
  const isOld = ageMs > limits.maxVerifiedAgeMs
  // What is older may have been removed: then nothing tells that there was no time yet to verify one.
  const isPruned = !isOld && policy !== undefined && isAtItsLimit(counting, policy, now)
  const one = counting.length === 1
  const which = one ? 'The only backup has not' : `None of the ${countOf(counting.length, 'backup')} has`
  const removed = isPruned ? ', and retention removes them before any of them is older' : ''
  return {
    code: 'NEVER_VERIFIED',
    severity: isOld || isPruned ? 'error' : 'warning',
    message: `${which} passed a restore test${removed}: nobody knows whether ${one ? 'it' : 'they'} can be restored.`,
    suggestion,
  }
}

/** Whether retention would have removed the backup before the oldest one, had there been one. */
function isAtItsLimit(backups: CatalogEntry[], policy: RetentionPolicy, now: Date): boolean {
  const times = backups.map(snapshotMs)
  if (times.length < 2) return false
  const interval = median(times.slice(1).map((at, index) => times[index]! - at))
  const forPlan = (snapshotMs: number, index: number): RetentionBackup => {
    const name = String(index)
    return {id: name, name, kind: 'backup', snapshotMs, verification: null, series: null, content: 'rows'}
  }
  const before = forPlan(times.at(-1)! - Math.max(interval, 1), times.length)
  return planRetention([...times.map(forPlan), before], policy, now).removed.some(
    ({backup}) => backup === before,
  )
}

/** What verification said of the backups that are here. */
export function verdictFindings(series: BackupSeries, commands: Commands): Found[] {
  const {counting, entries, destination} = series
  const [newest] = counting
  if (!newest) return []
  const notIn = (some: CatalogEntry[]) => entries.filter((entry) => !some.includes(entry))
  const bad = counting.filter(hasFailed)
  if (bad.length === counting.length && bad.length > 1)
    return [allFailed(bad, series, commands), ...olderFailed(notIn(counting), series, commands)]
  const findings: Found[] = []
  if (hasFailed(newest)) findings.push(newestFailed(newest, series, commands))
  if (newest.verification?.verdict === 'could-not-run')
    findings.push({
      code: 'VERIFICATION_COULD_NOT_RUN',
      severity: 'warning',
      message: `The verification of the newest backup, ${newest.manifest.id}, could not run.`,
      suggestion: `See why: ${commands.verify(newest, destination)}`,
    })
  return [...findings, ...olderFailed(notIn([newest]), series, commands)]
}

const hasFailed = ({verification}: CatalogEntry): boolean => verification?.verdict === 'failed'

function allFailed(bad: CatalogEntry[], series: BackupSeries, commands: Commands): Found {
  return {
    code: 'VERIFICATION_FAILED',
    severity: 'error',
    message: `All ${countOf(bad.length, 'backup')} failed verification, so there is none to rely on: ${someOf(bad.map(({manifest}) => manifest.id))}.`,
    suggestion: another(series, commands),
  }
}

function newestFailed(
  {manifest, verification}: CatalogEntry,
  series: BackupSeries,
  commands: Commands,
): Found {
  const {checks, at} = verification!
  const failed = checks.filter(({status}) => status === 'failed').map(({name}) => name.replaceAll('-', ' '))
  return {
    code: 'VERIFICATION_FAILED',
    severity: 'error',
    message: `The newest backup, ${manifest.id}, failed its verification of ${formatTime(at)}${failed.length > 0 ? `: ${failed.join(', ')}` : ''}.`,
    suggestion: another(series, commands),
  }
}

const another = ({database, destination}: BackupSeries, commands: Commands): string =>
  `Take another and verify it: ${commands.backup(database, destination, '--verify auto')}`

function olderFailed(others: CatalogEntry[], {destination}: BackupSeries, commands: Commands): Found[] {
  const bad = others.filter(hasFailed)
  if (bad.length === 0) return []
  return [
    {
      code: 'VERIFICATION_FAILED',
      severity: 'warning',
      message: `${countOf(bad.length, 'older backup')} failed verification: ${someOf(bad.map(({manifest}) => manifest.id))}.`,
      suggestion: `Do not count on ${bad.length === 1 ? 'it' : 'them'}; see what is wrong: ${commands.verify(bad[0]!, destination)}`,
    },
  ]
}
