import type {Client} from 'pg'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import {inSession} from './session.js'
import {objectsSql, tablesSql} from './shop-catalog.js'

/** Everything about the shop that a recovery has to bring back; two equal states are the same shop. */
export interface ShopState {
  tables: TableState[]
  sums: {name: string; value: string}[]
  /** Columns, constraints, indexes, views, types, sequences: each with its definition. */
  objects: ObjectState[]
}

export interface TableState {
  kind: 'table' | 'materialized view'
  name: string
  rows: number
  /** Over all values of all rows, in whatever order they lie. */
  checksum: string
}

export interface ObjectState {
  kind: string
  name: string
  /** The table it is a part of. */
  table: string | null
  definition: string
}

/** What differs between two states; null where there is no such thing. */
export interface ShopDifference {
  kind: string
  name: string
  before: string | null
  after: string | null
}

const sums = [
  {name: 'Sales', sql: 'select sum(line_total)::text as value from public.order_items'},
  {name: 'Payments received', sql: 'select sum(amount)::text as value from public.payments'},
]

/** Reads the shop as it is now, in one snapshot. */
export async function readShop(shop: ConnectionDescription, signal: AbortSignal): Promise<ShopState> {
  return inSession(shop, signal, "reading the demo's database", async (client) => {
    await client.query('begin transaction isolation level repeatable read read only')
    const {rows: relations} = await client.query<Pick<TableState, 'kind' | 'name'>>(tablesSql)
    const {rows: objects} = await client.query<ObjectState>(objectsSql)
    const tables: TableState[] = []
    for (const relation of relations) tables.push({...relation, ...(await readRows(client, relation.name))})
    const values = []
    for (const {name, sql} of sums) {
      const {rows} = await client.query<{value: string}>(sql)
      values.push({name, value: rows[0]?.value ?? '0'})
    }
    await client.query('commit')
    return {tables, sums: values, objects}
  })
}

async function readRows(client: Client, table: string): Promise<{rows: number; checksum: string}> {
  const {rows} = await client.query<{rows: string; checksum: string}>(
    `select count(*) as rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text as checksum
       from public.${quoteIdentifier(table)} t`,
  )
  return {rows: Number(rows[0]?.rows), checksum: rows[0]?.checksum ?? '0'}
}

/** What happened between two states. The parts of a table that is gone go with it and are not told one by one. */
export function compareShops(before: ShopState, after: ShopState): ShopDifference[] {
  const there = new Set(after.tables.map(({name}) => name))
  const gone = new Set(before.tables.map(({name}) => name).filter((name) => !there.has(name)))
  const [old, now] = [describe(before, gone), describe(after, gone)]
  const things = new Map([...old, ...now])
  return [...things].flatMap(([key, {kind, name}]) => {
    const difference = {kind, name, before: old.get(key)?.text ?? null, after: now.get(key)?.text ?? null}
    return difference.before === difference.after ? [] : [difference]
  })
}

interface Thing {
  kind: string
  name: string
  text: string
}

function describe(state: ShopState, gone: Set<string>): Map<string, Thing> {
  const things: Thing[] = [
    ...state.tables.map(({kind, name, rows}) => ({kind, name, text: `${rows} rows`})),
    ...state.tables
      .filter(({name}) => !gone.has(name))
      .map(({name, checksum}) => ({kind: 'content', name, text: `checksum ${checksum}`})),
    ...state.sums.map(({name, value}) => ({kind: 'sum', name, text: value})),
    ...state.objects
      .filter(({table}) => table === null || !gone.has(table))
      .map(({kind, name, definition}) => ({kind, name, text: definition})),
  ]
  return new Map(things.map((thing) => [`${thing.kind} ${thing.name}`, thing]))
}
