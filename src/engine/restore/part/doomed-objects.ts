import type {Client} from 'pg'
import {quoteIdentifier} from '../../../postgres/identifiers.js'
import {query} from '../target.js'
import type {ChosenPart, RelationName} from './part.js'

const catalog = (name: string) => `'pg_catalog.${name}'::pg_catalog.regclass`

/** For the parameters $1 to $3 of the SQL below. */
export const partParameters = ({relations, schemas}: ChosenPart): unknown[] => [
  relations.map(({schema}) => schema),
  relations.map(({name}) => name),
  schemas,
]

const named = `
  named as (
    select c.oid, c.relkind, c.relowner, n.nspname, n.nspowner, c.relname
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      join unnest($1::text[], $2::text[]) w(schema, name) on w.schema = n.nspname and w.name = c.relname
     where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S'))`

/** What is in the schemas, but for what an extension brought. */
const inside = `
  inside as (
    select d.classid, d.objid from pg_catalog.pg_depend d join pg_catalog.pg_namespace n on n.oid = d.refobjid
     where d.refclassid = ${catalog('pg_namespace')} and n.nspname = any($3::text[]) and d.deptype = 'n'
       and d.classid <> ${catalog('pg_extension')}
       and not exists (select from pg_catalog.pg_depend e where e.classid = d.classid and e.objid = d.objid and e.deptype = 'e'))`

/** SQL for WITH RECURSIVE: all that a DROP of the part in the target takes with it, without CASCADE. */
export const doomed = `${named}, ${inside},
  doomed as (
    (select ${catalog('pg_class')}::oid as classid, oid as objid from named union select classid, objid from inside)
    union
    select d.classid, d.objid from pg_catalog.pg_depend d join doomed x on d.refclassid = x.classid and d.refobjid = x.objid
     where d.deptype in ('a', 'i', 'P', 'S') and d.objsubid = 0)`

/** Something that is not in the part and keeps something in it from being dropped. */
export interface Dependent {
  /** `view public.open_orders`. */
  what: string
  /** `table sales.orders`. */
  on: string
  /** The foreign key's name, where it is one. */
  foreignKey: string | null
  /** The table or view that it is, or is a part of; null for a function, a type, … */
  relation: RelationName | null
  /** The statement that removes it; null where none does by itself. */
  removal: string | null
}

const describe = (classid: string, objid: string, sub = '0') =>
  `pg_catalog.pg_describe_object(${classid}, ${objid}, ${sub})`

/** SQL: the relation that an object is or belongs to; null for others. */
const relationOf = (classid: string, objid: string) => `
  case ${classid}
    when ${catalog('pg_class')} then coalesce((select indrelid from pg_catalog.pg_index where indexrelid = ${objid}), ${objid})
    when ${catalog('pg_rewrite')} then (select ev_class from pg_catalog.pg_rewrite where oid = ${objid})
    when ${catalog('pg_constraint')} then (select nullif(conrelid, 0) from pg_catalog.pg_constraint where oid = ${objid})
    when ${catalog('pg_attrdef')} then (select adrelid from pg_catalog.pg_attrdef where oid = ${objid})
    when ${catalog('pg_trigger')} then (select tgrelid from pg_catalog.pg_trigger where oid = ${objid})
    when ${catalog('pg_policy')} then (select polrelid from pg_catalog.pg_policy where oid = ${objid})
    when ${catalog('pg_type')} then (select nullif(typrelid, 0) from pg_catalog.pg_type where oid = ${objid})
  end`

/** SQL: of the copies of a foreign key that partitions have, the one that was declared. */
const declared = (classid: string, objid: string) => `
  case when ${classid} = ${catalog('pg_constraint')} then
    (with recursive up as (
       select oid, conparentid from pg_catalog.pg_constraint where oid = ${objid}
       union select p.oid, p.conparentid from pg_catalog.pg_constraint p join up on p.oid = up.conparentid)
     select oid from up where conparentid = 0)
  else ${objid} end`

const dependents = `
  with recursive ${doomed},
  found as (
    select d.classid, ${declared('d.classid', 'd.objid')} as objid, d.objsubid, x.classid as refclassid, x.objid as refobjid
      from doomed x join pg_catalog.pg_depend d on d.refclassid = x.classid and d.refobjid = x.objid
     where d.deptype in ('n', 'a', 'i', 'P', 'S')
       and not exists (select from doomed y where y.classid = d.classid and y.objid = d.objid)),
  related as (
    select f.*, k.conname, k.confrelid, ${relationOf('f.classid', 'f.objid')} as relation,
           ${relationOf('f.refclassid', 'f.refobjid')} as refrelation
      from found f left join pg_catalog.pg_constraint k on f.classid = ${catalog('pg_constraint')} and k.oid = f.objid and k.contype = 'f'),
  judged as (
    select r.*, n.nspname, c.relname, c.relkind,
           c.relkind in ('v', 'm') and (r.classid = ${catalog('pg_rewrite')} or (r.classid = ${catalog('pg_class')} and r.objid = r.relation)) as is_view
      from related r left join pg_catalog.pg_class c on c.oid = r.relation left join pg_catalog.pg_namespace n on n.oid = c.relnamespace)
  select distinct on (what)
         case when is_view then ${describe(catalog('pg_class'), 'relation')} else ${describe('j.classid', 'j.objid', 'objsubid')} end as what,
         case when coalesce(confrelid, refrelation) is null then ${describe('refclassid', 'refobjid')}
              else ${describe(catalog('pg_class'), 'coalesce(confrelid, refrelation)')} end as on,
         conname as "foreignKey", nspname as schema, relname as name,
         case when conname is not null then format('ALTER TABLE %I.%I DROP CONSTRAINT %I', nspname, relname, conname)
              when is_view then format('DROP %s %I.%I', case relkind when 'v' then 'VIEW' else 'MATERIALIZED VIEW' end, nspname, relname)
              when j.classid = ${catalog('pg_proc')} then 'DROP ROUTINE ' || i.identity end as removal
    from judged j, pg_catalog.pg_identify_object(j.classid, j.objid, 0) i
   order by what, "on"`

/** What the target holds beside the part and what would be lost, or in the way, if the part were dropped. */
export async function readDependents(client: Client, chosen: ChosenPart): Promise<Dependent[]> {
  const rows = await query<Omit<Dependent, 'relation'> & {schema: string | null; name: string | null}>(
    client,
    dependents,
    partParameters(chosen),
  )
  return rows.map(({schema, name, ...rest}) => ({
    ...rest,
    relation: schema === null || name === null ? null : {schema, name},
  }))
}

/** Relations of the part that this role may not drop: it takes their owner, or their schema's. */
export async function readForeignRelations(
  client: Client,
  chosen: ChosenPart,
): Promise<(RelationName & {owner: string; role: string})[]> {
  return query(
    client,
    `with ${named} select nspname as schema, relname as name, pg_catalog.pg_get_userbyid(relowner) as owner, current_user as role
       from named where not pg_catalog.pg_has_role(relowner, 'usage') and not pg_catalog.pg_has_role(nspowner, 'usage') and $3::text[] is not null`,
    partParameters(chosen),
  )
}

/** So many statements go to the server at once. */
const batch = 100

/**
 * Drops what the target holds of the part, inside the caller's transaction. Tables go in one statement that refuses
 * to take anything else with them. Views, and what is in a whole schema, may hang together in circles, so they go by
 * CASCADE.
 * @returns whether a CASCADE was used: then the caller has to see that it took nothing else
 */
export async function dropPart(client: Client, chosen: ChosenPart): Promise<{cascaded: boolean}> {
  const relations = await namedRelations(client, chosen)
  const names = (kinds: string) =>
    relations
      .filter(({kind, schema}) => kinds.includes(kind) && !chosen.schemas.includes(schema))
      .map(({schema, name}) => `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`)
  const cascading = [
    ...(await dropsInside(client, chosen)),
    ...names('v').map((name) => `drop view if exists ${name} cascade`),
    ...names('m').map((name) => `drop materialized view if exists ${name} cascade`),
  ]
  const restricted = [
    ['table', names('rp')] as const,
    ['foreign table', names('f')] as const,
    ['sequence', names('S')] as const,
  ]
    .filter(([, list]) => list.length > 0)
    .map(([kind, list]) => `drop ${kind} if exists ${list.join(', ')} restrict`)
  const statements = [...cascading, ...restricted]
  for (let start = 0; start < statements.length; start += batch)
    await client.query(statements.slice(start, start + batch).join('; '))
  return {cascaded: cascading.length > 0}
}

async function namedRelations(
  client: Client,
  chosen: ChosenPart,
): Promise<(RelationName & {kind: string})[]> {
  return query(
    client,
    `with ${named} select relkind as kind, nspname as schema, relname as name from named where $3::text[] is not null`,
    partParameters(chosen),
  )
}

const keywords: Record<string, string> = {
  function: 'routine',
  procedure: 'routine',
  aggregate: 'routine',
  'statistics object': 'statistics',
}

/** Object by object: the schema itself stays, with its owner, its privileges and its comment. */
async function dropsInside(client: Client, {schemas}: ChosenPart): Promise<string[]> {
  if (schemas.length === 0) return []
  const rows = await query<{type: string; identity: string}>(
    client,
    `with ${inside.replaceAll('$3', '$1')}
     select i.type, i.identity from inside o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
      where not exists (select from pg_catalog.pg_depend whole where whole.classid = o.classid and whole.objid = o.objid and whole.objsubid = 0 and whole.deptype = 'i')`,
    [schemas],
  )
  return rows.map(({type, identity}) => `drop ${keywords[type] ?? type} if exists ${identity} cascade`)
}
