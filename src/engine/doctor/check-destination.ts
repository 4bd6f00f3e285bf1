import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import {readCatalog} from '../catalog.js'
import {problem} from './check-database.js'
import type {DoctorCheck} from './diagnosis.js'

/** Writes, reads back and removes a small object, and looks at what is there. */
export async function checkDestination(store: StorageProvider): Promise<DoctorCheck[]> {
  const name = 'destination'
  try {
    await tryOut(store)
    const {backups, problems} = await readCatalog(store)
    const free = await store.freeBytes?.()
    const room = free === undefined ? '' : `, ${roomText(free)} free`
    const count = `${backups.length} ${backups.length === 1 ? 'backup' : 'backups'}`
    const ok: DoctorCheck = {
      name,
      status: 'ok',
      message: `${store.describe()}: written, read back and removed; ${count}${room}`,
    }
    return [
      ok,
      ...problems.map(({key, code, message}): DoctorCheck => ({
        name: 'manifest',
        status: 'warning',
        message: `${key}: ${code}: ${message}`,
        fix: 'dbbak verify --all',
      })),
    ]
  } catch (error) {
    return [problem(name, error)]
  }
}

const roomText = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`

async function tryOut(store: StorageProvider): Promise<void> {
  const key = `.dbbak-doctor-${randomBytes(6).toString('hex')}`
  const content = randomBytes(1024)
  await store.put(key, Readable.from([content]))
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
