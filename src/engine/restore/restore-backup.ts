import type {Client} from 'pg'
import {unconnectedVariables} from '../../postgres/tool-environment.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {qualified} from '../../postgres/identifiers.js'
import {DbbakError, messageOf, withExitCode} from '../../support/errors.js'
import {withOneCopy} from '../archive/fetched-folder.js'
import {checkDigests, readToEnd} from '../archive/read-to-end.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {activity, withoutActivities} from '../events.js'
import type {Finding} from './findings.js'
import type {Way} from './choose-strategy.js'
import {checkPart, manifestOfPart} from './part/part-content.js'
import {preflight, type Target} from './preflight.js'
import type {
  Consent,
  RestoreDeps,
  RestorePlan,
  RestoreRequest,
  RestoreResult,
  TargetState,
} from './restore-request.js'
import {takeSafetyBackup, wayBackOf, type Safety} from './safety-backup.js'
import {checkSessionsAgain} from './session-checks.js'
import {stageRecorder, type StageRecorder} from './stages.js'
import {replaceInTransaction} from './strategies/in-place.js'
import {replacePartInTransaction} from './strategies/in-place-part.js'
import {replaceStepByStep} from './strategies/step-by-step.js'
import type {Committed, Replacement} from './strategies/replacement.js'
import {replaceBySwap} from './strategies/swap.js'
import {checkTables} from './table-checks.js'
import {together} from '../together.js'
import {leaveSession} from './target-session.js'
import {failureOf, rollBack} from './way-back.js'

export type {Consent, RestorePlan, RestoreRequest, RestoreResult} from './restore-request.js'

/** The staged restore: preflight, verify, confirm, safety dump, restore, table checks, and rollback when it comes to it. */
export function restoreBackup(
  backup: StoredBackup,
  request: RestoreRequest,
  deps: RestoreDeps,
): Promise<RestoreResult> {
  return withOneCopy(backup, (local) => inStages(local, request, deps))
}

async function inStages(
  backup: StoredBackup,
  request: RestoreRequest,
  deps: RestoreDeps,
): Promise<RestoreResult> {
  const stages = stageRecorder(deps.events, deps.signal)
  const state: State = {
    targetState: 'unchanged',
    findings: [],
    safety: null,
    target: undefined,
    committed: {},
  }
  const document = () => resultOf(backup, request, deps, state, stages)
  try {
    const target = await stages.run('preflight', () =>
      withExitCode(3, () =>
        preflight(backup, {...request, mayEndSessions: deps.prepare?.mayEndSessions}, deps),
      ),
    )
    Object.assign(state, {target, findings: target.findings})
    await stages.run('verify', () => withExitCode(3, () => verifyArchive(backup, target, deps)))
    const plan = planOf(backup, target, request)
    if (request.dryRun) return {...skipRest(stages, document), plan}
    const consent = await stages.run('confirm', () => agree(plan, {request, deps, state, target}))
    await replace({backup, request, deps, stages, state, target}, consent)
    if (request.analyze && target.strategy.name === 'in-place') await analyze(target, deps)
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
  committed: Committed
}

/** A restore that was agreed to. */
interface Run {
  backup: StoredBackup
  request: RestoreRequest
  deps: RestoreDeps
  stages: StageRecorder
  state: State
  target: Target
}

/** Whoever says no has changed nothing: what is to run before a restore runs after that, and others may be gone then. */
async function agree(
  plan: RestorePlan,
  {request, deps, state, target}: Pick<Run, 'request' | 'deps' | 'state' | 'target'>,
): Promise<Consent> {
  const consent = await deps.confirm(plan)
  await withExitCode(3, async () => {
    await deps.prepare?.run(plan)
    deps.signal.throwIfAborted()
    if (deps.prepare?.mayEndSessions) target.findings = await checkSessionsAgain(target, request)
  })
  state.findings = target.findings
  return consent
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

/** Stages 4 to 7. A swap only reads the target until its end, so there both copies are made at the same time. */
async function replace(run: Run, consent: Consent): Promise<void> {
  const {backup, request, deps, stages, state, target} = run
  const takeSafety = async (safetyDeps: RestoreDeps) => {
    const safety = await takeSafetyBackup(target, consent, request, safetyDeps, stages)
    state.safety = safety.backup
    return safety
  }
  if (target.strategy.name === 'in-place') {
    const safety = await takeSafety(deps)
    const replacement = await inPlace(run, target.strategy.way)
    return withWayBack(replacement, run, async () => {
      const client = await stages.run('restore', () => replacement.fill())
      await finish({replacement, client, safety}, run)
    })
  }
  const {signal, both} = together(deps.signal)
  const replacement = replaceBySwap(backup, target, target.strategy.maintenance, request, {...deps, signal})
  return withWayBack(replacement, run, async () => {
    const quiet = {...deps, signal, events: withoutActivities(deps.events)}
    const [safety, client] = await both(
      () => takeSafety(quiet),
      () => stages.run('restore', () => replacement.fill()),
    )
    await finish({replacement, client, safety}, run)
  })
}

async function inPlace({backup, target, request, deps, state}: Run, way: Way): Promise<Replacement> {
  if (target.part) return replacePartInTransaction(backup, target, target.part, request, deps)
  if (way === 'transaction') return replaceInTransaction(backup, target, request, deps)
  return replaceStepByStep(backup, target, await wayBackOf(state.safety, deps), request, deps)
}

interface Filled {
  replacement: Replacement
  client: Client
  /** Nothing becomes true without it. */
  safety: Safety
}

async function finish(
  {replacement, client, safety}: Filled,
  {backup, request, deps: {signal}, stages, state, target}: Run,
): Promise<void> {
  await stages.run('table-checks', async () => {
    await checkRestored(client, {backup, request, target}, signal)
    signal.throwIfAborted()
    state.committed = await replacement.commit(request.keepOld || isWorthKeeping(target, safety))
    state.targetState = 'restored'
  })
  stages.skip('rollback', 'The restore succeeded.')
}

/**
 * Where the former content can stay, it does when there is no safety backup of it, or when others were there, who may
 * have written something after the safety backup was taken.
 */
const isWorthKeeping = ({content, findings}: Target, safety: Safety): boolean =>
  (safety.backup === null && !content.isEmpty) || findings.some(({code}) => code === 'ACTIVE_CONNECTIONS')

async function checkRestored(
  client: Client,
  {backup, request, target: {part}}: Pick<Run, 'backup' | 'request' | 'target'>,
  signal: AbortSignal,
): Promise<void> {
  const {manifest} = backup.entry
  if (part) return checkPart(client, manifestOfPart(manifest, part), request.verify, signal)
  return checkTables(client, manifest, request.criticalTables, request.verify, signal)
}

async function withWayBack(
  replacement: Replacement,
  {stages, state}: Run,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (state.targetState === 'restored') throw error
    state.targetState = 'unknown' // until it is taken back
    state.targetState = await rollBack(error, replacement, stages)
    throw error
  }
}

/** Fresh statistics, so that the first queries are not slow. Best effort: the data is there already. */
async function analyze(target: Target, {events}: RestoreDeps): Promise<void> {
  try {
    const {client} = target
    // Index expressions may call functions that find their tables by the role's search path.
    await client.query('reset search_path')
    const tables = target.part
      ? ` ${target.part.relations.map(({schema, name}) => qualified(schema, name)).join(', ')}`
      : ''
    await activity(events, 'Collecting statistics (ANALYZE)', () => client.query(`analyze${tables}`))
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
    strategy: target.strategy.name,
    strategyReason: target.strategy.reason,
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
    strategy: state.target?.strategy.name ?? request.strategy,
    strategyReason: state.target?.strategy.reason ?? 'not chosen yet',
    stages: stages.results(),
    findings: state.findings,
    safetyBackup: state.safety,
    targetState: state.targetState,
    oldDatabase: state.committed.oldDatabase ?? null,
    lockedOutMs: state.committed.lockedOutMs ?? null,
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
