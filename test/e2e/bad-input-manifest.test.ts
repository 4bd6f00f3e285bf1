import {readFileSync, rmSync, symlinkSync} from 'node:fs'
import {cp, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {toolsForDump} from '../../src/postgres/client-tools.js'
import {comparableDump, dumpDifferences, type ComparableDump} from '../support/same-dump.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, expectSentence, failing, filesAt, toolSettings, type Json} from './program.js'

let server: TestServer
let tools: Record<string, string>
let cwd: string
/** Two good backups of different formats, never changed: each test has its own copy. */
let originals: string
let older: Json
let newer: Json
let before: ComparableDump

/** Where the program looks for backups. */
let to: string
let copy: string

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
  copy = to = await mkdtemp(join(cwd, 'copy-'))
  await cp(originals, to, {recursive: true})
})
afterEach(() => rm(copy, {recursive: true, force: true}))

const settings = () => ({env: {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: to}, cwd})

async function dumpOfShop(): Promise<ComparableDump> {
  const dumpTools = await toolsForDump(server.major, {env: process.env, pgBin: tools.DBBAK_PG_BIN})
  return comparableDump(dumpTools, await server.describe('shop'))
}

const archiveOf = (backup: Json): string => backup.files[0].path.split('/')[0]
const manifestOf = (backup: Json): string => join(to, `${archiveOf(backup)}.metadata.json`)

type Change = (manifest: Json, text: string) => unknown

/** What is wrong with a manifest; a change gives the new text or object, or changes the manifest itself. */
const invalid: [string, Change][] = [
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
  ['leads to /etc/passwd', ({files}) => void (files[0].path = '../../../../../../etc/passwd')],
  ['leads to an absolute path', ({files}) => void (files[0].path = '/etc/passwd')],
  ['leads through its own folder', ({files}) => void (files[0].path += '/../x')],
  ['leads to a drive', ({files}) => void (files[0].path = 'C:\\Windows\\win.ini')],
  ['has a line break in a path', ({files}) => void (files[0].path += '\n')],
  ['has a negative size', ({files}) => void (files[0].bytes = -1)],
  ['has half a byte', ({files}) => void (files[0].bytes += 0.5)],
  ['has an endless size', (_, text) => text.replace(/"bytes": ?\d+/, '"bytes": 1e999')],
  ['has a size in words', ({files}) => void (files[0].bytes = 'many')],
  ['has a negative number of rows', ({content}) => void (content.tables[0].rows = -2)],
  ['has a checksum that is none', ({files}) => void (files[0].sha256 = 'trust me')],
  ['is of another backup', (manifest) => void (manifest.id = older.id)],
  ['is another one, copied', () => readFileSync(manifestOf(older))],
  ['has an id that leads elsewhere', (manifest) => void (manifest.id = '../x')],
  ['names the files of another backup', (manifest) => void (manifest.files = older.files)],
  ['names the files of another backup too', ({files}) => void files.push(...older.files)],
  ['names a file twice', ({files}) => void files.push(files[0])],
  ['names no file', (manifest) => void (manifest.files = [])],
  ['names its globals only', ({files, id}) => void (files[0].path = `${id}.globals.sql`)],
  ['says that it is of another format', (manifest) => void (manifest.format = 'directory')],
  ['has a time that is none', (manifest) => void (manifest.snapshotAt = 'yesterday')],
  ['is of a kind that there is not', (manifest) => void (manifest.kind = 'trick')],
]
const ofTheFuture = [99, 2, 0, 1.5].map((version): [string, Change] => [
  `has the format version ${version}`,
  (manifest) => void (manifest.formatVersion = version),
])
const otherSize: [string, Change] = ['says another size', ({files}) => void files[0].bytes++]
const missing: [string, Change] = [
  'names a file that is not there',
  ({files}) => rmSync(join(to, files[0].path)),
]
const linked: [string, Change] = [
  'stands beside a link to somebody else’s file',
  ({files}) => {
    rmSync(join(to, files[0].path))
    symlinkSync('/etc/passwd', join(to, files[0].path))
  },
]
const cases: [what: string, change: Change, code: string][] = [
  ...invalid.map(([what, change]): [string, Change, string] => [what, change, 'MANIFEST_INVALID']),
  ...ofTheFuture.map(([what, change]): [string, Change, string] => [
    what,
    change,
    'MANIFEST_VERSION_UNKNOWN',
  ]),
  [...otherSize, 'ARCHIVE_SIZE_MISMATCH'],
  [...missing, 'ARCHIVE_MISSING'],
  [...linked, 'ARCHIVE_MISSING'],
]

describe('among good backups, one whose manifest', () => {
  const idOf = (what: string) =>
    `shop_2001-01-01T00-00-00-${String(cases.findIndex(([name]) => name === what)).padStart(3, '0')}Z`
  const archive = (what: string) => `${idOf(what)}.dump.zst`
  let files: Record<string, number>
  let place: string

  beforeAll(async () => {
    place = to = await mkdtemp(join(cwd, 'many-'))
    await cp(originals, to, {recursive: true})
    for (const [what, change] of cases) await makeBad(what, change)
    files = await filesAt(to)
  })
  beforeEach(() => void (to = place))
  afterAll(() => rm(place, {recursive: true, force: true}))

  /** A copy of the newer backup under a name of its own, with something wrong. */
  async function makeBad(what: string, change: Change): Promise<void> {
    const manifest = structuredClone(newer)
    Object.assign(manifest, {id: idOf(what), snapshotAt: '2001-01-01T00:00:00.000Z'})
    manifest.files[0].path = archive(what)
    await cp(join(to, archiveOf(newer)), join(to, archive(what)))
    const changed = change(manifest, JSON.stringify(manifest))
    const isRaw = typeof changed === 'string' || Buffer.isBuffer(changed)
    await writeFile(
      join(to, `${archive(what)}.metadata.json`),
      isRaw ? changed : JSON.stringify(changed ?? manifest),
    )
  }

  test('is bad in any way, only the good ones are listed, and what is wrong with each of the others', async () => {
    const {backups, problems} = await dbbakJson(['list'], settings())
    expect(backups.map(({id}: Json) => id)).toEqual([newer.id, older.id])
    expect(problems.map(({key, code}: Json) => [key, code])).toEqual(
      cases.map(([what, , code]) => [`${archive(what)}.metadata.json`, code]).sort(),
    )
    for (const {message} of problems) expectSentence(message)
  })

  test('is bad in any way, the newest good one is the latest', async () => {
    const {backup} = await dbbakJson(['restore', '--latest', '--dry-run'], settings())
    expect(backup.id).toBe(newer.id)
  })

  test('is bad in any way fails verify --all, which passes the good ones', async () => {
    const {results} = await dbbakJson(['verify', '--all', '--level', 'checksum'], settings(), 5)
    expect(results.filter(({verdict}: Json) => verdict === 'passed').map(({id}: Json) => id)).toEqual([
      newer.id,
      older.id,
    ])
    expect(results.filter(({verdict}: Json) => verdict === 'failed')).toHaveLength(cases.length)
    for (const {id} of [newer, older])
      await rm(join(to, `${archiveOf(id === newer.id ? newer : older)}.verification.json`))
  })

  test.each(cases)('%s is not restored (3) and fails its verification (5)', async (what, _, code) => {
    const restore = await dbbakJson(['restore', archive(what), '--force'], settings(), 3)
    expect(restore.error).toMatchObject({code, suggestions: [expect.stringContaining('dbbak list')]})
    expect(restore.error.message).toContain(archive(what))
    expectSentence(restore.error.message)
    const verify = await dbbakJson(['verify', archive(what)], settings(), 5)
    expect(verify).toMatchObject({verdict: 'failed', error: {code: 'VERIFICATION_FAILED'}})
    expect(verify.error.message).toContain(code)
  })

  test('is bad in any way: no file and no row was changed by all this', async () => {
    expect(await filesAt(to)).toEqual(files)
    expect(dumpDifferences(before, await dumpOfShop())).toEqual([])
  })

  test('is bad is told in the same way for people', async () => {
    for (const what of ['leads to /etc/passwd', 'has the format version 99'])
      await failing(['restore', archive(what), '--force'], settings(), {
        exitCode: 3,
        code: cases.find(([name]) => name === what)![2],
      })
  })
})

test('a manifest with fields that this version does not know is read without them', async () => {
  const text = await readFile(manifestOf(newer), 'utf8')
  await rm(manifestOf(newer))
  const strange = '{"__proto__": {"kind": "safety"}, "constructor": 1, "colour": "blue", '
  await writeFile(manifestOf(newer), text.replace('{', strange))
  const {backups} = await dbbakJson(['list'], settings())
  expect(backups.map(({id, kind}: Json) => [id, kind])).toContainEqual([newer.id, 'backup'])
  expect((await dbbak(['verify', archiveOf(newer), '--level', 'archive'], settings())).exitCode).toBe(0)
})

test('a link to a manifest elsewhere is none', async () => {
  await rm(manifestOf(newer))
  await symlink(join(originals, basename(manifestOf(newer))), manifestOf(newer))
  const {backups} = await dbbakJson(['list'], settings())
  expect(backups.map(({id}: Json) => id)).toEqual([older.id])
})

test('verify --latest does not pass over a newest backup that is damaged', async () => {
  await writeFile(manifestOf(newer), 'nonsense')
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
