import {DbbakError} from '../../../support/errors.js'
import type {ArchiveEntry} from '../../archive/archive-entries.js'
import {findHolders, readQualified} from './entry-holders.js'
import {matchRelations, matchSchemas} from './match-names.js'
import {nameOf, relationKinds, shown, type ChosenPart, type Part} from './part.js'

/**
 * Finds what a part of a backup is made of: the tables with all that belongs to them (rows, indexes, constraints,
 * triggers, own sequences, partitions, privileges, …), and of a schema everything.
 * @throws DbbakError NOTHING_SELECTED for a name that the backup does not have; OPTION_INVALID
 */
export function choosePart(archive: ArchiveEntry[], part: Part): ChosenPart {
  const holders = findHolders(archive)
  const schemas = new Set(part.schemas.flatMap((pattern) => matchSchemas(pattern, schemasOf(archive))))
  const meant = new Set(namedEntries(archive, part.tables, holders).map(({id}) => id))
  const isPart = withHolders(
    holders,
    archive,
    (entry) => meant.has(entry.id) || (schemas.has(entry.schema) && !schemaProperties.has(entry.kind)),
  )
  const chosen = archive.filter(isPart)
  const relations = chosen.filter(({kind}) => relationKinds.has(kind))
  const onlyWithSchema = schemaEntries(archive, schemas, new Set(chosen.map(({schema}) => schema)))
  const single = new Set(
    relations
      .filter(({id, kind}) => kind !== 'SEQUENCE' && holders.has(id))
      .filter(({id}) => !relations.some((parent) => parent.id === holders.get(id)))
      .map(({id}) => id),
  )
  const entries = archive.filter((entry) => isPart(entry) || onlyWithSchema.has(entry.id))
  refuseForeignRows(entries, relations)
  return {
    part,
    archive,
    entries: attachedLast(entries, single, holders),
    onlyWithSchema,
    schemas: [...schemas],
    relations: relations.map(nameOf),
    singlePartitions: relations.filter(({id}) => single.has(id)).map(nameOf),
  }
}

function schemasOf(archive: ArchiveEntry[]): string[] {
  const names = archive.map(({kind, schema, tag}) => (kind === 'SCHEMA' ? tag : schema))
  return [...new Set(names)].filter(
    (name) => name !== '' && !name.startsWith('pg_') && name !== 'information_schema',
  )
}

/** A sequence of a column comes with its table only. */
function namedEntries(
  archive: ArchiveEntry[],
  patterns: string[],
  holders: Map<number, number>,
): ArchiveEntry[] {
  const known = archive
    .filter(({kind, id}) => relationKinds.has(kind) && !(kind === 'SEQUENCE' && holders.has(id)))
    .map((entry) => ({...nameOf(entry), entry}))
  return patterns.flatMap((pattern) => matchRelations(pattern, known).map(({entry}) => entry))
}

/** True for what is meant, and for all that is a part of it. */
function withHolders(
  holders: Map<number, number>,
  archive: ArchiveEntry[],
  isMeant: (entry: ArchiveEntry) => boolean,
): (entry: ArchiveEntry) => boolean {
  const byId = new Map(archive.map((entry) => [entry.id, entry]))
  const known = new Map<number, boolean>()
  const isPart = (entry: ArchiveEntry): boolean => {
    const answer = known.get(entry.id)
    if (answer !== undefined) return answer
    known.set(entry.id, false) // an archive that goes round in a circle is none of pg_dump's
    const holder = byId.get(holders.get(entry.id) ?? 0)
    const found = isMeant(entry) || (holder !== undefined && isPart(holder))
    known.set(entry.id, found)
    return found
  }
  return isPart
}

/** Said of a schema and not of something in it; a schema that is there keeps its own. */
const schemaProperties = new Set(['DEFAULT ACL', 'PUBLICATION TABLES IN SCHEMA'])
const ofAnything = new Set(['ACL', 'COMMENT', 'SECURITY LABEL'])

function schemaEntries(
  archive: ArchiveEntry[],
  whole: Set<string>,
  touched: Set<string>,
): Map<number, string> {
  const found = new Map<number, string>()
  const schemas = new Map<number, string>()
  for (const {id, kind, tag, schema, needs} of archive) {
    if (kind === 'SCHEMA' && (whole.has(tag) || touched.has(tag))) {
      schemas.set(id, tag)
      found.set(id, tag)
    } else if (ofAnything.has(kind)) {
      const of = schemas.get(needs[0] ?? 0)
      if (of !== undefined) found.set(id, of)
    } else if (schemaProperties.has(kind) && whole.has(schema)) found.set(id, schema)
  }
  return found
}

/**
 * A partition of a table that stays is attached once it is complete: the server then takes over the indexes that
 * match the table's. Attached before, it would get new ones under the names that the archive's are to have.
 */
function attachedLast(
  entries: ArchiveEntry[],
  single: Set<number>,
  holders: Map<number, number>,
): ArchiveEntry[] {
  const holderOf = (id: number) => holders.get(id) ?? 0
  const isAttach = ({id, kind}: ArchiveEntry) => kind === 'TABLE ATTACH' && single.has(holderOf(id))
  const isIndexAttach = ({id, kind}: ArchiveEntry) =>
    kind === 'INDEX ATTACH' && single.has(holderOf(holderOf(id)))
  return [
    ...entries.filter((entry) => !isAttach(entry) && !isIndexAttach(entry)),
    ...entries.filter(isAttach),
  ]
}

/** Rows that pg_dump copies through a partitioned table may go to any of its partitions. */
function refuseForeignRows(entries: ArchiveEntry[], relations: ArchiveEntry[]): void {
  const own = new Set(relations.map((relation) => shown(nameOf(relation))))
  for (const entry of entries) {
    const into = readQualified(entry.copy, /^COPY /)
    if (into === undefined || own.has(shown(into))) continue
    throw new DbbakError(
      'OPTION_INVALID',
      `The backup holds the rows of ${shown(nameOf(entry))} as rows of the partitioned table ${shown(into)}: it cannot be restored without it.`,
      {suggestions: [`--table '${shown(into)}'`]},
    )
  }
}
