import {qualified, quoteLiteral} from '../../postgres/identifiers.js'
import type {TableRecord} from '../manifest.js'
import type {InTransaction} from './content-record.js'
import type {Relation} from './relations.js'

/** What one count(*) reads, and which entry of the record it adds to. */
interface Source {
  /** Index into the entries. */
  entry: number
  from: string
  bytes: number
}

interface Plan {
  entries: TableRecord[]
  sources: Source[]
}

/** So many tables in one statement at the most, and so many bytes: few round trips, and a cancel is felt soon. */
const batchTables = 40
const batchBytes = 64 * 1024 * 1024

/**
 * Turns the server's tables into the entries of a content record: a partitioned table is recorded at its root, since
 * rows may change partitions in a restore, unless the selection takes only some of its partitions.
 */
export function planCounts(relations: Relation[]): Plan {
  const plan: Plan = {entries: [], sources: []}
  const partitions = Map.groupBy(
    relations.filter(({isPartition}) => isPartition),
    ({rootOid}) => rootOid,
  )
  for (const relation of relations) {
    if (relation.isPartition) continue
    const parts = (partitions.get(relation.oid) ?? []).filter(({kind}) => kind !== 'partitioned')
    if (relation.included) addRoot(plan, relation, parts)
    else for (const part of parts) if (part.included) addTable(plan, part)
  }
  return plan
}

function addRoot(plan: Plan, root: Relation, parts: Relation[]): void {
  if (root.kind !== 'partitioned') return addTable(plan, root)
  const entry = plan.entries.push(record(root)) - 1
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
  const readable = parts.filter((part) => part.included && part.dataIncluded)
  plan.entries[entry] = {...record(root), rows: 0, bytes}
  if (readable.length === parts.length && parts.length > 0) {
    plan.sources.push({entry, from: qualified(root.schema, root.name), bytes})
  } else {
    for (const part of readable)
      plan.sources.push({entry, from: `only ${qualified(part.schema, part.name)}`, bytes: part.bytes})
  }
}

function addTable(plan: Plan, table: Relation): void {
  const entry = plan.entries.push(record(table)) - 1
  if (table.dataIncluded) {
    plan.sources.push({entry, from: `only ${qualified(table.schema, table.name)}`, bytes: table.bytes})
  }
}

function record({schema, name, kind, bytes, dataIncluded}: Relation): TableRecord {
  const rows = kind === 'foreign' ? null : 0
  return {schema, name, rows, bytes, checksum: null, ...(dataIncluded ? {} : {dataExcluded: true})}
}

/** Counts the rows of every planned table, a batch of tables a transaction. */
export async function countRows(
  plan: Plan,
  inTransaction: InTransaction,
  signal?: AbortSignal,
): Promise<TableRecord[]> {
  const totals = plan.entries.map(() => 0)
  for (const batch of batches(plan.sources)) {
    signal?.throwIfAborted()
    const parts = batch.map(
      ({entry, from}) => `select ${quoteLiteral(String(entry))} as entry, count(*) as rows from ${from}`,
    )
    const {rows} = await inTransaction((client) =>
      client.query<{entry: string; rows: string}>(parts.join(' union all ')),
    )
    for (const row of rows) totals[Number(row.entry)] = (totals[Number(row.entry)] ?? 0) + Number(row.rows)
  }
  return plan.entries.map((entry, index) =>
    entry.rows === null ? entry : {...entry, rows: totals[index] ?? 0},
  )
}

function batches(sources: Source[]): Source[][] {
  const all: Source[][] = []
  let bytes = Infinity
  for (const source of sources) {
    const last = all.at(-1)
    if (!last || last.length >= batchTables || bytes + source.bytes > batchBytes) {
      all.push([source])
      bytes = source.bytes
    } else {
      last.push(source)
      bytes += source.bytes
    }
  }
  return all
}
