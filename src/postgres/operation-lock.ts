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
