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
 * Turns the server's tables into the entries of a content record. Partitions are not recorded by themselves, since rows
 * may change partitions in a restore, but at their root: the topmost partitioned table that the dump holds too.
 */
export function planCounts(relations: Relation[]): Plan {
  const plan: Plan = {entries: [], sources: []}
  const tree = partitionTree(relations)
  for (const relation of relations) {
    if (relation.kind === 'view' || relation.kind === 'sequence') continue
    if (!relation.included || tree.parentOf(relation)?.included) continue
    if (relation.kind === 'partitioned') addRoot(plan, relation, tree)
    else addTable(plan, relation)
  }
  return plan
}

interface PartitionTree {
  parentOf(relation: Relation): Relation | undefined
  partitionsOf(relation: Relation): Relation[]
}

function partitionTree(relations: Relation[]): PartitionTree {
  const byOid = new Map(relations.map((relation) => [relation.oid, relation]))
  const byParent = Map.groupBy(relations, ({parentOid}) => parentOid)
  return {
    parentOf: ({parentOid}) => (parentOid === null ? undefined : byOid.get(parentOid)),
    partitionsOf: ({oid}) => byParent.get(oid) ?? [],
  }
}

/** Whether a partitioned table can be read as one, or what of it can be read by itself. */
interface Parts {
  whole: boolean
  tables: Relation[]
  bytes: number
}

function readableParts(relation: Relation, tree: PartitionTree): Parts {
  const parts: Parts = {whole: true, tables: [], bytes: 0}
  for (const partition of tree.partitionsOf(relation)) {
    if (!partition.included) parts.whole = false
    else if (partition.kind === 'partitioned') addParts(parts, readableParts(partition, tree))
    else if (partition.dataIncluded)
      addParts(parts, {whole: true, tables: [partition], bytes: partition.bytes})
    else addParts(parts, {whole: false, tables: [], bytes: partition.bytes})
  }
  return parts
}

function addParts(all: Parts, {whole, tables, bytes}: Parts): void {
  all.whole &&= whole
  all.tables.push(...tables)
  all.bytes += bytes
}

function addRoot(plan: Plan, root: Relation, tree: PartitionTree): void {
  const {whole, tables, bytes} = readableParts(root, tree)
  const {dataExcluded: _, ...entry} = record(root)
  const index = plan.entries.push({...entry, bytes}) - 1
  if (whole && tables.length > 0)
    plan.sources.push({entry: index, from: qualified(root.schema, root.name), bytes})
  else for (const part of tables) plan.sources.push({entry: index, ...only(part)})
}

function addTable(plan: Plan, table: Relation): void {
  const entry = plan.entries.push(record(table)) - 1
  if (table.dataIncluded) plan.sources.push({entry, ...only(table)})
}

const only = ({schema, name, bytes}: Relation) => ({from: `only ${qualified(schema, name)}`, bytes})

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
