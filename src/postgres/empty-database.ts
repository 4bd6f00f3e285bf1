import type {Client} from 'pg'
import {
  resetDefaultPrivileges,
  resetKeptSchemas,
  resetPublicSchema,
  resetSystemPrivileges,
} from './reset-privileges.js'

/** What had to stay, since it belongs to somebody else. */
export interface Kept {
  extensions: string[]
  /** Schemas in which these extensions live; emptied of everything else. */
  schemas: string[]
}

/**
 * Drops everything in a database that is not the server's own, also what no backup knows, so that a restore never
 * leaves a mix of old and new. Runs inside the caller's transaction. Extensions of other roles stay, with what came
 * with them, and are returned.
 */
export async function emptyDatabase(client: Client, isSuperuser: boolean): Promise<Kept> {
  // Event triggers first: they would fire on every DROP that follows.
  await dropAll(client, eventTriggers)
  await dropAll(client, publications)
  await dropAll(client, schemas)
  for (const sql of objectsOutsideTheirSchema) await dropAll(client, sql)
  for (const sql of schemaless) await dropAll(client, sql)
  // After what uses them: an index whose operator class has options cannot be dropped through its extension.
  await dropAll(client, droppableExtensions(isSuperuser))
  await dropAll(client, schemas)
  await client.query('select count(pg_catalog.lo_unlink(oid)) from pg_catalog.pg_largeobject_metadata')
  return likeNew(client, isSuperuser)
}

/** Takes back what a database was given beside its objects: privileges, default privileges, the schema public. */
export async function likeNew(client: Client, isSuperuser: boolean): Promise<Kept> {
  await resetDefaultPrivileges(client)
  await resetPublicSchema(client)
  if (isSuperuser) await resetSystemPrivileges(client)
  return {extensions: await keptExtensions(client), schemas: await resetKeptSchemas(client)}
}

/** SQL: lists objects, each with its catalogue's oid, its own, and the statement that drops it. */
export type Listing = string

/** SQL: the columns of a listing. @param sql an expression that gives the statement */
export const listed = (catalog: string, oid: string, sql: string) =>
  `select 'pg_catalog.${catalog}'::pg_catalog.regclass::pg_catalog.oid as class, ${oid} as oid, ${sql} as sql`

export const ofExtension = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend e where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = ${oid} and e.deptype = 'e')`

/** SQL: a part of something else that cannot be dropped by itself, like the constructors of a range type. */
const partOfAnother = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend whole where whole.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and whole.objid = ${oid} and whole.deptype = 'i')`

/** Objects that initdb made; everything of users has a higher oid. */
const firstUserOid = 16384

export const userSchema = (column: string) =>
  `${column} in (select oid from pg_catalog.pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema')`

export const eventTriggers: Listing = `${listed('pg_event_trigger', 't.oid', `format('drop event trigger %I', evtname)`)} from pg_catalog.pg_event_trigger t where not ${ofExtension('pg_event_trigger', 't.oid')}`
export const publications: Listing = `${listed('pg_publication', 'oid', `format('drop publication %I', pubname)`)} from pg_catalog.pg_publication`

/** Whole schemas, except public (which the server counts as its own) and those that an extension made or, while it is there, lives in. */
export const schemas: Listing = `
  ${listed('pg_namespace', 'n.oid', `format('drop schema %I cascade', nspname)`)} from pg_catalog.pg_namespace n
   where nspname !~ '^pg_' and nspname not in ('information_schema', 'public') and not ${ofExtension('pg_namespace', 'n.oid')}
     and not exists (select from pg_catalog.pg_extension x where x.extnamespace = n.oid)`

const dropType = listed(
  'pg_type',
  't.oid',
  `format('drop type if exists %s cascade', t.oid::pg_catalog.regtype)`,
)

/** SQL: what DROP calls a pg_class row. */
const relationKind = `case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' when 'S' then 'sequence' else 'table' end`
const dropRelation = listed(
  'pg_class',
  'c.oid',
  `format('drop %s if exists %s cascade', ${relationKind}, c.oid::pg_catalog.regclass)`,
)

/** SQL: relations of users, of some kinds (the letters of relkind). */
export const relations = (kinds: string[], condition = 'true'): Listing =>
  `${dropRelation} from pg_catalog.pg_class c
    where relkind in (${kinds.map((kind) => `'${kind}'`).join(', ')}) and relpersistence <> 't'
      and ${userSchema('relnamespace')} and not ${ofExtension('pg_class', 'c.oid')} and ${condition}`

/** Object by object, in the schemas that stay: each statement asks again, since CASCADE has taken some with it. */
export const objectsOutsideTheirSchema: Listing[] = [
  relations(['r', 'p', 'v', 'm', 'f'], 'not relispartition'),
  relations(['S']),
  `${listed('pg_proc', 'p.oid', `format('drop routine if exists %s cascade', p.oid::pg_catalog.regprocedure)`)}
     from pg_catalog.pg_proc p where ${userSchema('pronamespace')} and not ${ofExtension('pg_proc', 'p.oid')} and not ${partOfAnother('pg_proc', 'p.oid')}`,
  `${dropType} from pg_catalog.pg_type t
    where ${userSchema('typnamespace')} and not ${ofExtension('pg_type', 't.oid')} and typrelid = 0 and typtype <> 'm'
      and not exists (select from pg_catalog.pg_type element where element.typarray = t.oid)
   union all
   ${dropType} from pg_catalog.pg_type t join pg_catalog.pg_class c on c.oid = t.typrelid
    where c.relkind = 'c' and ${userSchema('typnamespace')} and not ${ofExtension('pg_type', 't.oid')} and not ${ofExtension('pg_class', 'c.oid')}`,
  `${listed('pg_operator', 'o.oid', `format('drop operator if exists %s cascade', o.oid::pg_catalog.regoperator)`)}
     from pg_catalog.pg_operator o where ${userSchema('oprnamespace')} and not ${ofExtension('pg_operator', 'o.oid')}`,
  `${listed('pg_opfamily', 'f.oid', `format('drop operator family if exists %I.%I using %I cascade', n.nspname, f.opfname, a.amname)`)}
     from pg_catalog.pg_opfamily f join pg_catalog.pg_namespace n on n.oid = f.opfnamespace join pg_catalog.pg_am a on a.oid = f.opfmethod
    where ${userSchema('opfnamespace')} and not ${ofExtension('pg_opfamily', 'f.oid')}`,
  named('collation', 'pg_collation', 'collname', 'collnamespace'),
  named('conversion', 'pg_conversion', 'conname', 'connamespace'),
  named('statistics', 'pg_statistic_ext', 'stxname', 'stxnamespace'),
  named('text search configuration', 'pg_ts_config', 'cfgname', 'cfgnamespace'),
  named('text search dictionary', 'pg_ts_dict', 'dictname', 'dictnamespace'),
  named('text search parser', 'pg_ts_parser', 'prsname', 'prsnamespace'),
  named('text search template', 'pg_ts_template', 'tmplname', 'tmplnamespace'),
]

function named(kind: string, catalog: string, name: string, namespace: string): Listing {
  return `${listed(catalog, 'o.oid', `format('drop ${kind} if exists %I.%I cascade', n.nspname, o.${name})`)} from pg_catalog.${catalog} o
            join pg_catalog.pg_namespace n on n.oid = o.${namespace} where ${userSchema(`o.${namespace}`)} and not ${ofExtension(catalog, 'o.oid')}`
}

/** What belongs to the database and to no schema. */
export const schemaless: Listing[] = [
  `${listed('pg_transform', 't.oid', `format('drop transform if exists for %s language %I cascade', trftype::pg_catalog.regtype, lanname)`)}
     from pg_catalog.pg_transform t join pg_catalog.pg_language l on l.oid = t.trflang where not ${ofExtension('pg_transform', 't.oid')}`,
  database('foreign data wrapper', 'pg_foreign_data_wrapper', 'fdwname'),
  database('server', 'pg_foreign_server', 'srvname'),
  `${listed('pg_cast', 'c.oid', `format('drop cast if exists (%s as %s) cascade', castsource::pg_catalog.regtype, casttarget::pg_catalog.regtype)`)}
     from pg_catalog.pg_cast c where c.oid >= ${firstUserOid} and not ${ofExtension('pg_cast', 'c.oid')} and not ${partOfAnother('pg_cast', 'c.oid')}`,
  database('language', 'pg_language', 'lanname'),
  database('access method', 'pg_am', 'amname'),
]

function database(kind: string, catalog: string, name: string): Listing {
  return `${listed(catalog, 'o.oid', `format('drop ${kind} if exists %I cascade', ${name})`)} from pg_catalog.${catalog} o
           where o.oid >= ${firstUserOid} and not ${ofExtension(catalog, 'o.oid')}`
}

/** All but plpgsql, which every database has, and those that belong to somebody else. */
export const droppableExtensions = (isSuperuser: boolean): Listing =>
  `${listed('pg_extension', 'oid', `format('drop extension if exists %I cascade', extname)`)} from pg_catalog.pg_extension
    where extname <> 'plpgsql' and (${isSuperuser} or pg_catalog.pg_has_role(extowner, 'usage')) order by oid desc`

/** So many statements go to the server at once. */
const batch = 100

async function dropAll(client: Client, listing: Listing): Promise<void> {
  const {rows} = await client.query<{sql: string}>(listing)
  for (let start = 0; start < rows.length; start += batch) {
    await client.query(
      rows
        .slice(start, start + batch)
        .map(({sql}) => sql)
        .join('; '),
    )
  }
}

async function keptExtensions(client: Client): Promise<string[]> {
  const {rows} = await client.query<{name: string}>(
    `select extname as name from pg_catalog.pg_extension where extname <> 'plpgsql' order by oid`,
  )
  return rows.map(({name}) => name)
}
