import {formatAge} from '../../support/figures.js'
import {shellWord} from '../../support/shell.js'
import {snapshotMs} from '../catalog.js'
import type {StatusFinding} from './finding.js'
import {addressOf, ignoreWord, type Question} from './question.js'
import type {BackupSeries} from './status-of-database.js'

type Found = Omit<StatusFinding, 'database' | 'destination'>

/**
 * A database of the same name on another server all whose backups are newer: it may have moved, by an upgrade or to
 * another machine. It may be another database as well, whose older backups retention has removed.
 */
export function movedTo(series: BackupSeries, others: BackupSeries[]): BackupSeries | undefined {
  const last = snapshotMs(series.entries[0]!)
  return others.find(
    (other) =>
      other !== series &&
      other.database.name === series.database.name &&
      snapshotMs(other.entries.at(-1)!) > last,
  )
}

/** That it is backed up no more is told in any case: only people know whether it has moved, and can say so. */
export function movedFindings(
  series: BackupSeries,
  others: BackupSeries[],
  {known}: Question,
  now: Date,
): Found[] {
  const next = movedTo(series, others)
  if (!next) return []
  const {database, entries} = series
  const seconds = (now.getTime() - snapshotMs(entries[0]!)) / 1000
  const where = (one: BackupSeries) => {
    const {systemIdentifier} = one.database
    return `${addressOf(one.database)}${systemIdentifier === null ? '' : ` (system identifier ${systemIdentifier})`}`
  }
  return [
    {
      code: 'DATABASE_MOVED',
      severity: 'warning',
      message: `No backup of ${database.name} at ${where(series)} for ${formatAge(seconds)}; since then there are some of ${database.name} at ${where(next)}.`,
      suggestion: known
        ? `If it has moved there, say so in the config file: databases.${known.name}.url`
        : `If it has moved there, leave the former out: dbbak status --ignore ${shellWord(ignoreWord(database))}`,
    },
  ]
}
