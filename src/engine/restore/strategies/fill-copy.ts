import {availableParallelism} from 'node:os'
import type {ConnectionDescription} from '../../../postgres/connection.js'
import {newestKnownMajor} from '../../archive/archive-toc.js'
import {largeTableBytes, runInParts} from '../../archive/run-in-parts.js'
import {
  judgeMessages,
  notRestored,
  watchMessages,
  type RestoreMessage,
} from '../../archive/restore-messages.js'
import {
  runRestoreTool,
  type RestoreToolRequest,
  type RestoreToolResult,
} from '../../archive/run-restore-tool.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {restoreProgress} from '../../archive/restore-progress.js'
import type {Manifest} from '../../manifest.js'
import {activity} from '../../events.js'
import type {Target} from '../preflight.js'
import type {ReplaceDeps, ReplaceOptions} from './replacement.js'

/** Restores a backup into an empty copy, several tables or indexes at a time where that is faster. */
export async function fillCopy(
  backup: StoredBackup,
  target: Target,
  options: ReplaceOptions,
  {search, signal, events}: ReplaceDeps,
): Promise<void> {
  const {manifest} = backup.entry
  const jobs = jobsFor(backup, options.jobs)
  const messages = watchMessages(signal)
  const progress = restoreProgress(manifest, (now) => events.activityProgress?.(now))
  const request: RestoreToolRequest = {
    backup,
    tools: target.tools,
    env: toolSettings(target.connection, search.env),
    database: target.connection.databaseArgument(),
    options: [
      ...(options.noOwner ? ['--no-owner'] : []),
      ...(options.noPrivileges ? ['--no-privileges'] : []),
      ...(jobs > 1 && manifest.format === 'directory' ? [`--jobs=${jobs}`] : []),
    ],
    stopAtFirstError: false, // by ourselves: some errors are known to be harmless
    signal: messages.signal,
    onMessages: messages.take,
    ...progress,
  }
  const result = await activity(events, 'Filling the copy', () =>
    jobs > 1 && canComeInParts(manifest) ? runInParts(request, jobs) : runRestoreTool(request),
  )
  judge(result, (message) => events.warning?.({code: 'HARMLESS_MESSAGE', message: message.text}))
}

const canComeInParts = ({format, client}: Manifest): boolean =>
  format === 'custom' && Number.parseInt(client.pgDumpVersion, 10) <= newestKnownMajor

/** What a database or a role may carry and what would end or slow down a restore; larger memory for its indexes. */
const sessionOptions =
  '-c default_transaction_read_only=off -c synchronous_commit=off -c maintenance_work_mem=256MB -c transform_null_equals=off'

function toolSettings(
  connection: ConnectionDescription,
  env: Record<string, string | undefined>,
): Record<string, string> {
  const settings = connection.toolEnvironment(env)
  return {...settings, PGOPTIONS: [settings.PGOPTIONS, sessionOptions].filter(Boolean).join(' ')}
}

function judge({failure, stderr}: RestoreToolResult, onHarmless: (message: RestoreMessage) => void): void {
  const messages = judgeMessages(stderr)
  const first = messages.find(({meaning}) => meaning !== 'harmless')
  if (first) throw notRestored(first.text, failure)
  if (failure && messages.length === 0) throw notRestored(failure.message, failure)
  // Every session of a newer pg_restore sets it, and nothing depends on it.
  messages.filter(({text}) => !text.includes('transaction_timeout')).forEach(onHarmless)
}

const mostJobs = 4

/**
 * Several jobs win where there are large tables, whose indexes are built beside each other, and lose on many small
 * ones, where each job's own session and catalogue queries cost more than they bring (measured: 10,000 tables).
 */
export function jobsFor({entry}: StoredBackup, wanted: number | undefined): number {
  const {format, content} = entry.manifest
  if (format === 'plain') return 1 // a script runs from its beginning to its end
  if (wanted !== undefined) return wanted
  const isLarge = content.tables.some(({bytes}) => bytes >= largeTableBytes)
  return isLarge ? Math.max(1, Math.min(mostJobs, availableParallelism())) : 1
}
