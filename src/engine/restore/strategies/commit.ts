import {setTimeout as delay} from 'node:timers/promises'
import type {Client} from 'pg'
import {isConnectionLoss, isServerError} from '../../../postgres/query-errors.js'
import {DbbakError, messageOf} from '../../../support/errors.js'
import {activity, type Events} from '../../events.js'
import {backendGone, inShortSession, type TargetSession} from '../target-session.js'

/** @returns the number by which one can ask later what became of the transaction */
export async function transactionId(client: Client): Promise<string> {
  const {rows} = await client.query<{id: string}>('select pg_catalog.pg_current_xact_id()::text as id')
  return rows[0]?.id ?? ''
}

/**
 * Makes the server refuse every COMMIT of this transaction but ours, also one that a tool hides in a longer statement:
 * a row that breaks a deferred foreign key, until it is deleted. Where temporary tables are not allowed, nothing does.
 */
export async function refuseForeignCommit(client: Client): Promise<void> {
  const {rows} = await client.query<{may: boolean}>(
    `select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'temporary') as may`,
  )
  if (!rows[0]?.may) return
  await client.query(
    `create temporary table dbbak_uncommitted (id int primary key, other int references dbbak_uncommitted deferrable initially deferred) on commit drop;
     insert into pg_temp.dbbak_uncommitted values (1, 2)`,
  )
}

/** To a crash of the server just after it a commit must not be lost, whatever the role's settings say. */
const durably = `select pg_catalog.set_config('synchronous_commit', 'on', true) where pg_catalog.current_setting('synchronous_commit') = 'off'`

export interface CommitDeps {
  events: Events
  signal: AbortSignal
}

/**
 * Commits; where the answer does not arrive, asks the server in a new session what became of the transaction.
 * @throws DbbakError RESTORE_FAILED when it did not commit, ROLLBACK_FAILED when that cannot be told
 */
export async function commitTransaction(
  session: TargetSession,
  transaction: string,
  deps: CommitDeps,
): Promise<void> {
  try {
    await commit(session.client)
  } catch (cause) {
    if (isCertain(cause)) throw notCommitted(cause)
    const name = 'Asking the server whether it committed'
    const status = await activity(deps.events, name, () => settledStatus(session, transaction, deps.signal))
    if (status === 'committed') return
    throw status === 'aborted' ? notCommitted(cause) : unknownOutcome(cause)
  }
}

/** The server itself said no; everything else leaves it open. */
const isCertain = (error: unknown): boolean =>
  error instanceof DbbakError || (isServerError(error) && !isConnectionLoss(error))

async function commit(client: Client): Promise<void> {
  await client.query(durably)
  const {rows} = await client.query<{there: boolean}>(
    `select pg_catalog.to_regclass('pg_temp.dbbak_uncommitted') is not null as there`,
  )
  if (rows[0]?.there) await client.query('delete from pg_temp.dbbak_uncommitted')
  const {command} = await client.query('commit')
  if (command !== 'COMMIT')
    throw new DbbakError('RESTORE_FAILED', 'the transaction had failed before, and was rolled back')
}

function notCommitted(cause: unknown): DbbakError {
  return new DbbakError('RESTORE_FAILED', `The server did not commit: ${messageOf(cause)}.`, {cause})
}

function unknownOutcome(cause: unknown): DbbakError {
  return new DbbakError(
    'ROLLBACK_FAILED',
    'The connection was lost at the moment of the commit, and the server cannot be asked whether it happened: the target is what it was before, or what the backup holds.',
    {cause, suggestions: ['When the server is back, look which of the two it is.']},
  )
}

/** A server that starts again after a crash may need minutes, and says that it does. */
const patienceMs = {silent: 60_000, interrupted: 10_000, starting: 600_000}
const attemptMs = 10_000

/** The transaction's fate, once it has one: its process is ended first, so that it cannot commit later. */
async function settledStatus(
  session: TargetSession,
  transaction: string,
  signal: AbortSignal,
): Promise<'committed' | 'aborted' | undefined> {
  const start = performance.now()
  let patience = patienceMs.silent
  while (performance.now() - start < (signal.aborted ? patienceMs.interrupted : patience)) {
    try {
      const status = await inShortSession(session.connection, attemptMs, (client) =>
        askStatus(client, session, transaction),
      )
      if (status === 'committed' || status === 'aborted') return status
    } catch (error) {
      if (isStarting(error)) patience = patienceMs.starting
    }
    await delay(250)
  }
  return undefined
}

async function askStatus(client: Client, {backend}: TargetSession, transaction: string): Promise<unknown> {
  if (!(await backendGone(client, backend, attemptMs))) return undefined
  const {rows} = await client.query<{status: string | null}>(
    'select pg_catalog.pg_xact_status($1::pg_catalog.xid8) as status',
    [transaction],
  )
  return rows[0]?.status
}

const isStarting = (error: unknown): boolean =>
  error instanceof DbbakError && error.details?.sqlState === '57P03'
