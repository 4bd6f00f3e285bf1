import {Readable} from 'node:stream'
import {beforeEach, describe, expect, test} from '@jest/globals'
import {readCatalog} from '../../src/engine/catalog.js'
import {listBackups} from '../../src/engine/list-backups.js'
import {maxManifestBytes, type Manifest} from '../../src/engine/manifest.js'
import {serializeVerification, type VerificationRecord} from '../../src/engine/verify/verification-record.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {sampleManifest} from './sample-manifest.js'

let store: MemoryStorage
beforeEach(() => {
  store = new MemoryStorage()
})

const put = (key: string, content: string | Buffer, overwrite = false) =>
  store.put(key, Readable.from([Buffer.from(content)]), {overwrite})

/** Stores a backup as `takeBackup` does: its files, then its manifest. */
async function putBackup(manifest: Manifest): Promise<string> {
  const archive = manifest.files[0].path.split('/')[0]
  for (const {path, bytes} of manifest.files) await put(path, Buffer.alloc(bytes, 'x'))
  await put(`${archive}.metadata.json`, JSON.stringify(manifest))
  return archive
}

const day = (number: number) => `2025-01-${String(number).padStart(2, '0')}T00:00:00.000Z`
const directory = (snapshotAt: string): Manifest => {
  const manifest = sampleManifest(snapshotAt, {
    format: 'directory',
    compression: {algorithm: 'gzip', level: 6, by: 'pg_dump'},
  })
  const sha256 = 'b'.repeat(64)
  const files = ['toc.dat', '3001.dat.gz'].map((name) => ({
    path: `${manifest.id}.dir/${name}`,
    bytes: 3,
    sha256,
  }))
  return {...manifest, files: [...files, {path: `${manifest.id}.globals.sql`, bytes: 5, sha256}]}
}

test('a destination that holds nothing has an empty catalogue', async () => {
  expect(await readCatalog(store)).toEqual({backups: [], problems: [], unclaimed: []})
})

test('backups are sorted newest first, whatever their names are and in whatever order they were stored', async () => {
  for (const number of [3, 1, 20, 2]) await putBackup(sampleManifest(day(number)))
  await putBackup(directory(day(10)))
  const {backups, problems, unclaimed} = await readCatalog(store)
  expect(backups.map(({manifest}) => manifest.snapshotAt)).toEqual([20, 10, 3, 2, 1].map(day))
  expect({problems, unclaimed}).toEqual({problems: [], unclaimed: []})
})

test('an archive without a manifest is no backup but a leftover', async () => {
  const manifest = directory(day(1))
  for (const {path, bytes} of manifest.files) await put(path, Buffer.alloc(bytes))
  const {backups, problems, unclaimed} = await readCatalog(store)
  expect({backups, problems}).toEqual({backups: [], problems: []})
  expect(unclaimed.map(({key}) => key).sort()).toEqual(manifest.files.map(({path}) => path).sort())
})

describe('a manifest', () => {
  const broken = async () => {
    const {backups, problems} = await readCatalog(store)
    expect(backups).toEqual([])
    return problems.map(({code}) => code)
  }

  test('without one of its files makes no backup', async () => {
    const manifest = directory(day(1))
    await putBackup(manifest)
    await store.remove(manifest.files[1].path)
    expect(await broken()).toEqual(['ARCHIVE_MISSING'])
  })

  test('with a file of another size makes no backup', async () => {
    const manifest = directory(day(1))
    await putBackup(manifest)
    await put(manifest.files[1].path, 'more than three', true)
    expect(await broken()).toEqual(['ARCHIVE_SIZE_MISMATCH'])
  })

  const sha256 = 'c'.repeat(64)
  const strange: [string, (manifest: Manifest) => Manifest][] = [
    ['another backup’s archive', (manifest) => ({...manifest, files: sampleManifest(day(9)).files})],
    [
      'another backup’s archive besides',
      (manifest) => ({...manifest, files: [...manifest.files, ...sampleManifest(day(9)).files]}),
    ],
    [
      'a file below its archive that is a file',
      (manifest) => ({
        ...manifest,
        files: [...manifest.files, {path: `${manifest.files[0].path}/toc.dat`, bytes: 1, sha256}],
      }),
    ],
    [
      'another archive of the same id',
      (manifest) => ({...manifest, files: [{path: `${manifest.id}.sql`, bytes: 1, sha256}]}),
    ],
    [
      'its manifest',
      (manifest) => ({
        ...manifest,
        files: [...manifest.files, {path: `${manifest.files[0].path}.metadata.json`, bytes: 1, sha256}],
      }),
    ],
    [
      'nothing but globals',
      (manifest) => ({...manifest, files: [{path: `${manifest.id}.globals.sql`, bytes: 1, sha256}]}),
    ],
    ['a file twice', (manifest) => ({...manifest, files: [...manifest.files, ...manifest.files]})],
  ]
  test.each(strange)('that names %s is invalid', async (_, change) => {
    await putBackup(sampleManifest(day(9)))
    const manifest = sampleManifest(day(1))
    await put(manifest.files[0].path, Buffer.alloc(7))
    await put(`${manifest.files[0].path}.metadata.json`, JSON.stringify(change(manifest)))
    const {backups, problems} = await readCatalog(store)
    expect(backups.map(({manifest: {id}}) => id)).toEqual([sampleManifest(day(9)).id])
    expect(problems).toEqual([
      expect.objectContaining({code: 'MANIFEST_INVALID', key: expect.stringContaining(manifest.id)}),
    ])
  })

  test('of a folder that names no table of contents, or files in folders of it, is invalid', async () => {
    const {files, ...manifest} = directory(day(1))
    await putBackup({...manifest, files: files.slice(1)})
    expect(await broken()).toEqual(['MANIFEST_INVALID'])
    const other = directory(day(2))
    await putBackup({...other, files: [...other.files, {path: `${other.id}.dir/a/b`, bytes: 1, sha256}]})
    expect(await broken()).toEqual(['MANIFEST_INVALID', 'MANIFEST_INVALID'])
  })

  test('that is larger than any is not read', async () => {
    await put('shop_1.dump.metadata.json', Buffer.alloc(maxManifestBytes + 1, ' '))
    expect(await broken()).toEqual(['MANIFEST_INVALID'])
  })

  test('that cannot be read is a problem, and does not hide the others', async () => {
    await putBackup(sampleManifest(day(1)))
    await putBackup(sampleManifest(day(2)))
    const get = store.get.bind(store)
    store.get = async (key, options) => {
      if (key.includes('2025-01-02')) throw new Error('a bad block')
      return get(key, options)
    }
    const {backups, problems} = await readCatalog(store)
    expect(backups).toHaveLength(1)
    expect(problems).toEqual([expect.objectContaining({message: expect.stringContaining('a bad block')})])
  })

  test('that vanishes while the catalogue is read is as if it had never been there', async () => {
    const archive = await putBackup(sampleManifest(day(1)))
    await putBackup(sampleManifest(day(2)))
    const get = store.get.bind(store)
    store.get = async (key, options) => {
      await store.remove(`${archive}.metadata.json`)
      return get(key, options)
    }
    const {backups, problems} = await readCatalog(store)
    expect({backups: backups.length, problems}).toEqual({backups: 1, problems: []})
  })

  test('in a folder is none of this destination', async () => {
    await put('elsewhere/shop_1.dump.metadata.json', 'nonsense')
    const {problems, unclaimed} = await readCatalog(store)
    expect({problems, unclaimed: unclaimed.length}).toEqual({problems: [], unclaimed: 1})
  })
})

describe('a verification result', () => {
  const record = (id: string): VerificationRecord => ({
    formatVersion: 1,
    id,
    verdict: 'passed',
    level: 'restore',
    at: day(3),
    tool: {name: 'dbbak', version: '1.0.0'},
    checks: [{name: 'restore-test', status: 'passed'}],
    durationMs: 5,
  })

  test('is read with its backup, unless it is damaged or another’s', async () => {
    const texts: Record<number, string> = {
      1: serializeVerification(record(sampleManifest(day(1)).id)),
      2: 'nonsense',
      3: serializeVerification(record(sampleManifest(day(1)).id)),
    }
    for (const number of [1, 2, 3, 4]) {
      const archive = await putBackup(sampleManifest(day(number)))
      if (texts[number]) await put(`${archive}.verification.json`, texts[number])
    }
    const {backups, unclaimed} = await readCatalog(store)
    expect(backups.map(({verification}) => verification?.verdict ?? null)).toEqual([
      null,
      null,
      null,
      'passed',
    ])
    expect(unclaimed).toEqual([])
  })
})

describe('the list', () => {
  const clock = {now: () => new Date(day(5))}
  const ask = {limit: undefined, allKinds: false, incomplete: false}

  test('shows age, size and its change against the one before of the same database and kind', async () => {
    const sized = (snapshotAt: string, bytes: number, changes: Partial<Manifest> = {}) => {
      const manifest = sampleManifest(snapshotAt, changes)
      return {...manifest, files: [{...manifest.files[0], bytes}]}
    }
    await putBackup(sized(day(1), 10))
    const other = sampleManifest(day(2)).database
    await putBackup(sized(day(2), 500, {database: {...other, name: 'other'}}))
    await putBackup(sized(day(3), 4000, {kind: 'safety'}))
    await putBackup(sized(day(4), 15))
    const {backups} = await listBackups(store, ask, clock)
    expect(
      backups.map(({bytes, bytesChange, ageSeconds, database}) => [database, bytes, bytesChange, ageSeconds]),
    ).toEqual([
      ['shop', 15, 5, 86_400],
      ['other', 500, null, 3 * 86_400],
      ['shop', 10, null, 4 * 86_400],
    ])
    expect((await listBackups(store, {...ask, limit: 1}, clock)).backups).toMatchObject([
      {bytes: 15, bytesChange: 5},
    ])
    expect((await listBackups(store, {...ask, allKinds: true}, clock)).backups).toHaveLength(4)
  })

  test('tells parts, and compares like with like: the same selection, packed in the same way', async () => {
    const bytesAt = async (days: number, bytes: number, changes: Partial<Manifest> = {}) => {
      const manifest = sampleManifest(day(days), changes)
      await putBackup({...manifest, files: [{...manifest.files[0], bytes}]})
    }
    const part = {selection: {tables: ['orders', 'items']}}
    const packed = {compression: {algorithm: 'zstd', level: 19, by: 'dbbak'}} as const
    await bytesAt(1, 100, {selection: {tables: []}})
    await bytesAt(2, 10, part)
    await bytesAt(3, 70, packed)
    await bytesAt(4, 12, {selection: {tables: ['items', 'orders'], schemas: []}})
    await bytesAt(5, 110)
    await bytesAt(6, 60, {selection: {excludeTables: ['audit']}})
    const {backups} = await listBackups(store, ask, clock)
    expect(backups.map(({bytes, bytesChange, isPart}) => [bytes, bytesChange, isPart])).toEqual([
      [60, null, false],
      [110, 10, false],
      [12, 2, true],
      [70, null, false],
      [10, null, true],
      [100, null, false],
    ])
    expect(backups.map(({selection}) => selection !== null)).toEqual([true, false, true, false, true, false])
  })

  test('names leftovers only when asked', async () => {
    await put('shop_1.dump', 'cut off')
    expect(await listBackups(store, ask, clock)).toEqual({destination: 'memory', backups: [], problems: []})
    const {incomplete} = await listBackups(store, {...ask, incomplete: true}, clock)
    expect(incomplete).toEqual([expect.objectContaining({name: 'shop_1.dump', bytes: 7})])
  })

  test('shows a backup from the future with the age 0', async () => {
    await putBackup(sampleManifest(day(9)))
    expect((await listBackups(store, ask, clock)).backups).toMatchObject([{ageSeconds: 0}])
  })
})
