import type {ClientTools} from '../../postgres/client-tools.js'
import {connect} from '../../postgres/connect.js'
import {prepareSession} from '../../postgres/server.js'
import type {ScratchServer} from '../../postgres/scratch/scratch.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {judgeMessages, type RestoreMessage} from '../archive/restore-messages.js'
import {runRestoreTool} from '../archive/run-restore-tool.js'
import {compareContent} from '../content/compare-content.js'
import {recordContent} from '../content/content-record.js'
import type {ContentRecord} from '../manifest.js'
import {createScratchDatabase, type ScratchDatabase} from './scratch-database.js'
import type {Check} from './verification-record.js'

export interface RestoreTestDeps {
  server: ScratchServer
  tools: ClientTools
  env: Record<string, string | undefined>
  signal: AbortSignal
  onProgress?: (bytes: number) => void
}

/** A copy must reach nothing outside: no subscriptions; owners and grants need roles that a scratch server lacks. */
const scratchOptions = [
  '--no-owner',
  '--no-privileges',
  '--no-subscriptions',
  '--no-publications',
  '--no-tablespaces',
]

/** Restores a backup into a scratch database and compares the copy with the content record. */
export async function testRestore(backup: StoredBackup, deps: RestoreTestDeps): Promise<Check[]> {
  const database = await createScratchDatabase(deps.server, backup.entry.manifest.database, deps.signal)
  try {
    const restored = await restoreInto(database, backup, deps)
    if (restored.status !== 'passed')
      return [
        restored,
        {
          name: 'data-integrity',
          status: 'could-not-run',
          reason: 'The restore test did not pass.',
          ...(await whatDiffers(database, backup, deps)),
        },
      ]
    return [restored, await compareCopy(database, backup, deps)]
  } finally {
    await database.drop()
  }
}

async function restoreInto(
  database: ScratchDatabase,
  backup: StoredBackup,
  {tools, env, signal, onProgress}: RestoreTestDeps,
): Promise<Check> {
  const {failure, stderr} = await runRestoreTool({
    backup,
    tools,
    env: database.connection.toolEnvironment(env),
    database: database.connection.databaseArgument(),
    options: scratchOptions,
    stopAtFirstError: false,
    signal,
    onProgress,
  })
  const messages = judgeMessages(stderr)
  return judge(messages, failure?.message, database.notes)
}

function judge(messages: RestoreMessage[], failure: string | undefined, notes: string[]): Check {
  const name = 'restore-test'
  const of = (meaning: RestoreMessage['meaning']) => messages.filter((message) => message.meaning === meaning)
  const first = (list: RestoreMessage[]) =>
    list
      .slice(0, 5)
      .map(({text}) => text)
      .join('; ')
  const [errors, missing] = [of('error'), of('extension-missing')]
  // What depends on a missing extension fails after it; without it nothing can be said of the backup.
  if (missing.length > 0)
    return {name, status: 'could-not-run', reason: `The test server lacks an extension: ${first(missing)}.`}
  if (errors.length > 0) return {name, status: 'failed', reason: `${errors.length} errors: ${first(errors)}`}
  if (failure && messages.length === 0) return {name, status: 'failed', reason: failure}
  return {name, status: 'passed', ...(notes.length > 0 ? {reason: notes.join(' ')} : {})}
}

async function compareCopy(
  database: ScratchDatabase,
  backup: StoredBackup,
  {signal}: RestoreTestDeps,
): Promise<Check> {
  const {client} = await connect(database.connection, {applicationName: 'dbbak verify', signal})
  try {
    await prepareSession(client, 0)
    return judgeContent(backup.entry.manifest.content, await recordContent(client, signal), backup)
  } finally {
    await client.end()
  }
}

function judgeContent(expected: ContentRecord, found: ContentRecord, {entry}: StoredBackup): Check {
  const name = 'data-integrity'
  const whole = entry.manifest.selection === null
  const differences = compareContent(expected, found, {rows: expected.level !== 'none', exact: whole})
  if (differences.length > 0) {
    const [first] = differences
    return {
      name,
      status: 'failed',
      reason: `${differences.length} differences; ${first?.object}: expected ${first?.expected}, found ${first?.found}.`,
      differences,
    }
  }
  if (expected.level === 'none')
    return {
      name,
      status: 'could-not-run',
      reason: 'The backup was taken with --content none: there are no row counts to compare with.',
    }
  return {name, status: 'passed'}
}

/** After a restore that went wrong: which tables suffered. Best effort. */
async function whatDiffers(
  database: ScratchDatabase,
  backup: StoredBackup,
  deps: RestoreTestDeps,
): Promise<Pick<Check, 'differences'>> {
  try {
    const {differences} = await compareCopy(database, backup, deps)
    return differences ? {differences} : {}
  } catch {
    return {}
  }
}
