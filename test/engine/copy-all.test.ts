import {beforeEach, expect, test} from '@jest/globals'
import {readCatalog, type CatalogEntry} from '../../src/engine/catalog.js'
import {copyAll, type BackupCopy} from '../../src/engine/copy/copy-all.js'
import type {StorageProvider} from '../../src/storage/provider.js'
import {DbbakError, type ErrorCode} from '../../src/support/errors.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {interfering, storeBackup} from './copy-support.js'

let source: MemoryStorage
let target: MemoryStorage
let backups: CatalogEntry[]
beforeEach(async () => {
  source = new MemoryStorage('source')
  target = new MemoryStorage('target')
  for (const day of ['15', '16', '17'])
    await storeBackup(source, {snapshotAt: `2025-01-${day}T00:00:00.000Z`})
  backups = (await readCatalog(source)).backups
})

async function copies(from: StorageProvider, to: StorageProvider[]): Promise<BackupCopy[]> {
  const deps = {events: {}, signal: new AbortController().signal}
  const made: BackupCopy[] = []
  for await (const copy of copyAll(from, to, {backups, broken: [], dryRun: false}, deps)) made.push(copy)
  return made
}

const failingWith = (code: ErrorCode) => () => {
  throw new DbbakError(code, 'It failed.', {suggestions: ['Again.']})
}

test.each<[ErrorCode, string[]]>([
  ['DESTINATION_UNREACHABLE', ['failed', 'not-run', 'not-run']],
  ['CREDENTIALS_REFUSED', ['failed', 'not-run', 'not-run']],
  ['DESTINATION_FAILED', ['failed', 'failed', 'failed']], // perhaps these files alone
  ['OBJECT_NAME_INVALID', ['failed', 'failed', 'failed']],
])('a source that fails with %s: %j', async (code, wanted) => {
  const made = await copies(interfering(source, {beforeGet: failingWith(code)}), [target])
  expect(made.map(({status}) => status)).toEqual(wanted)
  expect(made[0]?.error).toMatchObject({code, exitCode: 8})
})

test.each<[ErrorCode, string[]]>([
  ['DESTINATION_FULL', ['failed', 'not-run', 'not-run']],
  ['DESTINATION_FAILED', ['failed', 'not-run', 'not-run']],
  ['CREDENTIALS_REFUSED', ['failed', 'not-run', 'not-run']],
  ['CLOCK_SKEW', ['failed', 'not-run', 'not-run']],
  ['OBJECT_LOCKED', ['failed', 'failed', 'failed']], // of each backup its own
])('a target that fails with %s: %j, and the others get all', async (code, wanted) => {
  const other = new MemoryStorage('other')
  const made = await copies(source, [interfering(target, {beforePut: failingWith(code)}), other])
  expect(made.filter(({to}) => to === 'target').map(({status}) => status)).toEqual(wanted)
  expect((await readCatalog(other)).backups).toHaveLength(3)
  for (const {status, reason} of made) if (status === 'not-run') expect(reason).toBe('target failed before')
})

test('a target whose leftovers cannot be swept is a target that fails', async () => {
  const broken = new Proxy(target, {
    get: (store, name) =>
      name === 'sweep'
        ? async () => failingWith('DESTINATION_FAILED')()
        : (Reflect.get(store, name) as () => unknown).bind?.(store),
  })
  expect((await copies(source, [broken])).map(({status}) => status)).toEqual(['failed', 'not-run', 'not-run'])
})
