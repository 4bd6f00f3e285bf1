import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {chmod, chown, mkdtemp, rm, utimes, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {fileURLToPath} from 'node:url'
import {stripVTControlCharacters} from 'node:util'
import {LocalStorage} from '../../src/storage/local.js'
import {backupsAt, daysAgo, keysAt, put, store, type SmallBackup} from '../engine/prune-support.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, failing, startDbbak, toolSettings} from './program.js'

const now = new Date()
const ago = (days: number) => daysAgo(days, now)
const half = 'shop_2026-01-01T00-00-00-000Z.dump.zst'

let cwd: string
let backups: LocalStorage
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'prune-'))
  backups = new LocalStorage(join(cwd, 'backups'))
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

async function keep(days: number[], backup: Omit<SmallBackup, 'at'> = {}, at = backups): Promise<string[]> {
  const names: string[] = []
  for (const age of days) names.push(await store(at, {at: ago(age), ...backup}))
  return names
}

/** A file of a run that was cut off two days ago. */
async function leaveHalf(): Promise<void> {
  await put(backups, half, 'half')
  const old = new Date(now.getTime() - 2 * 86_400_000)
  await utimes(join(cwd, 'backups', half), old, old)
}

const run = (env: Record<string, string> = {}) => ({cwd, env})

describe('dbbak prune', () => {
  test('goes by the policy of the config file, and takes none that names unknown rules', async () => {
    const names = await keep([1, 2, 3, 40])
    const config = (text: string) => writeFile(join(cwd, 'dbbak.config.json'), text, {mode: 0o600})
    await config('{"retention": {"days": 0, "last": 2, "monthly": 0}}')
    const {kept, removed} = await dbbakJson(['prune', '--force'], run())
    expect([kept, removed].map((list) => list.map(({name}: {name: string}) => name))).toEqual([
      names.slice(0, 2),
      names.slice(2),
    ])
    await config('{"retention": {"dayz": 3}}')
    const {error} = await failing(['prune', '--force'], run(), {exitCode: 2, code: 'CONFIG_INVALID'})
    expect(error.message).toContain('did you mean "days"')
  })

  test('removes what no rule keeps, and says why in its document', async () => {
    const names = await keep([1, 2, 40, 50])
    await leaveHalf()
    const document = await dbbakJson(['prune', '--force', '--keep-last', '3'], run({RETENTION_DAYS: '10'}))
    const place = join(cwd, 'backups')
    const told = (name: string, reasons: string[]) => ({
      id: name.replace('.dump.zst', ''),
      name,
      destination: place,
      database: 'shop',
      kind: 'backup',
      snapshotAt: expect.stringMatching(/Z$/),
      bytes: expect.any(Number),
      reasons,
    })
    expect(document).toEqual({
      from: [place],
      kept: [
        told(names[0], ['the newest, which always stays', 'newer than 10 days', 'among the newest 3']),
        told(names[1], ['newer than 10 days', 'among the newest 3']),
        told(names[2], ['among the newest 3']),
      ],
      removed: [told(names[3], ['older than 10 days', 'not among the newest 3'])],
      leftovers: [
        {
          name: half,
          destination: place,
          bytes: 4,
          modifiedAt: expect.any(String),
          reason: 'a run that was cut off left it: it has no manifest',
        },
      ],
      problems: [],
      locked: [],
      failed: [],
      warnings: [],
      keepsVersions: [],
      bytesFreed: document.removed[0].bytes + 4,
      dryRun: false,
    })
    expect((await backupsAt(backups)).whole).toEqual(names.slice(0, 3).sort())
  })

  test('shows people what stays and what goes, and changes nothing in a dry run', async () => {
    const names = await keep([1, 40])
    await leaveHalf()
    const before = await keysAt(backups)
    const {exitCode, stdout} = await dbbak(['prune', '--dry-run'], run())
    expect(exitCode).toBe(0)
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.trim().split(/ {2,}/))
    expect(lines).toEqual([
      ['NAME', 'AGE', 'SIZE', 'WHY'],
      ['remove', names[1], '40 d', expect.stringMatching(/kB$/), 'older than 30 days'],
      [
        'keep',
        names[0],
        '24 h',
        expect.stringMatching(/kB$/),
        'the newest, which always stays; newer than 30 days',
      ],
      [''],
      ['LEFTOVER', 'SIZE', 'WHY'],
      [half, '4 B', 'a run that was cut off left it: it has no manifest'],
      [''],
      [
        expect.stringMatching(
          `^✔ A dry run: 1 backup would be removed from ${cwd}/backups: .* would be freed\\. 1 backup would be kept\\. 1 leftover would be removed\\.$`,
        ),
      ],
    ])
    expect(await keysAt(backups)).toEqual(before)
  })

  test('shortens long lists, and lists all under --json', async () => {
    const days = (count: number, from: number) => Array.from({length: count}, (_, index) => from + index / 10)
    await keep([...days(15, 1), ...days(30, 40)])
    const {stdout} = await dbbak(['prune', '--dry-run'], run())
    expect(stdout).toContain('… and 10 more to remove, 5 more to keep; --dry-run --json lists them all.')
    expect(stdout.split('\n').filter((line) => line.startsWith('remove'))).toHaveLength(20)
    const {kept, removed, dryRun} = await dbbakJson(['prune', '--dry-run'], run())
    expect([kept.length, removed.length, dryRun]).toEqual([15, 30, true])
  })

  test('without a terminal and without --force it is refused, also where nothing is to go', async () => {
    const {error} = await failing(['prune'], run(), {exitCode: 2, code: 'CONFIRMATION_REQUIRED'})
    expect(error.suggestions.join()).toContain('--force')
    await keep([1, 40])
    await failing(['prune'], run(), {exitCode: 2, code: 'CONFIRMATION_REQUIRED'})
    expect((await backupsAt(backups)).whole).toHaveLength(2)
  })

  test('a policy that keeps nothing is refused, and so is an unknown database', async () => {
    await keep([1, 40])
    await failing(['prune', '--keep-days', '0', '--force'], run(), {exitCode: 2, code: 'OPTION_INVALID'})
    await failing(['prune', '--keep-days', '-1', '--force'], run(), {exitCode: 2, code: 'OPTION_INVALID'})
    await failing(['prune', '--database', 'shpo', '--force'], run(), {exitCode: 2, code: 'BACKUP_NOT_FOUND'})
    expect((await backupsAt(backups)).whole).toHaveLength(2)
  })

  test('goes through several destinations, each once, and on after one that cannot be read', async () => {
    const offsite = new LocalStorage(join(cwd, 'offsite'))
    await keep([1, 40])
    await keep([2, 50], {}, offsite)
    await put(new LocalStorage(cwd), 'file', 'not a folder')
    const places = ['./backups', './offsite', './backups/'].flatMap((place) => ['--from', place])
    const all = await dbbakJson(['prune', '--force', ...places, '--from', './file'], run(), 8)
    expect(all.from).toEqual([join(cwd, 'backups'), join(cwd, 'offsite')])
    expect(all.removed.map(({destination}: {destination: string}) => destination)).toEqual(all.from)
    expect(all.failed).toMatchObject([
      {id: null, destination: join(cwd, 'file'), error: {code: 'DESTINATION_NOT_A_FOLDER'}},
    ])
    expect(all.error).toMatchObject({code: 'DESTINATION_NOT_A_FOLDER', exitCode: 8})
  })

  test('a folder that is not there is refused when it is named, and may still come where backups go', async () => {
    const {error} = await failing(['prune', '--from', './bakcups', '--force'], run(), {
      exitCode: 8,
      code: 'DESTINATION_NOT_FOUND',
    })
    expect(error.message).toContain(join(cwd, 'bakcups'))
    expect(await dbbakJson(['prune', '--force'], run())).toMatchObject({removed: [], failed: []})
    await keep([1, 40])
    const places = ['./bakcups', './backups'].flatMap((place) => ['--from', place])
    const {removed, failed} = await dbbakJson(['prune', '--force', ...places], run(), 8)
    expect(removed).toHaveLength(1)
    expect(failed).toMatchObject([{error: {code: 'DESTINATION_NOT_FOUND'}}])
  })

  test('one database’s backups leave the others’ alone', async () => {
    await keep([1, 40])
    await keep([1, 40], {database: 'blog'})
    const {removed} = await dbbakJson(['prune', '--force', '--database', 'blog'], run())
    expect(removed.map(({database}: {database: string}) => database)).toEqual(['blog'])
    expect((await backupsAt(backups)).whole).toHaveLength(3)
  })

  test('that is killed at any moment leaves whole backups, and the next finishes it', async () => {
    const days = Array.from({length: 150}, (_, index) => 40 + index)
    for (let round = 0; round < 6; round++) {
      await rm(join(cwd, 'backups'), {recursive: true, force: true})
      const [newest] = await keep([1], {globals: true})
      await keep(days, {globals: true})
      const started = startDbbak(['prune', '--force'], run())
      // Killed a random time after it has begun to remove.
      while ((await keysAt(backups)).length === 151 * 3 && started.child.exitCode === null) await delay(5)
      await delay(Math.random() * 60)
      started.child.kill('SIGKILL')
      await started.ended
      const {whole, broken} = await backupsAt(backups)
      expect(broken).toEqual([])
      expect(whole).toContain(newest)
      const {failed} = await dbbakJson(['prune', '--force'], run())
      expect(failed).toEqual([])
      expect((await backupsAt(backups)).whole).toEqual([newest])
    }
  }, 180_000)

  test('Ctrl-C stops it between two objects, and tells what was done', async () => {
    await keep(Array.from({length: 200}, (_, index) => 1 + index))
    const started = startDbbak(['prune', '--force', '--json'], run())
    while ((await keysAt(backups)).length === 400 && started.child.exitCode === null) await delay(5)
    started.child.kill('SIGINT')
    const {exitCode, stdout} = await started.ended
    const {error, removed} = JSON.parse(stdout)
    // It may have been faster.
    if (exitCode !== 0) {
      expect({exitCode, code: error.code, some: removed.length > 0}).toEqual({
        exitCode: 130,
        code: 'INTERRUPTED',
        some: true,
      })
      const names = removed.map(({name}: {name: string}) => name)
      expect(names).toEqual([...names].sort().reverse())
      expect(error.message).toContain(
        `${names.length} backup${names.length === 1 ? '' : 's'} had been removed by then: ${names[0]}`,
      )
    }
    expect((await backupsAt(backups)).broken).toEqual([])
  }, 60_000)
})

const describeTerminal = process.platform === 'linux' ? describe : describe.skip
const program = process.env.DBBAK_TEST_PROGRAM ?? fileURLToPath(new URL('../../bin/run.js', import.meta.url))

describeTerminal('at a terminal', () => {
  let names: string[]
  let seen: string

  /** Types at the question. @returns the exit code */
  async function answering(keys: string, columns = 160): Promise<number> {
    names = await keep([1, 40])
    const command = `stty rows 40 columns ${columns}; exec '${process.execPath}' '${program}' prune`
    const terminal = spawn('script', ['-qec', command, '/dev/null'], {
      env: {PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, HOME: cwd, TERM: 'xterm'},
      cwd,
    })
    seen = ''
    terminal.stdout.on('data', (chunk: Buffer) => (seen += stripVTControlCharacters(chunk.toString())))
    const exit = once(terminal, 'close')
    try {
      await until(() => seen.includes('Type PRUNE to go ahead'), 'the question is asked')
      terminal.stdin.write(keys)
      const [code] = (await exit) as [number]
      return code
    } finally {
      terminal.kill('SIGHUP')
    }
  }

  test('it is shown what goes and what stays, and PRUNE goes ahead', async () => {
    expect(await answering('PRUNE\r')).toBe(0)
    expect(seen).toMatch(new RegExp(`remove  ${names[1]} .*older than 30 days`))
    expect(seen).toMatch(new RegExp(`keep    ${names[0]} .*the newest, which always stays`))
    expect(seen).toMatch(/1 backup removed from/)
    expect(seen).toContain('1 backup, 1.6 kB, will be gone for good. Type PRUNE to go ahead:')
    expect(seen.split(/remove {2}/)).toHaveLength(2) // the table is not printed again
    expect((await backupsAt(backups)).whole).toEqual([names[0]])
  })

  test.each([80, 120])('of %d columns neither a name nor a reason is cut', async (columns) => {
    await leaveHalf()
    await answering('no\r', columns)
    const table = seen.slice(0, seen.indexOf('will be gone for good'))
    const words = table.replace(/\s+/g, ' ')
    expect(words).toContain(`remove ${names[1]}`)
    expect(words).toContain('older than 30 days')
    expect(words).toContain('the newest, which always stays; newer than 30 days')
    expect(words).toContain('a run that was cut off left it: it has no manifest')
    for (const line of table.split(/\r?\n/)) expect(line.length).toBeLessThanOrEqual(columns)
  })

  test.each([
    ['another word', 'yes\r'],
    ['the word in small letters', 'prune\r'],
    ['nothing', '\r'],
    ['Ctrl-C', '\u0003'],
  ])('%s cancels: exit code 130, and nothing is removed', async (_, keys) => {
    expect(await answering(keys)).toBe(130)
    expect(seen).toMatch(/[Nn]othing was changed/)
    expect((await backupsAt(backups)).whole).toEqual([...names].sort())
  })
})

describe('dbbak backup --prune', () => {
  let server: TestServer
  let env: Record<string, string>
  beforeAll(async () => {
    server = await startServer({overTcp: true})
    env = await toolSettings(server.major)
    await server.createDatabase('shop')
    await server.psql('create table orders as select 1 as id', 'shop')
  })
  afterAll(() => server?.stop())

  test('removes old backups of its database after its own, and none of others', async () => {
    const settings = run({...env, DATABASE_URL: server.url('shop')})
    const first = (await dbbakJson(['backup'], settings)).backup
    const {systemIdentifier} = first.database
    const [old] = await keep([40], {systemIdentifier})
    const others = await keep([50, 60], {database: 'blog'})
    const document = await dbbakJson(['backup', '--prune'], settings)
    expect(document).toMatchObject({
      backup: {database: {name: 'shop'}},
      destinations: [{status: 'stored'}],
      prune: {from: [join(cwd, 'backups')], removed: [{name: old}], failed: [], dryRun: false},
    })
    expect(document.prune.kept.map(({id}: {id: string}) => id)).toEqual([document.backup.id, first.id])
    expect((await backupsAt(backups)).whole).toEqual(expect.arrayContaining(others))
  })

  test('that fails leaves the backup, says that it is safe, and ends with 8', async () => {
    const asRoot = process.getuid?.() === 0 // who may remove anything
    const nobody = asRoot ? {user: {uid: 65534, gid: 65534}} : {}
    const own = (path: string) => (asRoot ? chown(path, 65534, 65534) : Promise.resolve())
    const settings = {...run({...env, DATABASE_URL: server.url('shop'), TMPDIR: cwd}), ...nobody}
    await own(cwd)
    const {backup} = await dbbakJson(['backup'], settings)
    const identity = {systemIdentifier: backup.database.systemIdentifier, format: 'directory' as const}
    const [old] = await keep([40], identity)
    for (const key of await keysAt(backups)) await own(join(cwd, 'backups', key))
    await chmod(join(cwd, 'backups', old), 0o555)
    const document = await dbbakJson(['backup', '--prune'], settings, 8)
    await chmod(join(cwd, 'backups', old), 0o700)
    expect(document).toMatchObject({
      backup: {kind: 'backup'},
      destinations: [{status: 'stored'}],
      prune: {removed: [{name: old}], failed: [{id: old.replace('.dir', '')}, {}, {}]},
      error: {code: 'DESTINATION_READ_ONLY', exitCode: 8},
    })
    expect(document.error.message).toMatch(/^The backup is complete and safe; retention was not applied/)
    const {whole, broken} = await backupsAt(backups)
    expect(broken).toEqual([])
    expect(whole.map((name) => name.split('.')[0])).toEqual([backup.id, document.backup.id])
  })

  test('with a policy that cannot be meant is refused before anything is dumped', async () => {
    const settings = run({...env, DATABASE_URL: server.url('shop'), RETENTION_DAYS: 'many'})
    await failing(['backup', '--prune'], settings, {exitCode: 2, code: 'CONFIG_INVALID'})
    expect(await keysAt(backups)).toEqual([])
  })

  test('does not prune after a backup that failed', async () => {
    const names = await keep([1, 40])
    const settings = run({...env, DATABASE_URL: server.url('nowhere')})
    await failing(['backup', '--prune'], settings, {exitCode: 4, code: 'DATABASE_NOT_FOUND'})
    expect((await backupsAt(backups)).whole).toEqual([...names].sort())
  })
})
