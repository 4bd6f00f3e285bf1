import {resolve} from 'node:path'
import type {BackupPlan, BackupResult, DestinationResult} from '../index.js'
import {formatBytes, formatCount, formatCountOf, formatDuration, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {besideLabel, columnsOf} from './wrap.js'
import {shellWord} from '../support/shell.js'

/**
 * A finished backup, for people.
 * @param usual the destination that commands look in when none is named
 */
export function backupSummary(
  {backup, destinations, bytes, durationMs}: BackupResult,
  usual = resolve(process.env.BACKUP_DIR || './backups'),
): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const {content, uncompressedBytes, compression} = backup
  const ratio = bytes > 0 ? ` (${(uncompressedBytes / bytes).toFixed(1)}:1 by ${compression.algorithm})` : ''
  const rows = content.level === 'none' ? '' : `, ${formatCountOf(content.rowCount, 'row')}`
  return [
    `${style.good(symbols.done)} ${style.bold(backup.id)}`,
    `  ${formatBytes(bytes)}${ratio}, ${formatCountOf(content.tableCount, 'table')}${rows}, ${formatDuration(durationMs)}`,
    ...destinations.map(destinationLine),
    style.dim(`  Check that it can be restored: ${verifyCommand(destinations, usual)}`),
  ].join('\n')
}

function destinationLine({destination, status, error}: DestinationResult): string {
  if (status === 'stored') return `  at ${printable(destination)}`
  const text = `${destination}: ${error?.message ?? 'unknown'}`
  const label = `  ${styleFor(process.stdout).bad('failed:')} `
  return besideLabel(label, printable(text), columnsOf(process.stdout))
}

/** What works when typed, also where the backup went elsewhere than usual. */
function verifyCommand(destinations: DestinationResult[], usual: string): string {
  const stored = destinations.find(({status}) => status === 'stored')?.destination
  return stored === undefined || stored === usual
    ? 'dbbak verify --latest'
    : `dbbak verify --latest --from ${shellWord(stored)}`
}

/** What a backup would do, for people. */
export function backupPlan(plan: BackupPlan): string {
  const {database, client, compression} = plan
  return [
    'A dry run: nothing was written.',
    `  database     ${database.name} at ${database.host}:${database.port}, PostgreSQL ${database.serverVersion}, ${formatBytes(database.sizeBytes)}`,
    `  tables       ${formatCount(plan.tables)}, ${formatBytes(plan.tableBytes)} with their indexes`,
    `  pg_dump      ${client.pgDumpVersion} in ${client.folder}`,
    `  archive      ${plan.archive}`,
    `  compression  ${compression.algorithm}${compression.level === null ? '' : ` level ${compression.level}`} by ${compression.by}`,
    ...plan.destinations.map((destination) => `  destination  ${destination}`),
  ].join('\n')
}
