import type {Manifest} from './manifest.js'

/*
 * Which backups of a database are alike.
 *
 * - A series is what was taken with one and the same selection: only these can stand for each other, and be compared.
 * - A part is a backup of tables or schemas that were named. To leave some out is a way to back up a whole database; to
 *   name those that are wanted is not.
 */

type Selected = Pick<Manifest, 'selection'>

/** The same text for the same selection, in whatever order its patterns were given; null where nothing was selected. */
export function seriesKey({selection}: Selected): string | null {
  const given = Object.entries(selection ?? {}).flatMap(([name, patterns = []]) =>
    patterns.length > 0 ? [JSON.stringify([name, [...new Set(patterns)].sort()])] : [],
  )
  return given.length === 0 ? null : given.sort().join()
}

export const isPart = ({selection}: Selected): boolean =>
  (selection?.schemas?.length ?? 0) > 0 || (selection?.tables?.length ?? 0) > 0

/** The same text for archives that were made in the same way: only their sizes can be compared. */
export const packingKey = ({format, compression}: Pick<Manifest, 'format' | 'compression'>): string =>
  JSON.stringify([format, compression.algorithm, compression.level, compression.by])

/** "only the tables orders, items", "all but the data of audit"; undefined where nothing was selected. */
export function selectionText(manifest: Selected): string | undefined {
  if (seriesKey(manifest) === null) return undefined
  const {schemas, tables, excludeSchemas, excludeTables, excludeTableData} = manifest.selection ?? {}
  const wanted = [...named('the schema', schemas), ...named('the table', tables)].join(', ')
  const unwanted = [
    ...named('the schema', excludeSchemas),
    ...named('the table', excludeTables),
    ...(excludeTableData?.length ? [`the data of ${someOf(excludeTableData)}`] : []),
  ].join(', ')
  if (wanted === '') return `all but ${unwanted}`
  return `only ${wanted}${unwanted === '' ? '' : ` but not ${unwanted}`}`
}

const named = (one: string, patterns: string[] = []): string[] =>
  patterns.length === 0 ? [] : [`${one}${patterns.length > 1 ? 's' : ''} ${someOf(patterns)}`]

const shown = 3

function someOf(patterns: string[]): string {
  const more = patterns.length - shown
  return `${patterns.slice(0, shown).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
