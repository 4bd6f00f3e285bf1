import {cp, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {toolsForDump} from '../../src/postgres/client-tools.js'
import {comparableDump, dumpDifferences, type ComparableDump} from '../support/same-dump.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, failing, filesAt, toolSettings, type Json} from './program.js'

let server: TestServer
let tools: Record<string, string>
let cwd: string
/** Two good backups of different formats, never changed: each test has its own copy. */
let originals: string
let older: Json
let newer: Json
let before: ComparableDump

let to: string

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'bad-manifest-'))
  originals = to = join(cwd, 'originals')
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.query('create table orders (id int); insert into orders values (1), (2)', 'shop')
  older = (await dbbakJson(['backup', '--format', 'directory'], settings())).backup
  newer = (await dbbakJson(['backup'], settings())).backup
  await server.query('insert into orders values (3)', 'shop') // so that a restore would show
  before = await dumpOfShop()
})
afterAll(async () => {
  await server?.stop()
  await rm(cwd, {recursive: true, force: true, maxRetries: 10})
})
beforeEach(async () => {
  to = await mkdtemp(join(cwd, 'copy-'))
  await cp(originals, to, {recursive: true})
})
afterEach(() => rm(to, {recursive: true, force: true}))

const settings = () => ({env: {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: to}, cwd})

async function dumpOfShop(): Promise<ComparableDump> {
  const dumpTools = await toolsForDump(server.major, {env: process.env, pgBin: tools.DBBAK_PG_BIN})
  return comparableDump(dumpTools, await server.describe('shop'))
}

const archiveOf = (backup: Json): string => backup.files[0].path.split('/')[0]
const manifestOf = (backup: Json): string => join(to, `${archiveOf(backup)}.metadata.json`)

async function changeManifest(change: (manifest: Json, text: string) => unknown): Promise<void> {
  const file = manifestOf(newer)
  const text = await readFile(file, 'utf8')
  const manifest = JSON.parse(text)
  const changed = change(manifest, text)
  await rm(file)
  await writeFile(
    file,
    typeof changed === 'string' || Buffer.isBuffer(changed) ? changed : JSON.stringify(changed ?? manifest),
  )
}

/**
 * The newer backup is no backup any more: it is not listed, not taken for the newest, its verification fails, its
 * restore is refused, the database stays as it is, and so do the other backup and every file.
 */
async function expectRefused(code: string): Promise<void> {
  const files = await filesAt(to)
  const list = await dbbakJson(['list'], settings())
  expect(list.backups.map(({id}: Json) => id)).toEqual([older.id])
  expect(list.problems).toEqual([expect.objectContaining({key: basename(manifestOf(newer)), code})])
  const name = archiveOf(newer)
  const restore = await failing(['restore', name, '--force'], settings(), {exitCode: 3, code})
  expect(restore.error.message).toContain(name)
  const verify = await failing(['verify', name], settings(), {exitCode: 5, code: 'VERIFICATION_FAILED'})
  expect(verify.error.message).toContain(code)
  expect(verify.document.verdict).toBe('failed')
  expect(await filesAt(to)).toEqual(files)
  const all = await dbbakJson(['verify', '--all', '--level', 'checksum'], settings(), 5)
  expect(all.results.map(({verdict}: Json) => verdict).sort()).toEqual(['failed', 'passed'])
  const plan = await dbbakJson(['restore', '--latest', '--dry-run'], settings())
  expect(plan.backup.id).toBe(older.id)
  expect(dumpDifferences(before, await dumpOfShop())).toEqual([])
}

describe('a manifest that', () => {
  const nonsense: [string, (manifest: Json, text: string) => unknown][] = [
    ['is empty', () => ''],
    ['is cut off', (_, text) => text.slice(0, text.length / 2)],
    ['is not JSON', () => 'backup: shop'],
    ['is binary', () => Buffer.from([0, 255, 254, 0, 1])],
    ['is null', () => 'null'],
    ['is a list', (manifest) => [manifest]],
    ['is nested without end', () => '['.repeat(500_000)],
    ['is 100 MB large', (_, text) => text + ' '.repeat(100_000_000)],
    ['lacks its version', (manifest) => void delete manifest.formatVersion],
    ['has its version as text', (manifest) => void (manifest.formatVersion = '1')],
    ['lacks its content', (manifest) => void delete manifest.content],
    ['leads to /etc/passwd', (manifest) => void (manifest.files[0].path = '../../../../../../etc/passwd')],
    ['leads to an absolute path', (manifest) => void (manifest.files[0].path = '/etc/passwd')],
    [
      'leads through its own folder',
      (manifest) => void (manifest.files[0].path = `${manifest.files[0].path}/../x`),
    ],
    ['leads to a drive', (manifest) => void (manifest.files[0].path = 'C:\\Windows\\win.ini')],
    ['has a line break in a path', (manifest) => void (manifest.files[0].path += '\n')],
    ['has a negative size', (manifest) => void (manifest.files[0].bytes = -1)],
    ['has half a byte', (manifest) => void (manifest.files[0].bytes += 0.5)],
    ['has an endless size', (_, text) => text.replace(/"bytes": \d+/, '"bytes": 1e999')],
    ['has a size in words', (manifest) => void (manifest.files[0].bytes = 'many')],
    ['has a negative number of rows', (manifest) => void (manifest.content.tables[0].rows = -2)],
    ['has a checksum that is none', (manifest) => void (manifest.files[0].sha256 = 'trust me')],
    ['is of another backup', (manifest) => void (manifest.id = older.id)],
    ['is another one, copied', () => readFile(manifestOf(older), 'utf8')],
    ['has an id that leads elsewhere', (manifest) => void (manifest.id = '../x')],
    ['names the files of another backup', (manifest) => void (manifest.files = older.files)],
    ['names the files of another backup too', (manifest) => void manifest.files.push(...older.files)],
    ['names a file twice', (manifest) => void manifest.files.push(manifest.files[0])],
    ['names no file', (manifest) => void (manifest.files = [])],
    ['names its globals only', (manifest) => void (manifest.files[0].path = `${manifest.id}.globals.sql`)],
    ['says that it is of another format', (manifest) => void (manifest.format = 'directory')],
    ['has a time that is none', (manifest) => void (manifest.snapshotAt = 'yesterday')],
    ['is of a kind that there is not', (manifest) => void (manifest.kind = 'trick')],
  ]
  test.each(nonsense)('%s is no manifest', async (_, change) => {
    const text = await readFile(manifestOf(newer), 'utf8')
    const changed = await change(JSON.parse(text), text)
    await changeManifest((manifest, now) => (changed === undefined ? change(manifest, now) : changed))
    await expectRefused('MANIFEST_INVALID')
  })

  test('has a formatVersion of the future is refused with the way to read it', async () => {
    for (const version of [99, 2, 0, 1.5]) {
      await changeManifest((manifest) => void (manifest.formatVersion = version))
      await expectRefused('MANIFEST_VERSION_UNKNOWN')
    }
    const {error} = await failing(['restore', archiveOf(newer), '--force'], settings(), {
      exitCode: 3,
      code: 'MANIFEST_VERSION_UNKNOWN',
    })
    expect(error.message).toContain('1.5')
  })

  test('says a size that is not the size of the file', async () => {
    await changeManifest((manifest) => void manifest.files[0].bytes++)
    await expectRefused('ARCHIVE_SIZE_MISMATCH')
  })

  test('names a file that is not there', async () => {
    await rm(join(to, archiveOf(newer)))
    await expectRefused('ARCHIVE_MISSING')
  })

  test('stands beside a link to somebody else’s file', async () => {
    await rm(join(to, archiveOf(newer)))
    await symlink('/etc/passwd', join(to, archiveOf(newer)))
    await expectRefused('ARCHIVE_MISSING')
  })

  test('has fields that this version does not know is read without them', async () => {
    await changeManifest(
      (manifest) => void Object.assign(manifest, {colour: 'blue', __proto__: {kind: 'safety'}}),
    )
    expect((await dbbakJson(['list'], settings())).backups).toHaveLength(2)
    expect((await dbbak(['verify', archiveOf(newer), '--level', 'archive'], settings())).exitCode).toBe(0)
  })

  test('is a link to a manifest elsewhere is none', async () => {
    await rm(manifestOf(newer))
    await symlink(join(originals, basename(manifestOf(newer))), manifestOf(newer))
    const {backups} = await dbbakJson(['list'], settings())
    expect(backups.map(({id}: Json) => id)).toEqual([older.id])
  })
})

test('verify --latest does not pass over a newest backup that is damaged', async () => {
  await changeManifest(() => 'nonsense')
  const {document} = await failing(['verify', '--latest', '--level', 'checksum'], settings(), {
    exitCode: 5,
    code: 'VERIFICATION_FAILED',
  })
  expect(document.results.map(({verdict}: Json) => verdict)).toEqual(['failed', 'passed'])
})

test('verify --latest does not care for an older one, nor for other programs’ files', async () => {
  await writeFile(manifestOf(older), 'nonsense')
  await writeFile(join(to, 'photos.metadata.json'), '{"camera": "Leica"}')
  const args = ['verify', '--latest', '--level', 'checksum']
  expect(await dbbakJson(args, settings())).toMatchObject({verdict: 'passed', results: [{id: newer.id}]})
})

describe('a verification result', () => {
  test.each(['', 'nonsense', '{}', '{"formatVersion": 99}', `{"verdict": "passed"}`])(
    'that is %j counts as none, and the next one replaces it',
    async (text) => {
      const file = join(to, `${archiveOf(newer)}.verification.json`)
      await writeFile(file, text)
      const verified = async () =>
        (await dbbakJson(['list'], settings())).backups.map(({verification}: Json) => verification)
      expect(await verified()).toEqual([null, null])
      await dbbakJson(['verify', '--latest', '--level', 'checksum'], settings())
      expect(await verified()).toEqual([
        expect.objectContaining({level: 'checksum', verdict: 'passed'}),
        null,
      ])
    },
  )

  test('of another backup, copied, does not count', async () => {
    await dbbakJson(['verify', older.id, '--level', 'checksum'], settings())
    const result = (backup: Json) => join(to, `${archiveOf(backup)}.verification.json`)
    await cp(result(older), result(newer))
    const {backups} = await dbbakJson(['list'], settings())
    expect(backups.map(({verification}: Json) => verification?.verdict)).toEqual([undefined, 'passed'])
  })
})
