import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {rmSync} from 'node:fs'
import {cp, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {listBackups, verifyBackups, type DbbakError, type Manifest} from '../../src/index.js'
import {copyBackups, copyError, type CopyOptions, type CopyResult} from '../../src/library/copy-backups.js'
import {LocalStorage} from '../../src/storage/local.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {contentsOf} from './copy-support.js'

let place: RestorePlace
/** Backups of all three formats, newest first, and where they lie. */
let taken: Manifest[]
let original: string
let folder: string
let from: string
let to: string

beforeAll(async () => {
  place = await openRestorePlace({rows: 500})
  original = place.backups
  taken = []
  for (const format of ['custom', 'plain', 'directory'] as const)
    taken.unshift(await place.backUp({format, globals: true, to: [original]}))
  await place.restore({latest: false, backup: taken[2].id, from: original, safetyBackup: true})
  await verifyBackups({...run(), latest: true, from: original, level: 'restore', ...scratch()})
})
afterAll(() => place?.end())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'copy-backups-'))
  from = join(folder, 'from')
  to = join(folder, 'to')
  await cp(original, from, {recursive: true})
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const run = () => ({env: place.env, cwd: folder ?? tmpdir()})
const scratch = () => ({testDatabaseUrl: place.server.url()})
const copy = (options: Partial<CopyOptions>) => copyBackups({...run(), from, to: [to], ...options})
const failing = (options: Partial<CopyOptions>): Promise<DbbakError> =>
  copy(options).then(
    (result) => Promise.reject(new Error(`It copied: ${JSON.stringify(result)}`)),
    (error: DbbakError) => error,
  )
const statuses = ({copies}: CopyResult) => copies.map(({status}) => status)
const archiveOf = ({files}: Manifest) => files[0].path.split('/')[0]
const bytesOf = ({files}: Manifest) => files.reduce((sum, {bytes}) => sum + bytes, 0)
const listed = async (destination: string, allKinds = false) =>
  (await listBackups({...run(), from: destination, allKinds})).backups.map(({id}) => id)

/** Everything at the source but safety backups. */
async function expectSameBackups(destination = to): Promise<void> {
  const wanted = Object.entries(await contentsOf(new LocalStorage(from))).filter(([key]) =>
    taken.some(({id}) => key.startsWith(id)),
  )
  expect(await contentsOf(new LocalStorage(destination))).toEqual(Object.fromEntries(wanted))
}

describe('real backups of all formats', () => {
  test('are copied byte for byte, verified at the target by a restore, and restored from there', async () => {
    const result = await copy({all: true})
    expect(result).toMatchObject({
      from,
      to: [to],
      dryRun: false,
      bytes: taken.reduce((sum, one) => sum + bytesOf(one), 0),
      copies: taken.map((manifest) => ({
        id: manifest.id,
        name: archiveOf(manifest),
        to,
        status: 'copied',
        bytes: bytesOf(manifest),
      })),
    })
    expect(copyError(result)).toBeUndefined()
    await expectSameBackups()
    const verified = await verifyBackups({...run(), all: true, from: to, level: 'restore', ...scratch()})
    expect(verified.results.map(({verdict, level}) => `${level} ${verdict}`)).toEqual(
      Array<string>(3).fill('restore passed'),
    )
    for (const {id} of taken) {
      await place.resetTarget()
      await place.restore({latest: false, backup: id, from: to, globals: true})
      expect(await place.state()).toBe('backup')
    }
  })

  test('that are there are skipped the next time; a new one is copied', async () => {
    await copy({backup: taken[1].id})
    expect(statuses(await copy({all: true}))).toEqual(['copied', 'skipped', 'copied'])
    const again = await copy({all: true})
    expect(again).toMatchObject({bytes: 0, copies: [{}, {}, {}].map(() => ({reason: 'it is there already'}))})
    expect(copyError(again)).toBeUndefined()
  })

  test('keep their verification, whose files are private', async () => {
    await copy({latest: true})
    const {backups} = await listBackups({...run(), from: to})
    expect(backups[0]?.verification).toMatchObject({level: 'restore', verdict: 'passed'})
    for (const name of await readdir(to, {recursive: true})) {
      const info = await stat(join(to, name))
      expect(info.mode & 0o777).toBe(info.isDirectory() ? 0o700 : 0o600)
    }
  })

  test('are verified at the target with `verify`, and the result is kept there', async () => {
    const {testDatabaseUrl} = scratch()
    const env = {...place.env, TEST_DATABASE_URL: testDatabaseUrl}
    const result = await copy({env, all: true, verify: 'restore', to: [to, join(folder, 'second')]})
    expect(result.verification?.map(({destination, verdict}) => ({destination, verdict}))).toEqual([
      {destination: to, verdict: 'passed'},
      {destination: join(folder, 'second'), verdict: 'passed'},
    ])
    expect(result.verification?.flatMap(({results}) => results.map(({id}) => id))).toEqual(
      [...taken, ...taken].map(({id}) => id),
    )
    expect(copyError(result)).toBeUndefined()
    for (const {verification} of (await listBackups({...run(), from: to})).backups)
      expect(verification).toMatchObject({level: 'restore', verdict: 'passed'})
  })

  test('that turn out wrong when they are verified make an error with the whole document', async () => {
    await changeManifest(taken[0], (text) => text.replace(/"rows": 500/, '"rows": 501'))
    const env = {...place.env, TEST_DATABASE_URL: place.server.url()}
    const result = await copy({env, latest: true, verify: 'restore'})
    expect(statuses(result)).toEqual(['copied'])
    const error = copyError(result)
    expect(error).toMatchObject({code: 'VERIFICATION_FAILED', exitCode: 5, details: {document: result}})
  })
})

/** In place, as no program of ours does. */
async function changeManifest(manifest: Manifest, change: (text: string) => string): Promise<void> {
  const file = join(from, `${archiveOf(manifest)}.metadata.json`)
  const text = await readFile(file, 'utf8')
  expect(change(text)).not.toBe(text)
  await writeFile(file, change(text))
}

async function flipBit(path: string): Promise<void> {
  const bytes = await readFile(join(from, path))
  bytes[bytes.length - 1] ^= 1
  await writeFile(join(from, path), bytes)
}

describe('which backups', () => {
  test('the newest: never a safety backup, though that is newer', async () => {
    const result = await copy({latest: true})
    expect(result.copies.map(({id}) => id)).toEqual([taken[0].id])
  })

  test.each<[string, (manifest: Manifest) => Partial<CopyOptions>]>([
    ['name', ({id}) => ({backup: id})],
    ['beginning of a name', (manifest) => ({backup: archiveOf(manifest).slice(0, -2)})],
    ['path', (manifest) => ({backup: join(from, archiveOf(manifest)), from: undefined})],
    ['URL', (manifest) => ({backup: `file://${from}/${archiveOf(manifest)}`, from: undefined})],
  ])('one by its %s', async (_, options) => {
    expect((await copy(options(taken[1]))).copies).toMatchObject([{id: taken[1].id, status: 'copied'}])
    expect(await listed(to)).toEqual([taken[1].id])
  })

  test('those that are not older than a time, or than so long ago, that one included', async () => {
    const since = taken[1].snapshotAt
    expect((await copy({since})).copies.map(({id}) => id)).toEqual([taken[0].id, taken[1].id])
    const clock = {now: () => new Date(Date.parse(taken[0].snapshotAt) + 3_600_000)}
    expect((await copy({since: '1h', clock})).copies.map(({id}) => id)).toEqual([taken[0].id])
    expect((await copy({since: '2h', clock})).copies).toHaveLength(3)
    expect((await copy({since: '2020-01-01'})).copies).toHaveLength(3)
  })

  test('safety backups with allKinds only, or by name', async () => {
    const all = await listed(from, true)
    expect(all).toHaveLength(4)
    expect((await copy({all: true})).copies).toHaveLength(3)
    expect((await copy({all: true, allKinds: true})).copies.map(({id}) => id)).toEqual(all)
    const safety = all.find((id) => !taken.some((one) => one.id === id))
    expect((await copy({backup: safety, to: [join(folder, 'other')]})).copies).toMatchObject([
      {id: safety, status: 'copied'},
    ])
  })

  test.each<[string, Partial<CopyOptions>, string, RegExp]>([
    ['none of the ways', {}, 'OPTION_INVALID', /Which backups/],
    ['two ways', {latest: true, all: true}, 'OPTION_INVALID', /--latest and --all/],
    ['a name and a way', {backup: 'shop', since: '1d'}, 'OPTION_INVALID', /NAME and --since/],
    ['allKinds with the newest', {latest: true, allKinds: true}, 'OPTION_INVALID', /--all-kinds/],
    ['no target', {latest: true, to: []}, 'OPTION_INVALID', /copied to/],
    ['no time', {since: 'yesterday'}, 'OPTION_INVALID', /yesterday is neither/],
    ['a number without a unit', {since: '7'}, 'OPTION_INVALID', /a number with a unit/],
    ['an unknown unit', {since: '7weeks'}, 'OPTION_INVALID', /a number with a unit/],
    [
      'a time that is to come',
      {since: '2999-01-01'},
      'BACKUP_NOT_FOUND',
      /2999-01-01T00:00:00.000Z or later/,
    ],
    ['an unknown name', {backup: 'nothing'}, 'BACKUP_NOT_FOUND', /nothing/],
    ['an ambiguous name', {backup: 'shop_2'}, 'BACKUP_NAME_AMBIGUOUS', /shop_2/],
    ['a source without backups', {all: true, from: './empty'}, 'BACKUP_NOT_FOUND', /no backup at/],
  ])('%s is refused, and nothing is made', async (_, options, code, message) => {
    const error = await failing(options)
    expect(error).toMatchObject({code, exitCode: 2, message: expect.stringMatching(message)})
    expect(error.suggestions).not.toEqual([])
    expect(await readdir(folder)).toEqual(['from'])
  })

  test.each<[string, (folder: string) => string]>([
    ['path', (at) => join(at, 'from')],
    ['path with more to it', (at) => `${at}/other/../from/`],
    ['relative path', () => './from'],
    ['URL', (at) => `file://${at}/from`],
    ['symbolic link', (at) => join(at, 'link')],
  ])('a target that is the source is refused, by its %s', async (_, destination) => {
    await symlink(from, join(folder, 'link'))
    const error = await failing({latest: true, to: [to, destination(folder)]})
    expect(error).toMatchObject({code: 'OPTION_INVALID', exitCode: 2})
    expect(await readdir(folder)).not.toContain('to')
  })

  test('a target that is given twice is one', async () => {
    expect(await copy({latest: true, to: [to, './to']})).toMatchObject({
      to: [to],
      copies: [{status: 'copied'}],
    })
  })
})

describe('a dry run', () => {
  test('tells what would be copied, with bytes, and makes nothing', async () => {
    const result = await copy({all: true, dryRun: true, verify: 'restore'})
    expect(statuses(result)).toEqual(['would-copy', 'would-copy', 'would-copy'])
    expect(result).toMatchObject({dryRun: true, bytes: taken.reduce((sum, one) => sum + bytesOf(one), 0)})
    expect(result.verification).toBeUndefined()
    expect(await readdir(folder)).toEqual(['from'])
  })

  test('tells what would be skipped, finished and refused too', async () => {
    await copy({all: true})
    const [directory, plain] = taken
    await rm(join(to, `${archiveOf(directory)}.metadata.json`))
    await truncate(join(to, directory.files[1].path), 1)
    await writeFile(join(to, `${archiveOf(plain)}.metadata.json`), '{}')
    const before = await contentsOf(new LocalStorage(to))
    const result = await copy({all: true, dryRun: true})
    expect(result.copies).toMatchObject([
      {status: 'would-copy', bytes: directory.files[1].bytes},
      {status: 'failed', error: {code: 'OBJECT_EXISTS'}},
      {status: 'skipped'},
    ])
    expect(await contentsOf(new LocalStorage(to))).toEqual(before)
  })
})

describe('a failure', () => {
  test('of one damaged backup does not stop the rest, and makes exit code 5', async () => {
    await flipBit(taken[1].files[0].path)
    const result = await copy({all: true})
    expect(statuses(result)).toEqual(['copied', 'failed', 'copied'])
    expect(result.copies[1]).toMatchObject({error: {code: 'CHECKSUM_MISMATCH', exitCode: 5}, bytes: 0})
    expect(copyError(result)).toMatchObject({
      code: 'CHECKSUM_MISMATCH',
      exitCode: 5,
      details: {document: result},
    })
    expect(await listed(to)).toEqual([taken[0].id, taken[2].id])
    expect((await readdir(to)).filter((name) => name.startsWith(taken[1].id))).toEqual([])
  })

  test.each<[string, (manifest: Manifest) => Promise<void>, string]>([
    ['cut', ({files}) => truncate(join(from, files[0].path), 10), 'ARCHIVE_SIZE_MISMATCH'],
    ['not there', ({files}) => rm(join(from, files[0].path)), 'ARCHIVE_MISSING'],
    [
      'named by a broken manifest',
      (manifest) => changeManifest(manifest, (text) => text.slice(0, 200)),
      'MANIFEST_INVALID',
    ],
    [
      'one of others, by a manifest that lies',
      (manifest) =>
        changeManifest(manifest, (text) => text.replaceAll(manifest.files[0].path, '../../etc/passwd')),
      'MANIFEST_INVALID',
    ],
    [
      'that of another backup, by a manifest that lies',
      (manifest) =>
        changeManifest(manifest, (text) => text.replaceAll(manifest.files[0].path, taken[2].files[0].path)),
      'MANIFEST_INVALID',
    ],
  ])('of a backup whose file is %s is reported however it is asked for', async (_, damage, code) => {
    await damage(taken[0])
    const name = archiveOf(taken[0])
    for (const options of [{all: true}, {latest: true}, {since: taken[0].snapshotAt}, {backup: name}]) {
      const result = await copy(options)
      expect(result.copies[0]).toMatchObject({name, status: 'failed', error: {code, exitCode: 5}})
      expect(copyError(result)).toMatchObject({code, exitCode: 5})
      expect((await readdir(to).catch(() => [])).filter((one) => one.startsWith(name))).toEqual([])
    }
    expect(await listed(to)).toEqual([taken[1].id, taken[2].id])
  })

  test('of a target stops that target alone: the rest is not run there', async () => {
    const file = join(folder, 'a-file')
    await writeFile(file, '')
    const result = await copy({all: true, to: [file, to]})
    expect(statuses(result)).toEqual(['failed', 'copied', 'not-run', 'copied', 'not-run', 'copied'])
    expect(result.copies[2]).toMatchObject({to: file, reason: `${file} failed before`})
    expect(copyError(result)).toMatchObject({
      code: 'DESTINATION_NOT_A_FOLDER',
      exitCode: 8,
      message: expect.stringContaining('3 of 6 copies were not made'),
    })
    await expectSameBackups()
  })

  test('of both kinds ends with the damage', async () => {
    const file = join(folder, 'a-file')
    await writeFile(file, '')
    await flipBit(taken[2].files[0].path)
    const error = copyError(await copy({all: true, to: [file, to]}))
    expect(error).toMatchObject({code: 'CHECKSUM_MISMATCH', exitCode: 5})
    expect(error?.message).toContain('is not a folder')
  })

  test('of a backup that is at the target under the same name does not stop the rest', async () => {
    await copy({all: true})
    const file = join(to, `${archiveOf(taken[0])}.metadata.json`)
    await writeFile(file, 'something else')
    await rm(join(to, `${archiveOf(taken[2])}.metadata.json`))
    const result = await copy({all: true})
    expect(statuses(result)).toEqual(['failed', 'skipped', 'copied'])
    expect(copyError(result)).toMatchObject({code: 'OBJECT_EXISTS', exitCode: 8})
    expect(await readFile(file, 'utf8')).toBe('something else')
  })

  test('because all that was asked for was removed meanwhile is told, and nothing stays', async () => {
    const warnings: string[] = []
    const events = {
      activityStarted: () => rmSync(from, {recursive: true}),
      warning: ({code}: {code: string}) => warnings.push(code),
    }
    const result = await copy({all: true, events})
    expect(statuses(result)).toEqual(['skipped', 'skipped', 'skipped'])
    expect(warnings).toEqual(['BACKUP_VANISHED', 'BACKUP_VANISHED', 'BACKUP_VANISHED'])
    expect(copyError(result)).toMatchObject({code: 'BACKUP_NOT_FOUND', details: {document: result}})
    expect(await contentsOf(new LocalStorage(to))).toEqual({})
  })
})

describe('an aborted run', () => {
  test('ends with the reason and tells what was copied until then', async () => {
    const controller = new AbortController()
    const {DbbakError: OwnError} = await import('../../src/support/errors.js')
    let ended = 0
    const events = {
      activityEnded: () => {
        if (++ended === 2) controller.abort(new OwnError('INTERRUPTED', 'Interrupted.'))
      },
    }
    const error = await failing({all: true, signal: controller.signal, events})
    expect(error).toMatchObject({code: 'INTERRUPTED', exitCode: 130})
    const {copies} = error.details?.document as CopyResult
    expect(copies.map(({id, status}) => `${id} ${status}`)).toEqual(
      taken.slice(0, 2).map(({id}) => `${id} copied`),
    )
    expect(await listed(to)).toEqual(copies.map(({id}) => id))
  })
})

describe('while backups are taken and removed at the source', () => {
  test('copies go on, and everything at the target is whole', async () => {
    let isOver = false
    const busy = (async () => {
      for (let round = 0; round < 4; round++) {
        const format = (['directory', 'custom'] as const)[round % 2]
        const manifest = await place.backUp({format, to: [from], content: 'none'})
        const store = new LocalStorage(from)
        await new Promise((resolve) => setTimeout(resolve, 30))
        await store.remove(`${archiveOf(manifest)}.metadata.json`)
        for (const {path} of manifest.files) await store.remove(path)
      }
    })().finally(() => (isOver = true))
    const failures: unknown[] = []
    let rounds = 0
    while (!isOver) {
      const {copies} = await copy({all: true})
      failures.push(...copies.filter(({status}) => status !== 'copied' && status !== 'skipped'))
      rounds++
    }
    await busy
    expect(rounds).toBeGreaterThan(4)
    expect(failures).toEqual([])
    const there = await listBackups({...run(), from: to, incomplete: true})
    expect(there).toMatchObject({problems: [], incomplete: []})
    const verified = await verifyBackups({...run(), all: true, from: to, level: 'checksum'})
    expect(verified.verdict).toBe('passed')
  })
})
