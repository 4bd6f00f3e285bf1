import type {Client} from 'pg'
import {qualified, quoteLiteral} from '../../postgres/identifiers.js'
import type {ContentRecord, Selection, SequenceRecord} from '../manifest.js'
import type {InTransaction} from './content-record.js'
import {
  dataIncludedBy,
  includedBy,
  memberOfExtension,
  sequenceIncludedBy,
  sequenceOwners,
  userSchemas,
} from './relations.js'

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

/** A materialized view counts as populated where the dump fills it: not over one that is not, and with its data included. */
export async function readMaterializedViews(
  client: Client,
  selection: Selection | null,
): Promise<NonNullable<ContentRecord['materializedViews']>> {
  const {rows} = await client.query<{schema: string; name: string; populated: boolean}>(
    `with recursive reads as (
       select r.ev_class as reader, d.refobjid as source from pg_catalog.pg_rewrite r
         join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid and d.refobjid <> r.ev_class
         join pg_catalog.pg_class s on s.oid = d.refobjid and s.relkind in ('m', 'v') and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass),
     all_reads as (select * from reads union select a.reader, r.source from all_reads a join reads r on r.reader = a.source),
     emptied as (
       select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'm' and not c.relispopulated and ${includedBy(selection)} and ${dataIncludedBy(selection)})
     select n.nspname as schema, c.relname as name,
            c.relispopulated and ${dataIncludedBy(selection)}
              and not exists (select from all_reads where reader = c.oid and source in (select oid from emptied)) as populated
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'm' and ${userSchemas} and ${includedBy(selection)} and not ${memberOfExtension('pg_class', 'c.oid')}
      order by 1, 2`,
  )
  return rows
}

interface SequenceName {
  schema: string
  name: string
  /** Set where the dump holds the definition only, so that a copy begins anew. */
  startsAt: string | null
  /** Begins again at its other end. */
  cycles: boolean
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

/** The sequences that the dump holds. On a standby the positions of unlogged ones cannot be read, and are not dumped. */
async function readSequenceNames(client: Client, selection: Selection | null): Promise<SequenceName[]> {
  const {rows} = await client.query<SequenceName>(
    `with ${sequenceOwners(selection)}
     select n.nspname as schema, c.relname as name,
            case when not ${dataIncludedBy(selection)} or (c.relpersistence = 'u' and pg_catalog.pg_is_in_recovery()) then s.seqstart::text end as "startsAt",
            s.seqcycle as cycles
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_sequence s on s.seqrelid = c.oid left join owner on owner.sequence = c.oid
      where c.relkind = 'S' and c.relpersistence <> 't' and ${userSchemas} and not ${memberOfExtension('pg_class', 'c.oid')}
        and ${sequenceIncludedBy(selection)}
      order by 1, 2`,
  )
  return rows
}

async function readPositions(client: Client, names: SequenceName[]): Promise<SequenceRecord[]> {
  const parts = names.map(({schema, name, startsAt}, index) => {
    const position = startsAt === null ? 'last_value::text, is_called' : `${quoteLiteral(startsAt)}, false`
    const from = startsAt === null ? ` from ${qualified(schema, name)}` : ''
    return `select ${index} as index, ${position}${from}`
  })
  const {rows} = await client.query<{index: number; lastValue: string; isCalled: boolean}>(
    `select index, position as "lastValue", called as "isCalled" from (${parts.join(' union all ')}) all_of_them (index, position, called)`,
  )
  return rows.map(({index, lastValue, isCalled}) => {
    const {schema, name, cycles} = names[index] as SequenceName
    return {schema, name, lastValue, isCalled, ...(cycles ? {cycles} : {})}
  })
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
