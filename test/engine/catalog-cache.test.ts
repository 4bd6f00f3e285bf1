import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {promisify} from 'node:util'
import {zstdCompress, zstdDecompress} from 'node:zlib'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {listBackups as listOfLibrary} from '../../src/index.js'
import {readCatalog, type Catalog} from '../../src/engine/catalog.js'
import {serializeManifest, type Manifest} from '../../src/engine/manifest.js'
import {serializeVerification, type VerificationRecord} from '../../src/engine/verify/verification-record.js'
import {catalogCache, CatalogCacheFile} from '../../src/library/catalog-cache-file.js'
import {loadSettings} from '../../src/library/settings.js'
import type {GetOptions, ObjectInfo} from '../../src/storage/provider.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {sampleManifest} from './sample-manifest.js'

/** Counts what is read. */
class CountedStorage extends MemoryStorage {
  readonly read: string[] = []

  beforeGet: (key: string) => Promise<void> = async () => {}

  override async get(key: string, options?: GetOptions) {
    this.read.push(key)
    await this.beforeGet(key)
    return super.get(key, options)
  }
}

let folder: string
let store: CountedStorage
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'catalog-cache-'))
  store = new CountedStorage('s3://bucket/prefix')
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const cache = (destination = store.describe()) => new CatalogCacheFile(folder, destination)

/** Reads the catalogue as a new process does, and gives what was read for it. */
async function list(from = store, using = cache()): Promise<{catalog: Catalog; read: string[]}> {
  from.read.length = 0
  const catalog = await readCatalog(from, using)
  return {catalog, read: [...from.read].sort()}
}

const put = (key: string, content: string | Buffer, to = store) =>
  to.put(key, Readable.from([Buffer.from(content)]), {overwrite: true})

const day = (number: number) => `2025-01-${String(number).padStart(2, '0')}T00:00:00.000Z`

async function putBackup(manifest: Manifest, to = store): Promise<string> {
  const [{path, bytes}] = manifest.files
  await put(path, Buffer.alloc(bytes, 'x'), to)
  await put(`${path}.metadata.json`, serializeManifest(manifest), to)
  return path
}

const verification = (id: string, at: string, verdict: VerificationRecord['verdict'] = 'passed') =>
  serializeVerification({
    formatVersion: 1,
    id,
    verdict,
    level: 'restore',
    at,
    tool: {name: 'dbbak', version: '1.0.0'},
    checks: [{name: 'restore-test', status: 'passed'}],
    durationMs: 5,
  })

/** Five backups, one of them verified. */
async function fiveBackups(to = store): Promise<string[]> {
  const archives: string[] = []
  for (const number of [1, 2, 3, 4, 5]) archives.push(await putBackup(sampleManifest(day(number)), to))
  await put(`${archives[1]}.verification.json`, verification(sampleManifest(day(2)).id, day(6)), to)
  return archives
}

const filesOf = () => readdir(folder)
const cacheFile = async () => join(folder, (await filesOf())[0])
async function changeLines(change: (lines: string[]) => string[]): Promise<void> {
  const file = await cacheFile()
  const lines = (await promisify(zstdDecompress)(await readFile(file))).toString().split('\n')
  await writeFile(file, await promisify(zstdCompress)(Buffer.from(change(lines).join('\n'))))
}

describe('a second listing', () => {
  test('reads nothing but what cannot be read, and gives the same', async () => {
    const archives = await fiveBackups()
    const damaged = 'shop_2025-01-09T00-00-00-000Z.dump.metadata.json'
    await put(damaged, '{"damaged": ')
    const first = await list()
    expect(first.read).toHaveLength(7)
    const second = await list()
    expect(second.read).toEqual([damaged]) // it may have been damaged on the way
    expect(second.catalog).toEqual(first.catalog)
    expect(second.catalog).toEqual(await readCatalog(store))
    expect(second.catalog.backups.map(({archive}) => archive)).toEqual([...archives].reverse())
    expect(second.catalog.problems).toMatchObject([{code: 'MANIFEST_INVALID'}])
  })

  test('reads what is new, and a verification that has changed', async () => {
    const archives = await fiveBackups()
    await list()
    await put(`${archives[1]}.verification.json`, verification(sampleManifest(day(2)).id, day(7), 'failed'))
    const {catalog, read} = await list()
    expect(read).toEqual([`${archives[1]}.verification.json`])
    expect(catalog.backups[3].verification).toMatchObject({verdict: 'failed', at: day(7)})
    const added = await putBackup(sampleManifest(day(8)))
    expect((await list()).read).toEqual([`${added}.metadata.json`])
    expect((await list()).read).toEqual([])
  })

  test('reads a manifest again whose etag has changed, also where its size has not', async () => {
    const archives = await fiveBackups()
    await list()
    const key = `${archives[2]}.metadata.json`
    store.damage(key, (bytes) => Buffer.from(bytes.toString().replace('"shop"', '"shap"')))
    const {catalog, read} = await list()
    expect(read).toEqual([key])
    expect(catalog.backups[2].manifest.database.name).toBe('shap')
  })

  test('knows nothing of what was removed, nor does the cache', async () => {
    const archives = await fiveBackups()
    await list()
    const before = (await stat(await cacheFile())).size
    for (const archive of archives.slice(1)) {
      await store.remove(`${archive}.metadata.json`)
      await store.remove(`${archive}.verification.json`)
    }
    const {catalog, read} = await list()
    expect(read).toEqual([])
    expect(catalog.backups.map(({archive}) => archive)).toEqual([archives[0]])
    expect((await stat(await cacheFile())).size).toBeLessThan(before)
    await changeLines((lines) => {
      expect(lines).toHaveLength(4) // header, what it is of, text, end
      return lines
    })
  })

  test('writes the cache only where it has something new', async () => {
    await fiveBackups()
    await list()
    const before = await stat(await cacheFile())
    await list()
    const {ino, mtimeMs} = await stat(await cacheFile())
    expect({ino, mtimeMs}).toEqual({ino: before.ino, mtimeMs: before.mtimeMs})
  })

  test('of a destination that was replaced between its listing and the reading keeps nothing of it', async () => {
    const [archive] = await fiveBackups()
    const key = `${archive}.verification.json`
    await put(key, verification(sampleManifest(day(1)).id, day(6)))
    store.beforeGet = async (asked) => {
      if (asked !== key) return
      store.beforeGet = async () => {}
      await put(key, verification(sampleManifest(day(1)).id, day(7), 'could-not-run'))
    }
    await list()
    expect((await list()).read).toEqual([key])
    expect((await list()).catalog.backups.at(-1)?.verification?.verdict).toBe('could-not-run')
  })
})

describe('a cache', () => {
  test('lies in a file for the owner alone, named after the destination without showing it', async () => {
    await fiveBackups()
    const inside = join(folder, 'not', 'there', 'yet')
    await list(store, new CatalogCacheFile(inside, 's3://secret-bucket'))
    const [name, ...others] = await readdir(inside)
    expect(others).toEqual([])
    expect(name).toMatch(/^[0-9a-f]{64}\.ndjson\.zst$/)
    expect((await stat(join(inside, name))).mode & 0o777).toBe(0o600)
    expect((await stat(inside)).mode & 0o777).toBe(0o700)
  })

  test('of one destination says nothing of another, also under its name', async () => {
    await fiveBackups()
    await list()
    const other = new CountedStorage('s3://other')
    await fiveBackups(other)
    const using = cache('s3://other')
    await writeFile(using.path, await readFile(await cacheFile()), {mode: 0o600})
    expect((await list(other, using)).read).toHaveLength(6)
  })

  test.each<[string, (file: string) => Promise<void>]>([
    ['is empty', (file) => writeFile(file, '')],
    ['is noise', (file) => writeFile(file, 'no zstd at all')],
    ['was cut', async (file) => writeFile(file, (await readFile(file)).subarray(0, 200))],
    [
      'has a flipped bit',
      async (file) => {
        const bytes = await readFile(file)
        bytes[bytes.length >> 1] ^= 4
        await writeFile(file, bytes)
      },
    ],
    ['is of another version', () => changeLines(([, ...rest]) => ['{"format":2}', ...rest])],
    ['has lines that are no JSON', () => changeLines((lines) => lines.map((line) => line.slice(1)))],
    [
      'holds other values than it should',
      () => changeLines(([header]) => [header, 'null', '7', '[]', '"x"', '']),
    ],
    ['ends amid an entry', () => changeLines((lines) => lines.slice(0, 2))],
    [
      'is a folder',
      async (file) => {
        await rm(file)
        await mkdir(file)
      },
    ],
    [
      'is a symbolic link',
      async (file) => {
        const elsewhere = join(folder, 'elsewhere')
        await writeFile(elsewhere, await readFile(file), {mode: 0o600})
        await rm(file)
        await symlink(elsewhere, file)
      },
    ],
    ['could have been written by others', (file) => chmod(file, 0o666)],
  ])('that %s is none', async (_, spoil) => {
    await fiveBackups()
    const {catalog} = await list()
    await spoil(await cacheFile())
    const {catalog: again, read} = await list()
    expect(read.length).toBeGreaterThanOrEqual(6)
    expect(again).toEqual(catalog)
  })

  test('whose text was changed is not believed, whatever it says', async () => {
    const archives = await fiveBackups()
    const {catalog} = await list()
    await changeLines((lines) => lines.map((line) => line.replace('"shop\\"', '"evil\\"')))
    const {catalog: again, read} = await list()
    expect(read.length).toBeGreaterThanOrEqual(5)
    expect(again).toEqual(catalog)
    expect((await list()).read).toEqual([])
    expect(archives).toHaveLength(5)
  })

  test('cannot invent a backup: what the listing does not name is not asked for', async () => {
    await fiveBackups()
    await list()
    await changeLines((lines) => [
      ...lines.slice(0, -1),
      lines[1].replaceAll('2025-01-0', '2025-02-0'),
      lines[2],
      '',
    ])
    const {catalog, read} = await list()
    expect(read).toEqual([])
    expect(catalog.backups).toHaveLength(5)
  })

  test('that cannot be written is done without', async () => {
    await fiveBackups()
    const file = join(folder, 'file')
    await writeFile(file, '')
    const blocked = () => new CatalogCacheFile(join(file, 'catalog'), store.describe())
    for (let run = 0; run < 2; run++) {
      const {catalog, read} = await list(store, blocked())
      expect(catalog.backups).toHaveLength(5)
      expect(read).toHaveLength(6)
    }
  })

  test('is whole whichever of many processes writes last, and nothing else is left', async () => {
    await fiveBackups()
    const runs = await Promise.all(Array.from({length: 8}, () => readCatalog(store, cache())))
    expect(new Set(runs.map(({backups}) => backups.length))).toEqual(new Set([5]))
    expect(await filesOf()).toHaveLength(1)
    expect((await list()).read).toEqual([])
  })

  test('is rid of what killed processes left, not of what others write now', async () => {
    await fiveBackups()
    const [old, fresh] = ['a.ndjson.zst.123456.tmp', 'b.ndjson.zst.123456.tmp'].map((name) =>
      join(folder, name),
    )
    for (const file of [old, fresh]) await writeFile(file, 'half')
    const yesterday = new Date(Date.now() - 86_400_000)
    await utimes(old, yesterday, yesterday)
    await list()
    await expect(lstat(old)).rejects.toMatchObject({code: 'ENOENT'})
    expect((await lstat(fresh)).size).toBe(4)
  })

  test('is not used where a listing gives no etags, and nothing is made for it', async () => {
    class Plain extends CountedStorage {
      override async *list(prefix: string): AsyncGenerator<ObjectInfo> {
        for await (const {key, size, modifiedAt} of super.list(prefix)) yield {key, size, modifiedAt}
      }
    }
    const plain = new Plain()
    await fiveBackups(plain)
    const inside = join(folder, 'caches')
    for (let run = 0; run < 2; run++)
      expect((await list(plain, new CatalogCacheFile(inside, 'plain'))).read).toHaveLength(6)
    expect(await filesOf()).toEqual([])
  })

  test('lies where DBBAK_CACHE_DIR says, which a local destination has no use for', async () => {
    const env = {DBBAK_CACHE_DIR: 'caches', HOME: folder}
    const settings = await loadSettings({env, cwd: folder})
    await readCatalog(store, catalogCache({settings, cwd: folder}, store)) // an empty destination
    await listOfLibrary({env, cwd: folder})
    expect(await filesOf()).toEqual([])
    await fiveBackups()
    await readCatalog(store, catalogCache({settings, cwd: folder}, store))
    expect(await readdir(join(folder, 'caches', 'catalog'))).toHaveLength(1)
  })
})

test('10,000 backups are listed the second time without reading one', async () => {
  const tables = Array.from({length: 30}, (_, index) => ({
    schema: index % 3 === 0 ? 'public' : 'sales',
    name: `table_of_some_length_${index}`,
    rows: 1000 * index,
    bytes: 8192 * index,
    checksum: null,
  }))
  const sequences = tables.map(({schema, name}) => ({
    schema,
    name: `${name}_id_seq`,
    lastValue: '4711',
    isCalled: true,
  }))
  const {content} = sampleManifest()
  const full = {...content, tables, sequences, tableCount: 30}
  const pattern = sampleManifest('2025-01-01T00:00:00.000Z', {content: full})
  const text = serializeManifest(pattern)
  for (let number = 0; number < 10_000; number++) {
    const at = new Date(Date.UTC(2025, 0, 1) + number * 3_600_000).toISOString()
    const {id, files} = sampleManifest(at)
    await put(files[0].path, 'x'.repeat(files[0].bytes))
    const own = text.replaceAll(pattern.id, id).replaceAll(pattern.snapshotAt, at)
    await put(`${files[0].path}.metadata.json`, own)
  }
  const bytes = 10_000 * text.length
  expect(bytes).toBeGreaterThan(50e6)
  const timed = async () => {
    const start = performance.now()
    const {catalog, read} = await list()
    return {backups: catalog.backups.length, read: read.length, ms: Math.round(performance.now() - start)}
  }
  const first = await timed()
  const {size} = await stat(await cacheFile())
  const second = await timed()
  expect(first).toMatchObject({backups: 10_000, read: 10_000})
  expect(second).toMatchObject({backups: 10_000, read: 0})
  expect(size).toBeLessThan(bytes / 10)
})
