import type {Client} from 'pg'
import {parsePattern, quoteLiteral} from '../../postgres/identifiers.js'
import type {Selection} from '../manifest.js'

/** A table, or something else that pg_dump locks for as long as it runs, with what the dump will hold of it. */
export interface Relation {
  oid: string
  schema: string
  name: string
  kind: 'table' | 'partitioned' | 'foreign' | 'view' | 'sequence'
  /** The partitioned table that it is a partition of. */
  parentOid: string | null
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

/** SQL that is true where pg_dump takes the rows of `c` too, or the position of a sequence. */
export function dataIncludedBy(selection: Selection | null): string {
  return `not ${matches(selection?.excludeTableData, 'table')}`
}

/** SQL for WITH: the sequences that belong to a column, and whether the dump holds its table. */
export const sequenceOwners = (selection: Selection | null) => `
  owner as (
    select d.objid as sequence, d.deptype = 'i' as of_identity, ${includedBy(selection)} as included
      from pg_catalog.pg_depend d join pg_catalog.pg_class c on c.oid = d.refobjid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
       and d.refobjsubid > 0 and d.deptype in ('a', 'i'))`

/**
 * SQL that is true where pg_dump dumps the sequence `c`, joined to its `owner`: where it is selected, or its table is.
 * One behind an identity column comes with its table only.
 */
export const sequenceIncludedBy = (selection: Selection | null) =>
  `(coalesce(owner.included, false) or (${includedBy(selection)} and owner.of_identity is not true))`

/** Schemas whose objects are the server's own. */
export const userSchemas = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`

/** SQL: the object belongs to an extension, which brings it by itself. */
export const memberOfExtension = (catalog: string, oid: string) =>
  `exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.${catalog}'::pg_catalog.regclass and d.objid = ${oid} and d.deptype = 'e')`

/** Kinds as pg_class has them. */
const kinds = `case c.relkind when 'r' then 'table' when 'p' then 'partitioned' when 'f' then 'foreign' when 'S' then 'sequence' else 'view' end`

/**
 * Reads the tables of the database one is connected to, its views, and its sequences where reading their positions
 * takes a lock of each (before PostgreSQL 18).
 * @param onStandby unlogged tables cannot be read there, and pg_dump leaves their rows out
 */
export async function readRelations(
  client: Client,
  selection: Selection | null,
  onStandby: boolean,
): Promise<Relation[]> {
  const dataIncluded = `${dataIncludedBy(selection)} and c.relkind <> 'f' ${onStandby ? `and c.relpersistence <> 'u'` : ''}`
  const {rows} = await client.query<Relation & {bytes: string}>(
    `with ${sequenceOwners(selection)}
     select c.oid::text, n.nspname as schema, c.relname as name, ${kinds} as kind,
            (select inhparent from pg_catalog.pg_inherits where inhrelid = c.oid and c.relispartition)::text as "parentOid",
            case when c.relkind = 'S' then ${sequenceIncludedBy(selection)} else ${includedBy(selection)} end as included,
            ${dataIncluded} as "dataIncluded",
            case when c.relkind = 'r' then pg_catalog.pg_total_relation_size(c.oid) else 0 end::text as bytes,
            c.reltuples::float8 as "estimatedRows"
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join owner on owner.sequence = c.oid and c.relkind = 'S'
      where (c.relkind in ('r', 'p', 'f', 'v', 'm') or (c.relkind = 'S' and pg_catalog.current_setting('server_version_num')::int < 180000))
        and c.relpersistence <> 't' and ${userSchemas} and not ${memberOfExtension('pg_class', 'c.oid')}
      order by 2, 3`,
  )
  return rows.map((row) => ({...row, bytes: Number(row.bytes)}))
}
