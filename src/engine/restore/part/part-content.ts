import type {Client} from 'pg'
import {asQueryError} from '../../../postgres/query-errors.js'
import {DbbakError} from '../../../support/errors.js'
import {compareContent} from '../../content/compare-content.js'
import {countContent, outlineContent, type ContentRequest} from '../../content/content-record.js'
import {readRelations} from '../../content/relations.js'
import type {ContentRecord, Manifest, TableRecord} from '../../manifest.js'
import {shown, type ChosenPart} from './part.js'

/** What a backup's manifest says of a part of it: as if it were of these tables alone. */
export function manifestOfPart(manifest: Manifest, chosen: ChosenPart): Manifest {
  const names = new Set(chosen.relations.map(shown))
  const isPart = (record: {schema: string; name: string}) => names.has(shown(record))
  const {content} = manifest
  const tables = [...content.tables.filter(isPart), ...singlePartitions(chosen)]
  return {
    ...manifest,
    selection: {tables: patternsOf(chosen)},
    content: {
      ...content,
      tables,
      tableCount: tables.length,
      rowCount: tables.reduce((sum, {rows}) => sum + (rows ?? 0), 0),
      sequences: content.sequences.filter(isPart),
      ...(content.materializedViews ? {materializedViews: content.materializedViews.filter(isPart)} : {}),
      extensions: [],
      largeObjects: 0,
    },
  }
}

/** Their rows were counted with the partitioned table's. */
const singlePartitions = ({singlePartitions: names}: ChosenPart): TableRecord[] =>
  names.map(({schema, name}) => ({schema, name, rows: null, bytes: 0, checksum: null}))

const patternsOf = ({relations}: ChosenPart): string[] => relations.map(shown)

/**
 * Holds what was restored of a part against its content record; looks at nothing else in the target.
 * @param manifest from `manifestOfPart`
 * @param rows compare row counts and sequences too
 * @throws DbbakError TABLE_CHECKS_FAILED with the differences
 */
export async function checkPart(
  client: Client,
  manifest: Manifest,
  rows: boolean,
  signal: AbortSignal,
): Promise<void> {
  const {content: expected, selection} = manifest
  if (!selection?.tables?.length) return // functions and types alone
  const found = await recordPart(client, {
    level: rows ? 'counts' : 'none',
    selection,
    onStandby: false,
    signal,
  })
  const differences = compareContent(expected, found, {rows: rows && expected.level !== 'none', exact: false})
  const [first] = differences
  if (!first) return
  throw new DbbakError(
    'TABLE_CHECKS_FAILED',
    `What was restored is not what the backup says: ${first.object}: expected ${first.expected}, found ${first.found}${differences.length > 1 ? `, and ${differences.length - 1} more` : ''}.`,
    {
      details: {differences},
      suggestions: [
        'Test the backup by itself: dbbak verify --level restore',
        'Use another backup: dbbak list',
      ],
    },
  )
}

async function recordPart(client: Client, request: ContentRequest): Promise<ContentRecord> {
  try {
    const relations = await readRelations(client, request.selection, false)
    const outline = await outlineContent(relations, request, (work) => work(client))
    const counted = await countContent(outline, request, (work) => work(client))
    return {...counted, sequences: outline.sequences}
  } catch (error) {
    throw asQueryError(error, 'reading what was restored')
  }
}
