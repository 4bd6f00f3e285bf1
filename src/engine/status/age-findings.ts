import {clockToleranceMs} from '../../support/clock.js'
import {formatAge, formatTime} from '../../support/figures.js'
import {shellWord} from '../../support/shell.js'
import {snapshotMs} from '../catalog.js'
import type {Commands} from './commands.js'
import type {StatusFinding} from './finding.js'
import {ignoreWord, type DatabaseOfManifest, type Question} from './question.js'
import {ageSecondsOf, type BackupSeries} from './status-of-database.js'
import {countOf, someOf} from './wording.js'

export interface AgeLimits {
  maxAgeMs: number
  maxVerifiedAgeMs: number
}

type Found = Omit<StatusFinding, 'database' | 'destination'>

/** How much would be lost if the database were lost now. */
export function ageFindings(
  {counting, database, destination}: BackupSeries,
  {limits, known}: Question,
  commands: Commands,
  now: Date,
): Found[] {
  const [newest] = counting
  if (!newest) return []
  const ageSeconds = ageSecondsOf(newest, now)
  if (ageSeconds * 1000 <= limits.maxAgeMs) return []
  return [
    {
      code: 'BACKUP_TOO_OLD',
      severity: 'error',
      message: `The newest backup is ${formatAge(ageSeconds)} old; it should be at most ${formatAge(limits.maxAgeMs / 1000)}.`,
      suggestion: `See why the schedule did not run, and take one now: ${commands.backup(database, destination)}`,
      ...(ageSeconds > retiredSeconds ? {otherwise: retirement(database, known)} : {}),
    },
  ]
}

/** After so long it may be meant so. */
const retiredSeconds = 7 * 86_400

const retirement = (database: DatabaseOfManifest, known: Question['known']): string =>
  known
    ? `If it is backed up no more, take it out of the config file: databases.${known.name}`
    : `If it is backed up no more, leave it out: dbbak status --ignore ${shellWord(ignoreWord(database))}`

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
