import {shellWord} from '../../support/shell.js'
import {snapshotMs} from '../catalog.js'
import type {StatusFinding} from './finding.js'
import {ageSecondsOf, clockToleranceMs, isVerified, type BackupSeries} from './status-of-database.js'
import {formatAge, formatTime} from '../../support/figures.js'
import {countOf, someOf} from './wording.js'

export interface AgeLimits {
  maxAgeMs: number
  maxVerifiedAgeMs: number
}

type Found = Omit<StatusFinding, 'database' | 'destination'>

/** How much would be lost if the database were lost now. */
export function ageFindings({counting, destination}: BackupSeries, limits: AgeLimits, now: Date): Found[] {
  const [newest] = counting
  if (!newest) return []
  const ageSeconds = ageSecondsOf(newest, now)
  if (ageSeconds * 1000 <= limits.maxAgeMs) return []
  return [
    {
      code: 'BACKUP_TOO_OLD',
      severity: 'error',
      message: `The newest backup is ${formatAge(ageSeconds)} old; it should be at most ${formatAge(limits.maxAgeMs / 1000)}.`,
      suggestion: `See why the schedule did not run, and take one now: dbbak backup --to ${shellWord(destination)}`,
    },
  ]
}

/** Backups whose time is yet to come: one of the clocks is wrong, and no age can be trusted. */
export function futureFindings({entries, counting}: BackupSeries, now: Date): Found[] {
  const limitMs = now.getTime() + clockToleranceMs
  const ahead = entries.filter((entry) => snapshotMs(entry) > limitMs)
  if (ahead.length === 0) return []
  const isAll = counting.every((entry) => snapshotMs(entry) > limitMs)
  return [
    {
      code: 'BACKUP_IN_FUTURE',
      severity: isAll ? 'error' : 'warning',
      message: `${countOf(ahead.length, 'backup')} from the future: ${someOf(ahead.map(({manifest}) => manifest.id))}; here it is ${formatTime(now.getTime())}.`,
      suggestion: 'Compare the clocks of this machine and of the one that takes the backups: timedatectl',
    },
  ]
}

/** How old what is known to be restorable is. */
export function verifiedFindings(series: BackupSeries, limits: AgeLimits, now: Date): Found[] {
  const {counting, destination} = series
  const [newest] = counting
  const oldest = counting.at(-1)
  if (!newest || !oldest) return []
  const suggestion = `dbbak verify --latest --level restore --from ${shellWord(destination)}`
  const verified = counting.find(isVerified)
  const limit = formatAge(limits.maxVerifiedAgeMs / 1000)
  if (verified) {
    const ageSeconds = ageSecondsOf(verified, now)
    if (ageSeconds * 1000 <= limits.maxVerifiedAgeMs) return []
    const message = `The newest backup that passed a restore test is ${formatAge(ageSeconds)} old; it should be at most ${limit}.`
    return [{code: 'VERIFIED_TOO_OLD', severity: 'error', message, suggestion}]
  }
  // There was no time yet to verify any of them.
  const isYoung = ageSecondsOf(oldest, now) * 1000 <= limits.maxVerifiedAgeMs
  const message = `None of the ${countOf(counting.length, 'backup')} has passed a restore test: nobody knows whether they can be restored.`
  return [
    {
      code: 'NEVER_VERIFIED',
      severity: isYoung ? 'warning' : 'error',
      message: oneOrMany(message),
      suggestion,
    },
  ]
}

const oneOrMany = (message: string): string =>
  message
    .replace('None of the 1 backup has passed', 'The only backup has not passed')
    .replace('whether they can', (text) =>
      message.startsWith('None of the 1 backup ') ? 'whether it can' : text,
    )

/** What verification said of the backups that are here. */
export function verdictFindings({counting, entries, destination}: BackupSeries): Found[] {
  const [newest] = counting
  const findings: Found[] = []
  const from = `--from ${shellWord(destination)}`
  if (newest?.verification?.verdict === 'failed') {
    const {checks, at} = newest.verification
    const failed = checks.filter(({status}) => status === 'failed').map(({name}) => name.replaceAll('-', ' '))
    findings.push({
      code: 'VERIFICATION_FAILED',
      severity: 'error',
      message: `The newest backup, ${newest.manifest.id}, failed its verification of ${formatTime(at)}${failed.length > 0 ? `: ${failed.join(', ')}` : ''}.`,
      suggestion: `Take another and verify it: dbbak backup --to ${shellWord(destination)} --verify auto`,
    })
  }
  if (newest?.verification?.verdict === 'could-not-run')
    findings.push({
      code: 'VERIFICATION_COULD_NOT_RUN',
      severity: 'warning',
      message: `The verification of the newest backup, ${newest.manifest.id}, could not run.`,
      suggestion: `See why: dbbak verify ${shellWord(newest.archive)} ${from}`,
    })
  const others = entries.filter((entry) => entry !== newest && entry.verification?.verdict === 'failed')
  if (others.length > 0)
    findings.push({
      code: 'VERIFICATION_FAILED',
      severity: 'warning',
      message: `${countOf(others.length, 'older backup')} failed verification: ${someOf(others.map(({manifest}) => manifest.id))}.`,
      suggestion: `Do not count on ${others.length === 1 ? 'it' : 'them'}; see what is wrong: dbbak verify ${shellWord(others[0]!.archive)} ${from}`,
    })
  return findings
}
