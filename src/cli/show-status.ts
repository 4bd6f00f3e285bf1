import type {DatabaseStatus, StatusFinding, StatusResult} from '../library/status.js'
import {displayWidth, formatAge, formatBytes, formatCount, formatCountOf, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable, type Column} from './table.js'
import {besideLabel, columnsOf} from './wrap.js'

/** How the backups are, for people: a line a database, a line a finding, and the verdict. */
export function statusReport(result: StatusResult): string {
  const {databases, findings} = result
  return [
    ...(databases.length > 0 ? [databaseTable(databases), ''] : []),
    ...(findings.length > 0 ? [...findings.map((finding) => findingText(finding, result)), ''] : []),
    verdictLine(result),
  ].join('\n')
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
    databases.map(({name, destination}, row) => [name, destination, ...facts[row]!]),
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
      const {name, destination} = databases[row]!
      return [printable(`${name} at ${destination}`), `  ${line}`]
    }),
  ].join('\n')
}

function factsOf({newest, newestVerified, count, totalBytes, history}: DatabaseStatus): string[] {
  return [
    newest ? `${formatAge(newest.ageSeconds)} ago` : 'never',
    newestVerified ? `${formatAge(newestVerified.ageSeconds)} ago` : 'never',
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
  const {severity, code, message, database, destination, suggestion} = finding
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
    ...(database !== undefined && (databases.length > 1 || isOneOfMany) ? [database] : []),
    ...(isOneOfMany ? [`at ${destination}`] : []),
  ].join(' ')
  const text = printable(`${where === '' ? '' : `${where}: `}${message}`)
  const found = besideLabel(`${symbol} `, `${style.bold(code)} ${text}`, columns)
  return suggestion === undefined ? found : `${found}\n  ${style.dim(printable(suggestion))}`
}

function verdictLine({healthy, findings, newest, databases}: StatusResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const count = (severity: StatusFinding['severity'], one: string) => {
    const number = findings.filter((finding) => finding.severity === severity).length
    return number > 0 ? [formatCountOf(number, one)] : []
  }
  const counted = [...count('error', 'error'), ...count('warning', 'warning')].join(' and ')
  if (!healthy) return `${style.bad(symbols.failed)} ${style.bold('Not healthy')}: ${counted}.`
  const names = new Set(databases.map(({name}) => name)).size
  const age = newest ? `, the newest backup ${formatAge(newest.ageSeconds)} old` : ''
  const text = `${formatCountOf(names, 'database')}${age}${counted === '' ? '' : `; ${counted}`}.`
  if (counted !== '') return `${style.good(symbols.done)} ${style.bold('Healthy')}, with warnings: ${text}`
  return style.good(`${symbols.done} All is well: ${text}`)
}
