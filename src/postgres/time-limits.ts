import type {Client} from 'pg'
import {isServerError} from './query-errors.js'

const queryCanceled = '57014'
const mostTries = 20

/**
 * Limits that are set for a role or a database are meant for its application: dropping a database may take longer, and
 * so may the user, who reads. The limit on statements goes first: it is in force here too.
 */
const noLimits = `
  select pg_catalog.current_setting('statement_timeout') as former, pg_catalog.set_config('statement_timeout', '0', false);
  select pg_catalog.set_config(name, '0', false)
    from (values ('idle_session_timeout'), ('transaction_timeout'), ('idle_in_transaction_session_timeout')) as limits (name)
   where pg_catalog.current_setting(name, true) is not null`

/**
 * To be called first of all.
 * @returns `short` where the limit on statements was below 100 ms. Where the processors are busy, the server may notice
 *   only after its answer that the limit is over, and cancel whatever comes next
 * @throws what the server says; the session may be lost by then
 */
export async function liftTimeLimits(client: Client): Promise<'lifted' | 'short'> {
  for (let tries = 1; ; tries++) {
    try {
      // Several statements give several results.
      const results = (await client.query(noLimits)) as unknown as {rows: {former: string}[]}[]
      return /^\d{1,2}ms$/.test(results[0]!.rows[0]!.former) ? 'short' : 'lifted'
    } catch (error) {
      const isLimit = isServerError(error) && error.code === queryCanceled
      if (!isLimit || tries === mostTries) throw error
    }
  }
}
