import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError, type ErrorCode, type ExitCode} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import type {CatalogEntry, CatalogProblem} from '../catalog.js'
import {manifestEnding} from '../naming.js'
import {lookAt} from './at-target.js'
import {copyBackup, type CopyDeps, type CopyOutcome} from './copy-backup.js'
import {at, CopyFailure, type Side} from './copy-failure.js'

/** What became of one backup at one target. */
export interface BackupCopy {
  id: string
  name: string
  /** The target. */
  to: string
  status: 'copied' | 'skipped' | 'failed' | 'not-run' | 'would-copy'
  /** Stored there, or to be stored there; fewer than the backup has where an earlier copy was cut off. */
  bytes: number
  durationMs: number
  /** Why it was skipped or not run. */
  reason?: string
  error?: {code: ErrorCode; message: string; suggestions: string[]; exitCode: ExitCode}
}

export interface CopyRequest {
  /** In this order. */
  backups: CatalogEntry[]
  /** What is asked for too, and is no whole backup: reported as failed. */
  broken: CatalogProblem[]
  /** Tells what would be done. */
  dryRun: boolean
}

interface Target {
  store: StorageProvider
  isSwept: boolean
}

/**
 * Copies backups to targets, one after the other, each to all targets before the next. Goes on after a failure; a
 * target that fails itself, or a source that cannot be reached any more, leaves what depends on it not run.
 * @throws the signal's reason when aborted; what was yielded until then is done
 */
export async function* copyAll(
  source: StorageProvider,
  stores: StorageProvider[],
  request: CopyRequest,
  deps: CopyDeps,
): AsyncGenerator<BackupCopy> {
  const targets = stores.map((store): Target => ({store, isSwept: false}))
  const down = new Map<StorageProvider, string>()
  for (const problem of request.broken)
    for (const {store} of targets) yield brokenCopy(problem, source, store)
  for (const entry of request.backups) {
    for (const target of targets) {
      deps.signal.throwIfAborted()
      const why = down.get(source) ?? down.get(target.store)
      if (why !== undefined) {
        yield {...nameOf(entry), to: target.store.describe(), status: 'not-run', ...nothing, reason: why}
        continue
      }
      const start = performance.now()
      const outcome = await (request.dryRun
        ? wouldCopy(target, entry, deps)
        : copyOne(source, target, entry, tellingTarget(deps, entry, target, targets.length > 1)))
      if (outcome.status === 'failed') noteIfDown(outcome, source, target.store, down)
      if (outcome.status === 'vanished')
        deps.events.warning?.({
          code: 'BACKUP_VANISHED',
          message: `${entry.archive} was not copied: ${outcome.reason}.`,
        })
      yield copyOf(entry, target.store, outcome, Math.round(performance.now() - start))
    }
  }
}

type DryOutcome = CopyOutcome | {status: 'would-copy'; bytes: number}

async function copyOne(
  source: StorageProvider,
  target: Target,
  entry: CatalogEntry,
  deps: CopyDeps,
): Promise<CopyOutcome> {
  if (!target.isSwept) {
    const failure = await failureOf(() => at('target', target.store, () => target.store.sweep()), deps) // what killed runs left
    if (failure) return failure
    target.isSwept = true
  }
  return copyBackup(source, target.store, entry, deps)
}

async function wouldCopy({store}: Target, entry: CatalogEntry, deps: CopyDeps): Promise<DryOutcome> {
  let outcome: DryOutcome = {status: 'skipped', reason: 'it is there already'}
  const failure = await failureOf(async () => {
    const {hasManifest, absent, unclaimed} = await at('target', store, () => lookAt(store, entry))
    if (hasManifest && absent.length === 0) return
    const open = entry.manifest.files.filter(
      (file) => absent.includes(file) || (unclaimed.get(file.path)?.size ?? file.bytes) !== file.bytes,
    )
    outcome = {status: 'would-copy', bytes: open.reduce((sum, {bytes}) => sum + bytes, 0)}
  }, deps)
  return failure ?? outcome
}

async function failureOf(
  step: () => Promise<unknown>,
  {signal}: CopyDeps,
): Promise<Extract<CopyOutcome, {status: 'failed'}> | undefined> {
  try {
    await step()
    return undefined
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof CopyFailure)) throw error
    return {status: 'failed', side: error.side, error: error.error.during(8)}
  }
}

function tellingTarget(
  deps: CopyDeps,
  {manifest}: CatalogEntry,
  {store}: Target,
  isOneOfSeveral: boolean,
): CopyDeps {
  return isOneOfSeveral ? {...deps, activityName: `Copying ${manifest.id} to ${store.describe()}`} : deps
}

/** Of these the next backup would fail too. */
const targetDown = /^(DESTINATION_|CREDENTIALS_|CLOCK_)/
/** A file that cannot be read (DESTINATION_FAILED) says nothing of the others. */
const sourceDown =
  /^(DESTINATION_(NOT_FOUND|NOT_A_FOLDER|UNREACHABLE|STALLED|DENIED)|CREDENTIALS_REFUSED|CLOCK_SKEW)$/

function noteIfDown(
  {side, error}: {side: Side; error: DbbakError},
  source: StorageProvider,
  target: StorageProvider,
  down: Map<StorageProvider, string>,
): void {
  const store = side === 'source' ? source : target
  const isDown = (side === 'source' ? sourceDown : targetDown).test(error.code)
  if (isDown) down.set(store, `${store.describe()} failed before`)
}

const nothing = {bytes: 0, durationMs: 0}

const nameOf = ({manifest, archive}: CatalogEntry) => ({id: manifest.id, name: archive})

function copyOf(
  entry: CatalogEntry,
  store: StorageProvider,
  outcome: DryOutcome,
  durationMs: number,
): BackupCopy {
  const common = {...nameOf(entry), to: store.describe(), bytes: 0, durationMs}
  switch (outcome.status) {
    case 'copied':
    case 'would-copy':
      return {...common, status: outcome.status, bytes: outcome.bytes}
    case 'skipped':
    case 'vanished':
      return {...common, status: 'skipped', reason: outcome.reason}
    case 'failed':
      return {...common, status: 'failed', error: told(outcome.error)}
  }
}

const told = ({code, message, suggestions, exitCode}: DbbakError): NonNullable<BackupCopy['error']> => ({
  code,
  message,
  suggestions,
  exitCode,
})

function brokenCopy(
  {key, code, message}: CatalogProblem,
  source: StorageProvider,
  target: StorageProvider,
): BackupCopy {
  const name = key.slice(0, -manifestEnding.length)
  const error = new DbbakError(code, `${name} is not a complete backup: ${message}`, {
    suggestions: [
      `See which backups there are whole: dbbak verify --all --level checksum --from ${shellWord(source.describe())}`,
      'Take a new one now: dbbak backup',
    ],
  }).during(5)
  const id = name.replace(/\.(dump|sql|dir)(\..*)?$/, '')
  return {id, name, to: target.describe(), status: 'failed', ...nothing, error: told(error)}
}
