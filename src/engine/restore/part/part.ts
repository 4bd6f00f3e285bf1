import type {ArchiveEntry} from '../../archive/archive-entries.js'
import {shellWord} from '../../../support/shell.js'

/** What of a backup is to be restored, as users type it: `sales`, `sales.orders`, `"Odd Name"`, `sales.order_*`. */
export interface Part {
  schemas: string[]
  tables: string[]
}

export interface RelationName {
  schema: string
  name: string
}

/** A part of a backup, found in its archive. */
export interface ChosenPart {
  part: Part
  /** The archive's whole table of contents. */
  archive: ArchiveEntry[]
  /** What is restored, in this order. */
  entries: ArchiveEntry[]
  /** Entries that are restored only where the target lacks the schema, by id: the schema, its privileges, its comment. */
  onlyWithSchema: Map<number, string>
  /** Replaced with everything that is in them, also what the backup does not know. */
  schemas: string[]
  /** Tables, views and sequences: all that are restored, those in the schemas too. */
  relations: RelationName[]
  /** Partitions that are put back into a partitioned table that itself stays. */
  singlePartitions: RelationName[]
}

/** What `--table` finds: the kinds of entries that stand for a relation. */
export const relationKinds: ReadonlySet<string> = new Set([
  'TABLE',
  'FOREIGN TABLE',
  'VIEW',
  'MATERIALIZED VIEW',
  'SEQUENCE',
])

export const nameOf = ({schema, tag}: ArchiveEntry): RelationName => ({schema, name: tag})

const plainName = /^[a-z_][a-z0-9_]*$/

/** For people: quoted only where it must be. */
export const shown = ({schema, name}: RelationName): string => `${patternOf(schema)}.${patternOf(name)}`

/** A name as a pattern of pg_dump that matches it and nothing else. */
export const patternOf = (name: string): string =>
  plainName.test(name) ? name : `"${name.replaceAll('"', '""')}"`

/** The command that restores a part, to be typed in a shell. */
export function commandFor(backupId: string, {schemas, tables}: Part): string {
  const options = [
    ...schemas.map((schema) => `--schema ${shellWord(schema)}`),
    ...tables.map((table) => `--table ${shellWord(table)}`),
  ]
  return ['dbbak restore', shellWord(backupId), ...options].join(' ')
}
