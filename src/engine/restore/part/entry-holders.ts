import type {ArchiveEntry} from '../../archive/archive-entries.js'
import {relationKinds, type RelationName} from './part.js'

/**
 * What each entry of an archive is a part of, and is dropped and restored with: an index of its table, a comment of
 * its index, a partition of its partitioned table. By id; absent for what stands by itself.
 */
export function findHolders(archive: ArchiveEntry[]): Map<number, number> {
  const byId = new Map(archive.map((entry) => [entry.id, entry]))
  const parents = new Map<number, number>()
  const holders = new Map<number, number>()
  for (const entry of archive) {
    const needed = entry.needs.flatMap((id) => byId.get(id) ?? [])
    const relations = needed.filter(({kind}) => relationKinds.has(kind))
    const holder = rules[entry.kind]?.(entry, relations, needed)
    if (holder !== undefined) holders.set(entry.id, holder.id)
    if (entry.kind === 'TABLE ATTACH' && holder) {
      const parent = relations.find(({id}) => id !== holder.id)
      if (parent) parents.set(holder.id, parent.id)
    }
  }
  return new Map([...holders, ...parents])
}

type Rule = (
  entry: ArchiveEntry,
  relations: ArchiveEntry[],
  needed: ArchiveEntry[],
) => ArchiveEntry | undefined

const firstNeed: Rule = (_, __, needed) => needed[0]
const firstRelation: Rule = (_, relations) => relations[0]
const inSameSchema: Rule = ({schema}, relations) => relations.find((relation) => relation.schema === schema)
const namesake: Rule = ({schema, tag}, relations) =>
  relations.find((relation) => relation.schema === schema && relation.tag === tag)

/** Its tag is the table's name, a blank and its own name; it may need other tables too. */
const namedAfter: Rule = ({schema, tag, definition}, relations) => {
  const candidates = relations.filter(
    (relation) => relation.schema === schema && tag.startsWith(`${relation.tag} `),
  )
  const altered = readQualified(definition, /^ALTER TABLE (?:ONLY )?/)
  return candidates.find((relation) => relation.tag === altered?.name) ?? candidates[0]
}

const attachedIndex: Rule = ({schema, tag}, _, needed) =>
  needed.find(
    (need) =>
      need.schema === schema &&
      ((need.kind === 'INDEX' && need.tag === tag) ||
        (need.kind === 'CONSTRAINT' && need.tag.endsWith(` ${tag}`))),
  )

const rules: Record<string, Rule> = {
  'TABLE DATA': namesake,
  'MATERIALIZED VIEW DATA': namesake,
  'SEQUENCE SET': namesake,
  'SEQUENCE OWNED BY': namesake,
  'ROW SECURITY': namesake,
  'TABLE ATTACH': namesake,
  SEQUENCE: inSameSchema,
  INDEX: inSameSchema,
  STATISTICS: firstRelation,
  'PUBLICATION TABLE': firstRelation,
  'INDEX ATTACH': attachedIndex,
  DEFAULT: namedAfter,
  CONSTRAINT: namedAfter,
  'CHECK CONSTRAINT': namedAfter,
  'FK CONSTRAINT': namedAfter,
  TRIGGER: namedAfter,
  RULE: namedAfter,
  POLICY: namedAfter,
  COMMENT: firstNeed,
  'SECURITY LABEL': firstNeed,
  ACL: firstNeed,
  'STATISTICS DATA': firstNeed,
}

/** The qualified name that follows some words at the beginning of a statement of pg_dump. */
export function readQualified(statement: string, words: RegExp): RelationName | undefined {
  const start = words.exec(statement)?.[0]
  if (start === undefined) return undefined
  const match = /^("(?:[^"]|"")+"|[^\s".(]+)\.("(?:[^"]|"")+"|[^\s".(]+)/.exec(statement.slice(start.length))
  return match ? {schema: unquoted(match[1] as string), name: unquoted(match[2] as string)} : undefined
}

const unquoted = (name: string) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name)
