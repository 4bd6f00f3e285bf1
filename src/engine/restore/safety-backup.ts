import {DbbakError, messageOf} from '../../support/errors.js'
import {takeBackup, type BackupResult} from '../backup/take-backup.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {readCatalog} from '../catalog.js'
import {findBackup} from '../find-backup.js'
import {safetyOfJournal} from './journal.js'
import type {Target} from './preflight.js'
import type {Consent, RestoreDeps, RestoreRequest, RestoreResult} from './restore-request.js'
import type {StageRecorder} from './stages.js'

/** Proof that there is a way back, or that none is wanted. */
export interface Safety {
  target: Target
  backup: RestoreResult['safetyBackup']
}

/** Takes a backup of what a restore is about to replace, unless there is nothing or nobody wants it. */
export async function takeSafetyBackup(
  target: Target,
  _consent: Consent,
  request: RestoreRequest,
  deps: RestoreDeps,
  stages: StageRecorder,
): Promise<Safety> {
  if (target.cutOff) return safetyOfCutOff(target, stages)
  if (!request.safetyBackup) stages.skip('safety-dump', 'Not wanted (--no-safety-backup).')
  else if (target.content.isEmpty) stages.skip('safety-dump', 'The target is empty.')
  else {
    const taken = await stages.run('safety-dump', () => safetyBackup(target, request, deps))
    return {
      target,
      backup: {id: taken.backup.id, destination: deps.safetyStore.describe(), bytes: taken.bytes},
    }
  }
  return {target, backup: null}
}

/** What is there now is neither the former content nor a backup's: the one that the journal names is the way back. */
function safetyOfCutOff(target: Target, stages: StageRecorder): Safety {
  const before = target.cutOff ? safetyOfJournal(target.cutOff) : null
  const which = before
    ? `the one of before it stays the way back: ${before.id}`
    : 'there was nothing before it'
  stages.skip('safety-dump', `An earlier restore was cut off; ${which}.`)
  return {target, backup: before && {...before, bytes: 0}}
}

/** The safety backup as something that can be restored; null where there is none. */
export async function wayBackOf(
  safety: RestoreResult['safetyBackup'],
  {safetyStore, openStore}: RestoreDeps,
): Promise<{backup: StoredBackup} | null> {
  if (safety === null) return null
  const {id, destination} = safety
  const store = destination === safetyStore.describe() ? safetyStore : await openStore(destination)
  return {backup: {store, entry: findBackup(await readCatalog(store), {name: id}, destination)}}
}

async function safetyBackup(
  target: Target,
  {lockTimeoutMs}: RestoreRequest,
  deps: RestoreDeps,
): Promise<BackupResult> {
  try {
    return await takeBackup(
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
        lockTimeoutMs,
      },
      // The restore has claimed the database already; its own safety backup is let in.
      {...deps, connection: target.connection, stores: [deps.safetyStore], claimed: true},
    )
  } catch (cause) {
    if (deps.signal.aborted) throw cause
    throw new DbbakError('RESTORE_FAILED', `The safety backup could not be taken: ${messageOf(cause)}`, {
      cause,
      suggestions: cause instanceof DbbakError ? cause.suggestions : [],
    })
  }
}
