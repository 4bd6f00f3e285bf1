import type {Client} from 'pg'
import {query} from '../target.js'
import type {ArchiveEntry} from '../../archive/archive-entries.js'
import {doomed, partParameters} from './doomed-objects.js'
import type {ChosenPart} from './part.js'

/** An entry of the part and one that it needs, which is neither in the part nor in the target. */
export interface MissingNeed {
  entry: ArchiveEntry
  need: ArchiveEntry
}

/** Looks in the target for everything that the part refers to outside of it. */
export async function readMissing(client: Client, chosen: ChosenPart): Promise<MissingNeed[]> {
  const restored = new Set(chosen.entries.map(({id}) => id))
  const outside = new Map(
    chosen.archive.filter(({id}) => !restored.has(id)).map((entry) => [entry.id, entry]),
  )
  const wanted = chosen.entries.flatMap((entry) =>
    [...new Set(entry.needs)].flatMap((id) => {
      const need = outside.get(id)
      return need ? [{entry, need}] : []
    }),
  )
  const needs = [...new Set(wanted.map(({need}) => need))]
  if (needs.length === 0) return []
  const rows = await query<{id: number}>(client, missing, [
    needs.map(({id}) => id),
    needs.map(({kind}) => kind),
    needs.map(({schema}) => schema),
    needs.map(({tag}) => tag),
  ])
  const absent = new Set(rows.map(({id}) => id))
  return wanted.filter(({need}) => absent.has(need.id))
}

/** A routine's tag ends with its arguments; which of them is meant, the restore itself will tell. */
const missing = `
  select w.id from unnest($1::int[], $2::text[], $3::text[], $4::text[]) w(id, kind, schema, tag)
   where not case
     when kind in ('TABLE', 'FOREIGN TABLE', 'VIEW', 'MATERIALIZED VIEW', 'SEQUENCE') then exists (
       select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = w.schema and c.relname = w.tag)
     when kind in ('TYPE', 'DOMAIN') then exists (
       select from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace where n.nspname = w.schema and t.typname = w.tag)
     when kind in ('FUNCTION', 'PROCEDURE', 'AGGREGATE') then exists (
       select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname = w.schema and pg_catalog.starts_with(w.tag, p.proname || '('))
     when kind = 'EXTENSION' then exists (select from pg_catalog.pg_extension where extname = w.tag)
     when kind = 'SERVER' then exists (select from pg_catalog.pg_foreign_server where srvname = w.tag)
     else true end`

/** What has to be restored or made in this target: a schema only where it lacks it, publications only where it has them. */
export async function readContext(
  client: Client,
  chosen: ChosenPart,
): Promise<{entries: ArchiveEntry[]; missingSchemas: string[]}> {
  const schemas = new Set([...chosen.schemas, ...chosen.entries.map(({schema}) => schema)])
  schemas.delete('')
  const absent = await query<{name: string}>(
    client,
    `select name from unnest($1::text[]) w(name) where not exists (select from pg_catalog.pg_namespace where nspname = name)`,
    [[...schemas]],
  )
  const publications = await query<{name: string}>(
    client,
    'select pubname as name from pg_catalog.pg_publication',
  )
  const missingSchemas = absent.map(({name}) => name)
  const published = new Set(publications.map(({name}) => name))
  const isHere = (entry: ArchiveEntry) => {
    const publication = publicationOf(entry, chosen)
    return publication === undefined || published.has(publication)
  }
  const isWanted = ({id}: ArchiveEntry) => {
    const schema = chosen.onlyWithSchema.get(id)
    return schema === undefined || missingSchemas.includes(schema)
  }
  return {entries: chosen.entries.filter((entry) => isWanted(entry) && isHere(entry)), missingSchemas}
}

function publicationOf({kind, needs}: ArchiveEntry, {archive}: ChosenPart): string | undefined {
  if (!kind.startsWith('PUBLICATION ')) return undefined
  return archive.find((entry) => entry.kind === 'PUBLICATION' && needs.includes(entry.id))?.tag ?? ''
}

/** The tables that a publication of the target has by name and will lose. */
export async function readLostPublications(
  client: Client,
  chosen: ChosenPart,
): Promise<{publication: string; table: string; statement: string}[]> {
  const rows = await query<{
    publication: string
    schema: string
    name: string
    table: string
    statement: string
  }>(
    client,
    `with recursive ${doomed}
     select p.pubname as publication, n.nspname as schema, c.relname as name, format('%I.%I', n.nspname, c.relname) as table,
            format('ALTER PUBLICATION %I ADD TABLE %I.%I', p.pubname, n.nspname, c.relname) as statement
       from doomed x join pg_catalog.pg_publication_rel r on x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and r.prrelid = x.objid
       join pg_catalog.pg_publication p on p.oid = r.prpubid
       join pg_catalog.pg_class c on c.oid = r.prrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      order by 1, 2, 3`,
    partParameters(chosen),
  )
  const restored = new Set(
    chosen.entries
      .filter(({kind}) => kind === 'PUBLICATION TABLE')
      .map((entry) => JSON.stringify([entry.schema, entry.tag])),
  )
  return rows.filter(
    ({publication, schema, name}) => !restored.has(JSON.stringify([schema, `${publication} ${name}`])),
  )
}
