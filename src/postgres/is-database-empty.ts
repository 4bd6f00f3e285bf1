import type {Client} from 'pg'

/** Whether nothing of anybody's is in the database: no table, function, type, schema, large object, … */
export async function isDatabaseEmpty(client: Client): Promise<boolean> {
  const {rows} = await client.query<{empty: boolean}>(
    `select not (${somethingThere.map((sql) => `exists (${sql})`).join(' or ')}) as empty`,
  )
  return rows[0]?.empty ?? false
}

const ofExtension = (catalog: string) =>
  `exists (select from pg_catalog.pg_depend e where e.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and e.objid = o.oid and e.deptype = 'e')`

const inUserSchema = (catalog: string, namespace: string) =>
  `select from pg_catalog.${catalog} o join pg_catalog.pg_namespace n on n.oid = o.${namespace}
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not ${ofExtension(catalog)}`

/** SQL: each gives a row where a dump of the database would hold something; what extensions bring does not count. */
const somethingThere = [
  `select from pg_catalog.pg_namespace o where nspname !~ '^pg_' and nspname not in ('information_schema', 'public') and not ${ofExtension('pg_namespace')}`,
  `${inUserSchema('pg_class', 'relnamespace')} and o.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and o.relpersistence <> 't'`,
  inUserSchema('pg_proc', 'pronamespace'),
  // An array's type belongs to no extension itself; its element's does.
  `${inUserSchema('pg_type', 'typnamespace')} and o.typrelid = 0 and not exists (select from pg_catalog.pg_type element where element.typarray = o.oid)`,
  inUserSchema('pg_operator', 'oprnamespace'),
  inUserSchema('pg_collation', 'collnamespace'),
  inUserSchema('pg_ts_config', 'cfgnamespace'),
  inUserSchema('pg_ts_dict', 'dictnamespace'),
  'select from pg_catalog.pg_largeobject_metadata',
  `select from pg_catalog.pg_event_trigger o where not ${ofExtension('pg_event_trigger')}`,
  'select from pg_catalog.pg_publication',
  `select from pg_catalog.pg_foreign_data_wrapper o where not ${ofExtension('pg_foreign_data_wrapper')}`,
  'select from pg_catalog.pg_foreign_server',
]
