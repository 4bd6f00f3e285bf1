import type {Client} from 'pg'

/** `dbba` in ASCII: the class of dbbak's advisory locks; the second key tells what is locked. */
const lockClass = 0x64626261
const databaseContent = 1

/**
 * Claims the database for reading it (backups share it) or for replacing its content (a restore has it alone).
 * An advisory lock of the session: the server gives it back when the session ends, however it ends.
 * @returns whether it could be had
 */
export async function claimDatabase(client: Client, mode: 'shared' | 'exclusive'): Promise<boolean> {
  const lock = mode === 'shared' ? 'pg_try_advisory_lock_shared' : 'pg_try_advisory_lock'
  const {rows} = await client.query<{got: boolean}>(`select pg_catalog.${lock}($1, $2) as got`, [
    lockClass,
    databaseContent,
  ])
  return rows[0]?.got === true
}

/** Who has claimed the database one is connected to: one phrase each. */
export async function claimHolders(client: Client): Promise<string[]> {
  const {rows} = await client.query<{phrase: string}>(
    `select pg_catalog.format('%s, process %s, since %s', coalesce(nullif(a.application_name, ''), 'a session'), l.pid,
            pg_catalog.to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')) as phrase
       from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'advisory' and l.granted and l.classid = $1 and l.objid = $2 and l.pid <> pg_catalog.pg_backend_pid()
        and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
      order by a.backend_start`,
    [lockClass, databaseContent],
  )
  return rows.map(({phrase}) => phrase)
}
