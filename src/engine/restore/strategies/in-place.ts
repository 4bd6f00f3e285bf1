import type {Client} from 'pg'
import {asQueryError} from '../../../postgres/connect.js'
import {emptyDatabase, type Kept} from '../../../postgres/empty-database.js'
import {harmlessStatements} from '../../../postgres/harmless-statements.js'
import {lendSession} from '../../../postgres/lent-session.js'
import {unconnectedVariables} from '../../../postgres/tool-environment.js'
import {DbbakError} from '../../../support/errors.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {judgeMessages} from '../../archive/restore-messages.js'
import {createSelectedSchemas} from '../../archive/selected-schemas.js'
import {restoreProgress} from '../../archive/restore-progress.js'
import {runRestoreTool} from '../../archive/run-restore-tool.js'
import {activity} from '../../events.js'
import {endBackend, rollBackSession, settleSession} from '../target-session.js'
import {describeSession, otherSessions, terminateSessions, type OtherSession} from '../target.js'
import type {Target} from '../preflight.js'
import {commitTransaction, refuseForeignCommit, transactionId} from './commit.js'
import {createRoles} from '../restore-roles.js'
import {newerPsql} from '../version-findings.js'
import type {ReplaceDeps, Replacement, ReplaceOptions} from './replacement.js'

/**
 * Replaces everything in a database by a backup, in one transaction of one session: DROP, restore and (by the caller)
 * the table checks. A failure, a kill of dbbak, of the tools or of the server at any moment before the commit leaves
 * the database as it was, since the server rolls back by itself.
 */
export function replaceInTransaction(
  backup: StoredBackup,
  target: Target,
  options: ReplaceOptions,
  deps: ReplaceDeps,
): Replacement {
  const {client, server} = target
  let transaction = ''
  return {
    async fill() {
      transaction = await activity(deps.events, `Replacing ${server.database.name}`, () =>
        replaceContent(backup, target, options, deps),
      )
      return client
    },
    async commit() {
      await commitTransaction(target, transaction, deps)
      return {}
    },
    undo: () => rollBackTarget(target, deps),
  }
}

/**
 * The transaction has not been committed: ending it, or the session it lives in, undoes everything.
 */
export async function rollBackTarget(target: Target, {events}: ReplaceDeps): Promise<void> {
  if ((await rollBackSession(target)) || (await endBackend(target))) return
  events.warning?.({
    code: 'SERVER_SESSION_LEFT',
    message: `The server cannot be asked to end its process ${target.backend.pid}, which may hold locks until it notices that this session is gone. It will roll back then.`,
  })
}

/** @returns the transaction's number */
async function replaceContent(
  backup: StoredBackup,
  target: Target,
  options: ReplaceOptions,
  deps: ReplaceDeps,
): Promise<string> {
  const {client} = target
  try {
    if (options.terminateConnections) refuseIfAnyLeft(await terminateSessions(client))
    await client.query('begin isolation level read committed, read write, not deferrable')
    const transaction = await transactionId(client)
    await createRoles(client, target.rolesToCreate)
    const kept = await emptyDatabase(client, target.server.isSuperuser)
    for (const name of kept.extensions) {
      deps.events.warning?.({
        code: 'EXTENSION_KEPT',
        message: `The extension ${name} belongs to another role and was left as it is.`,
      })
    }
    await createSelectedSchemas(client, backup.entry.manifest)
    await refuseForeignCommit(client)
    await restoreThroughSession(backup, target, kept, options, deps)
    await settleSession(client, target.lockTimeoutMs)
    return transaction
  } catch (error) {
    throw await explainLock(asQueryError(error, 'replacing the content of the target'), client)
  }
}

/** A lock that was waited for in vain: somebody who came after the preflight holds it. */
export async function explainLock(error: DbbakError, client: Client): Promise<DbbakError> {
  if (error.code !== 'LOCK_TIMEOUT') return error
  await client.query('rollback').catch(() => {})
  const others = await otherSessions(client).catch(() => [])
  return new DbbakError(
    'LOCK_TIMEOUT',
    `Something that is to be replaced is locked by another session: ${others.map(describeSession).join('; ') || 'it has ended by now'}.`,
    {
      cause: error,
      suggestions: [
        'End what uses the database and keep it from coming back, or: dbbak restore --terminate-connections',
        'Or wait longer for it: dbbak restore --lock-timeout 5min',
      ],
    },
  )
}

function refuseIfAnyLeft(left: OtherSession[]): void {
  if (left.length === 0) return
  throw new DbbakError(
    'RESTORE_FAILED',
    `${left.length} sessions are still connected and this role could not end them (pid ${left.map(({pid}) => pid).join(', ')}).`,
    {
      suggestions: [
        'Stop what uses the database, or restore as a superuser or a member of pg_signal_backend.',
      ],
    },
  )
}

async function restoreThroughSession(
  backup: StoredBackup,
  target: Target,
  kept: Kept,
  options: ReplaceOptions,
  deps: ReplaceDeps,
): Promise<void> {
  const progress = restoreProgress(backup.entry.manifest, (now) => deps.events.activityProgress?.(now))
  const loan = await lendSession(target.client, {
    inTransaction: true,
    standIn: harmlessStatements(
      {major: target.server.major, isSuperuser: target.server.isSuperuser, kept},
      (warning) => deps.events.warning?.(warning),
    ),
  })
  try {
    const {failure, stderr} = await runRestoreTool({
      backup,
      tools: target.tools,
      env: {...unconnectedVariables(deps.search.env), PGUSER: target.server.role, ...loan.environment},
      database: target.connection.databaseArgument(),
      options: [
        ...(options.noOwner ? ['--no-owner'] : []),
        ...(options.noPrivileges ? ['--no-privileges'] : []),
      ],
      stopAtFirstError: true,
      signal: deps.signal,
      ...progress,
    })
    if (failure) throw restoreFailed(failure, stderr)
    await loan.takeBack()
  } catch (error) {
    await loan.abandon()
    throw loan.transactionEnded() ? transactionEnded(error) : error
  }
}

function transactionEnded(cause: unknown): DbbakError {
  return new DbbakError(
    'ROLLBACK_FAILED',
    'A statement in the archive ended the transaction of the restore and went on: what it changed may be there to stay.',
    {cause},
  )
}

function restoreFailed(failure: DbbakError, stderr: string): DbbakError {
  const [first] = judgeMessages(stderr)
  return new DbbakError(
    'RESTORE_FAILED',
    first ? `The backup could not be restored: ${first.text}` : failure.message,
    {
      cause: failure,
      suggestions: [
        ...(/invalid command \\(un)?restrict/.test(stderr) ? [newerPsql] : []),
        'Test the backup by itself: dbbak verify --level restore',
      ],
    },
  )
}
