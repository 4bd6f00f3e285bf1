import type {Client} from 'pg'
import {qualified, quoteLiteral} from '../../postgres/identifiers.js'
import type {ContentRecord, Selection, SequenceRecord} from '../manifest.js'
import type {InTransaction} from './content-record.js'
import {includedBy, memberOfExtension, userSchemas} from './relations.js'

/** pg_dump leaves extensions and large objects out as soon as it is told which schemas or tables to take. */
const everything = (selection: Selection | null) => !selection?.schemas?.length && !selection?.tables?.length

export async function readExtensions(
  client: Client,
  selection: Selection | null,
): Promise<ContentRecord['extensions']> {
  if (!everything(selection)) return []
  const {rows} = await client.query<{name: string; version: string}>(
    'select extname as name, extversion as version from pg_catalog.pg_extension order by 1',
  )
  return rows
}

export async function countLargeObjects(client: Client, selection: Selection | null): Promise<number> {
  if (!everything(selection)) return 0
  const {rows} = await client.query<{n: string}>(
    'select count(*) as n from pg_catalog.pg_largeobject_metadata',
  )
  return Number(rows[0]?.n)
}

export async function readMaterializedViews(
  client: Client,
  selection: Selection | null,
): Promise<NonNullable<ContentRecord['materializedViews']>> {
  const {rows} = await client.query<{schema: string; name: string; populated: boolean}>(
    `select n.nspname as schema, c.relname as name, c.relispopulated as populated
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'm' and ${userSchemas} and ${includedBy(selection)} and not ${memberOfExtension('pg_class', 'c.oid')}
      order by 1, 2`,
  )
  return rows
}

/** Roles that own or may use something in this database: a restore needs them on its target. */
export async function readRoles(client: Client): Promise<string[]> {
  const {rows} = await client.query<{name: string}>(
    `select r.rolname as name from pg_catalog.pg_roles r
      where r.rolname !~ '^pg_' and r.oid in (
        select refobjid from pg_catalog.pg_shdepend
         where refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
           and dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
        union select relowner from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where ${userSchemas}
        union select proowner from pg_catalog.pg_proc c join pg_catalog.pg_namespace n on n.oid = c.pronamespace where ${userSchemas})
      order by 1`,
  )
  return rows.map(({name}) => name)
}

interface SequenceName {
  schema: string
  name: string
}

/** So many sequences in one statement. */
const sequenceBatch = 200

/** Where every sequence stands. Sequences are not part of a snapshot: this is their position at the time of asking. */
export async function readSequences(
  inTransaction: InTransaction,
  selection: Selection | null,
): Promise<SequenceRecord[]> {
  const names = await inTransaction((client) => readSequenceNames(client, selection))
  const all: SequenceRecord[] = []
  for (let start = 0; start < names.length; start += sequenceBatch) {
    const batch = names.slice(start, start + sequenceBatch)
    all.push(...(await inTransaction((client) => readPositions(client, batch))))
  }
  return all
}

/** The sequences that the dump holds: those selected, and those that belong to a selected table. */
async function readSequenceNames(client: Client, selection: Selection | null): Promise<SequenceName[]> {
  const {rows} = await client.query<SequenceName>(
    `select n.nspname as schema, c.relname as name
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'S' and c.relpersistence <> 't' and ${userSchemas} and not ${memberOfExtension('pg_class', 'c.oid')}
        and (${includedBy(selection)} or exists (
              select from pg_catalog.pg_depend o join pg_catalog.pg_class t on t.oid = o.refobjid
               where o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and o.objid = c.oid and o.deptype in ('a', 'i')
                 and exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                              where c.oid = t.oid and ${includedBy(selection)})))
      order by 1, 2`,
  )
  return rows
}

async function readPositions(client: Client, names: SequenceName[]): Promise<SequenceRecord[]> {
  const parts = names.map(
    ({schema, name}, index) =>
      `select ${quoteLiteral(String(index))}::int as index, last_value::text as "lastValue", is_called as "isCalled" from ${qualified(schema, name)}`,
  )
  const {rows} = await client.query<{index: number; lastValue: string; isCalled: boolean}>(
    parts.join(' union all '),
  )
  return rows.map(({index, lastValue, isCalled}) => ({
    ...(names[index] as SequenceName),
    lastValue,
    isCalled,
  }))
}

/** Sequences as they were before and after the dump, in one record. */
export function joinSequences(before: SequenceRecord[], after: SequenceRecord[]): SequenceRecord[] {
  const old = new Map(before.map((sequence) => [qualified(sequence.schema, sequence.name), sequence]))
  return after.flatMap((now) => {
    const then = old.get(qualified(now.schema, now.name))
    if (!then) return [] // made after the snapshot: not in the dump
    const moved = then.lastValue !== now.lastValue || then.isCalled !== now.isCalled
    return [moved ? {...now, movedFrom: {lastValue: then.lastValue, isCalled: then.isCalled}} : now]
  })
}
