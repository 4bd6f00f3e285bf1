import type {StorageProvider} from '../../storage/provider.js'
import {activity, type Events} from '../events.js'
import {problem} from './check-database.js'
import type {DoctorCheck} from './diagnosis.js'
import {storagePromises, type StoragePromise} from './storage-promises.js'
import {isOutOfReach, isRefusal, Trial, type Left} from './trial.js'

export interface TrialDeps {
  events: Events
  signal: AbortSignal
}

/**
 * Tries the promises of the storage interface at a user's own destination, with objects below a name of their own,
 * which are removed at the end whatever happens; what cannot be removed is named.
 * @returns one error, named `destination`, where nothing can be written; else a line for each promise
 */
export async function checkPromises(store: StorageProvider, deps: TrialDeps): Promise<DoctorCheck[]> {
  const trial = new Trial(store, deps.signal)
  try {
    const checks = await activity(deps.events, `Trying ${store.describe()}`, () => tryAll(trial))
    return [...checks, ...leftLine(store, await trial.cleanUp())]
  } catch (error) {
    for (const {message} of leftLine(store, await trial.cleanUp()))
      deps.events.warning?.({code: 'DOCTOR_LEFT', message})
    throw error
  }
}

async function tryAll(trial: Trial): Promise<DoctorCheck[]> {
  try {
    await trial.put('first', Buffer.from('x'), {readOften: false}) // as an archive is kept
  } catch (error) {
    trial.signal.throwIfAborted()
    return [problem('destination', error)]
  }
  const checks: DoctorCheck[] = []
  for (const promise of storagePromises) {
    const {check, goOn} = await tryOne(promise, trial)
    checks.push(check)
    if (!goOn) break
  }
  return checks
}

async function tryOne(
  {name, keep, refused}: StoragePromise,
  trial: Trial,
): Promise<{check: DoctorCheck; goOn: boolean}> {
  try {
    return {check: {name, status: 'ok', message: await keep(trial)}, goOn: true}
  } catch (error) {
    trial.signal.throwIfAborted()
    const {message, fix} = refused
    if (isRefusal(error))
      return {check: {name, status: 'warning', message: `${error.code}: ${message}`, fix}, goOn: true}
    return {check: problem(name, error), goOn: !isOutOfReach(error)}
  }
}

function leftLine(store: StorageProvider, left: Left[]): DoctorCheck[] {
  const [first] = left
  if (!first) return []
  const keys = left.map(({key}) => key).join(', ')
  return [
    {
      name: 'left behind',
      status: 'warning',
      message: `${left.length} small ${left.length === 1 ? 'object' : 'objects'} of this trial could not be removed from ${store.describe()}: ${keys} (${first.why})`,
      fix: `Remove ${first.key.split('/')[0]}/ there by hand; no backup lies in it`,
    },
  ]
}
