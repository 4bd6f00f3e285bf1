import type {ConnectionDescription} from '../../../postgres/connection.js'
import {quoteIdentifier} from '../../../postgres/identifiers.js'
import {
  isInUse,
  keepEnding,
  renameStatements,
  sessionsIn,
  stillConnected,
  waitUntilEmpty,
} from '../../../postgres/rename-databases.js'
import {asQueryError} from '../../../postgres/query-errors.js'
import {endBackend, leaveSession, openTargetSession, rollBackSession} from '../target-session.js'
import {commitTransaction, transactionId} from './commit.js'
import type {ReplaceDeps, ReplaceOptions} from './replacement.js'

/** Where the network is gone altogether the server ends the transaction by itself, instead of keeping everybody out. */
const notForEver = `set local idle_in_transaction_session_timeout = '15s'`

export interface Switch {
  maintenance: ConnectionDescription
  /** What clients connect to. */
  target: string
  /** The restored copy, to become the target. */
  copy: string
  /** What the former target is called from then on. */
  old: string
  /** What the copy lacks of the target's own properties until it takes its place. */
  finishing: string[]
  /** So long it waits for others to leave the target by themselves. */
  lockTimeoutMs: number
}

/**
 * Swaps two databases by renaming them in one transaction. From the first rename on the server lets nobody into the
 * target (a new session waits for the lock on it), and the rename itself waits up to five seconds for those inside:
 * that is when they are ended. Nothing of this outlives the transaction: a kill at any moment leaves both names as
 * they were, or both swapped.
 * @returns how long nobody could connect, in milliseconds
 * @throws DbbakError RESTORE_FAILED with both names as they were; ROLLBACK_FAILED where that cannot be told
 */
export async function switchNames(
  names: Switch,
  {terminateConnections}: Pick<ReplaceOptions, 'terminateConnections'>,
  deps: ReplaceDeps,
): Promise<number> {
  const session = await openTargetSession(names.maintenance, names.lockTimeoutMs, deps.signal)
  const {client} = session
  const other = await openTargetSession(names.maintenance, names.lockTimeoutMs, deps.signal).catch(
    async (error: unknown) => {
      await leaveSession(session)
      throw error
    },
  )
  const {client: bouncer} = other
  let stopEnding = async () => {}
  try {
    if (!terminateConnections)
      await waitUntilEmpty(bouncer, names.target, {waitMs: names.lockTimeoutMs, signal: deps.signal})
    await client.query('begin')
    await client.query(notForEver)
    const transaction = await transactionId(client)
    const start = performance.now()
    if (terminateConnections) stopEnding = keepEnding(bouncer, names.target)
    for (const statement of renameStatements(names.target, names.old, names.copy))
      await client.query(statement)
    for (const statement of names.finishing) await client.query(statement)
    // A template could not be dropped.
    await client.query(`alter database ${quoteIdentifier(names.old)} with is_template false`)
    await commitTransaction(session, transaction, deps)
    return Math.round(performance.now() - start)
  } catch (error) {
    // It may hold the lock that everybody waits for, and not have heard that we gave up.
    if (!(await rollBackSession(session))) await endBackend(session)
    throw isInUse(error)
      ? stillConnected(names.target, await sessionsIn(bouncer, names.target).catch(() => []))
      : asQueryError(error, 'swapping the names')
  } finally {
    await stopEnding()
    await leaveSession(other)
    await leaveSession(session)
  }
}
