import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {once} from 'node:events'
import {mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable, Transform} from 'node:stream'
import {readCatalog, type CatalogEntry} from '../../src/engine/catalog.js'
import {copyBackup, type CopyOutcome} from '../../src/engine/copy/copy-backup.js'
import {serializeManifest} from '../../src/engine/manifest.js'
import {globalsName, manifestName, verificationName} from '../../src/engine/naming.js'
import {LocalStorage} from '../../src/storage/local.js'
import type {StorageProvider} from '../../src/storage/provider.js'
import {DbbakError} from '../../src/support/errors.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {
  contentsOf,
  interfering,
  namesAt,
  putText,
  storeBackup,
  storeVerification,
  type SampleBackup,
} from './copy-support.js'

let source: MemoryStorage
let target: MemoryStorage
beforeEach(() => {
  source = new MemoryStorage('source')
  target = new MemoryStorage('target')
})

const deps = {events: {}, signal: new AbortController().signal}
const copy = (entry: CatalogEntry, from: StorageProvider = source, to: StorageProvider = target) =>
  copyBackup(from, to, entry, deps)
const totalBytes = ({manifest}: CatalogEntry) => manifest.files.reduce((sum, {bytes}) => sum + bytes, 0)

/** A failure at one of the two sides, and nothing at the target but what is named. */
async function expectFailed(
  outcome: CopyOutcome,
  side: 'source' | 'target',
  code: string,
  exitCode: number,
): Promise<void> {
  expect(outcome).toMatchObject({status: 'failed', side, error: {code, exitCode}})
  if (outcome.status === 'failed') expect(outcome.error.suggestions).not.toEqual([])
}

const many = Array.from({length: 20}, (_, index) => 1000 + index * 7000)
const shapes: [string, SampleBackup][] = [
  ['custom', {format: 'custom'}],
  ['plain', {format: 'plain'}],
  ['directory', {format: 'directory', sizes: many}],
  ['empty file', {format: 'directory', sizes: [500, 0]}],
]

describe('a copy', () => {
  test.each(shapes)('is byte for byte what it was, manifest and verification too: %s', async (_, shape) => {
    const entry = await storeBackup(source, shape)
    expect(await copy(entry)).toEqual({status: 'copied', bytes: totalBytes(entry)})
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
    expect((await readCatalog(target)).problems).toEqual([])
  })

  test('puts the manifest after everything that it names, and the globals after the archive', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    const finished: string[] = []
    await copy(entry, source, interfering(target, {afterPut: (key) => finished.push(key)}))
    expect(finished.slice(-3)).toEqual([
      globalsName(entry.manifest.id),
      manifestName(entry.archive),
      verificationName(entry.archive),
    ])
    expect(finished).toHaveLength(many.length + 3)
  })

  test('copies several files of the directory format at a time, and no more than four', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    let running = 0
    let most = 0
    const counting = interfering(target, {
      async beforePut() {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setImmediate(resolve))
      },
      afterPut: () => running--,
    })
    expect(await copy(entry, source, counting)).toMatchObject({status: 'copied'})
    expect(most).toBe(4)
  })

  test('tells how far it is, up to the last byte', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    const told: {bytes: number; totalBytes?: number}[] = []
    const activities: string[] = []
    await copyBackup(source, target, entry, {
      ...deps,
      events: {
        activityStarted: (name) => activities.push(name),
        activityProgress: (progress) => told.push(progress),
      },
    })
    expect(activities).toEqual([`Copying ${entry.manifest.id}`])
    expect(told.length).toBeGreaterThan(many.length)
    expect(told.at(-1)).toMatchObject({bytes: totalBytes(entry), totalBytes: totalBytes(entry)})
    expect(told.map(({bytes}) => bytes)).toEqual(told.map(({bytes}) => bytes).sort((a, b) => a - b))
  })

  test.each(['of another backup', 'that is damaged'])('leaves a verification out %s', async (which) => {
    const entry = await storeBackup(source)
    const key = verificationName(entry.archive)
    await source.remove(key)
    if (which === 'that is damaged') await putText(source, key, '{"formatVersion": 1')
    else await storeVerification(source, entry.archive, 'shop_2020-01-01T00-00-00-000Z')
    for (const stale of [entry, {...entry, verification: null}]) {
      target = new MemoryStorage('target')
      const warnings: string[] = []
      const events = {warning: ({code}: {code: string}) => warnings.push(code)}
      expect(await copyBackup(source, target, stale, {...deps, events})).toMatchObject({status: 'copied'})
      expect(await namesAt(target)).not.toContain(key)
    }
  })

  test('stands without its verification where that cannot be stored, and says so', async () => {
    const entry = await storeBackup(source)
    const full = interfering(target, {
      beforePut(key) {
        if (key.endsWith('.verification.json')) throw new DbbakError('DESTINATION_FULL', 'Full.')
      },
    })
    const warnings: string[] = []
    const events = {warning: ({code}: {code: string}) => warnings.push(code)}
    expect(await copyBackup(source, full, entry, {...deps, events})).toMatchObject({status: 'copied'})
    expect(warnings).toEqual(['VERIFICATION_NOT_KEPT'])
    expect((await readCatalog(target)).backups).toHaveLength(1)
  })
})

describe('a damaged source', () => {
  const flip = (bytes: Buffer) => {
    bytes[bytes.length - 1] ^= 1
    return bytes
  }
  const damages: [string, (bytes: Buffer) => Buffer, string][] = [
    ['has a flipped bit', flip, 'CHECKSUM_MISMATCH'],
    ['was cut', (bytes) => bytes.subarray(0, -1), 'ARCHIVE_SIZE_MISMATCH'],
    ['is empty', () => Buffer.alloc(0), 'ARCHIVE_SIZE_MISMATCH'],
    ['has grown', (bytes) => Buffer.concat([bytes, Buffer.from('x')]), 'ARCHIVE_SIZE_MISMATCH'],
  ]
  describe.each(damages)('that %s', (_, damage, code) => {
    test.each(shapes.slice(0, 3))('stores nothing: %s', async (_name, shape) => {
      const entry = await storeBackup(source, shape)
      source.damage(entry.manifest.files.at(-2)!.path, damage)
      await expectFailed(await copy(entry), 'source', code, 5)
      expect(await namesAt(target)).toEqual([])
    })
  })

  test('fails the put itself: it is found out before the target can finish', async () => {
    const entry = await storeBackup(source, {sizes: [3_000_000]})
    source.damage(entry.archive, flip)
    const finished: string[] = []
    await copy(entry, source, interfering(target, {afterPut: (key) => finished.push(key)}))
    expect(finished).toEqual([])
  })

  test('is never stored beyond the bytes that the manifest names', async () => {
    const entry = await storeBackup(source, {sizes: [100_000]})
    source.damage(entry.archive, (bytes) => Buffer.concat(Array<Buffer>(50).fill(bytes)))
    let taken = 0
    const counting = interfering(target, {
      beforePut: (_key, body) => {
        const push = body.push.bind(body)
        body.push = (chunk: Buffer | null) => {
          taken += chunk?.length ?? 0
          return push(chunk)
        }
      },
    })
    await expectFailed(await copy(entry, source, counting), 'source', 'ARCHIVE_SIZE_MISMATCH', 5)
    expect(taken).toBeLessThanOrEqual(100_000)
  })

  test('in its globals stores nothing either, though the archive was good', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    source.damage(globalsName(entry.manifest.id), flip)
    await expectFailed(await copy(entry), 'source', 'CHECKSUM_MISMATCH', 5)
    expect(await namesAt(target)).toEqual([])
  })

  test('whose manifest is another one by now is not copied', async () => {
    const entry = await storeBackup(source)
    const key = manifestName(entry.archive)
    await source.remove(key)
    await putText(source, key, serializeManifest({...entry.manifest, label: 'another'}))
    await expectFailed(await copy(entry), 'source', 'MANIFEST_INVALID', 5)
    expect(await namesAt(target)).toEqual([])
  })

  test('whose manifest names a file that is not there is incomplete, not removed', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    await source.remove(entry.manifest.files[3].path)
    await expectFailed(await copy(entry), 'source', 'ARCHIVE_MISSING', 5)
    expect(await namesAt(target)).toEqual([])
  })

  test('that fails while it is read is not blamed on the target', async () => {
    const entry = await storeBackup(source, {sizes: [500_000]})
    const failing = interfering(source, {})
    const get = failing.get.bind(failing)
    const broken = new Proxy(failing, {
      get(store, name) {
        if (name !== 'get') return Reflect.get(store, name) as unknown
        return async (key: string) => {
          const stream = await get(key)
          if (key !== entry.archive) return stream
          let passed = 0
          return stream.pipe(
            new Transform({
              transform(chunk: Buffer, _encoding, callback) {
                passed += chunk.length
                if (passed < 200_000) callback(null, chunk)
                else callback(new DbbakError('DESTINATION_FAILED', 'The disk of the source has a bad block.'))
              },
            }),
          )
        }
      },
    })
    const outcome = await copy(entry, broken)
    expect(outcome).toMatchObject({
      status: 'failed',
      side: 'source',
      error: {code: 'DESTINATION_FAILED', message: 'The disk of the source has a bad block.'},
    })
    expect(await namesAt(target)).toEqual([])
  })
})

describe('a backup that is removed at the source meanwhile', () => {
  test('before the copy begins is skipped', async () => {
    const entry = await storeBackup(source)
    await source.remove(manifestName(entry.archive))
    expect(await copy(entry)).toEqual({
      status: 'vanished',
      reason: 'it was removed at the source meanwhile',
    })
    expect(await namesAt(target)).toEqual([])
  })

  test('in the midst of the copy is skipped, and nothing of it stays', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    const removing = interfering(source, {
      async beforeGet(key) {
        if (!key.endsWith('3010.dat')) return
        await source.remove(manifestName(entry.archive))
        for (const {path} of entry.manifest.files) await source.remove(path)
      },
    })
    expect(await copy(entry, removing)).toMatchObject({status: 'vanished'})
    expect(await namesAt(target)).toEqual([])
  })

  test('is a failure where the source does not answer whether it is', async () => {
    const entry = await storeBackup(source)
    const silent = interfering(source, {
      beforeGet(key) {
        if (key === entry.archive) throw new DbbakError('OBJECT_NOT_FOUND', `There is no ${key}.`)
      },
    })
    const unknown = new Proxy(silent, {
      get: (store, name) =>
        name === 'head'
          ? () => Promise.reject(new DbbakError('DESTINATION_UNREACHABLE', 'No answer.'))
          : (Reflect.get(store, name) as unknown),
    })
    await expectFailed(await copy(entry, unknown), 'source', 'ARCHIVE_MISSING', 5)
  })
})

describe('what is at the target already', () => {
  test.each(shapes)(
    'is skipped, and nothing is written or read there but manifests: %s',
    async (_, shape) => {
      const entry = await storeBackup(source, shape)
      await copy(entry)
      const calls: string[] = []
      const watched = interfering(target, {
        beforePut: (key) => calls.push(`put ${key}`),
        beforeGet: (key) => calls.push(`get ${key}`),
        beforeRemove: (key) => calls.push(`remove ${key}`),
      })
      expect(await copy(entry, source, watched)).toEqual({status: 'skipped', reason: 'it is there already'})
      expect(calls).toEqual([`get ${manifestName(entry.archive)}`])
    },
  )

  test.each([
    ['another backup of that name', (text: string) => text.replace(/"sha256": "../, '"sha256": "00')],
    ['a manifest of that name that is damaged', (text: string) => text.slice(0, 100)],
    [
      'a manifest of a later version',
      (text: string) => text.replace('"formatVersion": 1', '"formatVersion": 2'),
    ],
  ])('and is %s is an error, and is left as it is', async (_, change) => {
    const entry = await storeBackup(source)
    await putText(target, manifestName(entry.archive), change(serializeManifest(entry.manifest)))
    await putText(target, entry.archive, 'of another')
    const before = await contentsOf(target)
    const outcome = await copy(entry)
    await expectFailed(outcome, 'target', 'OBJECT_EXISTS', 8)
    expect(outcome).toMatchObject({error: {message: expect.stringContaining('It was left as it is.')}})
    expect(await contentsOf(target)).toEqual(before)
  })

  test('and is damaged is an error, and is left as it is', async () => {
    const entry = await storeBackup(source)
    await copy(entry)
    target.damage(entry.archive, (bytes) => bytes.subarray(0, 10))
    const before = await contentsOf(target)
    await expectFailed(await copy(entry), 'target', 'ARCHIVE_SIZE_MISMATCH', 8)
    expect(await contentsOf(target)).toEqual(before)
  })

  test('and lacks a file gets it', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    await copy(entry)
    const {path, bytes} = entry.manifest.files[4]
    await target.remove(path)
    expect(await copy(entry)).toEqual({status: 'copied', bytes})
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
  })
})

describe('what an earlier copy left that was cut off', () => {
  test('is compared and kept where it is equal', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    await copy(entry)
    await target.remove(manifestName(entry.archive))
    await target.remove(entry.manifest.files[2].path)
    const put: string[] = []
    const outcome = await copy(entry, source, interfering(target, {beforePut: (key) => put.push(key)}))
    expect(outcome).toEqual({status: 'copied', bytes: entry.manifest.files[2].bytes})
    expect(put).toEqual([
      entry.manifest.files[2].path,
      manifestName(entry.archive),
      verificationName(entry.archive),
    ])
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
  })

  test.each([
    ['size', (bytes: Buffer) => bytes.subarray(0, 100)],
    ['content', (bytes: Buffer) => bytes.fill('x')],
  ])('is replaced where it has another %s', async (_, change) => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    await copy(entry)
    await target.remove(manifestName(entry.archive))
    target.damage(entry.manifest.files[2].path, change)
    expect(await copy(entry)).toEqual({status: 'copied', bytes: entry.manifest.files[2].bytes})
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
  })

  test.each(['names it', 'cannot be read'])('is never replaced where a manifest there %s', async (which) => {
    const entry = await storeBackup(source)
    const other = await storeBackup(target, {format: 'directory', sizes: [100]}) // of the same time: it has the globals too
    const globals = globalsName(entry.manifest.id)
    expect(other.manifest.files.map(({path}) => path)).toContain(globals)
    if (which === 'cannot be read')
      target.damage(manifestName(other.archive), (bytes) => bytes.subarray(0, 50))
    target.damage(globals, (bytes) => bytes.fill('x'))
    const before = await contentsOf(target)
    await expectFailed(await copy(entry), 'target', 'OBJECT_EXISTS', 8)
    expect(await contentsOf(target)).toEqual(before)
  })

  test('and that both backups of a time name is shared', async () => {
    const entry = await storeBackup(source)
    await storeBackup(target, {format: 'directory', sizes: [100]})
    expect(await copy(entry)).toMatchObject({status: 'copied'})
    expect((await readCatalog(target)).backups).toHaveLength(2)
  })
})

describe('an aborted copy', () => {
  test.each(['custom', 'directory'] as const)(
    'ends at once with the reason, and leaves nothing: %s',
    async (format) => {
      const sizes = format === 'directory' ? many : [2_000_000]
      const entry = await storeBackup(source, {format, sizes})
      const controller = new AbortController()
      const reason = new DbbakError('INTERRUPTED', 'Interrupted.')
      let reads = 0
      const aborting = interfering(target, {
        beforePut: (_key, body) => {
          if (++reads === (format === 'directory' ? 9 : 1))
            body.once('data', () => controller.abort(reason)).pause()
        },
      })
      const copying = copyBackup(source, aborting, entry, {events: {}, signal: controller.signal})
      await expect(copying).rejects.toBe(reason)
      expect(await namesAt(target)).toEqual([])
      expect(reads).toBeLessThan(many.length)
    },
  )

  test('that had its manifest stored at that moment keeps the backup whole', async () => {
    const entry = await storeBackup(source)
    const controller = new AbortController()
    const aborting = interfering(target, {
      afterPut: (key) => {
        if (key.endsWith('.metadata.json')) controller.abort(new Error('stop'))
      },
    })
    await expect(
      copyBackup(source, aborting, entry, {events: {}, signal: controller.signal}),
    ).rejects.toThrow('stop')
    expect((await readCatalog(target)).backups).toHaveLength(1)
  })
})

describe('a target that fails', () => {
  test.each(['archive', 'manifest'])('at the %s: nothing stays there', async (what) => {
    const entry = await storeBackup(source)
    const full = interfering(target, {
      beforePut(key) {
        if (key === (what === 'archive' ? entry.archive : manifestName(entry.archive)))
          throw new DbbakError('DESTINATION_FULL', 'No space is left.', {suggestions: ['df']})
      },
    })
    await expectFailed(await copy(entry, source, full), 'target', 'DESTINATION_FULL', 8)
    expect(await namesAt(target)).toEqual([])
  })

  test('in the midst of a file that has more to come is told as the target, and nothing stays', async () => {
    const entry = await storeBackup(source, {sizes: [8_000_000]})
    const full = interfering(target, {
      async beforePut(_key, body) {
        await once(body, 'readable')
        expect(body.read()).not.toBeNull()
        throw new DbbakError('DESTINATION_FULL', 'No space is left.', {suggestions: ['df']})
      },
    })
    await expectFailed(await copy(entry, source, full), 'target', 'DESTINATION_FULL', 8)
    expect(await namesAt(target)).toEqual([])
  })

  test('with an error of its own kind is still told as the target', async () => {
    const entry = await storeBackup(source)
    const broken = interfering(target, {
      beforePut() {
        throw new TypeError('socket is not a socket')
      },
    })
    await expectFailed(await copy(entry, source, broken), 'target', 'DESTINATION_FAILED', 8)
  })
})

describe('two copies of one backup at once', () => {
  let folder: string
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'copy-'))))
  afterEach(() => rm(folder, {recursive: true, force: true}))

  test.each(shapes.slice(0, 3))(
    'to one folder: both succeed, and the backup is whole (%s)',
    async (_, shape) => {
      for (let run = 0; run < 10; run++) {
        const from = new LocalStorage(join(folder, `from-${run}`))
        const to = new LocalStorage(join(folder, `to-${run}`))
        const entry = await storeBackup(from, shape)
        const outcomes = await Promise.all([1, 2, 3].map(() => copy(entry, from, to)))
        expect(outcomes.map(({status}) => status).filter((s) => s !== 'copied' && s !== 'skipped')).toEqual(
          [],
        )
        expect(outcomes.map(({status}) => status)).toContain('copied')
        expect(await contentsOf(to)).toEqual(await contentsOf(from))
        expect(await readdir(join(folder, `to-${run}`, '.dbbak-work'))).toEqual([])
      }
    },
  )

  test('one of which fails after the other took over its file: the other puts it again', async () => {
    const entry = await storeBackup(source, {format: 'directory', sizes: many})
    const taken = entry.manifest.files[1].path
    await target.put(taken, await source.get(taken)) // by the first
    let isRemoved = false
    const second = interfering(target, {
      async afterPut(key) {
        if (isRemoved || key !== manifestName(entry.archive)) return
        isRemoved = true
        await target.remove(taken) // the first has failed
      },
    })
    expect(await copy(entry, source, second)).toMatchObject({status: 'copied'})
    expect(isRemoved).toBe(true)
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
  })

  test('one of which replaces what an earlier one left, while the other looks at that: it stays', async () => {
    const entry = await storeBackup(source)
    const good = Buffer.from((await contentsOf(source))[entry.archive], 'base64')
    await putText(target, entry.archive, Buffer.alloc(good.length))
    const removed: string[] = []
    let lists = 0
    const second = new Proxy(interfering(target, {beforeRemove: (key) => removed.push(key)}), {
      get(store, name) {
        if (name !== 'list') return Reflect.get(store, name) as unknown
        return (prefix: string) => {
          if (++lists === 3) target.damage(entry.archive, () => good) // it was compared, and is about to be removed
          return target.list(prefix)
        }
      },
    })
    expect(await copy(entry, source, second)).toMatchObject({status: 'copied'})
    expect(lists).toBeGreaterThanOrEqual(3)
    expect(removed).toEqual([])
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
  })

  test('one of which fails after the other has finished: what is there stays', async () => {
    const entry = await storeBackup(source)
    const first = interfering(target, {
      async beforePut(key) {
        if (key !== manifestName(entry.archive)) return
        await copy(entry) // the second finds all files there, and finishes
        throw new DbbakError('DESTINATION_FAILED', 'The connection was lost.', {suggestions: ['Again.']})
      },
    })
    await expectFailed(await copy(entry, source, first), 'target', 'DESTINATION_FAILED', 8)
    expect((await readCatalog(target)).backups).toHaveLength(1)
    expect(await contentsOf(target)).toEqual(await contentsOf(source))
  })

  test('another backup of that name is put at the last moment: an error, and that one stays', async () => {
    const entry = await storeBackup(source)
    const late = interfering(target, {
      async beforePut(key) {
        if (key === manifestName(entry.archive) && (await target.head(key)) === undefined)
          await target.put(
            key,
            Readable.from([serializeManifest({...entry.manifest, files: entry.manifest.files.slice(0, 1)})]),
          )
      },
    })
    await expectFailed(await copy(entry, source, late), 'target', 'OBJECT_EXISTS', 8)
    expect((await readCatalog(target)).backups).toHaveLength(1)
  })
})
