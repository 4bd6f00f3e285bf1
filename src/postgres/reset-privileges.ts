import type {Client} from 'pg'

/** Puts ALTER DEFAULT PRIVILEGES back to what the server has without them. */
export async function resetDefaultPrivileges(client: Client): Promise<void> {
  const {rows} = await client.query<{sql: string}>(`
    with entry as (
      select d.oid, d.defaclobjtype, pg_catalog.pg_get_userbyid(d.defaclrole) as role, n.nspname,
             case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types'
                  when 'n' then 'schemas' when 'L' then 'large objects' end as objects,
             (select string_agg(distinct case when a.grantee = 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end, ', ')
                from pg_catalog.aclexplode(d.defaclacl) a) as grantees
        from pg_catalog.pg_default_acl d left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace)
    select format('alter default privileges for role %I %s revoke all on %s from %s', role, case when nspname is null then '' else format('in schema %I', nspname) end, objects, grantees) as sql
      from entry where grantees is not null
    union all
    select format('alter default privileges for role %I grant all on %s to %I', role, objects, role) from entry where nspname is null
    union all
    select format('alter default privileges for role %I grant %s on %s to public', role, case defaclobjtype when 'f' then 'execute' else 'usage' end, objects)
      from entry where nspname is null and defaclobjtype in ('f', 'T')`)
  for (const {sql} of rows) await client.query(sql)
}

/** SQL: the roles that an ACL names, as GRANT and REVOKE take them; null where it names none. */
const granteesOf = (acl: string) =>
  `(select string_agg(distinct case when a.grantee = 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end, ', ') from pg_catalog.aclexplode(${acl}) a)`

/** The public schema as a new database has it, where the role may change it. */
export async function resetPublicSchema(client: Client): Promise<void> {
  await client.query('create schema if not exists public')
  const schema = await schemaNamed(client, 'public')
  if (!schema?.mine) return
  const owner = schema.major >= 15 ? 'pg_database_owner' : schema.superuser
  if (schema.major >= 15 || schema.mayGiveAway) await client.query(`alter schema public owner to ${owner}`)
  await revokeEverything(client, 'public')
  await client.query(`comment on schema public is 'standard public schema'`)
  await client.query(`grant ${schema.major >= 15 ? 'usage' : 'all'} on schema public to public`)
}

/** The schemas of users that are still there: an extension that stays lives in them. @returns their names */
export async function resetKeptSchemas(client: Client): Promise<string[]> {
  const {rows} = await client.query<{name: string; quoted: string; mine: boolean}>(
    `select nspname as name, quote_ident(nspname) as quoted, pg_catalog.pg_has_role(nspowner, 'usage') as mine from pg_catalog.pg_namespace n
      where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
        and exists (select from pg_catalog.pg_extension x where x.extnamespace = n.oid)
        and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass and d.objid = n.oid and d.deptype = 'e')`,
  )
  for (const {quoted, mine} of rows) {
    if (!mine) continue
    await revokeEverything(client, quoted)
    await client.query(`comment on schema ${quoted} is null`)
  }
  return rows.map(({name}) => name)
}

interface SchemaState {
  mine: boolean
  /** The role may make the first superuser its owner. */
  mayGiveAway: boolean
  superuser: string
  major: number
}

async function schemaNamed(client: Client, name: string): Promise<SchemaState | undefined> {
  const {rows} = await client.query<SchemaState>(
    `select pg_catalog.pg_has_role(nspowner, 'usage') as mine, pg_catalog.pg_has_role(10, 'member') as "mayGiveAway",
            quote_ident(pg_catalog.pg_get_userbyid(10)) as superuser, pg_catalog.current_setting('server_version_num')::int / 10000 as major
       from pg_catalog.pg_namespace where nspname = $1`,
    [name],
  )
  return rows[0]
}

/** Leaves a schema to its owner alone. @param schema quoted where it must be */
async function revokeEverything(client: Client, schema: string): Promise<void> {
  const {rows} = await client.query<{grantees: string | null; owner: string}>(
    `select ${granteesOf('nspacl')} as grantees, quote_ident(pg_catalog.pg_get_userbyid(nspowner)) as owner from pg_catalog.pg_namespace where oid = $1::pg_catalog.regnamespace`,
    [schema],
  )
  const [state] = rows
  if (state?.grantees) await client.query(`revoke all on schema ${schema} from ${state.grantees} cascade`)
  if (state) await client.query(`grant all on schema ${schema} to ${state.owner}`)
}

/** Objects of the server itself that have privileges of their own in each database: what to call them, and their ACL now. */
const systemObjects = `
  select 'pg_catalog.pg_class'::pg_catalog.regclass::oid as class, oid as object, 0 as sub, relacl as acl, relowner as owner, 'r'::"char" as kind, '' as columns, 'table ' || oid::pg_catalog.regclass as name
    from pg_catalog.pg_class where oid < 16384 and relkind in ('r', 'v')
  union all
  select 'pg_catalog.pg_class'::pg_catalog.regclass::oid, attrelid, attnum, attacl, relowner, 'c', format('(%I)', attname), 'table ' || c.oid::pg_catalog.regclass
    from pg_catalog.pg_attribute join pg_catalog.pg_class c on c.oid = attrelid where attrelid < 16384 and relkind in ('r', 'v') and attnum > 0 and not attisdropped
  union all
  select 'pg_catalog.pg_proc'::pg_catalog.regclass::oid, oid, 0, proacl, proowner, 'f', '', 'routine ' || oid::pg_catalog.regprocedure from pg_catalog.pg_proc where oid < 16384
  union all
  select 'pg_catalog.pg_type'::pg_catalog.regclass::oid, oid, 0, typacl, typowner, 'T', '', format('type %s.%I', typnamespace::pg_catalog.regnamespace, typname) from pg_catalog.pg_type where oid < 16384 and typacl is not null
  union all
  select 'pg_catalog.pg_language'::pg_catalog.regclass::oid, oid, 0, lanacl, lanowner, 'l', '', format('language %I', lanname) from pg_catalog.pg_language where oid < 16384 and lanpltrusted
  union all
  select 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, oid, 0, nspacl, nspowner, 'n', '', format('schema %I', nspname) from pg_catalog.pg_namespace where oid < 16384 and nspname in ('pg_catalog', 'information_schema')`

/**
 * Gives the server's own objects the privileges back that they have in a new database: a dump tells only how they
 * differ from these. Nothing is done where they do not.
 */
export async function resetSystemPrivileges(client: Client): Promise<void> {
  const {rows} = await client.query<{sql: string}>(`
    with object as (${systemObjects}),
    state as (
      select o.*, coalesce(i.initprivs, case when o.kind <> 'c' then pg_catalog.acldefault(o.kind, o.owner) end) as first, i.initprivs is null and o.acl is null as untouched
        from object o left join pg_catalog.pg_init_privs i on i.classoid = o.class and i.objoid = o.object and i.objsubid = o.sub),
    changed as (select distinct class, object from state where not untouched and acl is distinct from first)
    select sql from (
      select 1 as step, format('revoke all on %s from %s cascade', name, string_agg(distinct grantees, ', ')) as sql
        from (select name, ${granteesOf('acl')} as grantees from state join changed using (class, object)) now where grantees is not null group by name
      union all
      select 2, format('grant %s %s on %s to %s%s', a.privilege_type, columns, name, case when a.grantee = 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end,
                case when a.is_grantable then ' with grant option' else '' end)
        from state join changed using (class, object), pg_catalog.aclexplode(first) a) statements
    order by step`)
  for (const {sql} of rows) await client.query(sql)
}
