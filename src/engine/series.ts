import type {Manifest, Selection} from './manifest.js'

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

type Packed = Pick<Manifest, 'format' | 'compression'>

/** Only sizes of archives that were made in the same way can be compared. */
export function samePacking(one: Packed, other: Packed): boolean {
  const {algorithm, level, by} = one.compression
  const {algorithm: otherAlgorithm, level: otherLevel, by: otherBy} = other.compression
  return one.format === other.format && algorithm === otherAlgorithm && level === otherLevel && by === otherBy
}

const words: [keyof Selection, string][] = [
  ['schemas', 'only the schema'],
  ['tables', 'only the table'],
  ['excludeSchemas', 'not the schema'],
  ['excludeTables', 'not the table'],
  ['excludeTableData', 'not the data of'],
]
const shown = 3

/** "only the tables orders, items", "not the data of audit"; undefined where nothing was selected. */
export function selectionText({selection}: Selected): string | undefined {
  const texts = words.flatMap(([name, text]) => {
    const patterns = selection?.[name] ?? []
    if (patterns.length === 0) return []
    const more = patterns.length - shown
    const noun = patterns.length > 1 && name !== 'excludeTableData' ? `${text}s` : text
    return [`${noun} ${patterns.slice(0, shown).join(', ')}${more > 0 ? ` and ${more} more` : ''}`]
  })
  return texts.length === 0 ? undefined : texts.join('; ')
}
