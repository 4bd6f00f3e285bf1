import type {Client} from 'pg'
import {asQueryError, connect} from '../../../postgres/connect.js'
import {emptyDatabase} from '../../../postgres/empty-database.js'
import {harmlessStatements} from '../../../postgres/harmless-statements.js'
import {lendSession} from '../../../postgres/lent-session.js'
import {prepareSession} from '../../../postgres/server.js'
import {unconnectedVariables} from '../../../postgres/tool-environment.js'
import type {ToolSearch} from '../../../postgres/client-tools.js'
import {DbbakError, messageOf} from '../../../support/errors.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {judgeMessages} from '../../archive/restore-messages.js'
import {runRestoreTool} from '../../archive/run-restore-tool.js'
import type {Events} from '../../events.js'
import {terminateSessions, type OtherSession} from '../target.js'
import type {Target} from '../preflight.js'

export interface InPlaceOptions {
  noOwner: boolean
  noPrivileges: boolean
  terminateConnections: boolean
}

export interface InPlaceDeps {
  search: ToolSearch
  events: Events
  signal: AbortSignal
}

/** A target that has been replaced, but only inside a transaction: nobody else sees it yet. */
export interface ReplacedTarget {
  client: Client
  /**
   * Makes it so.
   * @throws DbbakError when the server did not commit; `details.committed` is false, or undefined where it cannot be told
   */
  commit(): Promise<void>
}

/**
 * Replaces everything in a database by a backup, in one transaction of one session: DROP, restore and (by the caller)
 * the table checks. A failure, a kill of dbbak, of the tools or of the server at any moment before the commit leaves
 * the database as it was, since the server rolls back by itself.
 */
export async function replaceInTransaction(
  backup: StoredBackup,
  target: Target,
  options: InPlaceOptions,
  deps: InPlaceDeps,
): Promise<ReplacedTarget> {
  const {client} = target
  if (options.terminateConnections) refuseIfAnyLeft(await terminateSessions(client))
  try {
    await client.query('begin')
    const transaction = await transactionId(client)
    const {kept} = await emptyDatabase(client, target.server.isSuperuser)
    for (const name of kept) {
      deps.events.warning?.({
        code: 'EXTENSION_KEPT',
        message: `The extension ${name} belongs to another role and was left as it is.`,
      })
    }
    await restoreThroughSession(backup, target, options, deps)
    await prepareSession(client, 0)
    await client.query("set client_encoding = 'UTF8'; reset session authorization; reset search_path")
    return {client, commit: () => commit(target, transaction)}
  } catch (error) {
    throw error instanceof DbbakError ? error : asQueryError(error, 'replacing the content of the target')
  }
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

async function transactionId(client: Client): Promise<string> {
  const {rows} = await client.query<{id: string}>('select pg_catalog.pg_current_xact_id()::text as id')
  return rows[0]?.id ?? ''
}

async function restoreThroughSession(
  backup: StoredBackup,
  target: Target,
  options: InPlaceOptions,
  deps: InPlaceDeps,
): Promise<void> {
  const loan = await lendSession(target.client, {
    inTransaction: true,
    standIn: harmlessStatements(
      {major: target.server.major, isSuperuser: target.server.isSuperuser},
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
      onProgress: (bytes) =>
        deps.events.activityProgress?.({
          bytes,
          totalBytes: backup.entry.manifest.uncompressedBytes || undefined,
        }),
    })
    if (failure) throw restoreFailed(failure, stderr)
  } catch (error) {
    await loan.abandon()
    throw error
  }
  await loan.takeBack()
}

function restoreFailed(failure: DbbakError, stderr: string): DbbakError {
  const [first] = judgeMessages(stderr)
  return new DbbakError(
    'RESTORE_FAILED',
    first ? `The backup could not be restored: ${first.text}` : failure.message,
    {
      cause: failure,
      suggestions: ['Nothing was changed. Test the backup by itself: dbbak verify --level restore'],
    },
  )
}

/** Commits; where the answer does not arrive, asks the server in a new session what became of the transaction. */
async function commit({client, connection}: Target, transaction: string): Promise<void> {
  try {
    await client.query('commit')
  } catch (cause) {
    const status = await transactionStatus(connection, transaction)
    if (status === 'committed') return
    const aborted = status === 'aborted' || !isConnectionError(cause)
    throw new DbbakError(
      aborted ? 'RESTORE_FAILED' : 'ROLLBACK_FAILED',
      aborted
        ? `The server did not commit: ${messageOf(cause)}`
        : 'The connection was lost at the moment of the commit, and the server cannot be asked whether it happened.',
      {
        cause,
        details: {committed: aborted ? false : undefined},
        suggestions: aborted
          ? []
          : [
              'When the server is back, look whether the target holds the backup; if in doubt, restore again.',
            ],
      },
    )
  }
}

const isConnectionError = (error: unknown) =>
  typeof (error as {severity?: unknown}).severity !== 'string' ||
  /^(08|57)/.test((error as {code?: string}).code ?? '')

async function transactionStatus(
  connection: Target['connection'],
  transaction: string,
): Promise<string | undefined> {
  const deadline = performance.now() + 30_000
  while (performance.now() < deadline) {
    try {
      const {client} = await connect(connection, {applicationName: 'dbbak restore'})
      try {
        const {rows} = await client.query<{status: string}>(
          'select pg_catalog.pg_xact_status($1::xid8) as status',
          [transaction],
        )
        if (rows[0] && rows[0].status !== 'in progress') return rows[0].status
      } finally {
        await client.end()
      }
    } catch {
      // Not back yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  return undefined
}
