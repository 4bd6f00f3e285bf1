import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {createServer, type Server, type Socket} from 'node:net'
import {execFileSync} from 'node:child_process'
import {
  cp,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {status} from '../../src/library/status.js'
import {parsePrometheus} from '../report/prometheus-parser.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, expectNoSecret, failing, secret, toolSettings, type Json} from './program.js'

let server: TestServer
let tools: Record<string, string>
/** Two backups of one database, the newer one verified by a restore. */
let original: string
let names: string[]
let cwd: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.psql(
    `create table orders (id int primary key, note text);
     insert into orders select g, md5(g::text) from generate_series(1, 5000) g;
     create table customers (id int primary key);
     insert into customers select generate_series(1, 300);`,
    'shop',
  )
  original = await mkdtemp(join(tmpdir(), 'status-original-'))
  const env = {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: original}
  names = []
  for (let index = 0; index < 2; index++) {
    const {backup} = await dbbakJson(['backup'], {env})
    names.unshift(backup.files[0].path)
  }
  await dbbakJson(['verify', '--latest', '--level', 'restore'], {
    env: {...tools, TEST_DATABASE_URL: server.url('postgres'), BACKUP_DIR: original},
  })
})
afterAll(async () => {
  await server?.stop()
  await rm(original, {recursive: true, force: true})
})
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'status-'))
  await cp(original, join(cwd, 'backups'), {recursive: true})
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

const run = (env: Record<string, string> = {}) => ({cwd, env: {...tools, ...env}})
const codes = ({findings}: Json): string[] => findings.map(({code}: Json) => code)
const connected = () => run({DATABASE_URL: server.url('shop')})

describe('dbbak status', () => {
  test('where all is well says so in one green line, and exits with 0', async () => {
    const {exitCode, stdout, stderr} = await dbbak(['status'], connected())
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''})
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^DATABASE +DESTINATION +NEWEST +VERIFIED +SIZE +ROWS +BACKUPS +TOTAL +SIZES$/)
    expect(lines[1]).toMatch(/^shop +\S+backups +\d+ s ago +\d+ s ago +[\d.]+ kB +5,300 +2 +[\d.]+ kB +█+$/)
    expect(lines.at(-1)).toMatch(/^✔ All is well: 1 database, the newest backup \d+ s old\.$/)
    const coloured = await dbbak(['status'], run({FORCE_COLOR: '1'}))
    expect(coloured.stdout.trimEnd().split('\n').at(-1)).toContain('\u001b[32m✔ All is well')
  })

  test('gives the document of the contract', async () => {
    const document = await dbbakJson(['status'], connected())
    const facts = {
      id: names[0].replace('.dump.zst', ''),
      name: names[0],
      rows: 5300,
      ageSeconds: expect.any(Number),
    }
    expect(document).toMatchObject({
      healthy: true,
      findings: [],
      newest: {...facts, database: 'shop', destination: join(cwd, 'backups')},
      newestVerified: {...facts, verifiedAt: expect.any(String)},
      databases: [
        {
          name: 'shop',
          systemIdentifier: expect.stringMatching(/^\d+$/),
          destination: join(cwd, 'backups'),
          newest: facts,
          count: 2,
          totalBytes: expect.any(Number),
          history: [
            {rows: 5300, verification: null},
            {rows: 5300, verification: {level: 'restore', verdict: 'passed', at: expect.any(String)}},
          ],
        },
      ],
      destinations: [{destination: join(cwd, 'backups'), reachable: true}],
    })
  })

  test('that is unhealthy exits with 10, with its document and what to do', async () => {
    const {error, document} = await failing(['status', '--max-age', '0ms'], run(), {
      exitCode: 10,
      code: 'STATUS_UNHEALTHY',
    })
    expect(error.message).toBe('Not healthy: 1 error (BACKUP_TOO_OLD).')
    expect(document).toMatchObject({healthy: false, findings: [{code: 'BACKUP_TOO_OLD', severity: 'error'}]})
    const {stdout, stderr} = await dbbak(['status', '--max-age', '0ms'], run())
    expect(stdout).toMatch(/^✖ BACKUP_TOO_OLD The newest backup is \d+ s old; it should be at most 0 s\.$/m)
    expect(`${stdout}${stderr}`.match(/Not healthy/g)).toHaveLength(1)
    expect(stderr).toMatch(
      /^✖ Not healthy: 1 error \(BACKUP_TOO_OLD\)\.\n {2}Code: STATUS_UNHEALTHY \(exit 10\)\n$/,
    )
  })

  test('with warnings is healthy, unless --fail-on warning makes them count', async () => {
    await rm(join(cwd, 'backups', `${names[0]}.verification.json`))
    expect(codes(await dbbakJson(['status'], run()))).toEqual(['NEVER_VERIFIED'])
    const {document} = await failing(['status', '--fail-on', 'warning'], run(), {
      exitCode: 10,
      code: 'STATUS_UNHEALTHY',
    })
    expect(document.healthy).toBe(false)
  })

  test('without any backup is unhealthy', async () => {
    const document = await dbbakJson(['status', '--from', './nowhere'], run(), 10)
    expect(document).toMatchObject({newest: null, newestVerified: null, databases: []})
    expect(codes(document)).toEqual(['NO_BACKUP'])
    expect(await readdir(cwd)).toEqual(['backups'])
  })

  test('finds the loss of a table in the newest backup', async () => {
    await server.query('truncate customers', 'shop')
    try {
      await dbbakJson(['backup'], connected())
      const document = await dbbakJson(['status'], run(), 10)
      expect(document.findings).toMatchObject([
        {
          code: 'TABLE_EMPTIED',
          severity: 'error',
          message: expect.stringContaining('public.customers (300 rows)'),
        },
      ])
    } finally {
      await server.query('insert into customers select generate_series(1, 300)', 'shop')
    }
  })

  test('looks at each destination, and at those of the settings by itself', async () => {
    await writeFile(join(cwd, 'dbbak.config.json'), JSON.stringify({to: ['./backups', './offsite']}))
    const document = await dbbakJson(['status'], run(), 10)
    expect(document.findings).toMatchObject([{code: 'NO_BACKUP', destination: join(cwd, 'offsite')}])
    await dbbakJson(['copy', '--all', '--to', './offsite'], run())
    const both = await dbbakJson(['status', '--max-verified-age', '1d'], run(), 0)
    expect(both.databases.map(({destination, count}: Json) => [destination, count])).toEqual([
      [join(cwd, 'backups'), 2],
      [join(cwd, 'offsite'), 2],
    ])
    const one = await dbbakJson(['status', '--from', './offsite'], run())
    expect(one.databases).toHaveLength(1)
  })

  test('of a destination that cannot be read is unhealthy, and tells of the others', async () => {
    await writeFile(join(cwd, 'file'), '')
    const document = await dbbakJson(['status', '--from', './file', '--from', './backups'], run(), 10)
    expect(document.databases).toHaveLength(1)
    expect(document.findings).toMatchObject([
      {code: expect.stringMatching(/^DESTINATION_/), severity: 'error', destination: join(cwd, 'file')},
    ])
    expect(document.destinations.map(({reachable}: Json) => reachable)).toEqual([false, true])
  })

  test('of a bucket that does not answer does not take long, and shows no secret', async () => {
    const env = {
      AWS_ACCESS_KEY_ID: 'someone',
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_REGION: 'eu-central-1',
      AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9',
      DBBAK_RETRY_FOR: '1s',
    }
    const {exitCode, stdout, stderr} = await dbbak(['status', '--from', 's3://backups/shop'], run(env))
    expect(exitCode).toBe(10)
    expect(stdout).toMatch(/^✖ DESTINATION_UNREACHABLE /m)
    expectNoSecret(stdout + stderr)
  })

  test.each([
    [['--max-age', '26'], 'OPTION_INVALID'],
    [['--max-verified-age', 'soon'], 'OPTION_INVALID'],
    [['--max-size-change', '50'], 'OPTION_INVALID'],
    [['--max-size-change', '0%'], 'OPTION_INVALID'],
    [['--fail-on', 'all'], 'OPTION_INVALID'],
    [['--from', 'ftp://somewhere'], 'DESTINATION_INVALID'],
  ])('refuses %j', async (args, code) => {
    await failing(['status', ...args], run(), {exitCode: 2, code})
  })
})

describe('the database itself', () => {
  test('with a restore that was cut off is unhealthy', async () => {
    const journal = {
      formatVersion: 1,
      startedAt: '2026-01-01T00:00:00.000Z',
      backup: {id: 'shop_x', destination: '/mnt/backups'},
      safety: null,
      step: 'restoring',
      comment: null,
    }
    await server.query(
      `comment on database shop is 'A restore by dbbak is under way here or was cut off: the content is incomplete. Journal: ${JSON.stringify(journal)}'`,
    )
    try {
      const document = await dbbakJson(['status'], connected(), 10)
      expect(document.findings).toMatchObject([
        {
          code: 'RESTORE_CUT_OFF',
          severity: 'error',
          database: 'shop',
          suggestion: expect.stringContaining('dbbak restore shop_x'),
        },
      ])
    } finally {
      await server.query('comment on database shop is null')
    }
  })

  test('beside which a killed restore left databases is told of them', async () => {
    await server.createDatabase('shop_dbbak_0123abcd')
    try {
      const document = await dbbakJson(['status'], connected())
      expect(document.findings).toMatchObject([
        {
          code: 'RESTORE_LEFTOVERS',
          severity: 'warning',
          suggestion: expect.stringContaining('DROP DATABASE "shop_dbbak_0123abcd";'),
        },
      ])
    } finally {
      await server.dropDatabase('shop_dbbak_0123abcd')
    }
  })

  test('that cannot be reached is a warning, and no secret is shown', async () => {
    const url = `postgresql://someone:${encodeURIComponent(secret)}@127.0.0.1:9/shop`
    const {exitCode, stdout, stderr} = await dbbak(['status'], run({DATABASE_URL: url}))
    expect(exitCode).toBe(0)
    expect(stdout).toMatch(/^⚠ SERVER_UNREACHABLE Whether a restore was cut off is not known/m)
    expectNoSecret(stdout + stderr)
  })

  test('that takes the connection and says nothing does not hold it up', async () => {
    const sockets: Socket[] = []
    const mute: Server = createServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    const {port} = mute.address() as {port: number}
    try {
      const begin = performance.now()
      const document = await dbbakJson(
        ['status'],
        run({DATABASE_URL: `postgresql://a@127.0.0.1:${port}/shop`}),
      )
      expect(codes(document)).toEqual(['SERVER_UNREACHABLE'])
      expect(performance.now() - begin).toBeLessThan(25_000)
    } finally {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => mute.close(resolve))
    }
  })
})

describe('the reports', () => {
  test('are written whole, readable for others, also where it is unhealthy', async () => {
    const args = ['status', '--prometheus', 'dbbak.prom', '--html', 'page.html', '--max-age', '0ms']
    await dbbakJson(args, run(), 10)
    const metrics = parsePrometheus(await readFile(join(cwd, 'dbbak.prom'), 'utf8'))
    const healthy = () => metrics.find(({name}) => name === 'dbbak_status_healthy')?.samples
    expect(healthy()).toEqual([{labels: {}, value: 0}])
    expect(metrics.find(({name}) => name === 'dbbak_backups')?.samples).toMatchObject([
      {labels: {database: 'shop', destination: join(cwd, 'backups')}, value: 2},
    ])
    expect((await stat(join(cwd, 'dbbak.prom'))).mode & 0o777).toBe(0o644)
    expect(await readFile(join(cwd, 'page.html'), 'utf8')).toMatch(/^<!doctype html>[^]*<\/html>\n$/)
    await dbbakJson(['status', '--prometheus', 'dbbak.prom'], run())
    expect(await readFile(join(cwd, 'dbbak.prom'), 'utf8')).toMatch(/^dbbak_status_healthy 1$/m)
    expect((await readdir(cwd)).sort()).toEqual(['backups', 'dbbak.prom', 'page.html'])
  })

  test('that cannot be written make it unhealthy: an old one would say that all is well', async () => {
    const document = await dbbakJson(
      ['status', '--html', 'no/page.html', '--prometheus', 'a.prom'],
      run(),
      10,
    )
    expect(document.findings).toMatchObject([{code: 'REPORT_NOT_WRITTEN', severity: 'error'}])
    expect(await readFile(join(cwd, 'a.prom'), 'utf8')).toMatch(/^dbbak_status_healthy 0$/m)
  })

  test('replace the file that a link leads to, and leave the link', async () => {
    await mkdir(join(cwd, 'site'))
    await writeFile(join(cwd, 'site', 'page.html'), 'old')
    await symlink('site/page.html', join(cwd, 'page.html'))
    await symlink('site/new.prom', join(cwd, 'dangling.prom'))
    await dbbakJson(['status', '--html', 'page.html', '--prometheus', 'dangling.prom'], run())
    expect(await readlink(join(cwd, 'page.html'))).toBe('site/page.html')
    expect(await readFile(join(cwd, 'site', 'page.html'), 'utf8')).toMatch(/^<!doctype html>/)
    expect(await readFile(join(cwd, 'site', 'new.prom'), 'utf8')).toMatch(/^dbbak_status_healthy 1$/m)
    expect((await readdir(join(cwd, 'site'))).sort()).toEqual(['new.prom', 'page.html'])
  })

  test('are written straight into a pipe and to the standard output, also of a file that is added to', async () => {
    execFileSync('mkfifo', [join(cwd, 'pipe')])
    const reading = readFile(join(cwd, 'pipe'), 'utf8')
    await dbbakJson(['status', '--html', 'pipe', '--prometheus', '/dev/stderr'], run())
    expect(await reading).toMatch(/^<!doctype html>[^]*<\/html>\n$/)
    const {stdout} = await dbbak(['status', '--prometheus', '/dev/stdout'], run())
    expect(stdout).toMatch(/^# HELP [^]*^dbbak_status_healthy 1$[^]*^✔ All is well/m)
    const log = join(cwd, 'log')
    await writeFile(log, 'before\n')
    const file = await open(log, 'a')
    try {
      await dbbak(['status', '--prometheus', '/dev/stdout'], {...run(), stdout: file.fd})
    } finally {
      await file.close()
    }
    expect(await readFile(log, 'utf8')).toMatch(/^before\n# HELP [^]*✔ All is well[^\n]*\n$/)
  })

  test.each([
    [{html: 'backups'}, /--html takes a file, and backups is a folder/],
    [{prometheus: 'new/'}, /--prometheus takes a file, and new\/ is a folder/],
    [{html: 'a', prometheus: './a'}, /name the same file/],
    [{html: 'link', prometheus: 'a'}, /name the same file/],
  ])('are refused as %j, before anything is looked at', async (reports, message) => {
    await symlink('a', join(cwd, 'link'))
    const refused = {code: 'OPTION_INVALID', message: expect.stringMatching(message)}
    await expect(status({...reports, cwd, env: {}})).rejects.toMatchObject(refused)
  })
})
