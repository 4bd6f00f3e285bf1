import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {cp, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {startServer, type TestServer} from '../support/servers.js'
import {
  dbbak,
  dbbakJson,
  expectNoSecret,
  failing,
  filesAt,
  secret,
  startDbbak,
  toolSettings,
} from './program.js'

let server: TestServer
let tools: Record<string, string>
/** Backups of the three formats, as `backup` took them. */
let original: string
let names: string[]
let cwd: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.psql(
    `create table orders (id int primary key, note text);
     insert into orders select g, md5(g::text) from generate_series(1, 5000) g;`,
    'shop',
  )
  original = await mkdtemp(join(tmpdir(), 'copy-original-'))
  const env = {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: original}
  names = []
  for (const format of ['custom', 'plain', 'directory']) {
    const {backup} = await dbbakJson(['backup', '--format', format, '--globals'], {env})
    names.unshift(backup.files[0].path.split('/')[0])
  }
})
afterAll(async () => {
  await server?.stop()
  await rm(original, {recursive: true, force: true})
})
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'copy-'))
  await cp(original, join(cwd, 'backups'), {recursive: true})
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

/** BACKUP_DIR is ./backups when nothing says otherwise. */
const run = (env: Record<string, string> = {}) => ({cwd, env: {...tools, ...env}})

/** The content of every file but those of unfinished work. */
async function contents(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of Object.keys(await filesAt(join(cwd, folder))))
    if (!name.startsWith('.dbbak-work')) found[name] = await readFile(join(cwd, folder, name), 'base64')
  return found
}

describe('dbbak copy', () => {
  test('uploads, downloads and keeps two places equal: what was lost here is restored from there', async () => {
    const first = await dbbakJson(['copy', '--all', '--to', './offsite', '--to', './vault'], run())
    expect(first).toMatchObject({
      from: join(cwd, 'backups'),
      to: [join(cwd, 'offsite'), join(cwd, 'vault')],
      copies: names.flatMap((name) =>
        ['offsite', 'vault'].map((to) => ({
          name,
          id: name.replace(/\.(dump|sql|dir).*/, ''),
          to: join(cwd, to),
          status: 'copied',
          bytes: expect.any(Number),
          durationMs: expect.any(Number),
        })),
      ),
      bytes: expect.any(Number),
      durationMs: expect.any(Number),
    })
    expect(await contents('offsite')).toEqual(await contents('backups'))
    expect(await contents('vault')).toEqual(await contents('backups'))

    const before = await contents('backups')
    await rm(join(cwd, 'backups'), {recursive: true})
    await dbbakJson(['copy', '--since', '2d', '--from', './offsite', '--to', './backups'], run())
    expect(await contents('backups')).toEqual(before)

    await server.createDatabase('lost')
    const target = [
      '--database-url',
      server.url('lost'),
      '--from',
      './vault',
      '--no-safety-backup',
      '--force',
    ]
    await dbbakJson(['restore', '--latest', ...target], run())
    expect(await server.query('select count(*)::int from orders', 'lost')).toEqual([{count: 5000}])
    await server.dropDatabase('lost')
  })

  test('tells people what became of each backup, and how it went on', async () => {
    await dbbak(['copy', names[1], '--to', './offsite'], run())
    const {exitCode, stdout, stderr} = await dbbak(['copy', '--all', '--to', './offsite'], run())
    expect(exitCode).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^NAME +SIZE +STATE$/)
    expect(lines.slice(1, 4).map((line) => line.split(/ {2,}/))).toEqual([
      [names[0], expect.stringMatching(/kB$/), expect.stringMatching(/^copied in \d/)],
      [names[1], '-', 'skipped: it is there already'],
      [names[2], expect.stringMatching(/kB$/), expect.stringMatching(/^copied in \d/)],
    ])
    expect(lines.at(-1)).toMatch(
      new RegExp(`^✔ 2 copies made from ${cwd}/backups to ${cwd}/offsite: .* kB in .*\\. 1 skipped\\.$`),
    )
    expect(stderr).toMatch(new RegExp(`✔ Copying ${names[0].split('.')[0]} .* kB in`))
    expect(stderr).not.toContain(names[1].split('.')[0])
    expect((await dbbak(['copy', '--all', '--to', './offsite', '--quiet'], run())).stderr).toBe('')
  })

  test('names the targets where there are several', async () => {
    const {stdout} = await dbbak(['copy', '--latest', '--to', './offsite', '--to', './vault'], run())
    expect(stdout).toMatch(/^NAME +TO +SIZE +STATE$/m)
    expect(stdout).toMatch(new RegExp(`^${names[0]} +${cwd}/vault +.*copied in`, 'm'))
  })

  test('makes nothing in a dry run', async () => {
    const {exitCode, stdout} = await dbbak(['copy', '--all', '--to', './offsite', '--dry-run'], run())
    expect({exitCode, stdout}).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/A dry run: 3 copies would be made from .*, .* kB\.$/m),
    })
    expect(await readdir(cwd)).toEqual(['backups'])
  })

  test('verifies each copy at the target with --verify', async () => {
    const env = {TEST_DATABASE_URL: server.url()}
    const document = await dbbakJson(['copy', '--all', '--to', './offsite', '--verify', 'restore'], run(env))
    expect(document.verification).toMatchObject([{destination: join(cwd, 'offsite'), verdict: 'passed'}])
    const {backups} = await dbbakJson(['list', '--from', './offsite'], run())
    for (const {verification} of backups)
      expect(verification).toMatchObject({level: 'restore', verdict: 'passed'})
    const people = await dbbak(['copy', '--latest', '--to', './vault', '--verify', 'checksum'], run())
    expect(people.stdout).toMatch(/Checksum valid/)
  })

  test('could not verify: the copies are made, and the exit code is 11', async () => {
    const args = ['copy', '--latest', '--to', './offsite', '--verify', 'restore', '--scratch', 'none']
    const document = await dbbakJson(args, run(), 11)
    expect(document).toMatchObject({
      copies: [{status: 'copied'}],
      verification: [{verdict: 'could-not-run'}],
      error: {code: 'VERIFICATION_COULD_NOT_RUN'},
    })
    expect(await contents('offsite')).not.toEqual({})
  })
})

describe('what goes wrong', () => {
  test('one damaged backup: the rest is copied, exit code 5, and the document tells', async () => {
    const [broken] = (await readdir(join(cwd, 'backups'))).filter(
      (name) => /\.dump[^/]*$/.test(name) && !name.endsWith('.json'),
    )
    const file = join(cwd, 'backups', broken)
    const bytes = await readFile(file)
    bytes[bytes.length >> 1] ^= 4
    await writeFile(file, bytes)
    const {document} = await failing(['copy', '--all', '--to', './offsite'], run(), {
      exitCode: 5,
      code: 'CHECKSUM_MISMATCH',
    })
    const states = document.copies.map(({name, status}: {name: string; status: string}) => [name, status])
    expect(states).toEqual(names.map((name) => [name, name === broken ? 'failed' : 'skipped'])) // the second run of two
    expect(Object.keys(await contents('offsite')).filter((name) => name.startsWith(broken))).toEqual([])
  })

  test('a target that is no folder: exit code 8, the other target has all', async () => {
    await writeFile(join(cwd, 'file'), '')
    await failing(['copy', '--all', '--to', './file', '--to', './offsite'], run(), {
      exitCode: 8,
      code: 'DESTINATION_NOT_A_FOLDER',
    })
    expect(await contents('offsite')).toEqual(await contents('backups'))
  })

  test.each<[string, string[], string]>([
    ['no target', ['--latest'], 'OPTION_INVALID'],
    ['no backup', ['--to', './offsite'], 'OPTION_INVALID'],
    ['two ways', ['--latest', '--all', '--to', './offsite'], 'OPTION_INVALID'],
    ['a name and a way', ['shop', '--since', '7d', '--to', './offsite'], 'OPTION_INVALID'],
    ['the source as target', ['--latest', '--to', './backups'], 'OPTION_INVALID'],
    ['no time', ['--since', 'sometime', '--to', './offsite'], 'OPTION_INVALID'],
    ['an unknown backup', ['nothing', '--to', './offsite'], 'BACKUP_NOT_FOUND'],
    ['an unknown kind of target', ['--latest', '--to', 'ftp://nowhere/x'], 'DESTINATION_INVALID'],
  ])('%s: exit code 2, and nothing is made', async (_, args, code) => {
    await failing(['copy', ...args], run(), {exitCode: 2, code})
    expect(await readdir(cwd)).toEqual(['backups'])
  })

  test('no secret of the environment is shown', async () => {
    const env = {
      DATABASE_URL: `postgresql://app:${encodeURIComponent(secret)}@127.0.0.1:1/shop`,
      PGPASSWORD: secret,
    }
    for (const args of [['--all'], ['--all', '--json'], ['--all', '--verbose']]) {
      const {stdout, stderr} = await dbbak(['copy', ...args, '--to', './offsite'], run(env))
      expectNoSecret(stdout + stderr)
    }
  })
})

describe('a copy that is ended', () => {
  let many: string
  beforeAll(async () => {
    // Hundreds of files, each made durable: a copy of them takes its time.
    await server.createDatabase('many')
    await server.psql(
      `select format('create table t%s as select g, md5(g::text) from generate_series(1, 2000) g', n)
       from generate_series(1, 400) n \\gexec`,
      'many',
    )
    many = await mkdtemp(join(tmpdir(), 'copy-many-'))
    const env = {...tools, DATABASE_URL: server.url('many'), BACKUP_DIR: many}
    await dbbakJson(['backup', '--format', 'directory'], {env})
  })
  afterAll(() => rm(many, {recursive: true, force: true}))
  const fromMany = () => ['copy', '--all', '--from', many, '--to', './offsite']

  /** Starts one, and gives it a signal when it has stored some files. */
  async function endInTheMidst(signal: NodeJS.Signals, args: string[] = []) {
    const {child, ended} = startDbbak([...fromMany(), ...args], run())
    let isOver = false
    void ended.then(() => (isOver = true))
    while (!isOver && Object.keys(await contents('offsite')).length < 3) await delay(2)
    child.kill(signal)
    return ended
  }

  test.each([
    ['SIGINT', 130, 'INTERRUPTED'],
    ['SIGTERM', 143, 'TERMINATED'],
  ] as const)(
    'by %s ends at once, leaves nothing, and tells what became of it',
    async (signal, exitCode, code) => {
      const {stdout, ...end} = await endInTheMidst(signal, ['--json'])
      expect(end).toMatchObject({exitCode, signal: null})
      expect(JSON.parse(stdout)).toMatchObject({error: {code, exitCode}, copies: []})
      expect(await filesAt(join(cwd, 'offsite'))).toEqual({})
      expect((await dbbak(fromMany(), run())).exitCode).toBe(0)
      expect(Object.keys(await contents('offsite'))).toHaveLength(402)
    },
  )

  test('by kill -9 is no backup; the next finishes it, and sends again only what was missing', async () => {
    expect(await endInTheMidst('SIGKILL')).toMatchObject({signal: 'SIGKILL'})
    const left = await dbbakJson(['list', '--from', './offsite', '--incomplete'], run())
    expect(left).toMatchObject({backups: [], problems: []})
    expect(left.incomplete.length).toBeGreaterThanOrEqual(3)

    const {copies, bytes} = await dbbakJson(fromMany(), run())
    expect(copies).toMatchObject([{status: 'copied'}])
    const [{bytes: all}] = (await dbbakJson(['list', '--from', many], run())).backups
    expect(bytes).toBeGreaterThan(0)
    expect(bytes).toBeLessThan(all)
    const there = await dbbakJson(['list', '--from', './offsite', '--incomplete'], run())
    expect(there).toMatchObject({backups: [{bytes: all}], problems: [], incomplete: []})
    const verified = await dbbakJson(['verify', '--all', '--level', 'archive', '--from', './offsite'], run())
    expect(verified.verdict).toBe('passed')
  })

  test('two at once to one target: both end well, and the backup is whole', async () => {
    const ended = await Promise.all([1, 2].map(() => dbbakJson(fromMany(), run())))
    expect(ended.flatMap(({copies}) => copies.map(({status}: {status: string}) => status)).sort()).toEqual(
      expect.arrayContaining(['copied']),
    )
    const there = await dbbakJson(['list', '--from', './offsite', '--incomplete'], run())
    expect(there).toMatchObject({backups: [{}], problems: [], incomplete: []})
    expect(Object.keys(await contents('offsite'))).toHaveLength(402)
  })
})
