import {mkdtemp, readdir, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, expectNoSecret, failing, filesAt, secret, toolSettings} from './program.js'

let server: TestServer
let tools: Record<string, string>
let cwd: string
let to: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.query('create table orders (id int); insert into orders values (1), (2)', 'shop')
  await server.query(`create role clerk superuser login password '${secret}'`)
})
afterAll(() => server?.stop())
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'bad-usage-'))
  to = join(cwd, 'backups')
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

const settings = (more: Record<string, string | undefined> = {}) => ({
  env: {...tools, DATABASE_URL: server.url('shop', 'clerk', secret), BACKUP_DIR: to, ...more},
  cwd,
})

describe('a wrong call', () => {
  const calls: [call: string, code: string, hint: RegExp][] = [
    ['backup --joobs 3', 'OPTION_INVALID', /--jobs/],
    ['backup --jobs 0', 'OPTION_INVALID', /--jobs/],
    ['backup --jobs many', 'OPTION_INVALID', /--jobs/],
    ['backup --format tar', 'OPTION_INVALID', /custom.*plain.*directory/s],
    ['backup --compress zstd:99', 'OPTION_INVALID', /1 to 22/],
    ['backup --compress zstd:', 'OPTION_INVALID', /zstd/],
    ['backup --compress brotli', 'OPTION_INVALID', /brotli.*zstd/s],
    ['backup --compress lz4', 'COMPRESSION_NOT_SUPPORTED', /directory/],
    ['backup --content everything', 'OPTION_INVALID', /counts/],
    ['backup --lock-timeout 2x', 'OPTION_INVALID', /--lock-timeout 30s/],
    ['backup --lock-timeout soon', 'OPTION_INVALID', /--lock-timeout 30s/],
    ['backup --lock-timeout -1s', 'OPTION_INVALID', /--lock-timeout/],
    ['backup --lock-timeout 9999999d', 'OPTION_INVALID', /--lock-timeout/],
    ['backup --table no_such_table', 'NOTHING_SELECTED', /--table/],
    ['backup --config no-such-file.json', 'CONFIG_INVALID', /no-such-file/],
    ['backup surplus', 'OPTION_INVALID', /surplus/],
    ['backup --verify deep', 'OPTION_INVALID', /restore/],
    ['bakcup', 'OPTION_INVALID', /dbbak backup/],
    ['list --limit 0', 'OPTION_INVALID', /--limit/],
    ['verify', 'OPTION_INVALID', /--latest/],
    ['verify --latest --all', 'OPTION_INVALID', /--latest.*--all|--all.*--latest/s],
    ['verify --latest shop_2025', 'OPTION_INVALID', /--latest.*NAME/s],
    ['verify --all shop_2025', 'OPTION_INVALID', /--all.*NAME/s],
    ['verify --latest --level thorough', 'OPTION_INVALID', /checksum.*archive.*restore/s],
    ['verify --latest --scratch moon', 'OPTION_INVALID', /embedded/],
    ['restore --force', 'OPTION_INVALID', /--latest/],
    ['restore --at nonsense --force', 'OPTION_INVALID', /--at/],
    ['restore --at 2025-13-45 --force', 'OPTION_INVALID', /--at/],
    [
      'restore --latest --at 2025-01-15T12:00:00Z --force',
      'OPTION_INVALID',
      /--at.*--latest|--latest.*--at/s,
    ],
    ['restore --latest shop_2025 --force', 'OPTION_INVALID', /--latest.*NAME/s],
    ['restore --latest --no-safety-backup', 'OPTION_INVALID', /--force/],
    ['restore --latest --strategy magic --force', 'OPTION_INVALID', /in-place/],
    ['restore --latest --critical-table orders:few --force', 'OPTION_INVALID', /critical-table|orders:few/],
    ['restore no_such_backup --force', 'BACKUP_NOT_FOUND', /dbbak list/],
    ['restore --at 2001-01-01T00:00:00Z --force', 'BACKUP_NOT_FOUND', /dbbak list/],
    ['verify no_such_backup', 'BACKUP_NOT_FOUND', /dbbak list/],
  ]
  test.each(calls)('dbbak %s: %s', async (call, code, hint) => {
    const before = await dbbakJson(['backup'], settings()) // so that nothing but the call is wrong
    const files = await filesAt(to)
    const {error, output} = await failing(call.split(' '), settings(), {exitCode: 2, code})
    expect([error.message, ...error.suggestions].join('\n')).toMatch(hint)
    expectNoSecret(output)
    expect(await filesAt(to)).toEqual(files)
    expect(before.backup.content.rowCount).toBe(2)
  })

  test('that fails under --json prints the document and nothing else on stdout', async () => {
    const {exitCode, stdout, stderr} = await dbbak(['backup', '--json', '--bogus', secret], settings())
    expect(exitCode).toBe(2)
    expect(Object.keys(JSON.parse(stdout))).toEqual(['error'])
    expectNoSecret(stdout + stderr)
  })

  test('does not show secrets of a config file', async () => {
    await writeFile(
      join(cwd, 'dbbak.config.json'),
      JSON.stringify({databaseUrl: `postgresql://clerk:${secret}@h/d`, retentonDays: 3}),
    )
    const {error, output} = await failing(['backup'], settings({DATABASE_URL: undefined}), {
      exitCode: 2,
      code: 'CONFIG_INVALID',
    })
    expect(error.message).toContain('retentionDays')
    expectNoSecret(output)
  })
})

test('a restore that nobody can confirm is refused and changes nothing', async () => {
  await dbbakJson(['backup'], settings())
  await server.query('insert into orders values (3)', 'shop')
  const wanted = {exitCode: 2, code: 'CONFIRMATION_REQUIRED'}
  const {error, document} = await failing(['restore', '--latest'], settings(), wanted)
  expect([error.message, ...error.suggestions].join()).toContain('--force')
  expect(document.targetState).toBe('unchanged')
  expect(await server.query('select from orders', 'shop')).toHaveLength(3)
  await server.query('delete from orders where id = 3', 'shop')
})

describe('a test database', () => {
  test.each(['auto', 'checksum', 'archive', 'restore'].slice(0, 1).concat('restore'))(
    'that is production is refused, however it is spelt (--level %s)',
    async (level) => {
      await dbbakJson(['backup'], settings())
      const {host, port} = server.connection
      const spellings = [
        server.url('shop', 'clerk', secret),
        server.url('shop').replace('127.0.0.1', 'localhost'),
        `host=${host} port=${port} dbname=shop user=clerk password='${secret}'`,
        `${server.url('shop', 'clerk', secret)}?application_name=another&connect_timeout=9`,
      ]
      for (const TEST_DATABASE_URL of spellings) {
        const args = ['verify', '--latest', '--level', level]
        const {error, output} = await failing(args, settings({TEST_DATABASE_URL}), {
          exitCode: 2,
          code: 'TEST_DATABASE_IS_PRODUCTION',
        })
        expect(error.message).toContain('shop')
        expectNoSecret(output)
      }
      expect(await databases()).toEqual(['postgres', 'shop'])
      expect(await server.query('select from orders', 'shop')).toHaveLength(2)
    },
  )

  test('that is not set, where it was to be used, is asked for', async () => {
    await dbbakJson(['backup'], settings())
    const args = ['verify', '--latest', '--level', 'restore', '--scratch', 'url']
    const {error} = await failing(args, settings(), {exitCode: 11, code: 'VERIFICATION_COULD_NOT_RUN'})
    expect(error.message).toContain('TEST_DATABASE_URL')
  })

  test('that cannot be reached: the check could not run, and is not called passed', async () => {
    await dbbakJson(['backup'], settings())
    const TEST_DATABASE_URL = server.url('postgres', 'clerk', `not ${secret}`)
    const args = ['verify', '--latest', '--level', 'restore']
    const {document, output} = await failing(args, settings({TEST_DATABASE_URL}), {
      exitCode: 11,
      code: 'VERIFICATION_COULD_NOT_RUN',
    })
    expectNoSecret(output)
    expect(checks(document)).toMatchObject({
      'archive-readable': 'passed',
      'restore-test': 'could-not-run',
      'data-integrity': 'could-not-run',
    })
  })

  test('that is not wanted (--scratch none): a restore that was asked for could not run, and auto says how far it went', async () => {
    await dbbakJson(['backup'], settings())
    const args = ['verify', '--latest', '--scratch', 'none']
    const {document, output} = await failing([...args, '--level', 'restore'], settings(), {
      exitCode: 11,
      code: 'VERIFICATION_COULD_NOT_RUN',
    })
    expect(output).toMatch(/✖ Restoring into a scratch database +could not run after/)
    expect(document.verdict).toBe('could-not-run')
    expect(checks(document)).toMatchObject({
      'restore-test': 'could-not-run',
      'data-integrity': 'could-not-run',
    })
    const auto = await dbbakJson(args, settings())
    expect(auto).toMatchObject({verdict: 'passed', results: [{level: 'archive'}]})
    expect(checks(auto)).toMatchObject({'restore-test': 'could-not-run'})
    const [listed] = (await dbbakJson(['list'], settings())).backups
    expect(listed.verification).toMatchObject({level: 'archive', verdict: 'passed'})
    // What is known is not replaced by not knowing.
    await dbbakJson([...args, '--level', 'restore'], settings(), 11)
    const [still] = (await dbbakJson(['list'], settings())).backups
    expect(still.verification).toEqual(listed.verification)
  })

  test('that backup --verify wants and cannot have: the document tells of the backup all the same', async () => {
    const args = ['backup', '--verify', 'restore', '--scratch', 'none']
    const {document} = await failing(args, settings(), {exitCode: 11, code: 'VERIFICATION_COULD_NOT_RUN'})
    expect(document.verification).toMatchObject({verdict: 'could-not-run'})
    expect((await dbbakJson(['list'], settings())).backups[0].id).toBe(document.backup.id)
  })
})

test('verify --all goes on after a failure, reports every backup, and ends with the worst', async () => {
  const taken = []
  for (const format of ['custom', 'plain', 'directory'])
    taken.push((await dbbakJson(['backup', '--format', format], settings())).backup)
  const [first] = taken[1].files
  const bytes = Buffer.alloc(first.bytes, 'x')
  await rm(join(to, first.path))
  await writeFile(join(to, first.path), bytes)
  const options = settings({TEST_DATABASE_URL: server.url()})
  const {document, error} = await failing(['verify', '--all', '--level', 'restore'], options, {
    exitCode: 5,
    code: 'VERIFICATION_FAILED',
  })
  expect(error.message).toContain('CHECKSUM_MISMATCH')
  expect(error.message).toContain(taken[1].id)
  const verdicts = Object.fromEntries(
    document.results.map(({id, verdict}: {id: string; verdict: string}) => [id, verdict]),
  )
  expect(verdicts).toEqual({[taken[0].id]: 'passed', [taken[1].id]: 'failed', [taken[2].id]: 'passed'})
  expect(await databases()).toEqual(['postgres', 'shop'])
})

describe('while a restore has a database', () => {
  const wanted = (code: string) => ({exitCode: 9, code})

  test('a backup of it and another restore into it are refused; afterwards they work', async () => {
    await dbbakJson(['backup'], settings())
    const before = await filesAt(to)
    const client = new Client({connectionString: server.url('shop')})
    await client.connect()
    // The lock that a restore holds: see operation-lock.ts.
    await client.query('select pg_advisory_lock($1, 1)', [0x64626261])
    try {
      for (const format of ['custom', 'plain', 'directory'])
        await failing(['backup', '--format', format], settings(), wanted('RESTORE_IN_PROGRESS'))
      const restore = ['restore', '--latest', '--force', '--terminate-connections']
      const {document} = await failing(restore, settings(), wanted('OPERATION_IN_PROGRESS'))
      expect(document.targetState).toBe('unchanged')
      expect(await filesAt(to)).toEqual(before)
      expect(await server.query('select 1 as alive', 'shop')).toEqual([{alive: 1}])
      await client.query('select 1') // its session was left alone
    } finally {
      await client.end()
    }
    expect((await dbbak(['backup'], settings())).exitCode).toBe(0)
    expect((await dbbak(['restore', '--latest', '--force'], settings())).exitCode).toBe(0)
  })

  test('backups do not refuse each other, and a restore waits for neither', async () => {
    await dbbakJson(['backup'], settings())
    const client = new Client({connectionString: server.url('shop')})
    await client.connect()
    await client.query('select pg_advisory_lock_shared($1, 1)', [0x64626261])
    try {
      expect((await dbbak(['backup'], settings())).exitCode).toBe(0)
      await failing(['restore', '--latest', '--force'], settings(), wanted('OPERATION_IN_PROGRESS'))
    } finally {
      await client.end()
    }
    expect(await readdir(to)).toContain('.dbbak-work')
  })
})

const checks = ({results}: {results: {checks: {name: string; status: string}[]}[]}) =>
  Object.fromEntries(results[0].checks.map(({name, status}) => [name, status]))

async function databases(): Promise<string[]> {
  const rows = await server.query<{datname: string}>(
    'select datname from pg_database where not datistemplate order by 1',
  )
  return rows.map(({datname}) => datname)
}
