import type {AccidentStatement, DemoDatabase, ShopDifference, ShopState} from '../index.js'
import {formatBytes, formatCount, formatCountOf} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable, type Column} from './table.js'

/** The demo's tables with their rows, and what they are worth. */
export function shopTable(
  {rows, tables: tableCount, bytes}: DemoDatabase,
  {tables, sums}: ShopState,
): string {
  const total = `${formatCountOf(rows, 'row')} in ${formatCountOf(tableCount, 'table')}, ${formatBytes(bytes)} on disk`
  return table(
    [{header: 'TABLE'}, {header: 'ROWS', align: 'right'}],
    tables.map(({kind, name, rows}) => [kind === 'table' ? name : `${name} (${kind})`, formatCount(rows)]),
    [total, ...sums.map(({name, value}) => `${name}: ${money(value)}`)].join('. '),
  )
}

/** The accident as it looks in psql. */
export function accidentText(statements: AccidentStatement[]): string {
  const style = styleFor(process.stdout)
  const width = Math.max(...statements.map(({sql}) => sql.length)) + 2
  return statements
    .flatMap(({sql, meant, outcome, notices}) => [
      `  ${style.dim('shop=#')} ${style.bold(sql.padEnd(width))}${style.dim(`-- meant ${meant}`)}`,
      ...notices.map((notice) => style.caution(`  NOTICE:  ${notice}`)),
      `  ${outcome}`,
    ])
    .join('\n')
}

/** What is missing or wrong. */
export function damageTable(differences: ShopDifference[]): string {
  const {bad} = styleFor(process.stdout)
  const columns = [
    {header: 'WHAT'},
    {header: 'BEFORE', align: 'right'},
    {header: 'NOW', align: 'right', style: bad},
  ]
  return table(columns as Column[], differences.map(damageRow))
}

function damageRow({kind, name, before, after}: ShopDifference): string[] {
  const what = kind === 'sum' ? name : kind === 'content' ? `the values in ${name}` : `${kind} ${name}`
  if (kind === 'sum') return [what, money(before ?? '-'), money(after ?? '-')]
  const text = (side: string | null, there: string) => {
    if (side === null) return 'gone'
    return / rows$/.test(side) ? formatCountOf(Number.parseInt(side), 'row') : there
  }
  return [what, text(before, kind === 'content' ? 'as entered' : 'there'), text(after, 'changed')]
}

/** Row counts, checksums and sums from before the accident and from after the recovery. */
export function proofTable({before, after}: {before: ShopState; after: ShopState}): string {
  const {good} = styleFor(process.stdout)
  const {done} = symbolsFor(process.env)
  const columns = [
    {header: 'WHAT'},
    {header: 'BEFORE THE ACCIDENT', align: 'right'},
    {header: 'NOW', align: 'right', style: good},
    {header: '', style: good},
  ]
  const counts = pairs(before.tables, after.tables, ({rows}) => formatCountOf(rows, 'row'))
  const checksums = pairs(before.tables, after.tables, ({checksum}) => checksum)
  const sums = pairs(before.sums, after.sums, ({value}) => money(value))
  const rows = [
    ...counts.flatMap((count, index) => [count, ['  checksum', ...checksums[index]!.slice(1)]]),
    ...sums,
    [
      'columns, keys, indexes, views, …',
      `${before.objects.length} definitions`,
      `${after.objects.length} definitions`,
    ],
  ]
  return table(
    columns as Column[],
    rows.map((row) => [...row, done]),
  )
}

function pairs<T extends {name: string}>(before: T[], after: T[], text: (item: T) => string): string[][] {
  const now = new Map(after.map((item) => [item.name, text(item)]))
  return before.map((item) => [item.name, text(item), now.get(item.name) ?? '-'])
}

/** 75,880,191.41 */
function money(amount: string): string {
  return amount.replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ',')
}

function table(columns: Column[], rows: string[][], below?: string): string {
  const text = renderTable(columns, rows, {styleHeader: styleFor(process.stdout).dim})
  return [...text.split('\n'), ...(below === undefined ? [] : ['', below])]
    .map((line) => line && `  ${line}`)
    .join('\n')
}
