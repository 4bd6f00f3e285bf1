import type {Client} from 'pg'
import {DbbakError} from '../support/errors.js'

/** The oldest server that dbbak is made for. */
export const oldestServerMajor = 13

export interface DatabaseDescription {
  name: string
  oid: number
  owner: string
  encoding: string
  collate: string | null
  ctype: string | null
  localeProvider: 'libc' | 'icu' | 'builtin'
  /** ICU or builtin locale; null for libc. */
  locale: string | null
  sizeBytes: number
}

export interface ServerDescription {
  /** `15.18` */
  version: string
  major: number
  /** The cluster's own identity; null where the role may not ask. */
  systemIdentifier: string | null
  inRecovery: boolean
  isSuperuser: boolean
  role: string
  database: DatabaseDescription
  lockTable: LockTable
}

/** The server's shared table of locks: how many objects one transaction can lock when nobody else does. */
export interface LockTable {
  maxLocksPerTransaction: number
  /** Sessions and prepared transactions that the table is sized for. */
  sessions: number
  capacity: number
}

/** Asks a session about its server and database. @throws DbbakError SERVER_TOO_OLD */
export async function describeServer(client: Client): Promise<ServerDescription> {
  const settings = await readSettings(client)
  const versionNumber = Number(settings.server_version_num)
  const major = Math.floor(versionNumber / 10_000)
  if (major < oldestServerMajor) {
    throw new DbbakError(
      'SERVER_TOO_OLD',
      `The server is PostgreSQL ${settings.server_version}; dbbak needs 13 or newer.`,
      {
        suggestions: ['Upgrade the server, or dump it with its own pg_dump.'],
      },
    )
  }
  const {rows} = await client.query<{role: string; superuser: boolean; recovery: boolean}>(
    `select current_user as role, coalesce((select rolsuper from pg_catalog.pg_roles where rolname = current_user), false) as superuser,
            pg_catalog.pg_is_in_recovery() as recovery`,
  )
  const [session] = rows
  return {
    version: `${major}.${versionNumber % 10_000}`,
    major,
    systemIdentifier: await systemIdentifier(client),
    inRecovery: session?.recovery ?? false,
    isSuperuser: session?.superuser ?? false,
    role: session?.role ?? '',
    database: await describeDatabase(client, major),
    lockTable: lockTable(settings),
  }
}

const settingNames = [
  'server_version',
  'server_version_num',
  'max_locks_per_transaction',
  'max_connections',
  'max_prepared_transactions',
  'autovacuum_max_workers',
  'max_worker_processes',
  'max_wal_senders',
] as const

type SettingValues = Record<(typeof settingNames)[number], string>

async function readSettings(client: Client): Promise<SettingValues> {
  const columns = settingNames.map((name) => `pg_catalog.current_setting('${name}') as ${name}`)
  const {rows} = await client.query<SettingValues>(`select ${columns.join(', ')}`)
  return rows[0] as SettingValues
}

/** After InitProcGlobal and LockShmemSize in the server's source: locks are reserved for every possible backend. */
function lockTable(settings: SettingValues): LockTable {
  const number = (name: keyof SettingValues) => Number(settings[name])
  const backends =
    number('max_connections') +
    number('autovacuum_max_workers') +
    1 +
    number('max_worker_processes') +
    number('max_wal_senders')
  const sessions = backends + number('max_prepared_transactions')
  const maxLocksPerTransaction = number('max_locks_per_transaction')
  return {maxLocksPerTransaction, sessions, capacity: maxLocksPerTransaction * sessions}
}

async function systemIdentifier(client: Client): Promise<string | null> {
  try {
    const {rows} = await client.query<{id: string}>(
      'select system_identifier::text as id from pg_catalog.pg_control_system()',
    )
    return rows[0]?.id ?? null
  } catch {
    return null // some hosted servers do not let ordinary roles ask
  }
}

/** Columns of pg_database that say the locale; they came and were renamed over the versions. */
function localeColumns(major: number): string {
  const provider = `case datlocprovider when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end as "localeProvider"`
  if (major >= 17) return `${provider}, datlocale as locale`
  if (major >= 15) return `${provider}, daticulocale as locale`
  return `'libc' as "localeProvider", null as locale`
}

async function describeDatabase(client: Client, major: number): Promise<DatabaseDescription> {
  const {rows} = await client.query<DatabaseDescription & {oid: string; sizeBytes: string}>(
    `select datname as name, oid::text, pg_catalog.pg_get_userbyid(datdba) as owner,
            pg_catalog.pg_encoding_to_char(encoding) as encoding, datcollate as collate, datctype as ctype,
            ${localeColumns(major)}, pg_catalog.pg_database_size(oid)::text as "sizeBytes"
       from pg_catalog.pg_database where datname = pg_catalog.current_database()`,
  )
  const [row] = rows
  if (!row) throw new DbbakError('QUERY_FAILED', 'The server does not list the database one is connected to.')
  return {...row, oid: Number(row.oid), sizeBytes: Number(row.sizeBytes)}
}

/** The server settings under which every session of ours reads, so that both sides of a comparison read alike. */
export async function prepareSession(client: Client, lockTimeoutMs: number): Promise<void> {
  await client.query(
    `set lock_timeout = ${Math.round(lockTimeoutMs)};
     set row_security = off; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC';
     set extra_float_digits = 3; set bytea_output = 'hex'`,
  )
  // A server notices at once, and not at its next answer, when this program was killed (PostgreSQL 14 and newer, not everywhere).
  await client.query(`set client_connection_check_interval = '5s'`).catch(() => {})
}

/** Who holds ACCESS EXCLUSIVE locks in this database: what a dump waits for. One phrase each. */
export async function exclusiveLockHolders(client: Client): Promise<string[]> {
  const {rows} = await client.query<{phrase: string}>(
    `select distinct format('%s is locked by process %s (%s, %s)', l.relation::pg_catalog.regclass, l.pid,
            coalesce(a.usename, 'unknown role'), coalesce(nullif(a.application_name, ''), 'no application name')) as phrase
       from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'relation' and l.granted and l.mode = 'AccessExclusiveLock' and l.relation >= 16384
        and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
        and l.pid <> pg_catalog.pg_backend_pid()
      limit 5`,
  )
  return rows.map(({phrase}) => phrase)
}
