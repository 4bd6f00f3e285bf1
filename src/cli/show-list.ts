import type {ListedBackup, ListResult} from '../index.js'
import {formatAge, formatBytes, formatCount, printable} from './format.js'
import {styleFor} from './style.js'
import {renderTable, type Column} from './table.js'

/** A destination's backups as a table, for people. */
export function listTable(
  {destination, backups, problems, incomplete}: ListResult,
  allKinds: boolean,
): string {
  const style = styleFor(process.stdout)
  const width = process.stdout.isTTY ? process.stdout.columns : undefined
  const columns: Column[] = [
    {header: 'NAME', canShrink: true},
    ...(allKinds ? [{header: 'KIND'}] : []),
    {header: 'AGE', align: 'right'},
    {header: 'SIZE', align: 'right'},
    {header: 'CHANGE', align: 'right'},
    {header: 'FORMAT'},
    {header: 'TABLES', align: 'right'},
    {header: 'ROWS', align: 'right'},
    {header: 'ENCRYPTED'},
    {header: 'VERIFIED'},
  ]
  const rows = backups.map((backup) => row(backup, allKinds))
  const table =
    rows.length > 0
      ? renderTable(columns, rows, {width, styleHeader: style.dim})
      : `No backups at ${printable(destination)}.`
  return [
    table,
    ...problems.map(
      ({key, code, message}) =>
        `${style.caution('!')} ${printable(key)} is not listed: ${code}: ${printable(message)}`,
    ),
    ...(incomplete ? incompleteLines(incomplete) : []),
  ].join('\n')
}

function row(backup: ListedBackup, allKinds: boolean): string[] {
  const {verification} = backup
  return [
    backup.name,
    ...(allKinds ? [backup.kind] : []),
    formatAge(backup.ageSeconds),
    formatBytes(backup.bytes),
    change(backup),
    backup.format,
    formatCount(backup.tableCount),
    formatCount(backup.rowCount),
    backup.encryption ?? '-',
    verification
      ? `${verification.verdict === 'passed' ? '' : `${verification.verdict}: `}${verification.level} ${verification.at.slice(0, 16).replace('T', ' ')}`
      : '-',
  ]
}

function change({bytes, bytesChange}: ListedBackup): string {
  if (bytesChange === null || bytes === bytesChange) return '-'
  const percent = (100 * bytesChange) / (bytes - bytesChange)
  return `${percent >= 0 ? '+' : ''}${percent.toFixed(1)}%`
}

function incompleteLines(incomplete: NonNullable<ListResult['incomplete']>): string[] {
  if (incomplete.length === 0) return ['', 'No leftovers.']
  const lines = incomplete.map(({name, bytes, modifiedAt}) => [name, formatBytes(bytes), modifiedAt])
  return [
    '',
    renderTable([{header: 'LEFTOVER'}, {header: 'SIZE', align: 'right'}, {header: 'CHANGED'}], lines),
  ]
}
