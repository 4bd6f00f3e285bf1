import {unconnectedVariables} from '../../postgres/tool-environment.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {DbbakError, messageOf, withExitCode} from '../../support/errors.js'
import {checkDigests, readToEnd} from '../archive/read-to-end.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {activity} from '../events.js'
import type {Finding} from './findings.js'
import {preflight, type Target} from './preflight.js'
import type {RestoreDeps, RestorePlan, RestoreRequest, RestoreResult, TargetState} from './restore-request.js'
import {takeSafetyBackup, type Safety} from './safety-backup.js'
import {stageRecorder, type StageRecorder} from './stages.js'
import {replaceInTransaction, type ReplacedTarget} from './strategies/in-place.js'
import {checkTables} from './table-checks.js'
import {leaveSession} from './target-session.js'
import {failureOf, rollBack} from './way-back.js'

export type {Consent, RestorePlan, RestoreRequest, RestoreResult} from './restore-request.js'

const strategyReason = 'one transaction: whatever fails before its end is undone by the server itself'

/** The staged restore: preflight, verify, confirm, safety dump, restore, table checks, and rollback when it comes to it. */
export async function restoreBackup(
  backup: StoredBackup,
  request: RestoreRequest,
  deps: RestoreDeps,
): Promise<RestoreResult> {
  const stages = stageRecorder(deps.events, deps.signal)
  const state: State = {targetState: 'unchanged', findings: [], safety: null, target: undefined}
  const document = () => resultOf(backup, request, deps, state, stages)
  try {
    const target = await stages.run('preflight', () =>
      withExitCode(3, () => preflight(backup, request, deps)),
    )
    Object.assign(state, {target, findings: target.findings})
    await stages.run('verify', () => withExitCode(3, () => verifyArchive(backup, target, deps)))
    const plan = planOf(backup, target, request)
    if (request.dryRun) return {...skipRest(stages, document), plan}
    const consent = await stages.run('confirm', () => deps.confirm(plan))
    const safety = await takeSafetyBackup(target, consent, request, deps, stages)
    state.safety = safety.backup
    await replace(backup, safety, request, deps, stages, state)
    if (request.analyze) await analyze(target, deps)
    return document()
  } catch (error) {
    throw withDocument(failureOf(error, state.targetState, state.safety, deps.signal), document())
  } finally {
    if (state.target) await leaveSession(state.target)
  }
}

interface State {
  targetState: TargetState
  findings: Finding[]
  safety: RestoreResult['safetyBackup']
  target: Target | undefined
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
    state.targetState = await rollBack(error, target, stages, deps.events)
    throw error
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

/** Fresh statistics, so that the first queries are not slow. Best effort: the data is there already. */
async function analyze({client}: Target, {events}: RestoreDeps): Promise<void> {
  try {
    // Index expressions may call functions that find their tables by the role's search path.
    await client.query('reset search_path')
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
    safetyBackup: request.safetyBackup && !target.content.isEmpty,
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
