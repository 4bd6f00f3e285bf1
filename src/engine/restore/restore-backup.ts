import type {ToolSearch} from '../../postgres/client-tools.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {unconnectedVariables} from '../../postgres/tool-environment.js'
import type {StorageProvider} from '../../storage/provider.js'
import type {Clock} from '../../support/clock.js'
import {DbbakError, messageOf, withExitCode} from '../../support/errors.js'
import {checkDigests, readToEnd} from '../archive/read-to-end.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {takeBackup, type BackupResult} from '../backup/take-backup.js'
import {activity, type Events, type StageResult} from '../events.js'
import type {Finding} from './findings.js'
import {preflight, type Target} from './preflight.js'
import {stageRecorder, type StageRecorder} from './stages.js'
import {replaceInTransaction, type ReplacedTarget} from './strategies/in-place.js'
import {checkTables, type CriticalTable} from './table-checks.js'
import type {TargetContent} from './target.js'

export interface RestoreRequest {
  /** Compare row counts and sequences with the content record too. */
  verify: boolean
  noOwner: boolean
  noPrivileges: boolean
  terminateConnections: boolean
  criticalTables: CriticalTable[]
  safetyBackup: boolean
  analyze: boolean
  /** Preflight and verify only; changes nothing. */
  dryRun: boolean
}

/** Proof that somebody who may do so agreed; only a confirmation makes one. */
export interface Consent {
  readonly by: 'typed' | 'flag'
}

/** What the user is shown before agreeing. */
export interface RestorePlan {
  backup: {id: string; snapshotAt: string; database: string; tables: number; rows: number; bytes: number}
  target: {host: string; port: number; database: string; description: string}
  targetContent: TargetContent
  strategy: 'in-place'
  strategyReason: string
  findings: Finding[]
  safetyBackup: boolean
}

export interface RestoreDeps {
  connection: ConnectionDescription
  search: ToolSearch
  /** Where the safety backup goes. */
  safetyStore: StorageProvider
  /** @throws DbbakError CANCELLED, CONFIRMATION_REQUIRED */
  confirm: (plan: RestorePlan) => Promise<Consent>
  events: Events
  clock: Clock
  version: string
  signal: AbortSignal
}

export interface RestoreResult {
  backup: {id: string}
  target: {host: string; port: number; database: string}
  strategy: 'in-place'
  strategyReason: string
  stages: StageResult[]
  findings: Finding[]
  safetyBackup: {id: string; destination: string; bytes: number} | null
  targetState: 'restored' | 'unchanged' | 'rolled-back' | 'unknown'
  dryRun: boolean
}

const strategyReason = 'one transaction: whatever fails before its end is undone by the server itself'

/** The staged restore: preflight, verify, confirm, safety dump, restore, table checks, and rollback when it comes to it. */
export async function restoreBackup(
  backup: StoredBackup,
  request: RestoreRequest,
  deps: RestoreDeps,
): Promise<RestoreResult> {
  const stages = stageRecorder(deps.events)
  const state: State = {targetState: 'unchanged', findings: [], safety: null, target: undefined}
  const document = () => resultOf(backup, request, deps, state, stages)
  try {
    const target = await stages.run('preflight', () =>
      withExitCode(3, () => preflight(backup, request, deps)),
    )
    Object.assign(state, {target, findings: target.findings})
    await stages.run('verify', () => withExitCode(3, () => verifyArchive(backup, target, deps)))
    if (request.dryRun) return skipRest(stages, document)
    const consent = await stages.run('confirm', () => deps.confirm(planOf(backup, target, request)))
    const safety = await takeSafetyBackup(target, consent, request, deps, stages)
    state.safety = safety.backup
    await replace(backup, safety, request, deps, stages, state)
    if (request.analyze) await analyze(target, deps)
    return document()
  } catch (error) {
    throw withDocument(error, document())
  } finally {
    await state.target?.client.end().catch(() => {})
  }
}

interface State {
  targetState: RestoreResult['targetState']
  findings: Finding[]
  safety: RestoreResult['safetyBackup']
  target: Target | undefined
}

/** Proof that there is a way back, or that none is wanted. */
interface Safety {
  target: Target
  backup: RestoreResult['safetyBackup']
}

async function verifyArchive(
  backup: StoredBackup,
  {tools}: Target,
  {events, search, signal}: RestoreDeps,
): Promise<void> {
  const {archive} = backup.entry
  await activity(events, `Reading ${archive}`, () =>
    checkDigests(backup, signal, (bytes) => events.activityProgress?.({bytes})),
  )
  const env = unconnectedVariables(search.env)
  await activity(events, 'Unpacking the archive', () => readToEnd(backup, tools, env, signal))
}

function skipRest(stages: StageRecorder, document: () => RestoreResult): RestoreResult {
  for (const name of ['confirm', 'safety-dump', 'restore', 'table-checks', 'rollback'] as const)
    stages.skip(name, 'A dry run changes nothing.')
  return document()
}

async function takeSafetyBackup(
  target: Target,
  _consent: Consent,
  request: RestoreRequest,
  deps: RestoreDeps,
  stages: StageRecorder,
): Promise<Safety> {
  if (!request.safetyBackup) stages.skip('safety-dump', 'Not wanted (--no-safety-backup).')
  else if (target.content.tables === 0) stages.skip('safety-dump', 'The target holds no tables.')
  else {
    const taken = await stages.run('safety-dump', () => safetyBackup(target, deps))
    return {
      target,
      backup: {id: taken.backup.id, destination: deps.safetyStore.describe(), bytes: taken.bytes},
    }
  }
  return {target, backup: null}
}

async function safetyBackup(target: Target, deps: RestoreDeps): Promise<BackupResult> {
  try {
    return await dumpTarget(target, deps)
  } catch (cause) {
    if (deps.signal.aborted) throw cause
    throw new DbbakError(
      'RESTORE_FAILED',
      `The safety backup could not be taken, so nothing was changed: ${messageOf(cause)}`,
      {
        cause,
        suggestions: cause instanceof DbbakError ? cause.suggestions : [],
      },
    )
  }
}

function dumpTarget(target: Target, deps: RestoreDeps): Promise<BackupResult> {
  return takeBackup(
    {
      kind: 'safety',
      format: 'custom',
      compress: undefined,
      jobs: 1,
      selection: null,
      globals: false,
      content: 'counts',
      label: 'taken by a restore, of what it replaced',
      namePrefix: `${target.server.database.name}-safety`,
      lockTimeoutMs: 30_000,
    },
    // The restore has claimed the database already; its own safety backup is let in.
    {...deps, connection: target.connection, stores: [deps.safetyStore], claimed: true},
  )
}

async function replace(
  backup: StoredBackup,
  safety: Safety,
  request: RestoreRequest,
  deps: RestoreDeps,
  stages: StageRecorder,
  state: State,
): Promise<void> {
  const {target} = safety
  try {
    const replaced = await stages.run('restore', () =>
      activity(deps.events, `Replacing ${target.server.database.name}`, () =>
        replaceInTransaction(backup, target, request, deps),
      ),
    )
    await stages.run('table-checks', () => checkAndCommit(replaced, backup, request, deps))
    state.targetState = 'restored'
    stages.skip('rollback', 'The restore succeeded.')
  } catch (error) {
    state.targetState = await rollBack(error, target, stages)
    throw error instanceof DbbakError ? error.during(6) : error
  }
}

async function checkAndCommit(
  replaced: ReplacedTarget,
  {entry}: StoredBackup,
  request: RestoreRequest,
  deps: RestoreDeps,
): Promise<void> {
  await checkTables(replaced.client, entry.manifest, request.criticalTables, request.verify, deps.signal)
  deps.signal.throwIfAborted()
  await replaced.commit()
}

/** The transaction has not been committed: ending it, or the session it lives in, undoes everything. */
async function rollBack(
  error: unknown,
  {client}: Target,
  stages: StageRecorder,
): Promise<RestoreResult['targetState']> {
  if (error instanceof DbbakError && error.code === 'ROLLBACK_FAILED') return 'unknown'
  await stages.run('rollback', async () => {
    await client.query('rollback').catch(() => {}) // the session may be gone; then the server has rolled back already
    await client.end().catch(() => {})
  })
  return 'rolled-back'
}

/** Fresh statistics, so that the first queries are not slow. Best effort: the data is there already. */
async function analyze({client}: Target, {events}: RestoreDeps): Promise<void> {
  try {
    await activity(events, 'Collecting statistics (ANALYZE)', () => client.query('analyze'))
  } catch (error) {
    events.warning?.({code: 'ANALYZE_FAILED', message: `ANALYZE failed; run it by hand: ${messageOf(error)}`})
  }
}

function planOf({entry}: StoredBackup, target: Target, request: RestoreRequest): RestorePlan {
  const {manifest} = entry
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0)
  return {
    backup: {
      id: manifest.id,
      snapshotAt: manifest.snapshotAt,
      database: manifest.database.name,
      tables: manifest.content.tableCount,
      rows: manifest.content.rowCount,
      bytes,
    },
    target: {...addressOf(target.connection), description: target.connection.redacted()},
    targetContent: target.content,
    strategy: 'in-place',
    strategyReason,
    findings: target.findings,
    safetyBackup: request.safetyBackup && target.content.tables > 0,
  }
}

const addressOf = ({host, port, database}: ConnectionDescription) => ({host, port, database})

function resultOf(
  {entry}: StoredBackup,
  request: RestoreRequest,
  deps: RestoreDeps,
  state: State,
  stages: StageRecorder,
): RestoreResult {
  return {
    backup: {id: entry.manifest.id},
    target: addressOf(state.target?.connection ?? deps.connection),
    strategy: 'in-place',
    strategyReason,
    stages: stages.results(),
    findings: state.findings,
    safetyBackup: state.safety,
    targetState: state.targetState,
    dryRun: request.dryRun,
  }
}

/** A failed restore still says what became of each stage and of the target. */
function withDocument(error: unknown, document: RestoreResult): unknown {
  if (!(error instanceof DbbakError)) return error
  const found = (error.details?.findings as Finding[] | undefined) ?? document.findings
  return new DbbakError(error.code, error.message, {
    suggestions: error.suggestions,
    cause: error.cause,
    details: {...error.details, document: {...document, findings: found}},
  }).during(error.exitCode)
}
