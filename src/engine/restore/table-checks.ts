import type {Client} from 'pg'
import {DbbakError} from '../../support/errors.js'
import {compareContent, type Difference} from '../content/compare-content.js'
import {recordContent} from '../content/content-record.js'
import type {ContentRecord, Manifest} from '../manifest.js'

/** A table that must be there and hold something after a restore. */
export interface CriticalTable {
  /** `name` or `schema.name`. */
  name: string
  minRows: number
}

/** Reads `orders` or `shop.orders:1000`. @throws DbbakError OPTION_INVALID */
export function parseCriticalTable(text: string): CriticalTable {
  const match = /^(.+?)(?::(\d+))?$/.exec(text)
  if (!match?.[1] || /:\D*$/.test(text)) {
    throw new DbbakError('OPTION_INVALID', `--critical-table ${text} is not NAME or NAME:MIN_ROWS.`, {
      suggestions: ['--critical-table orders:1000'],
    })
  }
  return {name: match[1], minRows: match[2] === undefined ? 1 : Number(match[2])}
}

/**
 * Holds a restored database against the content record.
 * @param rows compare row counts and sequences too (`--verify`)
 * @throws DbbakError TABLE_CHECKS_FAILED with the differences
 */
export async function checkTables(
  client: Client,
  manifest: Manifest,
  critical: CriticalTable[],
  rows: boolean,
  signal: AbortSignal,
): Promise<void> {
  const found = await recordContent(client, signal)
  const expected = manifest.content
  const differences = [
    ...compareContent(expected, found, {
      rows: rows && expected.level !== 'none',
      exact: manifest.selection === null,
    }),
    ...critical.flatMap((table) => checkCritical(table, found)),
  ]
  const [first] = differences
  if (!first) return
  throw new DbbakError(
    'TABLE_CHECKS_FAILED',
    `The restored database is not what the backup says: ${first.object}: expected ${first.expected}, found ${first.found}${differences.length > 1 ? `, and ${differences.length - 1} more` : ''}.`,
    {
      details: {differences},
      suggestions: [
        'Test the backup by itself: dbbak verify --level restore',
        'Use another backup: dbbak list',
      ],
    },
  )
}

function checkCritical({name, minRows}: CriticalTable, {tables}: ContentRecord): Difference[] {
  const table = tables.find(({schema, name: own}) => own === name || `${schema}.${own}` === name)
  if (!table) return [{kind: 'table-missing', object: name, expected: 'a critical table', found: 'none'}]
  if ((table.rows ?? 0) >= minRows) return []
  return [
    {kind: 'rows', object: name, expected: `at least ${minRows} rows`, found: `${table.rows ?? 0} rows`},
  ]
}
