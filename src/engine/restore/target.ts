import type {Client} from 'pg'
import {asQueryError} from '../../postgres/connect.js'
import {isDatabaseEmpty} from '../../postgres/is-database-empty.js'
import type {LockTable, ServerDescription} from '../../postgres/server.js'

/** Somebody else who is connected to the target. */
export interface OtherSession {
  pid: number
  role: string
  application: string
  address: string
  state: string
}

/** What the target holds now: what a restore replaces. */
export interface TargetContent {
  tables: number
  /** Nothing of anybody's is in it: no table, function, type, schema, large object, … */
  isEmpty: boolean
  /** The planner's estimate, not a count. */
  estimatedRows: number
  sizeBytes: number
}

export async function otherSessions(client: Client): Promise<OtherSession[]> {
  const {rows} = await client.query<OtherSession>(
    `select pid, coalesce(usename, '') as role, coalesce(application_name, '') as application,
            coalesce(client_addr::text, 'local') as address, coalesce(state, '') as state
       from pg_catalog.pg_stat_activity
      where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid() and backend_type = 'client backend'
      order by pid`,
  )
  return rows
}

/** One phrase, for people. */
export const describeSession = ({pid, role, application, address, state}: OtherSession): string =>
  `${role}@${address} ${application || '(no name)'} pid ${pid} ${state}`.trimEnd()

/** Ends the other sessions. @returns those that this role may not end */
export async function terminateSessions(client: Client): Promise<OtherSession[]> {
  for (const {pid} of await otherSessions(client)) {
    await client.query('select pg_catalog.pg_terminate_backend($1)', [pid]).catch(() => {})
  }
  const deadline = performance.now() + 5000
  let left = await otherSessions(client)
  while (left.length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    left = await otherSessions(client)
  }
  return left
}

export async function describeContent(client: Client, {database}: ServerDescription): Promise<TargetContent> {
  const {rows} = await client.query<{tables: string; rows: string}>(
    `select count(*) filter (where not c.relispartition) as tables, coalesce(sum(greatest(c.reltuples, 0)) filter (where c.relkind = 'r'), 0)::int8 as rows
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`,
  )
  return {
    tables: Number(rows[0]?.tables),
    isEmpty: await isDatabaseEmpty(client),
    estimatedRows: Number(rows[0]?.rows),
    sizeBytes: database.sizeBytes,
  }
}

/** Locks that dropping everything and creating the backup's tables takes in one transaction. */
export async function locksNeeded(client: Client, newTables: number): Promise<number> {
  const {rows} = await client.query<{n: string}>(
    `select (select count(*) from pg_catalog.pg_class where oid >= 16384) + (select count(*) from pg_catalog.pg_type where oid >= 16384)
          + (select count(*) from pg_catalog.pg_constraint where oid >= 16384) + (select count(*) from pg_catalog.pg_attrdef)
          + (select count(*) from pg_catalog.pg_trigger where oid >= 16384) + (select count(*) from pg_catalog.pg_rewrite where oid >= 16384)
          + (select count(*) from pg_catalog.pg_proc where oid >= 16384) + (select count(*) from pg_catalog.pg_largeobject_metadata) as n`,
  )
  return Number(rows[0]?.n) + newTables * locksPerNewTable
}

/** A table, its toast table and that one's index, its type, two indexes: seen in pg_locks during restores of real schemas. */
const locksPerNewTable = 6

/** A transaction that takes more locks than this may run out of memory for them. */
export const usableLocks = ({capacity}: LockTable): number => Math.floor(capacity * 0.9)

export async function query<T extends object>(
  client: Client,
  sql: string,
  values: unknown[] = [],
): Promise<T[]> {
  try {
    return (await client.query<T>(sql, values)).rows
  } catch (error) {
    throw asQueryError(error, 'asking the target')
  }
}
