import {spawnSync} from 'node:child_process'
import {mkdtempSync, rmdirSync} from 'node:fs'
import {mkdtemp, readdir, readFile, rm, stat, statfs, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {fetchFolder, withOneCopy} from '../../src/engine/archive/fetched-folder.js'
import {localFolder, type StoredBackup} from '../../src/engine/archive/open-archive.js'
import {takeBackup} from '../../src/engine/backup/take-backup.js'
import {readCatalog} from '../../src/engine/catalog.js'
import {silent} from '../../src/engine/events.js'
import type {Manifest} from '../../src/engine/manifest.js'
import {
  restoreBackup,
  type RestoreRequest,
  type RestoreResult,
} from '../../src/engine/restore/restore-backup.js'
import type {VerificationRecord} from '../../src/engine/verify/verification-record.js'
import {verifyBackup, type VerifyRequest} from '../../src/engine/verify/verify-backup.js'
import {openScratchServer} from '../../src/postgres/scratch/scratch.js'
import type {GetOptions, ObjectInfo, PutOptions, StorageProvider} from '../../src/storage/provider.js'
import {systemClock} from '../../src/support/clock.js'
import {DbbakError} from '../../src/support/errors.js'
import {digestOf} from '../../src/archive/digest.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {needs} from '../support/needs.js'
import {until} from '../support/processes.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

/** A destination that is not of this machine, and counts what is asked of it. */
class RemoteStorage extends MemoryStorage {
  readonly gets = new Map<string, number>()
  readonly putKeys: string[] = []
  /** What runs now, and the most that ran at a time. */
  readonly running = {gets: 0, puts: 0, mostGets: 0, mostPuts: 0}
  /** What it says of an object, whatever is true. */
  claimed: {key: string; size: number} | undefined
  /** Done before an object is given or taken. */
  beforeGet: (key: string, options: GetOptions) => Promise<void> | void = () => {}
  beforePut: (key: string, options: PutOptions) => Promise<void> | void = () => {}

  override async put(key: string, body: Readable, options: PutOptions = {}): Promise<ObjectInfo> {
    this.putKeys.push(key)
    this.running.mostPuts = Math.max(this.running.mostPuts, ++this.running.puts)
    try {
      await new Promise((resolve) => setImmediate(resolve))
      await this.beforePut(key, options)
      return await super.put(key, body, options)
    } catch (error) {
      body.on('error', () => {}).destroy()
      throw error
    } finally {
      this.running.puts--
    }
  }

  override async get(key: string, options: GetOptions = {}): Promise<Readable> {
    this.gets.set(key, (this.gets.get(key) ?? 0) + 1)
    this.running.mostGets = Math.max(this.running.mostGets, ++this.running.gets)
    try {
      await this.beforeGet(key, options)
      const stream = await super.get(key, options)
      return stream.on('close', () => this.running.gets--)
    } catch (error) {
      this.running.gets--
      throw error
    }
  }

  override async head(key: string): Promise<ObjectInfo | undefined> {
    const info = await super.head(key)
    return info && this.claimed?.key === key ? {...info, ...this.claimed} : info
  }

  override async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    for await (const info of super.list(prefix))
      yield this.claimed?.key === info.key ? {...info, ...this.claimed} : info
  }

  /** How often each file of the archive was read, and which were read otherwise than once. */
  fetched({entry}: StoredBackup): {files: number; otherwise: [string, number][]} {
    const files = [...this.gets].filter(([key]) => key.startsWith(`${entry.archive}/`))
    return {files: files.length, otherwise: files.filter(([, count]) => count !== 1)}
  }
}

let place: RestorePlace
let store: RemoteStorage
let files: Map<string, Buffer>
let manifest: Manifest

beforeAll(async () => {
  place = await openRestorePlace()
  for (let table = 0; table < 12; table++)
    await place.server.query(
      `create table sales.more_${table} as select g as id, md5(g::text) as text from generate_series(1, ${100 * (table + 1)}) g`,
      'shop',
    )
  const taken = new RemoteStorage()
  manifest = await backUp([taken])
  files = new Map()
  for await (const {key} of taken.list('')) files.set(key, await bytesOf(taken, key))
})
afterAll(() => place.end())

beforeEach(async () => {
  store = new RemoteStorage()
  for (const [key, bytes] of files) await store.put(key, Readable.from([bytes]))
  await place.resetTarget()
})
afterEach(async () => {
  expect(await copies()).toEqual([])
  expect(store.running).toMatchObject({gets: 0, puts: 0})
})

const never = new AbortController().signal
const run = {events: silent, clock: systemClock, version: '1.0.0'}
const search = () => ({env: place.env, pgBin: undefined})

async function bytesOf(from: StorageProvider, key: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of (await from.get(key)) as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Temporary folders that hold a fetched dump. */
async function copies(): Promise<string[]> {
  const names = (await readdir(tmpdir())).filter((name) => /^dbbak-\w{6}$/.test(name))
  const found = await Promise.all(
    names.map((name) =>
      stat(join(tmpdir(), name, 'dump')).then(
        () => name,
        () => undefined,
      ),
    ),
  )
  return found.filter((name) => name !== undefined)
}

async function backUp(stores: StorageProvider[], signal = never): Promise<Manifest> {
  const {backup} = await takeBackup(
    {
      kind: 'backup',
      format: 'directory',
      compress: undefined,
      jobs: 2,
      selection: null,
      globals: false,
      content: 'counts',
      label: null,
      namePrefix: undefined,
      lockTimeoutMs: 10_000,
    },
    {...run, connection: await place.server.describe('shop'), search: search(), stores, signal},
  )
  return backup
}

async function stored(from: StorageProvider = store): Promise<StoredBackup> {
  const {backups} = await readCatalog(from)
  return {store: from, entry: backups[0]}
}

async function verify(level: VerifyRequest['level'], signal = never): Promise<VerificationRecord> {
  const backup = await stored()
  const testDatabaseUrl = await place.server.describe('postgres')
  return verifyBackup(
    backup,
    {level},
    {
      ...run,
      search: search(),
      signal,
      scratchServer: (major) =>
        openScratchServer({kind: 'url', major, testDatabaseUrl, env: place.env, homeFolder: place.folder}),
    },
  )
}

async function restore(more: Partial<RestoreRequest> = {}, confirm = async () => {}): Promise<RestoreResult> {
  const request: RestoreRequest = {
    verify: true,
    strategy: 'swap',
    jobs: 4,
    keepOld: false,
    part: undefined,
    forceVersion: false,
    globals: false,
    noOwner: false,
    noPrivileges: false,
    terminateConnections: false,
    criticalTables: [],
    safetyBackup: false,
    analyze: false,
    lockTimeoutMs: 10_000,
    dryRun: false,
    ...more,
  }
  return restoreBackup(await stored(), request, {
    ...run,
    connection: await place.server.describe('target'),
    search: search(),
    safetyStore: new MemoryStorage('safety'),
    openStore: () => Promise.reject(new Error('not asked for')),
    confirm: async () => {
      await confirm()
      return {by: 'flag'}
    },
    signal: never,
  })
}

describe('a backup in the directory format', () => {
  test('is stored several files at a time, and its manifest names them in the order of their names', async () => {
    const fresh = new RemoteStorage()
    const {files: recorded} = await backUp([fresh])
    expect(fresh.running.mostPuts).toBe(4)
    const paths = recorded.map(({path}) => path)
    expect(paths).toEqual([...paths].sort())
    expect(paths.length).toBeGreaterThan(14)
    for (const {path, bytes, sha256} of recorded)
      expect(await digestOf(await fresh.get(path))).toEqual({bytes, sha256})
    expect(fresh.putKeys.at(-1)).toMatch(/\.metadata\.json$/)
  })

  test('whose destination fails amid the files leaves nothing there, and stops what is under way', async () => {
    const fresh = new RemoteStorage()
    const aborted: unknown[] = []
    const failure = new DbbakError('DESTINATION_FULL', 'No space is left there.')
    // The eighth fails when three others are under way with it.
    fresh.beforePut = async (key, {signal}) => {
      const number = fresh.putKeys.indexOf(key)
      if (number < 7) return
      await until(() => fresh.putKeys.length > 10, 'four puts run')
      if (number === 7) throw failure
      await until(() => signal?.aborted === true, 'the others are stopped')
      aborted.push(signal?.reason)
      throw signal?.reason
    }
    await expect(backUp([fresh])).rejects.toMatchObject({code: 'DESTINATION_FULL', exitCode: 8})
    expect(await filesAt(fresh)).toEqual([])
    expect(aborted).toEqual([failure, failure, failure])
    expect(fresh.running.puts).toBe(0)
  })

  test('is whole at one destination where another fails amid the files', async () => {
    const [good, bad] = [new RemoteStorage('good'), new RemoteStorage('bad')]
    bad.beforePut = () => {
      if (bad.putKeys.length > 5) throw new DbbakError('DESTINATION_FULL', 'No space is left there.')
    }
    await expect(backUp([good, bad])).rejects.toMatchObject({
      code: 'DESTINATION_FAILED',
      details: {document: {destinations: [{status: 'stored'}, {status: 'failed'}]}},
    })
    expect(await filesAt(bad)).toEqual([])
    const {backups, problems, unclaimed} = await readCatalog(good)
    expect({backups: backups.length, problems, unclaimed}).toEqual({backups: 1, problems: [], unclaimed: []})
  })

  const filesAt = async (from: StorageProvider) => {
    const keys: string[] = []
    for await (const {key} of from.list('')) keys.push(key)
    return keys
  }
})

describe('a directory-format backup at a destination that is not of this machine', () => {
  test('is verified by a restore with every file read once, several at a time', async () => {
    const backup = await stored()
    let opened = 0
    store.beforeGet = async (key) => {
      if (!key.includes('/') || opened > 3) return
      opened++
      await until(() => opened > 3, 'four files are fetched at a time')
    }
    const {verdict, level, checks} = await verify('restore')
    expect({verdict, level, checks: checks.map(({status}) => status)}).toEqual({
      verdict: 'passed',
      level: 'restore',
      checks: Array(6).fill('passed'),
    })
    expect(store.fetched(backup)).toEqual({files: manifest.files.length, otherwise: []})
    expect(store.running.mostGets).toBe(4)
  })

  test('has its checksums verified without a copy', async () => {
    const backup = await stored()
    store.beforeGet = async () => expect(await copies()).toEqual([])
    expect(await verify('checksum')).toMatchObject({verdict: 'passed', level: 'checksum'})
    expect(store.fetched(backup)).toEqual({files: manifest.files.length, otherwise: []})
  })

  test('is restored by a swap on several lanes, with every file read once', async () => {
    const backup = await stored()
    let atConfirmation: string[] = []
    const {targetState} = await restore({}, async () => {
      atConfirmation = await copies()
    })
    expect(targetState).toBe('restored')
    expect(atConfirmation).toHaveLength(1)
    expect(await place.state()).toBe('backup')
    expect(store.fetched(backup)).toEqual({files: manifest.files.length, otherwise: []})
  })

  test('is restored in place, with every file read once', async () => {
    const backup = await stored()
    expect((await restore({strategy: 'in-place', jobs: undefined})).targetState).toBe('restored')
    expect(await place.state()).toBe('backup')
    expect(store.fetched(backup)).toEqual({files: manifest.files.length, otherwise: []})
  })

  test('gives a part of it; only the table of contents is read before, to see what is in it', async () => {
    const backup = await stored()
    const seen: string[] = []
    store.beforeGet = async (key) => void seen.push(`${key.split('/')[1]} ${(await copies()).length}`)
    await place.server.query('create schema sales', 'target')
    const part = {schemas: [], tables: ['sales.more_3']}
    const {targetState} = await restore({part, strategy: 'auto', jobs: undefined})
    expect(targetState).toBe('restored')
    expect(seen.find((line) => line !== 'undefined 0')).toBe('toc.dat 0')
    expect(store.fetched(backup).otherwise).toEqual([[`${backup.entry.archive}/toc.dat`, 2]])
  })

  test('that was damaged fails its verification and is not restored', async () => {
    const key = manifest.files[3].path
    store.damage(key, (bytes) => {
      bytes[bytes.length >> 1] ^= 1
      return bytes
    })
    const {verdict, checks} = await verify('restore')
    expect(verdict).toBe('failed')
    expect(checks.find(({status}) => status === 'failed')).toMatchObject({
      name: 'checksum-valid',
      reason: expect.stringMatching(/^CHECKSUM_MISMATCH: .*SHA-256/),
    })
    await expect(restore()).rejects.toMatchObject({code: 'CHECKSUM_MISMATCH', exitCode: 3})
    expect(await place.state()).toBe('former')
  })

  test('whose file is longer than recorded is not written any further', async () => {
    const backup = await stored()
    const key = manifest.files[3].path
    store.damage(key, (bytes) => Buffer.concat([bytes, Buffer.alloc(200_000)]))
    await expect(localFolder(backup, never)).rejects.toMatchObject({
      code: 'ARCHIVE_SIZE_MISMATCH',
      message: expect.stringContaining(key),
    })
  })

  test('that loses a file meanwhile is not restored', async () => {
    const gone = manifest.files[5].path
    store.beforeGet = async (key) => {
      if (key === gone) await store.remove(gone)
    }
    await expect(restore()).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND'})
    expect(await place.state()).toBe('former')
  })
})

describe('a fetch', () => {
  test('that is stopped amid the files ends its streams, tells the reason, and leaves no folder', async () => {
    const backup = await stored()
    const stop = new AbortController()
    const reason = new DbbakError('INTERRUPTED', 'Interrupted.')
    const streams: Readable[] = []
    class Endless extends RemoteStorage {
      override async get(): Promise<Readable> {
        const stream = new Readable({read() {}})
        stream.push('x')
        streams.push(stream)
        if (streams.length === 4) setImmediate(() => stop.abort(reason))
        return stream
      }
    }
    const held = copies().then(() => localFolder({...backup, store: new Endless()}, stop.signal))
    await expect(held).rejects.toBe(reason)
    expect(streams.map(({destroyed}) => destroyed)).toEqual([true, true, true, true])
    expect(await copies()).toEqual([])
  })

  test('that is stopped while an object is being opened ends that stream too', async () => {
    const backup = await stored()
    const stop = new AbortController()
    const streams: Readable[] = []
    class Late extends RemoteStorage {
      override async get(): Promise<Readable> {
        stop.abort(new Error('stopped'))
        const stream = new Readable({read() {}})
        streams.push(stream)
        return stream
      }
    }
    await expect(localFolder({...backup, store: new Late()}, stop.signal)).rejects.toThrow('stopped')
    expect(streams.every(({destroyed}) => destroyed)).toBe(true)
  })

  test('that failed is made anew by the next who needs it, and never twice at a time', async () => {
    const backup = await stored()
    let failures = 1
    store.beforeGet = () => {
      if (failures-- > 0) throw new DbbakError('DESTINATION_FAILED', 'Out of order.')
    }
    await withOneCopy(backup, async (local) => {
      await expect(localFolder(local, never)).rejects.toThrow('Out of order.')
      expect(await copies()).toEqual([])
      store.gets.clear()
      const [one, other] = await Promise.all([localFolder(local, never), localFolder(local, never)])
      expect(one.path).toBe(other.path)
      await one.release()
      expect((await readdir(other.path)).sort()).toEqual(
        manifest.files.map(({path}) => path.split('/')[1]).sort(),
      )
      expect((await stat(join(other.path, 'toc.dat'))).mode & 0o777).toBe(0o600)
    })
    expect(store.fetched(backup)).toEqual({files: manifest.files.length, otherwise: []})
  })

  test('of more than any disk holds could not run, and says nothing against the backup', async () => {
    const key = manifest.files[3].path
    const enormous = 1e15
    const text = JSON.parse(files.get(`${manifest.id}.dir.metadata.json`)!.toString()) as Manifest
    text.files[3].bytes = enormous
    await store.put(`${manifest.id}.dir.metadata.json`, Readable.from([JSON.stringify(text)]), {
      overwrite: true,
    })
    store.claimed = {key, size: enormous}
    const {verdict, checks} = await verify('restore')
    expect(verdict).toBe('could-not-run')
    expect(checks.find(({name}) => name === 'checksum-valid')).toMatchObject({
      status: 'could-not-run',
      reason: expect.stringMatching(/^TEMPORARY_SPACE: .* fetched before pg_restore can read it/),
    })
    await expect(restore()).rejects.toMatchObject({
      code: 'TEMPORARY_SPACE',
      exitCode: 3,
      suggestions: expect.arrayContaining([expect.stringContaining('TMPDIR=')]),
    })
    expect(await place.state()).toBe('former')
    expect(store.fetched({store, entry: {archive: `${manifest.id}.dir`, manifest}}).files).toBeLessThan(
      manifest.files.length,
    )
  })
})

function mount(folder: string): string | false {
  const {status, stderr, error} = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder])
  return status === 0 ? false : String(error?.message ?? stderr).trim() || 'mount failed'
}

function whyNoTmpfs(): string | false {
  const folder = mkdtempSync(join(tmpdir(), 'dbbak-try-mount-'))
  const missing = mount(folder)
  if (!missing) spawnSync('umount', [folder])
  rmdirSync(folder)
  return missing
}

needs('tmpfs', whyNoTmpfs())('a temporary folder of 2 MiB', () => {
  let parent: string
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'small-'))
    mount(parent)
  })
  afterEach(async () => {
    spawnSync('umount', [parent])
    await rm(parent, {recursive: true})
  })

  const fill = async (leaveBytes: number) => {
    const {bavail, bsize} = await statfs(parent)
    await writeFile(join(parent, 'filler'), Buffer.alloc(bavail * bsize - leaveBytes))
  }
  const total = () => manifest.files.reduce((sum, {bytes}) => sum + bytes, 0)
  const refusal = () => ({
    code: 'TEMPORARY_SPACE',
    message: expect.stringMatching(/takes 0\.\d MB, and the temporary folder .* has 0\.\d MB left/),
    details: {path: parent, neededBytes: expect.any(Number), freeBytes: expect.any(Number)},
    suggestions: ['Name a folder with room: export TMPDIR=/path/to/folder', `df -h ${parent}`],
  })

  test('takes a backup that fits', async () => {
    expect(total()).toBeLessThan(1.5e6)
    const copy = await fetchFolder(await stored(), {signal: never, parent})
    expect(await readFile(join(copy.path, 'toc.dat'))).toEqual(
      await bytesOf(store, `${manifest.id}.dir/toc.dat`),
    )
    await copy.release()
    expect(await readdir(parent)).toEqual([])
  })

  test('that has no room for all of a backup gets nothing of it', async () => {
    await fill(total() - 8192)
    const backup = await stored()
    store.gets.clear()
    await expect(fetchFolder(backup, {signal: never, parent})).rejects.toMatchObject(refusal())
    expect(store.gets.size).toBe(0)
    expect(await readdir(parent)).toEqual(['filler'])
  })

  test('that somebody else fills meanwhile is named too, and left without what was fetched', async () => {
    let filled: Promise<void> | undefined
    store.beforeGet = (key) => {
      if (key.includes('/')) return (filled ??= fill(4096))
    }
    await expect(fetchFolder(await stored(), {signal: never, parent})).rejects.toMatchObject(refusal())
    expect(await readdir(parent)).toEqual(['filler'])
  })
})
