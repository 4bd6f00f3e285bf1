import {randomBytes} from 'node:crypto'
import {constants} from 'node:fs'
import {access, lstat} from 'node:fs/promises'
import {dirname} from 'node:path'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf, systemCode} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import {readCatalog} from '../catalog.js'
import {problem} from './check-database.js'
import {checkPromises, type TrialDeps} from './check-promises.js'
import type {DoctorCheck} from './diagnosis.js'
import {isRefusal} from './trial.js'

/** Writes, reads back and removes a small object, and looks at what is there. */
export async function checkDestination(store: StorageProvider): Promise<DoctorCheck[]> {
  try {
    await tryOut(store)
    return await lookInto(store, 'written, read back and removed')
  } catch (error) {
    return [problem(name, error)]
  } finally {
    await store.tidy?.()
  }
}

/** Tries everything that is promised of destinations at this one, and looks at what is there. */
export async function tryDestination(store: StorageProvider, deps: TrialDeps): Promise<DoctorCheck[]> {
  const tried = await tryPromises(store, deps)
  if (tried.some((check) => check.name === name)) return tried
  try {
    return [...(await lookInto(store, 'tried out')), ...tried]
  } catch (error) {
    const check = problem(name, error)
    return [isRefusal(error) ? {...check, status: 'warning'} : check, ...tried]
  }
}

async function tryPromises(store: StorageProvider, deps: TrialDeps): Promise<DoctorCheck[]> {
  try {
    return await checkPromises(store, deps)
  } finally {
    await store.tidy?.()
  }
}

/**
 * A local destination that is not there is not made for a look at it: the first backup does that.
 * @param path absolute
 * @returns undefined where there is something to look at
 */
export async function checkFolderToCome(path: string): Promise<DoctorCheck | undefined> {
  if (!(await isMissing(path))) return undefined
  let above = dirname(path)
  while (await isMissing(above)) above = dirname(above)
  try {
    await access(above, constants.W_OK | constants.X_OK)
  } catch (error) {
    const why = `${path} is not there, and cannot be made in ${above}: ${messageOf(error)}.`
    const suggestions = [`ls -ld ${shellWord(above)}`]
    return problem(name, new DbbakError('DESTINATION_READ_ONLY', why, {suggestions, cause: error}))
  }
  return {name, status: 'ok', message: `${path} is not there yet: the first backup makes it, in ${above}`}
}

/** Also a symbolic link that leads nowhere is something. */
async function isMissing(path: string): Promise<boolean> {
  if (dirname(path) === path) return false
  return lstat(path).then(
    () => false,
    (error: unknown) => systemCode(error) === 'ENOENT',
  )
}

const name = 'destination'

async function lookInto(store: StorageProvider, done: string): Promise<DoctorCheck[]> {
  const {backups, problems} = await readCatalog(store)
  const free = await store.freeBytes?.()
  const room = free === undefined ? '' : `, ${roomText(free)} free`
  const count = `${backups.length} ${backups.length === 1 ? 'backup' : 'backups'}`
  const ok: DoctorCheck = {name, status: 'ok', message: `${store.describe()}: ${done}; ${count}${room}`}
  return [
    ok,
    ...problems.map(({key, code, message}): DoctorCheck => ({
      name: 'manifest',
      status: 'warning',
      message: `${key}: ${code}: ${message}`,
      fix: 'dbbak verify --all',
    })),
  ]
}

const roomText = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`

async function tryOut(store: StorageProvider): Promise<void> {
  const key = `.dbbak-doctor-${randomBytes(6).toString('hex')}`
  const content = randomBytes(1024)
  await store.put(key, Readable.from([content]), {readOften: true}) // not into an archive: it is read at once
  try {
    const read = await buffer(await store.get(key))
    if (!read.equals(content)) {
      throw new DbbakError(
        'DESTINATION_FAILED',
        `${store.describe()} gave back other bytes than were written to it.`,
        {suggestions: ['Do not keep backups there: dbbak backup --to ANOTHER']},
      )
    }
  } finally {
    await store.remove(key)
  }
}
