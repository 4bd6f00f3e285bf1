import type {ClientTools} from '../../postgres/client-tools.js'
import {connect} from '../../postgres/connect.js'
import {prepareSession} from '../../postgres/server.js'
import {tellsOfConnectionLoss} from '../../postgres/query-errors.js'
import {wasKilled} from '../../postgres/run-tool.js'
import type {ScratchServer} from '../../postgres/scratch/scratch.js'
import {DbbakError} from '../../support/errors.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {judgeMessages, type RestoreMessage} from '../archive/restore-messages.js'
import {compareContent} from '../content/compare-content.js'
import {recordContent} from '../content/content-record.js'
import type {ContentRecord} from '../manifest.js'
import {fillScratch} from './fill-scratch.js'
import {createScratchDatabase, type ScratchDatabase} from './scratch-database.js'
import type {Check} from './verification-record.js'

export interface RestoreTestDeps {
  server: ScratchServer
  tools: ClientTools
  env: Record<string, string | undefined>
  signal: AbortSignal
  onProgress?: (bytes: number) => void
}

/** Restores a backup into a scratch database and compares the copy with the content record. */
export async function testRestore(backup: StoredBackup, deps: RestoreTestDeps): Promise<Check[]> {
  const {database: source, format, selection} = backup.entry.manifest
  const database = await createScratchDatabase(deps.server, source, deps.signal)
  try {
    const {failure, stderr} = await fillScratch(database, backup, deps)
    if (failure) throwUnlessTold(failure, stderr)
    const messages = judgeMessages(stderr)
    const restored = judge(messages, failure?.message, database.notes, selection !== null)
    if (restored.status !== 'passed') {
      // A plain dump is not read on after its first error: most of what differs then is none of its faults.
      const differing = format === 'plain' ? {} : await whatDiffers(database, backup, deps)
      return [restored, notCompared(differing)]
    }
    const compared = await compareCopy(database, backup, deps)
    const refersOutside = messages.some(({meaning}) => meaning === 'something-missing')
    if (compared.status !== 'failed' || !refersOutside) return [restored, compared]
    return [{...restored, status: 'could-not-run'}, notCompared(compared)]
  } finally {
    await database.drop()
  }
}

/** A restore that was cut off says nothing of the backup. */
function throwUnlessTold(failure: DbbakError, stderr: string): void {
  if (wasKilled(failure)) throw failure
  if (!tellsOfConnectionLoss(stderr)) return
  throw new DbbakError('CONNECTION_LOST', 'The test server ended the session in the middle of the restore.', {
    cause: failure,
    suggestions: ['Look at the test server’s log for why, then try again'],
  })
}

const notCompared = ({differences}: Pick<Check, 'differences'>): Check => ({
  name: 'data-integrity',
  status: 'could-not-run',
  reason: 'The restore test did not pass.',
  ...(differences ? {differences} : {}),
})

/** So many errors are told. */
const toldErrors = 5

function judge(
  messages: RestoreMessage[],
  failure: string | undefined,
  notes: string[],
  isSelection: boolean,
): Check {
  const name = 'restore-test'
  const of = (...meanings: RestoreMessage['meaning'][]) =>
    messages.filter(({meaning}) => meanings.includes(meaning))
  const tell = (list: RestoreMessage[]) =>
    list
      .slice(0, toldErrors)
      .map(({text}) => text)
      .join('; ')
  const missing = of('extension-missing')
  // What depends on a missing extension fails after it; without it nothing can be said of the backup.
  if (missing.length > 0)
    return {name, status: 'could-not-run', reason: `The test server lacks an extension: ${tell(missing)}.`}
  const errors = isSelection ? of('error') : of('error', 'something-missing')
  if (errors.length > 0)
    return {
      name,
      status: 'failed',
      reason: `${errors.length} ${errors.length === 1 ? 'error' : 'errors'}: ${tell(errors)}`,
    }
  if (failure && messages.length === 0) return {name, status: 'failed', reason: failure}
  const outside = of('something-missing')
  const remarks =
    outside.length > 0
      ? [...notes, `The selection refers to what it does not hold: ${tell(outside)}.`]
      : notes
  return {name, status: 'passed', ...(remarks.length > 0 ? {reason: remarks.join(' ')} : {})}
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
