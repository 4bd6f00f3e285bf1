import type {BackupPlan, BackupResult} from '../index.js'
import {formatBytes, formatCount, formatCountOf, formatDuration} from './format.js'
import {styleFor, symbolsFor} from './style.js'

/** A finished backup, for people. */
export function backupSummary({backup, destinations, bytes, durationMs}: BackupResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const {content, uncompressedBytes, compression} = backup
  const ratio = bytes > 0 ? ` (${(uncompressedBytes / bytes).toFixed(1)}:1 by ${compression.algorithm})` : ''
  const rows = content.level === 'none' ? '' : `, ${formatCountOf(content.rowCount, 'row')}`
  return [
    `${style.good(symbols.done)} ${style.bold(backup.id)}`,
    `  ${formatBytes(bytes)}${ratio}, ${formatCountOf(content.tableCount, 'table')}${rows}, ${formatDuration(durationMs)}`,
    ...destinations.map(
      ({destination, status, error}) =>
        `  ${status === 'stored' ? 'at' : style.bad('failed:')} ${destination}${error ? ` ${error.message}` : ''}`,
    ),
    style.dim(`  Check that it can be restored: dbbak verify --latest`),
  ].join('\n')
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
