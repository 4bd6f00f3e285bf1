import {randomBytes} from 'node:crypto'
import type {Client} from 'pg'

const longestNameBytes = 63

/** Names of the databases that a swap makes beside its target. */
export interface CopyNames {
  /** Being filled; becomes the target. */
  copy: string
  /** The former target. */
  old: string
}

export function newCopyNames(target: string): CopyNames {
  const id = randomBytes(4).toString('hex')
  return {copy: withEnding(target, `_dbbak_${id}`), old: withEnding(target, `_dbbak_old_${id}`)}
}

/** Cut so that the server does not cut it, which it would do silently. */
function withEnding(target: string, ending: string): string {
  const characters = [...target]
  while (Buffer.byteLength(characters.join('') + ending) > longestNameBytes) characters.pop()
  return characters.join('') + ending
}

/** What an earlier restore left beside a target, and nobody works on any more. */
export interface LeftDatabase {
  name: string
  kind: 'unfinished copy' | 'former content'
  bytes: number | null
}

/**
 * Databases that a swap of this target made and that nobody is in; a copy of a restore that still runs has its
 * session inside. Without a target: those of all.
 */
export async function findLeftDatabases(client: Client, target?: string): Promise<LeftDatabase[]> {
  const {rows} = await client.query<{name: string; bytes: string | null}>(
    `select d.datname as name,
            case when pg_catalog.has_database_privilege(d.oid, 'connect') then pg_catalog.pg_database_size(d.oid) end as bytes
       from pg_catalog.pg_database d
      where d.datname ~ '_dbbak_(old_)?[0-9a-f]{8}$' and d.datname <> pg_catalog.current_database()
        and not exists (select from pg_catalog.pg_stat_activity a where a.datid = d.oid)
      order by d.datname`,
  )
  return rows
    .filter(({name}) => target === undefined || isFor(name, target))
    .map(({name, bytes}) => ({
      name,
      kind: /_dbbak_old_[0-9a-f]{8}$/.test(name) ? 'former content' : 'unfinished copy',
      bytes: bytes === null ? null : Number(bytes),
    }))
}

function isFor(name: string, target: string): boolean {
  const [ending = ''] = /_dbbak_(old_)?[0-9a-f]{8}$/.exec(name) ?? []
  return name === withEnding(target, ending)
}
