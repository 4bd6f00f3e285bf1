import type {Client} from 'pg'
import {asQueryError, connect} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {quoteLiteral} from '../../postgres/identifiers.js'
import {claimDatabase} from '../../postgres/operation-lock.js'
import {describeServer, prepareSession, type ServerDescription} from '../../postgres/server.js'
import {DbbakError} from '../../support/errors.js'
import type {InTransaction} from '../content/content-record.js'
import {journalFinding, readJournal} from '../restore/journal.js'
import {destroySession} from '../../postgres/session-guard.js'
import {explainQueryFailure} from './dump-errors.js'

/** A session that holds one state of the database still while others read it. */
export interface HeldSnapshot {
  client: Client
  /** Names the one host that was reached. */
  connection: ConnectionDescription
  server: ServerDescription
  /** For `pg_dump --snapshot`. */
  id: string
  takenAt: Date
  /** The database or the role has one, which this session has lifted. */
  hasStatementTimeout: boolean
  /** Runs queries in a short transaction of a second session that sees the same state, then lets its locks go. */
  inTransaction: InTransaction
  /** Ends both sessions; never throws. */
  release(): Promise<void>
}

export interface SnapshotOptions {
  lockTimeoutMs: number
  now: () => Date
  signal?: AbortSignal | undefined
  /** The caller holds the claim on the database already. */
  claimed?: boolean | undefined
}

/**
 * Opens a session, claims the database for reading, and exports its snapshot.
 * @throws DbbakError RESTORE_IN_PROGRESS while a restore replaces this database
 */
export async function holdSnapshot(
  description: ConnectionDescription,
  options: SnapshotOptions,
): Promise<HeldSnapshot> {
  const holder = await openSession(description, options)
  const stopListening = endOnAbort(holder.client, options.signal)
  try {
    const server = await describeServer(holder.client)
    if (!options.claimed) await claim(holder.client, server)
    await holder.client.query('begin isolation level repeatable read, read only')
    const takenAt = options.now()
    const {rows} = await holder.client.query<{id: string}>('select pg_catalog.pg_export_snapshot() as id')
    return {
      ...holder,
      server,
      id: rows[0]?.id ?? '',
      takenAt,
      ...secondSession({...holder, server}, rows[0]?.id ?? '', options),
    }
  } catch (error) {
    await endSession(holder.client)
    options.signal?.throwIfAborted()
    throw error instanceof DbbakError ? error : asQueryError(error, 'taking a snapshot')
  } finally {
    stopListening()
  }
}

/** A query that waits, for a lock or on a server that hangs, must not hold up a Ctrl-C. */
function endOnAbort(client: Client, signal: AbortSignal | undefined): () => void {
  const abort = () => destroySession(client)
  signal?.addEventListener('abort', abort, {once: true})
  return () => signal?.removeEventListener('abort', abort)
}

const goodbyeMs = 5000

/** In good order where the server answers in time. Never throws. */
async function endSession(client: Client): Promise<void> {
  const late = setTimeout(() => destroySession(client), goodbyeMs)
  await client.end().catch(() => {})
  clearTimeout(late)
}

type Session = Awaited<ReturnType<typeof connect>>

async function openSession(
  description: ConnectionDescription,
  {lockTimeoutMs, signal}: SnapshotOptions,
): Promise<Session & Pick<HeldSnapshot, 'connection' | 'hasStatementTimeout'>> {
  const session = await connect(description, {applicationName: 'dbbak backup', ...(signal ? {signal} : {})})
  const stopListening = endOnAbort(session.client, signal)
  try {
    const hasStatementTimeout = await settle(session.client, lockTimeoutMs)
    return {...session, connection: session.description, hasStatementTimeout}
  } catch (error) {
    destroySession(session.client)
    signal?.throwIfAborted()
    throw asQueryError(error, 'preparing a session')
  } finally {
    stopListening()
  }
}

/** @returns whether the database or the role has a statement_timeout */
async function settle(client: Client, lockTimeoutMs: number): Promise<boolean> {
  await prepareSession(client, lockTimeoutMs)
  // The dump has the processors first; the counts may take as long as it does.
  await client.query('set max_parallel_workers_per_gather = 0')
  const {rows} = await client.query<{limited: boolean}>(
    `select reset_val <> '0' as limited from pg_catalog.pg_settings where name = 'statement_timeout'`,
  )
  return rows[0]?.limited ?? false
}

/** Nobody replaces the content meanwhile, and nobody has left it half replaced. */
async function claim(client: Client, {database}: ServerDescription): Promise<void> {
  if (!(await claimDatabase(client, 'shared'))) throw restoreInProgress(database.name)
  const journal = await readJournal(client)
  if (!journal) return
  const {message, fix} = journalFinding(journal)
  throw new DbbakError('RESTORE_CUT_OFF', `${message} A backup of it would not be one.`, {
    suggestions: fix ? [fix] : [],
  })
}

function secondSession(
  holder: Session & Pick<HeldSnapshot, 'connection' | 'server'>,
  id: string,
  options: SnapshotOptions,
): Pick<HeldSnapshot, 'inTransaction' | 'release'> {
  const {signal} = options
  let counting: Promise<Session> | undefined
  return {
    async inTransaction(work) {
      signal?.throwIfAborted()
      counting ??= openSession(holder.connection, options)
      const {client} = await counting
      const stopListening = cancelOnAbort(client, holder.client, signal)
      try {
        await client.query(
          `begin isolation level repeatable read, read only; set transaction snapshot ${quoteLiteral(id)}`,
        )
        const value = await work(client)
        await client.query('commit')
        return value
      } catch (error) {
        signal?.throwIfAborted()
        throw await explainQueryFailure(error, 'counting rows', holder)
      } finally {
        stopListening()
      }
    },
    async release() {
      const second = await counting?.catch(() => undefined)
      // A session in the middle of a long count is cut off; the others end in good order.
      for (const client of [second?.client, holder.client]) if (client) await endSession(client)
    },
  }
}

/** The server would go on counting for somebody who has gone: it is told to stop. */
function cancelOnAbort(client: Client, other: Client, signal: AbortSignal | undefined): () => void {
  const {processID} = client as Client & {processID?: number}
  const abort = () => {
    other.query('select pg_catalog.pg_cancel_backend($1)', [processID]).catch(() => {}) // it notices by itself later
    destroySession(client)
  }
  signal?.addEventListener('abort', abort, {once: true})
  return () => signal?.removeEventListener('abort', abort)
}

function restoreInProgress(database: string): DbbakError {
  return new DbbakError(
    'RESTORE_IN_PROGRESS',
    `A restore into ${database} is running; a backup now would hold neither the old nor the new state.`,
    {
      suggestions: ['Wait until the restore has ended, then: dbbak backup'],
    },
  )
}
