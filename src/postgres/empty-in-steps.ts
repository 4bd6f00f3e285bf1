import type {Client} from 'pg'
import {
  droppableExtensions,
  eventTriggers,
  likeNew,
  listed,
  objectsOutsideTheirSchema,
  ofExtension,
  publications,
  relations,
  schemaless,
  schemas,
  userSchema,
  type Kept,
  type Listing,
} from './empty-database.js'
import {asQueryError} from './query-errors.js'

export interface StepOptions {
  isSuperuser: boolean
  /** One transaction takes no more locks than this, unless a single statement needs more. */
  locksAtOnce: number
  signal: AbortSignal
}

/**
 * Empties a database as `emptyDatabase` does, but in many short transactions, for servers that cannot lock everything
 * at once. Where it fails or is killed half-way, the rest is still there; run again, it goes on.
 */
export async function emptyInSteps(client: Client, options: StepOptions): Promise<Kept> {
  const {isSuperuser, locksAtOnce, signal} = options
  for (const listing of inOrder(isSuperuser)) {
    const {rows} = await client.query<Drop>(withLocks(listing))
    for (const group of groups(rows, locksAtOnce)) {
      signal.throwIfAborted()
      await dropTogether(client, group)
    }
  }
  await dropLargeObjects(client, options)
  return likeNew(client, isSuperuser)
}

/**
 * The locks that the largest step takes which cannot be made smaller. Asked before anything is dropped: a server that
 * could not take it would leave the database half empty.
 */
export async function locksOfLargestStep(client: Client, isSuperuser: boolean): Promise<number> {
  let largest = 0
  for (const listing of [foreignKeys, droppableExtensions(isSuperuser)]) {
    const {rows} = await client.query<Drop>(withLocks(listing))
    for (const {locks} of rows) largest = Math.max(largest, Number(locks))
  }
  return largest
}

const partitionKinds = ['r', 'p', 'f']

/** What would otherwise take a thousand others with it comes after these: dependents first. */
const inOrder = (isSuperuser: boolean): Listing[] => [
  eventTriggers,
  publishedTables,
  publications,
  relations(['v', 'm']),
  // One by one, before a foreign key of the whole goes; one that a foreign key points to would take that with it.
  relations(partitionKinds, `relispartition and not ${isReferenced}`),
  foreignKeys,
  relations(partitionKinds, 'relispartition'),
  ...objectsOutsideTheirSchema,
  schemas,
  ...schemaless,
  droppableExtensions(isSuperuser),
  schemas,
]

const isReferenced = `exists (select from pg_catalog.pg_constraint f where f.contype = 'f' and f.confrelid = c.oid)`

const publishedTables: Listing = `
  ${listed('pg_publication_rel', 'r.oid', `format('alter publication %I drop table only %s', pubname, prrelid::pg_catalog.regclass)`)}
    from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid`

/** Of partitions only with their table's. */
const foreignKeys: Listing = `
  ${listed('pg_constraint', 'f.oid', `format('alter table if exists %s drop constraint if exists %I cascade', conrelid::pg_catalog.regclass, conname)`)}
    from pg_catalog.pg_constraint f
   where contype = 'f' and conparentid = 0 and ${userSchema('connamespace')} and not ${ofExtension('pg_class', 'conrelid')}`

interface Drop {
  sql: string
  locks: string
}

/** Their removal locks the table that they belong to or act on, besides themselves. */
const lockingTheirTable = ['pg_constraint', 'pg_trigger', 'pg_rewrite', 'pg_attrdef', 'pg_policy']

/**
 * SQL: the statements of a listing, dependents before what they depend on, each with the locks that it takes: one for
 * everything that goes with the object by pg_depend, one for some of their tables, and two for a partition's parent
 * and the parent's default partition.
 */
const withLocks = (listing: Listing) => `
  with recursive listed as materialized (
    select row_number() over (order by (select count(*) from pg_catalog.pg_partition_ancestors(l.oid)
                                         where l.class = 'pg_catalog.pg_class'::pg_catalog.regclass) desc, l.oid desc) as place,
           l.class, l.oid, l.sql
      from (${listing}) l),
  gone (place, class, oid) as (
    select place, class, oid from listed
    union
    select g.place, d.class, d.oid
      from gone g cross join lateral (
        select classid as class, objid as oid from pg_catalog.pg_depend where refclassid = g.class and refobjid = g.oid and deptype <> 'p'
        union all
        select refclassid, refobjid from pg_catalog.pg_depend where classid = g.class and objid = g.oid and deptype = 'i') d)
  select l.sql, n.locks
    from listed l join (
      select place, count(*) + 2 + count(*) filter (where class in (${lockingTheirTable.map((name) => `'pg_catalog.${name}'::pg_catalog.regclass`).join(', ')})) as locks
        from gone group by place) n on n.place = l.place
   order by l.place`

function groups(drops: Drop[], limit: number): Drop[][] {
  const all: Drop[][] = []
  let locks = Infinity
  for (const drop of drops) {
    const own = Number(drop.locks)
    if (locks + own > limit) {
      all.push([drop])
      locks = own
    } else {
      all.at(-1)?.push(drop)
      locks += own
    }
  }
  return all
}

/** In one transaction, or in more where it takes more locks than was thought, or others hold some. */
async function dropTogether(client: Client, group: Drop[]): Promise<void> {
  try {
    await client.query('begin')
    await client.query(group.map(({sql}) => sql).join('; '))
    await client.query('commit')
  } catch (thrown) {
    const error = asQueryError(thrown, 'emptying the database step by step')
    if (error.code === 'CONNECTION_LOST') throw error
    await client.query('rollback')
    if (error.code !== 'LOCK_TABLE_TOO_SMALL' || group.length === 1) throw error
    const middle = Math.ceil(group.length / 2)
    await dropTogether(client, group.slice(0, middle))
    await dropTogether(client, group.slice(middle))
  }
}

/** Each takes a lock. */
async function dropLargeObjects(client: Client, {locksAtOnce, signal}: StepOptions): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const {rows} = await client.query<{dropped: string}>(
      `select count(pg_catalog.lo_unlink(oid)) as dropped
         from (select oid from pg_catalog.pg_largeobject_metadata order by oid limit ${Math.max(1, Math.floor(locksAtOnce))}) next`,
    )
    if (Number(rows[0]?.dropped) === 0) return
  }
}
