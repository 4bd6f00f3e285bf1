import type {Client} from 'pg'
import {quoteIdentifier} from './identifiers.js'
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
  const extensions = await dropExtensions(client, isSuperuser)
  await dropAll(client, schemas)
  await dropLargeObjects(client)
  await resetDefaultPrivileges(client)
  await resetPublicSchema(client)
  if (isSuperuser) await resetSystemPrivileges(client)
  return {extensions, schemas: await resetKeptSchemas(client)}
}

const ofExtension = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend e where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = ${oid} and e.deptype = 'e')`

/** SQL: a part of something else that cannot be dropped by itself, like the constructors of a range type. */
const partOfAnother = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend whole where whole.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and whole.objid = ${oid} and whole.deptype = 'i')`

/** Objects that initdb made; everything of users has a higher oid. */
const firstUserOid = 16384

const userSchema = (column: string) =>
  `${column} in (select oid from pg_catalog.pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema')`

const eventTriggers = `select format('drop event trigger %I', evtname) as sql from pg_catalog.pg_event_trigger t where not ${ofExtension('pg_event_trigger', 't.oid')}`
const publications = `select format('drop publication %I', pubname) as sql from pg_catalog.pg_publication`

/** Whole schemas, except public (which the server counts as its own) and those that an extension made or, while it is there, lives in. */
const schemas = `
  select format('drop schema %I cascade', nspname) as sql from pg_catalog.pg_namespace n
   where nspname !~ '^pg_' and nspname not in ('information_schema', 'public') and not ${ofExtension('pg_namespace', 'n.oid')}
     and not exists (select from pg_catalog.pg_extension x where x.extnamespace = n.oid)`

/** Object by object, in the schemas that stay: each statement asks again, since CASCADE has taken some with it. */
const objectsOutsideTheirSchema = [
  `select format('drop %s if exists %s cascade', case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'table' end, c.oid::pg_catalog.regclass) as sql
     from pg_catalog.pg_class c where relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition and relpersistence <> 't' and ${userSchema('relnamespace')} and not ${ofExtension('pg_class', 'c.oid')}`,
  `select format('drop sequence if exists %s cascade', c.oid::pg_catalog.regclass) as sql
     from pg_catalog.pg_class c where relkind = 'S' and relpersistence <> 't' and ${userSchema('relnamespace')} and not ${ofExtension('pg_class', 'c.oid')}`,
  `select format('drop routine if exists %s cascade', p.oid::pg_catalog.regprocedure) as sql
     from pg_catalog.pg_proc p where ${userSchema('pronamespace')} and not ${ofExtension('pg_proc', 'p.oid')} and not ${partOfAnother('pg_proc', 'p.oid')}`,
  `select format('drop type if exists %s cascade', t.oid::pg_catalog.regtype) as sql
     from pg_catalog.pg_type t where ${userSchema('typnamespace')} and not ${ofExtension('pg_type', 't.oid')} and typrelid = 0 and typtype <> 'm'
      and not exists (select from pg_catalog.pg_type element where element.typarray = t.oid)
   union all
   select format('drop type if exists %s cascade', t.oid::pg_catalog.regtype)
     from pg_catalog.pg_type t join pg_catalog.pg_class c on c.oid = t.typrelid where c.relkind = 'c' and ${userSchema('typnamespace')} and not ${ofExtension('pg_type', 't.oid')} and not ${ofExtension('pg_class', 'c.oid')}`,
  `select format('drop operator if exists %s cascade', o.oid::pg_catalog.regoperator) as sql
     from pg_catalog.pg_operator o where ${userSchema('oprnamespace')} and not ${ofExtension('pg_operator', 'o.oid')}`,
  `select format('drop operator family if exists %I.%I using %I cascade', n.nspname, f.opfname, a.amname) as sql
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

function named(kind: string, catalog: string, name: string, namespace: string): string {
  return `select format('drop ${kind} if exists %I.%I cascade', n.nspname, o.${name}) as sql from pg_catalog.${catalog} o
            join pg_catalog.pg_namespace n on n.oid = o.${namespace} where ${userSchema(`o.${namespace}`)} and not ${ofExtension(catalog, 'o.oid')}`
}

/** What belongs to the database and to no schema. */
const schemaless = [
  `select format('drop transform if exists for %s language %I cascade', trftype::pg_catalog.regtype, lanname) as sql from pg_catalog.pg_transform t join pg_catalog.pg_language l on l.oid = t.trflang where not ${ofExtension('pg_transform', 't.oid')}`,
  `select format('drop foreign data wrapper if exists %I cascade', fdwname) as sql from pg_catalog.pg_foreign_data_wrapper w where w.oid >= ${firstUserOid} and not ${ofExtension('pg_foreign_data_wrapper', 'w.oid')}`,
  `select format('drop server if exists %I cascade', srvname) as sql from pg_catalog.pg_foreign_server s where not ${ofExtension('pg_foreign_server', 's.oid')}`,
  `select format('drop cast if exists (%s as %s) cascade', castsource::pg_catalog.regtype, casttarget::pg_catalog.regtype) as sql from pg_catalog.pg_cast c where c.oid >= ${firstUserOid} and not ${ofExtension('pg_cast', 'c.oid')} and not ${partOfAnother('pg_cast', 'c.oid')}`,
  `select format('drop language if exists %I cascade', lanname) as sql from pg_catalog.pg_language l where l.oid >= ${firstUserOid} and not ${ofExtension('pg_language', 'l.oid')}`,
  `select format('drop access method if exists %I cascade', amname) as sql from pg_catalog.pg_am a where a.oid >= ${firstUserOid} and not ${ofExtension('pg_am', 'a.oid')}`,
]

/** So many statements go to the server at once. */
const batch = 100

async function dropAll(client: Client, listing: string): Promise<void> {
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

/** @returns the extensions that stay: plpgsql, which every database has, and those that belong to somebody else */
async function dropExtensions(client: Client, isSuperuser: boolean): Promise<string[]> {
  const {rows} = await client.query<{name: string; own: boolean}>(
    `select extname as name, pg_catalog.pg_has_role(extowner, 'usage') as own from pg_catalog.pg_extension where extname <> 'plpgsql' order by oid`,
  )
  const droppable = rows.filter(({own}) => own || isSuperuser)
  if (droppable.length > 0) {
    await client.query(
      `drop extension ${droppable.map(({name}) => quoteIdentifier(name)).join(', ')} cascade`,
    )
  }
  return rows.filter((row) => !droppable.includes(row)).map(({name}) => name)
}

async function dropLargeObjects(client: Client): Promise<void> {
  await client.query('select count(pg_catalog.lo_unlink(oid)) from pg_catalog.pg_largeobject_metadata')
}
