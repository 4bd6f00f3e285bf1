import type {Client} from 'pg'
import {z} from 'zod'
import {quoteIdentifier, quoteLiteral} from '../../postgres/identifiers.js'
import {asQueryError} from '../../postgres/query-errors.js'
import {DbbakError} from '../../support/errors.js'
import {isSafePath} from '../manifest.js'
import type {Finding} from './findings.js'
import {shellWord} from '../../support/shell.js'

/** Goes into commands that somebody types: no control characters, nothing that reads as an option. */
const printable = z
  .string()
  .min(1)
  .max(2000)
  .regex(/^(?!-)\P{Cc}+$/u)
const place = z.object({
  id: printable.refine((id) => isSafePath(id) && !id.includes('/')),
  /** As the destination describes itself, without credentials. */
  destination: printable,
})

const journalSchema = z.object({
  formatVersion: z.literal(1),
  startedAt: z.iso.datetime(),
  backup: place,
  /** The way back; null where the target was empty. */
  safety: place.nullable(),
  step: z.enum(['emptying', 'restoring', 'rolling-back']),
})

/** What a restore in many transactions is doing to a database: while it is there, the content is incomplete. */
export type RestoreJournal = z.infer<typeof journalSchema>
export type JournaledBackup = RestoreJournal['backup']

/** A journal of a newer dbbak, or one that somebody changed. */
export interface UnreadableJournal {
  unreadable: string
}

/** A restore of now that has done nothing yet. */
export function newJournal(backup: JournaledBackup, safety: JournaledBackup | null): RestoreJournal {
  return {formatVersion: 1, startedAt: new Date().toISOString(), backup, safety, step: 'emptying'}
}

/**
 * The journal is kept in the database's comment. It is seen from every machine and every database of the server, stays
 * when everything in the database is dropped, and an ordinary owner may write it: a setting of the database
 * (ALTER DATABASE … SET dbbak.journal) only superusers may make. The comment that was there is kept inside.
 */
const beginning = 'A restore by dbbak is under way here or was cut off: the content is incomplete. Journal: '

/** To a crash of the server just after it, it must not be lost: what follows is. */
const durably = `select pg_catalog.set_config('synchronous_commit', 'on', false) where pg_catalog.current_setting('synchronous_commit') = 'off'`

/** Writes the journal, or another step into it; once this returns it is there, whatever happens. */
export async function writeJournal(client: Client, database: string, journal: RestoreJournal): Promise<void> {
  const comment = commentBehindJournal(await readComment(client, database))
  await client.query(durably)
  await setComment(client, database, beginning + JSON.stringify({...journal, comment}))
}

/** The journal of a database, by default of the one that one is connected to; undefined where there is none. */
export async function readJournal(
  client: Client,
  database?: string,
): Promise<RestoreJournal | UnreadableJournal | undefined> {
  const text = journalText(await readComment(client, database))
  if (text === undefined) return undefined
  const value = parsed(text)
  const version = (value as {formatVersion?: unknown} | undefined)?.formatVersion
  if (typeof version === 'number' && version > 1)
    return {unreadable: `a newer dbbak wrote it (format ${version})`}
  const journal = journalSchema.safeParse(value)
  if (journal.success) return journal.data
  const [issue] = journal.error.issues
  return {unreadable: `${issue?.path.join('.') || 'it'} is not what dbbak writes`}
}

/** Removes the journal; the database has its former comment again. Can be part of the caller's transaction. */
export async function removeJournal(client: Client, database: string): Promise<void> {
  const comment = await readComment(client, database)
  if (journalText(comment) === undefined) return
  await client.query(durably)
  await setComment(client, database, commentBehindJournal(comment))
}

/** A database's comment without the journal: what a copy that takes its place is to have. */
export function commentBehindJournal(comment: string | null): string | null {
  const text = journalText(comment)
  if (text === undefined) return comment
  const kept = (parsed(text) as {comment?: unknown} | undefined)?.comment
  return typeof kept === 'string' ? kept : null
}

/** The backup that is the way back of a restore that was cut off. A new one would hold incomplete content. */
export function safetyOfJournal(journal: RestoreJournal | UnreadableJournal): JournaledBackup | null {
  return 'unreadable' in journal ? null : journal.safety
}

const steps: Record<RestoreJournal['step'], string> = {
  emptying: 'while it emptied the database',
  restoring: 'while it restored',
  'rolling-back': 'while it was put back to what it was before',
}

/** What a run that finds a journal says about it. */
export function journalFinding(journal: RestoreJournal | UnreadableJournal): Finding {
  const finding = {code: 'RESTORE_CUT_OFF', severity: 'warning'} as const
  if ('unreadable' in journal) {
    return {
      ...finding,
      message: `A restore of this database was cut off, so that its content is incomplete; its journal, in the database's comment, cannot be read: ${journal.unreadable}.`,
      fix: 'Restore a backup that you know to be whole: dbbak list --all-kinds',
    }
  }
  const {startedAt, backup, safety, step} = journal
  const finish = `Finish it: ${restoreCommand(backup)}`
  return {
    ...finding,
    message: `A restore of ${backup.id} into this database, begun ${startedAt}, was cut off ${steps[step]}: its content is incomplete.`,
    fix: safety
      ? `${finish}; or put back what was there before: ${restoreCommand(safety)}`
      : `${finish} (the database was empty before)`,
  }
}

/** Finishes or undoes what was cut off, typed as it stands. */
export const restoreCommand = ({id, destination}: JournaledBackup): string =>
  `dbbak restore ${shellWord(id)} --from ${shellWord(destination)} --strategy in-place --force`

const journalText = (comment: string | null): string | undefined =>
  comment?.startsWith(beginning) ? comment.slice(beginning.length) : undefined

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // reported as unreadable
  }
}

async function readComment(client: Client, database?: string): Promise<string | null> {
  const {rows} = await client.query<{comment: string | null}>(
    `select pg_catalog.shobj_description(oid, 'pg_database') as comment from pg_catalog.pg_database
      where datname operator(pg_catalog.=) coalesce($1::pg_catalog.name, pg_catalog.current_database())`,
    [database ?? null],
  )
  return rows[0]?.comment ?? null
}

async function setComment(client: Client, database: string, comment: string | null): Promise<void> {
  try {
    await client.query(
      `comment on database ${quoteIdentifier(database)} is ${comment === null ? 'null' : quoteLiteral(comment)}`,
    )
  } catch (error) {
    throw asQueryError(error, 'writing the journal of the restore')
  }
  // Of a database that is not there, because it was renamed just now, the server only warns.
  if ((await readComment(client, database)) === comment) return
  throw new DbbakError('QUERY_FAILED', `The journal of the restore could not be written to ${database}.`, {
    suggestions: ['See whether the database has been renamed, then try again.'],
  })
}
