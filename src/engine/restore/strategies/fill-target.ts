import {setTimeout as delay} from 'node:timers/promises'
import type {Client} from 'pg'
import {asQueryError, connect} from '../../../postgres/connect.js'
import type {Kept} from '../../../postgres/empty-database.js'
import {harmlessStatements} from '../../../postgres/harmless-statements.js'
import {lendSession} from '../../../postgres/lent-session.js'
import {prepareSession, type ServerDescription} from '../../../postgres/server.js'
import {destroySession} from '../../../postgres/session-guard.js'
import {withServerSettings} from '../../../postgres/tool-settings.js'
import {unconnectedVariables} from '../../../postgres/tool-environment.js'
import {DbbakError} from '../../../support/errors.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {judgeMessages, notRestored, watchMessages} from '../../archive/restore-messages.js'
import {restoreProgress} from '../../archive/restore-progress.js'
import {runInParts} from '../../archive/run-in-parts.js'
import {runRestoreTool, type RestoreToolRequest} from '../../archive/run-restore-tool.js'
import type {Target} from '../preflight.js'
import {canComeInParts, jobsFor} from './jobs.js'
import type {ReplaceDeps, ReplaceOptions} from './replacement.js'

export type FillOptions = Pick<ReplaceOptions, 'noOwner' | 'noPrivileges' | 'jobs'>
export type FillTarget = Pick<Target, 'connection' | 'server' | 'tools' | 'lockTimeoutMs'>

/** What the sessions of the tools are called in pg_stat_activity. */
const toolSession = 'dbbak restore tool'

/**
 * Restores a backup straight into a database that is new or was emptied: every statement becomes true by itself. Stops at the
 * first error that is not known to be harmless.
 */
export async function fillTarget(
  backup: StoredBackup,
  target: FillTarget,
  kept: Kept,
  options: FillOptions,
  deps: ReplaceDeps,
): Promise<void> {
  const {manifest} = backup.entry
  const request = {
    backup,
    tools: target.tools,
    database: target.connection.databaseArgument(),
    options: [
      ...(options.noOwner ? ['--no-owner'] : []),
      ...(options.noPrivileges ? ['--no-privileges'] : []),
    ],
    signal: deps.signal,
    ...restoreProgress(manifest, (now) => deps.events.activityProgress?.(now)),
  }
  if (manifest.format === 'plain') await runPsql(request, target, kept, deps)
  else await runPgRestore(request, target, {kept, jobs: jobsFor(backup, options.jobs)}, deps)
}

/**
 * Ends the server's processes that a restore which was cut off has left: they go on with their statement until they
 * notice. Whoever has claimed the database knows that they are nobody's.
 */
export async function endToolSessions(client: Client): Promise<void> {
  for (const end = performance.now() + 10_000; performance.now() < end; await delay(50)) {
    const {rows} = await client.query(
      `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
        where datname = pg_catalog.current_database() and application_name = $1 and pid <> pg_catalog.pg_backend_pid()`,
      [toolSession],
    )
    if (rows.length === 0) return
  }
  throw new DbbakError(
    'RESTORE_FAILED',
    'The server still works for a restore that was cut off, and does not end that process.',
    {
      suggestions: [
        `Try again when it has ended: SELECT * FROM pg_stat_activity WHERE application_name = '${toolSession}'`,
      ],
    },
  )
}

type Request = Omit<RestoreToolRequest, 'env' | 'stopAtFirstError'>

/** What a database or a role may carry and what would end or slow down a restore; larger memory for its indexes. */
const settingsFor = ({major}: ServerDescription): Record<string, string> => ({
  default_transaction_read_only: 'off',
  statement_timeout: '0', // pg_restore lifts it too, but by its second statement
  ...(major >= 14 ? {idle_session_timeout: '0'} : {}), // of several jobs, some wait while a large table is filled
  synchronous_commit: 'off', // the end of the restore is flushed, and with it all that came before
  maintenance_work_mem: '256MB',
  transform_null_equals: 'off',
})

async function runPgRestore(
  request: Request,
  {connection, server}: FillTarget,
  {kept, jobs}: {kept: Kept; jobs: number},
  {search, events, signal}: ReplaceDeps,
): Promise<void> {
  const environment = withServerSettings(connection.toolEnvironment(search.env), settingsFor(server))
  const messages = watchMessages(signal)
  const pass = lines(messages.take, (line) => !isOfKept(line, kept))
  const whole: RestoreToolRequest = {
    ...request,
    env: {...environment, PGAPPNAME: toolSession},
    stopAtFirstError: false, // by ourselves: some errors are known to be harmless
    signal: messages.signal,
    onMessages: pass,
  }
  const {failure, stderr} =
    jobs > 1 && canComeInParts(request.backup.entry.manifest)
      ? await runInParts(whole, jobs)
      : await runRestoreTool(whole)
  const all = judgeMessages(stderr)
  const found = all.filter(({text}) => !isOfKept(`ERROR: ${text}`, kept))
  const error = found.find(({meaning}) => meaning !== 'harmless')
  if (error) throw notRestored(error.text, failure)
  if (failure && all.length === 0) throw notRestored(failure.message, failure)
  // Every session of a newer pg_restore sets it, and nothing depends on it.
  for (const {text} of found.filter(({text}) => !text.includes('transaction_timeout')))
    events.warning?.({code: 'HARMLESS_MESSAGE', message: text})
}

/** An extension that had to stay lives in this schema, so it is there already, and empty of everything else. */
function isOfKept(line: string, {schemas}: Kept): boolean {
  const name = /ERROR: +schema "(.*)" already exists/.exec(line)?.[1]
  return name !== undefined && schemas.includes(name)
}

/** Passes on whole lines, those that are wanted. */
function lines(take: (text: string) => void, isWanted: (line: string) => boolean): (text: string) => void {
  let rest = ''
  return (text) => {
    const all = (rest + text).split('\n')
    rest = all.pop() ?? ''
    const wanted = all.filter(isWanted)
    if (wanted.length > 0) take(`${wanted.join('\n')}\n`)
  }
}

/**
 * psql speaks to the server through us, since it has to stop at the first error: where a table could not be made, it
 * would take the rows that follow for statements, and run whatever is written in them. What is harmless is answered here.
 */
async function runPsql(
  request: Request,
  target: FillTarget,
  kept: Kept,
  {search, events, signal}: ReplaceDeps,
): Promise<void> {
  const {server} = target
  const client = await openToolSession(target, signal)
  const loan = await lendSession(client, {
    inTransaction: false,
    standIn: harmlessStatements({...server, kept}, (warning) => events.warning?.(warning)),
  })
  try {
    const {failure, stderr} = await runRestoreTool({
      ...request,
      env: {...unconnectedVariables(search.env), PGUSER: server.role, ...loan.environment},
      stopAtFirstError: true,
      signal,
    })
    if (failure) throw notRestored(judgeMessages(stderr)[0]?.text ?? failure.message, failure)
    await loan.takeBack()
    await client.end()
  } catch (error) {
    await loan.abandon()
    throw error
  }
}

async function openToolSession(
  {connection, server, lockTimeoutMs}: FillTarget,
  signal: AbortSignal,
): Promise<Client> {
  const {client} = await connect(connection, {applicationName: toolSession, signal})
  try {
    await prepareSession(client, lockTimeoutMs)
    const each = Object.entries(settingsFor(server)).map(([name, value]) => `set ${name} = '${value}'`)
    await client.query(each.join('; '))
    return client
  } catch (error) {
    destroySession(client)
    throw asQueryError(error, 'preparing the session of psql')
  }
}
