import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Client} from 'pg'
import {harmlessStatements} from '../../../postgres/harmless-statements.js'
import {quoteIdentifier} from '../../../postgres/identifiers.js'
import {lendSession, type LentSession} from '../../../postgres/lent-session.js'
import {asQueryError} from '../../../postgres/query-errors.js'
import {unconnectedVariables} from '../../../postgres/tool-environment.js'
import {DbbakError} from '../../../support/errors.js'
import {guardian} from '../../../support/guardian.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {judgeMessages, notRestored} from '../../archive/restore-messages.js'
import {restoreProgress} from '../../archive/restore-progress.js'
import {runRestoreTool} from '../../archive/run-restore-tool.js'
import {activity} from '../../events.js'
import {dropPart, readDependents} from '../part/doomed-objects.js'
import type {ArchiveEntry} from '../../archive/archive-entries.js'
import type {ChosenPart} from '../part/part.js'
import {readContext} from '../part/part-needs.js'
import type {Target} from '../preflight.js'
import {inShortSession, settleSession} from '../target-session.js'
import {terminateSessions} from '../target.js'
import {commitTransaction, refuseForeignCommit, transactionId} from './commit.js'
import {explainLock, rollBackTarget} from './in-place.js'
import type {ReplaceDeps, Replacement, ReplaceOptions} from './replacement.js'

/**
 * Replaces a part of a database by the same part of a backup, in one transaction of one session, and touches nothing
 * else. A failure or a kill at any moment before the commit leaves the database as it was.
 */
export function replacePartInTransaction(
  backup: StoredBackup,
  target: Target,
  chosen: ChosenPart,
  options: ReplaceOptions,
  deps: ReplaceDeps,
): Replacement {
  const run: Run = {backup, target, chosen, options, deps}
  let transaction = ''
  return {
    async fill() {
      const name = `Replacing a part of ${target.server.database.name}`
      transaction = await activity(deps.events, name, () => replacePart(run))
      return target.client
    },
    async commit() {
      await commitTransaction(target, transaction, deps)
      return {}
    },
    undo: () => rollBackTarget(target, deps),
  }
}

interface Run {
  backup: StoredBackup
  target: Target
  chosen: ChosenPart
  options: ReplaceOptions
  deps: ReplaceDeps
}

/** @returns the transaction's number */
async function replacePart(run: Run): Promise<string> {
  const {target, chosen, options} = run
  const {client} = target
  try {
    if (options.terminateConnections) await terminateSessions(client)
    await client.query('begin isolation level read committed, read write, not deferrable')
    const transaction = await transactionId(client)
    const {cascaded} = await dropPart(client, chosen)
    if (cascaded) await checkCascade(target, chosen)
    const {entries, missingSchemas} = await readContext(client, chosen)
    await createSchemas(client, missingSchemas, entries)
    await refuseForeignCommit(client)
    await withList(entries, (file) => restoreThroughSession(run, file))
    await settleSession(client, target.lockTimeoutMs)
    return transaction
  } catch (error) {
    throw await explainLock(asQueryError(error, 'replacing a part of the target'), client)
  }
}

const longestLookMs = 60_000

/**
 * What a CASCADE took cannot be seen any more in our own session. Another one still sees everything that was there,
 * and with that what was not ours to take.
 */
async function checkCascade({connection}: Target, chosen: ChosenPart): Promise<void> {
  const [taken] = await inShortSession(connection, longestLookMs, async (client) => {
    await client.query('set search_path = pg_catalog') // so that names are told in full
    return readDependents(client, chosen)
  })
  if (taken) {
    throw new DbbakError(
      'RESTORE_FAILED',
      `The ${taken.what} depends on the ${taken.on}, which was to be replaced.`,
      {suggestions: ['See what else depends on it: dbbak restore --dry-run, with the same options']},
    )
  }
}

/** Those that the archive does not hold, like an archive of single tables. */
async function createSchemas(client: Client, missing: string[], entries: ArchiveEntry[]): Promise<void> {
  const restored = new Set(entries.filter(({kind}) => kind === 'SCHEMA').map(({tag}) => tag))
  for (const schema of missing.filter((name) => !restored.has(name)))
    await client.query(`create schema ${quoteIdentifier(schema)}`)
}

/** The file that tells pg_restore which entries to restore; the guardian removes it when we are killed. */
async function withList(entries: ArchiveEntry[], work: (file: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  try {
    const file = join(folder, 'part.list')
    await writeFile(file, entries.map(({id}) => `${id}\n`).join(''), {mode: 0o600})
    await work(file)
  } finally {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
}

async function restoreThroughSession(run: Run, list: string): Promise<void> {
  const {target, deps} = run
  const {major, isSuperuser} = target.server
  const kept = {extensions: [], schemas: []}
  const loan = await lendSession(target.client, {
    inTransaction: true,
    standIn: harmlessStatements({major, isSuperuser, kept}, (warning) => deps.events.warning?.(warning)),
  })
  try {
    const {failure, stderr} = await runRestoreTool(toolRequest(run, list, loan))
    if (failure) throw notRestored(judgeMessages(stderr)[0]?.text ?? failure.message, failure)
    await loan.takeBack()
  } catch (error) {
    await loan.abandon()
    if (!loan.transactionEnded()) throw error
    throw new DbbakError(
      'ROLLBACK_FAILED',
      'A statement in the archive ended the transaction of the restore and went on: what it changed may be there to stay.',
      {cause: error},
    )
  }
}

function toolRequest({backup, target, options, deps}: Run, list: string, loan: LentSession) {
  const {events, search, signal} = deps
  return {
    backup,
    tools: target.tools,
    env: {...unconnectedVariables(search.env), PGUSER: target.server.role, ...loan.environment},
    database: target.connection.databaseArgument(),
    options: [
      `--use-list=${list}`,
      ...(options.noOwner ? ['--no-owner'] : []),
      ...(options.noPrivileges ? ['--no-privileges'] : []),
    ],
    stopAtFirstError: true,
    signal,
    ...restoreProgress(backup.entry.manifest, (now) => events.activityProgress?.(now)),
  }
}
