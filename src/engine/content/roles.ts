import type {Client} from 'pg'

/** The roles that a restore needs on its target. */
export interface RoleNames {
  /** All that the dump names: owners, and those who were granted something. */
  roles: string[]
  /** Those that own something in the dump: whoever restores must be able to give it to them. */
  owners: string[]
}

/** What can be owned; the server notes no owner for what belongs to its first superuser, so it is asked for by table. */
const owned: [catalog: string, owner: string][] = [
  ['pg_class', 'relowner'],
  ['pg_proc', 'proowner'],
  ['pg_type', 'typowner'],
  ['pg_namespace', 'nspowner'],
  ['pg_operator', 'oprowner'],
  ['pg_opclass', 'opcowner'],
  ['pg_opfamily', 'opfowner'],
  ['pg_collation', 'collowner'],
  ['pg_conversion', 'conowner'],
  ['pg_statistic_ext', 'stxowner'],
  ['pg_ts_config', 'cfgowner'],
  ['pg_ts_dict', 'dictowner'],
  ['pg_foreign_data_wrapper', 'fdwowner'],
  ['pg_foreign_server', 'srvowner'],
  ['pg_language', 'lanowner'],
  ['pg_event_trigger', 'evtowner'],
  ['pg_publication', 'pubowner'],
  ['pg_largeobject_metadata', 'lomowner'],
]

/** Objects that initdb made; everything of users has a higher oid. */
const firstUserOid = 16384

const notTemporary = (catalog: string) =>
  catalog === 'pg_class' || catalog === 'pg_type'
    ? `and not exists (select from pg_catalog.pg_namespace t where t.oid = o.${catalog === 'pg_class' ? 'relnamespace' : 'typnamespace'} and t.nspname ~ '^pg_(toast_)?temp_')`
    : ''

/** Not by itself, nor as a part (an array type, a TOAST table) of something that came with an extension. */
const ofItsOwn = (catalog: string) =>
  `not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and d.objid = o.oid and d.deptype in ('e', 'i'))`

const ownersOf = ([catalog, owner]: [string, string]) =>
  `select o.${owner} from pg_catalog.${catalog} o where o.oid >= ${firstUserOid} and ${ofItsOwn(catalog)}
   ${catalog === 'pg_class' ? `and o.relkind not in ('i', 'I')` : ''} ${notTemporary(catalog)}`

/**
 * Reads the roles that a dump names. Extensions bring their objects by themselves, so their owners do not count; the
 * roles of a default privilege count as owners, since only a member of them may set it.
 */
export async function readRoles(client: Client): Promise<RoleNames> {
  const {rows} = await client.query<{name: string; owns: boolean}>(
    `with owner (role) as (${owned.map(ownersOf).join(' union ')} union select defaclrole from pg_catalog.pg_default_acl),
     named (role) as (
       select refobjid from pg_catalog.pg_shdepend
        where refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and deptype in ('a', 'r')
          and dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
       union select umuser from pg_catalog.pg_user_mappings)
     select rolname as name, oid in (select role from owner) as owns from pg_catalog.pg_roles
      where rolname !~ '^pg_' and (oid in (select role from owner) or oid in (select role from named)) order by 1`,
  )
  return {
    roles: rows.map(({name}) => name),
    owners: rows.filter(({owns}) => owns).map(({name}) => name),
  }
}
