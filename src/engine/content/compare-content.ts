import {qualified} from '../../postgres/identifiers.js'
import type {ContentRecord, SequenceRecord, TableRecord} from '../manifest.js'

export interface Difference {
  kind:
    | 'table-missing'
    | 'table-unexpected'
    | 'rows'
    | 'sequence-missing'
    | 'sequence'
    | 'extension'
    | 'large-objects'
    | 'materialized-view'
  object: string
  expected: string
  found: string
}

export interface CompareOptions {
  /** Compare row counts and sequences too, not only what exists. */
  rows: boolean
  /** Tables that the record does not know are differences: true for a copy that was empty before. */
  exact: boolean
}

/** What a restored database holds, held against what the server reported in the dump's snapshot. Empty: equal. */
export function compareContent(
  expected: ContentRecord,
  found: ContentRecord,
  options: CompareOptions,
): Difference[] {
  return [
    ...compareTables(expected, found, options),
    ...(options.rows ? compareSequences(expected.sequences, found.sequences) : []),
    ...compareExtensions(expected, found),
    ...compareMaterializedViews(expected, found),
    ...(expected.largeObjects === found.largeObjects
      ? []
      : [
          difference(
            'large-objects',
            'large objects',
            String(expected.largeObjects),
            String(found.largeObjects),
          ),
        ]),
  ]
}

const nameOf = ({schema, name}: {schema: string; name: string}) => qualified(schema, name)
/** For people: quoted only where it must be. */
const shown = ({schema, name}: {schema: string; name: string}) =>
  [schema, name].map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) ? part : `"${part}"`)).join('.')

function difference(kind: Difference['kind'], object: string, expected: string, found: string): Difference {
  return {kind, object, expected, found}
}

function compareTables(expected: ContentRecord, found: ContentRecord, options: CompareOptions): Difference[] {
  const there = new Map(found.tables.map((table) => [nameOf(table), table]))
  const missing: Difference[] = []
  for (const table of expected.tables) {
    const copy = there.get(nameOf(table))
    if (!copy) missing.push(difference('table-missing', shown(table), 'a table', 'none'))
    else if (options.rows) missing.push(...compareRows(table, copy))
  }
  if (!options.exact) return missing
  const known = new Set(expected.tables.map(nameOf))
  const unexpected = found.tables.filter((table) => !known.has(nameOf(table)))
  return [
    ...missing,
    ...unexpected.map((table) => difference('table-unexpected', shown(table), 'none', 'a table')),
  ]
}

function compareRows(table: TableRecord, copy: TableRecord): Difference[] {
  if (table.rows === null || copy.rows === null || table.rows === copy.rows) return []
  return [difference('rows', shown(table), `${table.rows} rows`, `${copy.rows} rows`)]
}

function compareSequences(expected: SequenceRecord[], found: SequenceRecord[]): Difference[] {
  const there = new Map(found.map((sequence) => [nameOf(sequence), sequence]))
  return expected.flatMap((sequence) => {
    const copy = there.get(nameOf(sequence))
    if (!copy) return [difference('sequence-missing', shown(sequence), position(sequence), 'none')]
    return standsRight(sequence, copy)
      ? []
      : [difference('sequence', shown(sequence), range(sequence), position(copy))]
  })
}

const position = ({lastValue, isCalled}: {lastValue: string; isCalled: boolean}) =>
  `${lastValue}${isCalled ? '' : ' (not called)'}`

const range = (sequence: SequenceRecord) =>
  sequence.movedFrom ? `${position(sequence.movedFrom)} to ${position(sequence)}` : position(sequence)

/** Exactly where it was, or, where it moved during the dump, somewhere between. */
function standsRight(sequence: SequenceRecord, copy: SequenceRecord): boolean {
  // One that begins again at its end may stand anywhere, even where it stood before the dump and after.
  if (sequence.cycles) return true
  if (!sequence.movedFrom) return sequence.lastValue === copy.lastValue && sequence.isCalled === copy.isCalled
  const [a, b, value] = [
    BigInt(sequence.movedFrom.lastValue),
    BigInt(sequence.lastValue),
    BigInt(copy.lastValue),
  ]
  return a <= b ? a <= value && value <= b : b <= value && value <= a
}

function compareExtensions(expected: ContentRecord, found: ContentRecord): Difference[] {
  const there = new Set(found.extensions.map(({name}) => name))
  return expected.extensions
    .filter(({name}) => !there.has(name))
    .map(({name, version}) => difference('extension', name, `version ${version}`, 'none'))
}

function compareMaterializedViews(expected: ContentRecord, found: ContentRecord): Difference[] {
  const there = new Map((found.materializedViews ?? []).map((view) => [nameOf(view), view.populated]))
  return (expected.materializedViews ?? []).flatMap((view) => {
    const populated = there.get(nameOf(view))
    if (populated === undefined)
      return [difference('materialized-view', shown(view), 'a materialized view', 'none')]
    if (view.populated && !populated)
      return [difference('materialized-view', shown(view), 'populated', 'not populated')]
    return []
  })
}
