import type {Client} from 'pg'
import {quoteIdentifier, quoteLiteral} from './identifiers.js'

/** Everything that belongs to a database itself and not to what is in it; a copy has to have it too. */
export interface DatabaseProperties {
  oid: string
  name: string
  owner: string
  /** null: that of template0, which needs no right of its own. */
  tablespace: string | null
  encoding: string
  collate: string
  ctype: string
  provider: 'c' | 'i' | 'b'
  locale: string | null
  icuRules: string | null
  connectionLimit: number
  comment: string | null
  hasOwnPrivileges: boolean
  isTemplate: boolean
}

/**
 * The statements that make an empty database like another; the first creates it and cannot run in a transaction. What
 * would be in the way of filling or dropping it comes at the end: see `finishingStatements`.
 */
export async function likeDatabase(
  client: Client,
  source: string,
  copy: string,
  major: number,
): Promise<string[]> {
  const properties = await readProperties(client, source, major)
  return [
    createStatement(properties, copy, major),
    ...(await settingStatements(client, properties, copy)),
    ...(await privilegeStatements(client, properties, copy)),
    ...(await labelStatements(client, properties, copy)),
  ]
}

export async function readProperties(
  client: Client,
  name: string,
  major: number,
): Promise<DatabaseProperties> {
  const locale = major >= 17 ? 'datlocale' : major >= 15 ? 'daticulocale' : 'null::text'
  const {rows} = await client.query<DatabaseProperties>(
    `select d.oid::text, d.datname as name, pg_catalog.pg_get_userbyid(d.datdba) as owner, t.spcname as tablespace,
            d.datistemplate as "isTemplate",
            pg_catalog.pg_encoding_to_char(d.encoding) as encoding, d.datcollate as collate, d.datctype as ctype,
            ${major >= 15 ? 'd.datlocprovider' : `'c'`} as provider, ${locale} as locale,
            ${major >= 16 ? 'd.daticurules' : 'null::text'} as "icuRules", d.datconnlimit as "connectionLimit",
            pg_catalog.shobj_description(d.oid, 'pg_database') as comment, d.datacl is not null as "hasOwnPrivileges"
       from pg_catalog.pg_database d left join pg_catalog.pg_tablespace t on t.oid = d.dattablespace
        and d.dattablespace <> (select dattablespace from pg_catalog.pg_database where datname = 'template0')
      where d.datname = $1`,
    [name],
  )
  return rows[0] as DatabaseProperties
}

/** What a copy gets only when it takes the other's place: its comment, its limit of connections, being a template. */
export function finishingStatements(
  {comment, connectionLimit, isTemplate}: DatabaseProperties,
  copy: string,
): string[] {
  const database = `database ${quoteIdentifier(copy)}`
  return [
    `comment on ${database} is ${comment === null ? 'null' : quoteLiteral(comment)}`,
    `alter ${database} with connection limit ${connectionLimit}`,
    `alter ${database} with is_template ${isTemplate}`,
  ]
}

function createStatement(properties: DatabaseProperties, copy: string, major: number): string {
  const {owner, tablespace, encoding} = properties
  return [
    `create database ${quoteIdentifier(copy)} template template0`,
    `owner ${quoteIdentifier(owner)} encoding ${quoteLiteral(encoding)}`,
    localeClause(properties, major),
    ...(tablespace === null ? [] : [`tablespace ${quoteIdentifier(tablespace)}`]),
  ].join(' ')
}

function localeClause(
  {collate, ctype, provider, locale, icuRules}: DatabaseProperties,
  major: number,
): string {
  const libc = `lc_collate ${quoteLiteral(collate)} lc_ctype ${quoteLiteral(ctype)}`
  if (major < 15) return libc
  if (provider === 'i') {
    const rules = icuRules === null ? '' : ` icu_rules ${quoteLiteral(icuRules)}`
    return `${libc} locale_provider icu icu_locale ${quoteLiteral(locale ?? 'und')}${rules}`
  }
  if (provider === 'b') return `${libc} locale_provider builtin builtin_locale ${quoteLiteral(locale ?? 'C')}`
  return `${libc} locale_provider libc`
}

/** Settings whose value is a list of names, each quoted by itself (GUC_LIST_QUOTE in the server's source). */
const listSettings = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
])

/** ALTER DATABASE … SET, and ALTER ROLE … IN DATABASE … SET. */
async function settingStatements(client: Client, {oid}: DatabaseProperties, copy: string): Promise<string[]> {
  const {rows} = await client.query<{role: string | null; entry: string}>(
    `select r.rolname as role, unnest(s.setconfig) as entry
       from pg_catalog.pg_db_role_setting s left join pg_catalog.pg_roles r on r.oid = s.setrole
      where s.setdatabase = $1::oid and (s.setrole = 0 or r.oid is not null)`,
    [oid],
  )
  return rows.map(({role, entry}) => {
    const at = entry.indexOf('=')
    const [name, value] = [entry.slice(0, at), entry.slice(at + 1)]
    const subject =
      role === null
        ? `database ${quoteIdentifier(copy)}`
        : `role ${quoteIdentifier(role)} in database ${quoteIdentifier(copy)}`
    const parameter = name.split('.').map(quoteIdentifier).join('.')
    return `alter ${subject} set ${parameter} to ${listSettings.has(name) ? listValue(value) : quoteLiteral(value)}`
  })
}

/** `"$user", public` as the server keeps it, for SET: each name a literal of its own. */
export function listValue(value: string): string {
  const names = [...value.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,"]*?))\s*(?:,|$)/g)]
    .map(([, quoted, plain]) => (quoted === undefined ? plain : quoted.replaceAll('""', '"')))
    .filter((name): name is string => name !== undefined && name !== '')
  return names.length > 0 ? names.map(quoteLiteral).join(', ') : quoteLiteral('')
}

async function privilegeStatements(
  client: Client,
  {oid, hasOwnPrivileges, owner}: DatabaseProperties,
  copy: string,
): Promise<string[]> {
  if (!hasOwnPrivileges) return []
  const {rows} = await client.query<{grantee: string | null; privilege: string; grantable: boolean}>(
    `select case when a.grantee = 0 then null else pg_catalog.pg_get_userbyid(a.grantee) end as grantee,
            a.privilege_type as privilege, a.is_grantable as grantable
       from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a where d.oid = $1::oid`,
    [oid],
  )
  const on = `on database ${quoteIdentifier(copy)}`
  return [
    `revoke all ${on} from public, ${quoteIdentifier(owner)}`,
    ...rows.map(
      ({grantee, privilege, grantable}) =>
        `grant ${privilege} ${on} to ${grantee === null ? 'public' : quoteIdentifier(grantee)}${grantable ? ' with grant option' : ''}`,
    ),
  ]
}

async function labelStatements(client: Client, {oid}: DatabaseProperties, copy: string): Promise<string[]> {
  const {rows} = await client.query<{provider: string; label: string}>(
    `select provider, label from pg_catalog.pg_shseclabel
      where objoid = $1::oid and classoid = 'pg_catalog.pg_database'::pg_catalog.regclass`,
    [oid],
  )
  return rows.map(
    ({provider, label}) =>
      `security label for ${quoteIdentifier(provider)} on database ${quoteIdentifier(copy)} is ${quoteLiteral(label)}`,
  )
}
