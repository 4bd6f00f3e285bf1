import type {DatabaseStatus, StatusFinding, StatusResult} from '../library/status.js'
import {displayWidth, formatAge, formatBytes, formatCount, formatCountOf, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable, type Column} from './table.js'
import {besideLabel, columnsOf} from './wrap.js'

/**
 * How the backups are, for people: a line a database, a line a finding, and the verdict; a bad one is told by the error
 * that the command ends with.
 */
export function statusReport(result: StatusResult): string {
  const {databases, findings} = result
  return [
    ...(databases.length > 0 ? [databaseTable(databases), ''] : []),
    ...(findings.length > 0 ? [...findings.map((finding) => findingText(finding, result)), ''] : []),
    ...(result.healthy ? [verdictLine(result)] : []),
  ]
    .join('\n')
    .trimEnd()
}

const factColumns: Column[] = [
  {header: 'NEWEST', align: 'right'},
  {header: 'VERIFIED', align: 'right'},
  {header: 'SIZE', align: 'right'},
  {header: 'ROWS', align: 'right'},
  {header: 'BACKUPS', align: 'right'},
  {header: 'TOTAL', align: 'right'},
]

/** On a terminal too narrow for it each database and destination get a line of their own. */
function databaseTable(databases: DatabaseStatus[]): string {
  const styleHeader = styleFor(process.stdout).dim
  const columns = columnsOf(process.stdout)
  const trend = hasBars() ? [{header: 'SIZES'}] : []
  const facts = databases.map(factsOf)
  const whole = renderTable(
    [{header: 'DATABASE'}, {header: 'DESTINATION'}, ...factColumns, ...trend],
    databases.map((one, row) => [labelOf(one), one.destination, ...facts[row]!]),
    {styleHeader},
  )
  if (columns === undefined || whole.split('\n').every((line) => displayWidth(line) <= columns)) return whole
  const [header = '', ...lines] = renderTable([...factColumns, ...trend], facts, {
    width: columns - 2,
    styleHeader,
  }).split('\n')
  return [
    styleHeader('DATABASE'),
    `  ${header}`,
    ...lines.flatMap((line, row) => {
      const one = databases[row]!
      return [printable(`${labelOf(one)} at ${one.destination}`), `  ${line}`]
    }),
  ].join('\n')
}

/** The server too, where several have a database of that name. */
const labelOf = ({name, server}: {name: string; server?: string | null}): string =>
  server === null || server === undefined ? name : `${name} (${server})`

/** A backup from the future has no age. */
const agoText = (seconds: number): string =>
  seconds < 0 ? `${formatAge(-seconds)} ahead` : `${formatAge(seconds)} ago`

function factsOf({newest, newestVerified, count, totalBytes, history}: DatabaseStatus): string[] {
  return [
    newest ? agoText(newest.ageSeconds) : 'never',
    newestVerified ? agoText(newestVerified.ageSeconds) : 'never',
    newest ? formatBytes(newest.bytes) : '-',
    newest?.rows === undefined || newest.rows === null ? '-' : formatCount(newest.rows),
    formatCount(count),
    formatBytes(totalBytes),
    ...(hasBars() ? [bars(history.filter(({isPart}) => !isPart).map(({bytes}) => bytes))] : []),
  ]
}

const hasBars = (): boolean => symbolsFor(process.env).done === '✔'

const barsShown = 14

/** The last sizes as a row of bars, against the largest of them. */
function bars(sizes: number[]): string {
  const last = sizes.slice(-barsShown)
  const largest = Math.max(...last, 1)
  return last.map((size) => '▁▂▃▄▅▆▇█'[Math.round((size / largest) * 7)]).join('')
}

/** "✖ BACKUP_TOO_OLD  shop: The newest backup is 3 d old; …", and below it what to do. */
function findingText(finding: StatusFinding, {databases, destinations}: StatusResult): string {
  const {severity, code, message, database, server, destination, suggestion, otherwise} = finding
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const columns = columnsOf(process.stdout)
  const symbol = {
    error: style.bad(symbols.failed),
    warning: style.caution(symbols.caution),
    info: style.dim(symbols.skipped),
  }[severity]
  // Where there is only one, nobody has to be told which.
  const isOneOfMany = destinations.length > 1 && destination !== undefined && !message.includes(destination)
  const where = [
    ...(database !== undefined && (isOneOfSeveral(database, databases) || isOneOfMany)
      ? [labelOf({name: database, ...(server === undefined ? {} : {server})})]
      : []),
    ...(isOneOfMany ? [`at ${destination}`] : []),
  ].join(' ')
  const text = printable(`${where === '' ? '' : `${where}: `}${message}`)
  const found = besideLabel(`${symbol} `, `${style.bold(code)} ${text}`, columns)
  const advice = [suggestion, otherwise].filter((one) => one !== undefined)
  return [found, ...advice.map((one) => `  ${style.dim(printable(one))}`)].join('\n')
}

/** A database of which nothing could be told is not among those that are. */
const isOneOfSeveral = (database: string, databases: DatabaseStatus[]): boolean =>
  databases.length > 1 || databases.some(({name}) => name !== database)

function verdictLine({findings, newest, databases}: StatusResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const warnings = findings.filter(({severity}) => severity === 'warning').length
  const count = new Set(databases.map(labelOf)).size
  const age = newest ? `, the newest backup ${ageText(newest.ageSeconds)}` : ''
  const told = warnings === 0 ? '' : `; ${formatCountOf(warnings, 'warning')}`
  const text = `${formatCountOf(count, 'database')}${age}${told}.`
  if (warnings > 0) return `${style.good(symbols.done)} ${style.bold('Healthy')}, with warnings: ${text}`
  return style.good(`${symbols.done} All is well: ${text}`)
}

const ageText = (seconds: number): string =>
  seconds < 0 ? `${formatAge(-seconds)} in the future` : `${formatAge(seconds)} old`
