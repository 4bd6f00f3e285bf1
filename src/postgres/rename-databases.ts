import {setTimeout as delay} from 'node:timers/promises'
import type {Client} from 'pg'
import {DbbakError} from '../support/errors.js'
import {quoteIdentifier} from './identifiers.js'

/** SQL for one that is told the names: swaps two databases inside the caller's transaction. */
export function renameStatements(target: string, old: string, copy: string): string[] {
  const rename = (from: string, to: string) =>
    `alter database ${quoteIdentifier(from)} rename to ${quoteIdentifier(to)}`
  return [rename(target, old), rename(copy, target)]
}

/** Others in a database that keep it from being renamed; the server ends its own autovacuum workers by itself. */
export async function sessionsIn(client: Client, database: string): Promise<string[]> {
  const {rows} = await client.query<{phrase: string}>(
    `select pg_catalog.format('%s %s pid %s', coalesce(usename, 'the server'), coalesce(nullif(application_name, ''), backend_type), pid) as phrase
       from pg_catalog.pg_stat_activity where datname = $1 and backend_type <> 'autovacuum worker' order by pid`,
    [database],
  )
  return rows.map(({phrase}) => phrase)
}

/** Waits until nobody is in a database. @throws DbbakError RESTORE_FAILED when somebody still is after the time */
export async function waitUntilEmpty(
  client: Client,
  database: string,
  {waitMs, signal}: {waitMs: number; signal: AbortSignal},
): Promise<void> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const sessions = await sessionsIn(client, database)
    if (sessions.length === 0) return
    if (performance.now() > deadline) throw stillConnected(database, sessions)
    signal.throwIfAborted()
    await delay(200)
  }
}

/** Ends the sessions in a database again and again, until told to stop. Those that it may not end stay. */
export function keepEnding(client: Client, database: string): () => Promise<void> {
  let isWanted = true
  const ending = (async () => {
    while (isWanted) {
      const {rows} = await client.query<{pid: number}>(
        'select pid from pg_catalog.pg_stat_activity where datname = $1',
        [database],
      )
      // One by one: the whole query would fail at the first that this role may not end.
      for (const {pid} of rows)
        await client.query('select pg_catalog.pg_terminate_backend($1)', [pid]).catch(() => {})
      await delay(20)
    }
  })().catch(() => {}) // whether the database can be renamed is what counts
  return () => {
    isWanted = false
    return ending
  }
}

/** object_in_use: sessions that could not be ended, or that came with the right to connect all the same. */
export const isInUse = (error: unknown): boolean => (error as {code?: unknown}).code === '55006'

export function stillConnected(database: string, sessions: string[]): DbbakError {
  const who = sessions.length > 0 ? `: ${sessions.slice(0, 5).join('; ')}` : ''
  return new DbbakError(
    'RESTORE_FAILED',
    `Others are still connected to ${database}${who}. The names were not swapped.`,
    {
      suggestions: [
        'Stop what uses the database, then restore again.',
        'Or end the sessions, also those of other roles: dbbak restore --terminate-connections',
      ],
    },
  )
}
