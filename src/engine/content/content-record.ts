import type {Client} from 'pg'
import {asQueryError} from '../../postgres/connect.js'
import type {ContentRecord, Selection, SequenceRecord} from '../manifest.js'
import {countLargeObjects, readExtensions, readMaterializedViews, readSequences} from './catalog-facts.js'
import {countRows, planCounts} from './count-rows.js'
import {readRoles} from './roles.js'
import {readRelations, type Relation} from './relations.js'

export interface ContentRequest {
  level: 'counts' | 'none'
  selection: Selection | null
  onStandby: boolean
  signal?: AbortSignal | undefined
}

/**
 * Runs queries in a short transaction that sees one and the same state as all others of its kind. Short, so that the
 * locks on 10,000 tables or sequences are never held at once.
 */
export type InTransaction = <T>(work: (client: Client) => Promise<T>) => Promise<T>

/** What is read before the rows are counted. */
export interface ContentOutline {
  relations: Relation[]
  sequences: SequenceRecord[]
  rest: Pick<ContentRecord, 'extensions' | 'largeObjects' | 'roles' | 'owners' | 'materializedViews'>
}

/** Reads everything but the rows: a few catalogue queries. @param relations from readRelations */
export async function outlineContent(
  relations: Relation[],
  request: ContentRequest,
  inTransaction: InTransaction,
): Promise<ContentOutline> {
  const {selection} = request
  const rest = await inTransaction(async (client) => ({
    extensions: await readExtensions(client, selection),
    largeObjects: await countLargeObjects(client, selection),
    materializedViews: await readMaterializedViews(client, selection),
    ...(await readRoles(client)),
  }))
  return {relations, rest, sequences: await readSequences(inTransaction, selection)}
}

/** Counts the rows and puts the record together, all but the sequences, which are read once more after the dump. */
export async function countContent(
  outline: ContentOutline,
  request: ContentRequest,
  inTransaction: InTransaction,
): Promise<Omit<ContentRecord, 'sequences'>> {
  const plan = planCounts(outline.relations)
  const tables =
    request.level === 'none'
      ? plan.entries.map((entry) => ({...entry, rows: null}))
      : await countRows(plan, inTransaction, request.signal)
  return {
    level: request.level,
    tables,
    tableCount: tables.length,
    rowCount: tables.reduce((sum, {rows}) => sum + (rows ?? 0), 0),
    ...outline.rest,
  }
}

/** The content record of a database that nobody else changes: a restored copy. */
export async function recordContent(client: Client, signal?: AbortSignal): Promise<ContentRecord> {
  const request: ContentRequest = {level: 'counts', selection: null, onStandby: false, signal}
  const inTransaction: InTransaction = (work) => work(client)
  try {
    const outline = await outlineContent(await readRelations(client, null, false), request, inTransaction)
    return {...(await countContent(outline, request, inTransaction)), sequences: outline.sequences}
  } catch (error) {
    throw asQueryError(error, 'reading what the restored database holds')
  }
}
