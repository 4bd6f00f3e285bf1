import type {ConnectionDescription} from '../../postgres/connection.js'
import {inSession} from './session.js'

/** What a tired person types into the wrong window. */
export const accidentStatements = [
  {
    sql: 'UPDATE order_items SET unit_price = 9.99;',
    meant: 'for one order only',
  },
  {sql: 'DROP TABLE customers CASCADE;', meant: 'for the test server'},
] as const

/** One statement of the accident and what the server said to it. */
export interface AccidentStatement {
  sql: string
  /** What it should have been. */
  meant: string
  /** As psql shows it: `UPDATE 250000`. */
  outcome: string
  /** What CASCADE took along, one a line. */
  notices: string[]
}

/** Damages the demo's database as people do. */
export async function haveAccident(
  shop: ConnectionDescription,
  signal: AbortSignal,
): Promise<AccidentStatement[]> {
  return inSession(shop, signal, 'having the accident', async (client) => {
    const statements: AccidentStatement[] = []
    let notices: string[] = []
    client.on('notice', ({message, detail}) => notices.push(...(detail ?? message ?? '').split('\n')))
    for (const {sql, meant} of accidentStatements) {
      notices = []
      const {command, rowCount} = await client.query(sql)
      const outcome = command === 'UPDATE' ? `${command} ${rowCount}` : sql.split(' ', 2).join(' ')
      statements.push({sql, meant, outcome, notices})
    }
    return statements
  })
}
