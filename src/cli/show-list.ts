import type {ListedBackup, ListResult} from '../index.js'
import {selectionText} from '../engine/series.js'
import {displayWidth, formatAge, formatBytes, formatCount, printable} from './format.js'
import {styleFor} from './style.js'
import {renderTable, type Column} from './table.js'
import {besideLabel, columnsOf} from './wrap.js'

/** A destination's backups as a table, for people. */
export function listTable(result: ListResult, allKinds: boolean): string {
  const {destination, backups, problems, incomplete} = result
  const style = styleFor(process.stdout)
  const problem = ({key, code, message}: ListResult['problems'][number]) =>
    besideLabel(
      `${style.caution('!')} `,
      printable(`${key} is not listed: ${code}: ${message}`),
      columnsOf(process.stdout),
    )
  return [
    backups.length > 0 ? backupTable(backups, allKinds) : `No backups at ${printable(destination)}.`,
    ...problems.map(problem),
    ...(incomplete ? incompleteLines(incomplete) : []),
  ].join('\n')
}

const name: Column = {header: 'NAME'}
const factColumns: Column[] = [
  {header: 'AGE', align: 'right'},
  {header: 'SIZE', align: 'right'},
  {header: 'CHANGE', align: 'right'},
  {header: 'FORMAT'},
  {header: 'TABLES', align: 'right'},
  {header: 'ROWS', align: 'right'},
  {header: 'ENCRYPTED'},
  {header: 'VERIFIED', canShrink: true},
]

/** On a terminal too narrow for it each name gets a line of its own: a name that is cut cannot be typed. */
function backupTable(backups: ListedBackup[], allKinds: boolean): string {
  const columns = columnsOf(process.stdout)
  const styleHeader = styleFor(process.stdout).dim
  const hasSelected = backups.some(({selection}) => selection !== null)
  const facts = [
    ...(allKinds ? [{header: 'KIND'}] : []),
    ...factColumns,
    ...(hasSelected ? [{header: 'HOLDS', canShrink: true}] : []),
  ]
  const rows = backups.map((backup) => [
    ...factsOf(backup, allKinds),
    ...(hasSelected ? [selectionText(backup) ?? 'everything'] : []),
  ])
  const whole = renderTable(
    [name, ...facts],
    rows.map((row, index) => [backups[index]!.name, ...row]),
    {styleHeader},
  )
  if (columns === undefined || whole.split('\n').every((line) => displayWidth(line) <= columns)) return whole
  const [header = '', ...lines] = renderTable(facts, rows, {width: columns - indent.length, styleHeader})
    .split('\n')
    .map((line) => indent + line)
  return [
    styleHeader(name.header),
    header,
    ...lines.flatMap((line, i) => [printable(backups[i]!.name), line]),
  ].join('\n')
}

const indent = '  '

function factsOf(backup: ListedBackup, allKinds: boolean): string[] {
  return [
    ...(allKinds ? [backup.kind] : []),
    formatAge(backup.ageSeconds),
    formatBytes(backup.bytes),
    change(backup),
    backup.format,
    formatCount(backup.tableCount),
    formatCount(backup.rowCount),
    backup.encryption ?? '-',
    verified(backup),
  ]
}

/** "restore 3 h ago", "failed: archive 2 d ago" */
function verified({verification}: ListedBackup): string {
  if (verification === null) return '-'
  const {verdict, level, at} = verification
  const age = formatAge((Date.now() - Date.parse(at)) / 1000)
  return `${verdict === 'passed' ? '' : `${verdict.replaceAll('-', ' ')}: `}${level} ${age} ago`
}

function change({bytes, bytesChange}: ListedBackup): string {
  if (bytesChange === null) return '-'
  const percent = ((100 * bytesChange) / (bytes - bytesChange)).toFixed(1)
  if (Number(percent) === 0) return '0%'
  return `${bytesChange > 0 ? '+' : ''}${percent}%`
}

function incompleteLines(incomplete: NonNullable<ListResult['incomplete']>): string[] {
  if (incomplete.length === 0) return ['', 'No leftovers.']
  const age = (time: string) => formatAge((Date.now() - Date.parse(time)) / 1000)
  const table = renderTable(
    [{header: 'AGE', align: 'right'}, {header: 'SIZE', align: 'right'}, {header: 'LEFTOVER'}],
    incomplete.map(({name, bytes, modifiedAt}) => [age(modifiedAt), formatBytes(bytes), name]),
    {styleHeader: styleFor(process.stdout).dim},
  )
  return ['', table]
}
