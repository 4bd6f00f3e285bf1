import type {Manifest, TableRecord} from '../manifest.js'
import {deviationOf, isSettled, lookBack} from './deviation.js'
import {rotatedAway} from './table-families.js'

export interface TableChange {
  kind: 'vanished' | 'emptied' | 'shrank' | 'renamed'
  /** schema.name */
  table: string
  rowsBefore: number
  rowsNow: number
  /** Not so where there are too few backups to know how much the table varies. */
  isSure: boolean
  /** The table that it seems to have become. */
  renamedTo?: string
}

export interface TablesAt {
  atMs: number
  tables: Manifest['content']['tables']
}

/** Of fewer rows it is not worth telling that half are gone. */
const leastRows = 20
/** A table that varies by more than about a fifth from one backup to the next is not steady. */
const steady = 0.2
/** How much a table varies is known only roughly from fewer. */
const enoughToBeSure = 14
const establishedBackups = 3
const inUseBackups = 7
/** Beyond so many tables fewer backups are looked at: each is a map of all of them. */
const manyTables = 20_000

/** Rows by table; a table that is not in it is not in the backup, or nobody counted it. */
type Rows = Map<string, number>

/**
 * Tables that lost their rows between the backups before and the newest one, and that do not do so all the time.
 * @param before oldest first
 */
export function tableChanges(newest: TablesAt, before: TablesAt[]): TableChange[] {
  const history = before.slice(newest.tables.length > manyTables ? -5 : -lookBack)
  if (history.length === 0) return []
  const now = rowsByTable(newest)
  const then = history.map((one) => ({atMs: one.atMs, rows: rowsByTable(one)}))
  const names = new Set(then.flatMap(({rows}) => [...rows.keys()]))
  const uncounted = new Set(newest.tables.filter(({rows}) => rows === null).map(nameOf))
  const rotated = rotatedAway({
    now: new Set(newest.tables.map(nameOf)),
    before: then.map(({rows}) => new Set(rows.keys())),
  })
  const changes = [...names].flatMap((table) => {
    if (uncounted.has(table) || rotated.has(table)) return []
    const series = then.map(({atMs, rows}) => ({atMs, rows: rows.get(table)}))
    return changeOf(table, now.get(table), series, newest.atMs) ?? []
  })
  const unknownBefore = [...now].filter(([table]) => !then.at(-1)!.rows.has(table))
  return changes.map((change) => asRenamed(change, unknownBefore))
}

const nameOf = ({schema, name}: TableRecord): string => `${schema}.${name}`

const rowsByTable = ({tables}: TablesAt): Rows =>
  new Map(tables.flatMap((table) => (table.rows === null ? [] : [[nameOf(table), table.rows]])))

interface RowsAt {
  atMs: number
  rows: number | undefined
}

function changeOf(
  table: string,
  now: number | undefined,
  series: RowsAt[],
  nowMs: number,
): TableChange | undefined {
  return now === undefined || now === 0
    ? loss(table, now, series, nowMs)
    : shrinkage(table, now, series, nowMs)
}

const isGone = ({rows}: RowsAt): boolean => rows === undefined || rows === 0

/** It was reported then, and is the new state of things. */
const lastsFor = (gone: RowsAt[], nowMs: number): boolean =>
  isSettled(
    gone.map(({atMs}) => ({atMs, isSame: true, isUsual: false})),
    nowMs,
  )

/** It is empty, or not there, now and then: a queue, a copy for an import. */
const comesAndGoes = (series: RowsAt[]): boolean =>
  series.filter(isGone).length >= Math.max(establishedBackups, series.length / 5)

/** A table that always had rows has none any more. */
function loss(table: string, now: 0 | undefined, series: RowsAt[], nowMs: number): TableChange | undefined {
  const last = series.findLastIndex((at) => !isGone(at))
  if (last === -1 || lastsFor(series.slice(last + 1), nowMs)) return undefined
  const prior = series.slice(0, last + 1)
  const since = prior.slice(prior.findIndex(({rows}) => rows !== undefined))
  const filled = prior.slice(prior.findIndex((at) => !isGone(at)))
  // That it was empty before it was first filled says nothing, once it has been in use for a while.
  const isInUse = filled.length >= inUseBackups && !filled.some(isGone)
  if (!isInUse && comesAndGoes(since)) return undefined
  if (since.length < Math.min(establishedBackups, prior.length)) return undefined
  const kind = now === undefined ? 'vanished' : 'emptied'
  return {kind, table, rowsBefore: since.at(-1)!.rows!, rowsNow: 0, isSure: true}
}

/** Fewer than half are left, of a table that does not vary so. */
function shrinkage(table: string, now: number, series: RowsAt[], nowMs: number): TableChange | undefined {
  const samples = series.flatMap(({atMs, rows}) => (rows ? [{atMs, value: rows}] : []))
  if (samples.length === 0) return undefined
  const deviation = deviationOf({atMs: nowMs, value: now}, samples, 0.5)
  if (deviation?.direction !== 'fell' || deviation.isSettled) return undefined
  const {usual, sigma} = deviation
  // What it had in the last two backups counts too: it may have grown lately.
  const before = Math.max(usual, Math.min(...samples.slice(-2).map(({value}) => value)))
  if (before < leastRows || now >= before / 2) return undefined
  // Tables vary more than databases do (sessions, caches, queues): of one that does, half is nothing.
  const isSteady = sigma === null ? now < Math.min(...samples.map(({value}) => value)) / 2 : sigma <= steady
  if (!isSteady) return undefined
  return {
    kind: 'shrank',
    table,
    rowsBefore: Math.round(before),
    rowsNow: now,
    isSure: samples.length >= enoughToBeSure,
  }
}

/** A table that is gone while another of as many rows has come has probably got a new name. */
function asRenamed(change: TableChange, unknownBefore: [string, number][]): TableChange {
  if (change.kind !== 'vanished' || change.rowsBefore < leastRows) return change
  const [name, rows] =
    unknownBefore.find(([, count]) => Math.abs(count - change.rowsBefore) <= 0.02 * change.rowsBefore) ?? []
  return name === undefined || rows === undefined
    ? change
    : {...change, kind: 'renamed', rowsNow: rows, renamedTo: name}
}
