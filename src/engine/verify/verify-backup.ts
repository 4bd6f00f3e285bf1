import {Readable} from 'node:stream'
import {toolsForRestore, type ToolSearch} from '../../postgres/client-tools.js'
import {explained} from '../../postgres/query-errors.js'
import {unconnectedVariables} from '../../postgres/tool-environment.js'
import type {ScratchServer} from '../../postgres/scratch/scratch.js'
import type {Clock} from '../../support/clock.js'
import {DbbakError, messageOf} from '../../support/errors.js'
import {withOneCopy} from '../archive/fetched-folder.js'
import {checkDigests, readToEnd} from '../archive/read-to-end.js'
import {activity, type Events} from '../events.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {manifestName, verificationName} from '../naming.js'
import {testRestore} from './restore-test.js'
import {
  checkNames,
  hasPassedRestoreTest,
  serializeVerification,
  type Check,
  type CheckName,
  type VerificationLevel,
  type VerificationRecord,
} from './verification-record.js'

export interface VerifyDeps {
  search: ToolSearch
  /** Started when the first backup needs it; rejects where none can be had. */
  scratchServer: (major: number) => Promise<ScratchServer>
  events: Events
  clock: Clock
  version: string
  signal: AbortSignal
}

export interface VerifyRequest {
  /** `auto`: a restore test where a scratch server can be had, else the archive alone, and it is said. */
  level: VerificationLevel | 'auto'
}

export type Verdict = VerificationRecord['verdict']

/**
 * Runs the checks that the level asks for, one after the other; what comes after a failure is not run. The result is
 * kept beside the archive.
 */
export async function verifyBackup(
  backup: StoredBackup,
  request: VerifyRequest,
  deps: VerifyDeps,
): Promise<VerificationRecord> {
  const start = performance.now()
  const checks = await localChecks(backup, request, deps)
  const record: VerificationRecord = {
    formatVersion: 1,
    id: backup.entry.manifest.id,
    verdict: verdictOf(checks, request.level),
    level: levelReached(checks, request.level),
    at: deps.clock.now().toISOString(),
    tool: {name: 'dbbak', version: deps.version},
    checks,
    durationMs: Math.round(performance.now() - start),
  }
  await keep(backup, record, deps)
  return record
}

type Step = {name: CheckName; level: VerificationLevel; run: () => Promise<Check[]>}

/** Checksums alone need no room for a copy. */
function localChecks(backup: StoredBackup, request: VerifyRequest, deps: VerifyDeps): Promise<Check[]> {
  if (request.level === 'checksum') return runChecks(backup, request, deps)
  return withOneCopy(backup, (local) => runChecks(local, request, deps))
}

async function runChecks(backup: StoredBackup, {level}: VerifyRequest, deps: VerifyDeps): Promise<Check[]> {
  const {entry} = backup
  const asked = level === 'auto' ? 'restore' : level
  const steps: Step[] = [
    {name: 'file-exists', level: 'checksum', run: () => passing('file-exists', () => checkFiles(backup))},
    {name: 'metadata-valid', level: 'checksum', run: () => passing('metadata-valid', async () => {})}, // read and held to its schema already
    {
      name: 'checksum-valid',
      level: 'checksum',
      run: () =>
        passing('checksum-valid', () =>
          watched(deps, `Reading ${entry.archive}`, (progress) =>
            checkDigests(backup, deps.signal, progress),
          ),
        ),
    },
    {
      name: 'archive-readable',
      level: 'archive',
      run: () =>
        passing('archive-readable', () =>
          activity(deps.events, 'Unpacking the archive', () => readArchive(backup, deps)),
        ),
    },
    {
      name: 'restore-test',
      level: 'restore',
      run: () =>
        watched(
          deps,
          'Restoring into a scratch database',
          (progress) => restoreTest(backup, deps, progress),
          whyNotPassed,
        ),
    },
  ]
  const checks: Check[] = []
  const order: VerificationLevel[] = ['checksum', 'archive', 'restore']
  for (const step of steps) {
    const wanted = order.indexOf(step.level) <= order.indexOf(asked)
    if (wanted && !checks.some(({status}) => status === 'failed')) checks.push(...(await step.run()))
  }
  const missing = checkNames.filter((name) => !checks.some((check) => check.name === name))
  const failed = checks.some(({status}) => status === 'failed')
  return [
    ...checks,
    ...missing.map((name) => notRun(name, failed, order.indexOf(levelOf(name)) <= order.indexOf(asked))),
  ]
}

const levelOf = (name: CheckName): VerificationLevel =>
  name === 'archive-readable'
    ? 'archive'
    : name === 'restore-test' || name === 'data-integrity'
      ? 'restore'
      : 'checksum'

function notRun(name: CheckName, failed: boolean, asked: boolean): Check {
  if (failed && asked) return {name, status: 'could-not-run', reason: 'An earlier check failed.'}
  return {name, status: 'not-asked'}
}

function watched<T>(
  {events}: VerifyDeps,
  name: string,
  work: (progress: (bytes: number) => void) => Promise<T>,
  failing?: (value: T) => string | undefined,
): Promise<T> {
  return activity(events, name, () => work((bytes) => events.activityProgress?.({bytes})), failing)
}

/** A restore test reports what it found in its checks, without throwing. */
function whyNotPassed(checks: Check[]): string | undefined {
  if (checks.some(({status}) => status === 'failed')) return 'failed'
  return checks.some(({status}) => status === 'could-not-run') ? 'could not run' : undefined
}

/** A check that passes by not throwing. Errors that say the check could not run are told apart from failures. */
async function passing(name: CheckName, work: () => Promise<void>): Promise<Check[]> {
  try {
    await work()
    return [{name, status: 'passed'}]
  } catch (error) {
    return [failedCheck(name, error)]
  }
}

const couldNotRun = new Set([
  'CLIENT_TOOLS_NOT_FOUND',
  'CLIENT_TOOLS_TOO_OLD',
  'SCRATCH_NOT_AVAILABLE',
  'SCRATCH_FAILED',
  'DOWNLOAD_REFUSED',
  'TEST_DATABASE_URL_NOT_SET',
  'SERVER_UNREACHABLE',
  'AUTHENTICATION_FAILED',
  'CONNECTION_LOST',
  'PERMISSION_DENIED',
  'DATABASE_NOT_FOUND',
  'TLS_FAILED',
  'SERVER_TOO_OLD',
  'QUERY_FAILED',
  'TEMPORARY_SPACE',
  // The store would not give the backup: that says nothing of the backup.
  'DESTINATION_UNREACHABLE',
  'DESTINATION_DENIED',
  'DESTINATION_NOT_FOUND',
  'CREDENTIALS_REFUSED',
  'CLOCK_SKEW',
  'TOOL_FAILED', // killed: one that ended by itself is judged by what it said
])

/** An object store that answers a request for a whole object with no: it may lie in an archive tier. */
const isRefusal = ({code, details}: DbbakError): boolean =>
  code === 'DESTINATION_FAILED' && details?.trouble === 'failed'

function failedCheck(name: CheckName, thrown: unknown): Check {
  const error = explained(thrown, 'testing the restore')
  if (!(error instanceof DbbakError)) throw error
  if (
    error.code === 'INTERRUPTED' ||
    error.code === 'TERMINATED' ||
    error.code === 'TEST_DATABASE_IS_PRODUCTION'
  )
    throw error
  return {
    name,
    status: couldNotRun.has(error.code) || isRefusal(error) ? 'could-not-run' : 'failed',
    reason: `${error.code}: ${error.message}`,
  }
}

async function checkFiles({store, entry}: StoredBackup): Promise<void> {
  for (const {path, bytes} of entry.manifest.files) {
    const object = await store.head(path)
    if (!object) throw new DbbakError('ARCHIVE_MISSING', `${path} is not there.`)
    if (object.size !== bytes)
      throw new DbbakError(
        'ARCHIVE_SIZE_MISMATCH',
        `${path} has ${object.size} bytes; its manifest says ${bytes}.`,
      )
  }
}

async function readArchive(backup: StoredBackup, {search, signal}: VerifyDeps): Promise<void> {
  const tools = await toolsForRestore(dumpMajor(backup), search)
  await readToEnd(backup, tools, unconnectedVariables(search.env), signal)
}

export const dumpMajor = ({entry}: StoredBackup): number =>
  Number.parseInt(entry.manifest.client.pgDumpVersion, 10)
const serverMajor = ({entry}: StoredBackup): number =>
  Number.parseInt(entry.manifest.database.serverVersion, 10)

async function restoreTest(
  backup: StoredBackup,
  deps: VerifyDeps,
  onProgress: (bytes: number) => void,
): Promise<Check[]> {
  try {
    const tools = await toolsForRestore(dumpMajor(backup), deps.search)
    const server = await deps.scratchServer(serverMajor(backup))
    return await testRestore(backup, {server, tools, env: deps.search.env, signal: deps.signal, onProgress})
  } catch (error) {
    const failed = failedCheck('restore-test', error)
    return [
      failed,
      {name: 'data-integrity', status: 'could-not-run', reason: failed.reason ?? messageOf(error)},
    ]
  }
}

/** Failed if anything failed; under `auto` a restore test that could not run does not count, and is still listed. */
function verdictOf(checks: Check[], level: VerifyRequest['level']): Verdict {
  if (checks.some(({status}) => status === 'failed')) return 'failed'
  const counted = level === 'auto' ? checks.filter(({name}) => levelOf(name) !== 'restore') : checks
  return counted.some(({status}) => status === 'could-not-run') ? 'could-not-run' : 'passed'
}

/** The level that was really reached: never `restore` where no restore was tested. */
function levelReached(checks: Check[], asked: VerifyRequest['level']): VerificationLevel {
  if (asked !== 'auto') return asked
  const tested = checks.find(({name}) => name === 'data-integrity')
  return tested?.status === 'could-not-run' || tested?.status === 'not-asked' ? 'archive' : 'restore'
}

function restoredBefore(
  record: VerificationRecord,
  before: VerificationRecord | null | undefined,
): {restoredAt?: string} {
  if (record.verdict !== 'passed') return {}
  if (record.level === 'restore') return {restoredAt: record.at}
  return before && hasPassedRestoreTest(before) ? {restoredAt: before.restoredAt ?? before.at} : {}
}

/** Kept only for backups that are there; a result that cannot be written is said and changes nothing. */
async function keep(
  {store, entry}: StoredBackup,
  record: VerificationRecord,
  {events}: VerifyDeps,
): Promise<void> {
  // What is known of a backup is not replaced by not knowing, nor by knowing less.
  const overwrite = record.verdict !== 'could-not-run'
  const key = verificationName(entry.archive)
  const isGone = async () => (await store.head(manifestName(entry.archive))) === undefined
  try {
    if (await isGone()) throw removedMeanwhile(entry.archive)
    const text = Buffer.from(
      serializeVerification({...record, ...restoredBefore(record, entry.verification)}),
    )
    await store.put(key, Readable.from([text]), {overwrite, readOften: true})
    // A prune may have been at work in between: beside no backup it would stay as a leftover.
    if (await isGone()) {
      await store.remove(key)
      throw removedMeanwhile(entry.archive)
    }
  } catch (error) {
    if (!overwrite && error instanceof DbbakError && error.code === 'OBJECT_EXISTS') return
    events.warning?.({
      code: 'VERIFICATION_NOT_KEPT',
      message: `The result could not be stored beside the backup: ${messageOf(error)}`,
    })
  }
}

const removedMeanwhile = (archive: string): DbbakError =>
  new DbbakError('OBJECT_NOT_FOUND', `${archive} was removed while it was verified.`)
