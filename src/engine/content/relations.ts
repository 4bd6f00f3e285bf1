import type {Client} from 'pg'
import {parsePattern, quoteLiteral} from '../../postgres/identifiers.js'
import type {Selection} from '../manifest.js'

/** A table as the server has it, with what the dump will hold of it. */
export interface Relation {
  oid: string
  schema: string
  name: string
  kind: 'table' | 'partitioned' | 'foreign'
  /** The outermost partitioned table, for a partition; else the oid itself. */
  rootOid: string
  isPartition: boolean
  /** Its definition is dumped. */
  included: boolean
  /** Its rows are dumped. */
  dataIncluded: boolean
  bytes: number
  /** The planner's guess; -1 where it has none. */
  estimatedRows: number
}

/** SQL that is true where a pg_class row `c` (namespace `n`) matches one of the patterns. */
function matches(patterns: string[] | undefined, of: 'schema' | 'table'): string {
  if (!patterns?.length) return 'false'
  return `(${patterns.map((pattern) => (of === 'schema' ? schemaMatch(pattern) : tableMatch(pattern))).join(' or ')})`
}

const operator = 'operator(pg_catalog.~)'
const regex = (text: string) => `${quoteLiteral(text)} collate pg_catalog."default"`

function schemaMatch(pattern: string): string {
  return `n.nspname ${operator} ${regex(parsePattern(pattern).name)}`
}

/** A pattern without a schema means what the search path shows, as in pg_dump. */
function tableMatch(pattern: string): string {
  const {schema, name} = parsePattern(pattern)
  const where =
    schema === undefined ? 'pg_catalog.pg_table_is_visible(c.oid)' : `n.nspname ${operator} ${regex(schema)}`
  return `(c.relname ${operator} ${regex(name)} and ${where})`
}

/** SQL that is true where pg_dump, given this selection, dumps pg_class row `c`. */
export function includedBy(selection: Selection | null): string {
  const {schemas, excludeSchemas, tables, excludeTables} = selection ?? {}
  const bySchema = schemas?.length ? matches(schemas, 'schema') : 'true'
  const wanted = tables?.length
    ? matches(tables, 'table')
    : `(${bySchema} and not ${matches(excludeSchemas, 'schema')})`
  return `(${wanted} and not ${matches(excludeTables, 'table')})`
}

/** Schemas whose objects are the server's own. */
export const userSchemas = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`

/** SQL: the object belongs to an extension, which brings it by itself. */
export const memberOfExtension = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and d.objid = ${oid} and d.deptype = 'e')`

/**
 * Reads the tables of the database one is connected to.
 * @param onStandby unlogged tables cannot be read there, and pg_dump leaves their rows out
 */
export async function readRelations(
  client: Client,
  selection: Selection | null,
  onStandby: boolean,
): Promise<Relation[]> {
  const dataExcluded = [
    `c.relkind = 'f'`,
    matches(selection?.excludeTableData, 'table'),
    ...(onStandby ? [`c.relpersistence = 'u'`] : []),
  ]
  const {rows} = await client.query<Relation & {bytes: string}>(
    `select c.oid::text, n.nspname as schema, c.relname as name,
            case c.relkind when 'r' then 'table' when 'p' then 'partitioned' else 'foreign' end as kind,
            coalesce(case when c.relispartition then pg_catalog.pg_partition_root(c.oid) end, c.oid)::oid::text as "rootOid",
            c.relispartition as "isPartition", ${includedBy(selection)} as included,
            not (${dataExcluded.join(' or ')}) as "dataIncluded",
            case when c.relkind = 'r' then pg_catalog.pg_total_relation_size(c.oid) else 0 end::text as bytes,
            c.reltuples::float8 as "estimatedRows"
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't' and ${userSchemas}
        and not ${memberOfExtension('pg_class', 'c.oid')}
      order by 2, 3`,
  )
  return rows.map((row) => ({...row, bytes: Number(row.bytes)}))
}
