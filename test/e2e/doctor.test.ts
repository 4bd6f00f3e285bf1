import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'
import {
  dbbak,
  dbbakJson,
  expectNoSecret,
  inFolder,
  secret,
  secretArgumentsDuring,
  startDbbak,
  toolSettings,
  type Json,
} from './program.js'

let server: TestServer
let home: string
let env: Record<string, string>
beforeAll(async () => {
  server = await startServer({overTcp: true})
  home = await mkdtemp(join(tmpdir(), 'doctor-'))
  await server.createDatabase('shop')
  await server.query(
    `create table orders (id int); create role keeper login superuser password '${secret}'`,
    'shop',
  )
  const tools = await toolSettings(server.major)
  env = {...tools, DATABASE_URL: server.url('shop', 'keeper', secret), BACKUP_DIR: join(home, 'backups')}
  await mkdir(env.BACKUP_DIR)
})
afterAll(async () => {
  await server?.stop()
  if (home) await rm(home, {recursive: true})
})

/** The checks of one name. */
const checksOf = ({checks}: Json, name: string): Json[] => checks.filter((check: Json) => check.name === name)

describe('where all is fine', () => {
  test('every check is told, and the exit code is 0', async () => {
    const TEST_DATABASE_URL = server.url('postgres', 'keeper', secret)
    const {exitCode, stdout, stderr} = await dbbak(['doctor'], {env: {...env, TEST_DATABASE_URL}})
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''})
    const names = ['Node.js', 'client tools', 'database', 'lock table', 'tools for this server']
    for (const name of [...names, 'test database', 'destination'])
      expect(stdout).toMatch(new RegExp(`^✔ ${name.replace('.', '\\.')} +\\S`, 'm'))
    expect(stdout).not.toMatch(/[✖⚠]/)

    const diagnosis = await dbbakJson(['doctor'], {env: {...env, TEST_DATABASE_URL}})
    expect(diagnosis).toMatchObject({healthy: true})
    expect(checksOf(diagnosis, 'database')[0].message).toMatch(
      new RegExp(`^keeper@\\S+/shop: PostgreSQL ${server.major}\\b.* role keeper \\(superuser\\)$`),
    )
    expect(checksOf(diagnosis, 'lock table')[0].message).toMatch(/^1 table; .* room for \d+ locks$/)
    expect(checksOf(diagnosis, 'destination')[0].message).toContain(`${env.BACKUP_DIR}: written, read back`)
  })

  test('a test database that is not set is no trouble', async () => {
    const diagnosis = await dbbakJson(['doctor'], {env})
    expect(checksOf(diagnosis, 'test database')).toEqual([
      {
        name: 'test database',
        status: expect.stringMatching(/^(not-set|warning)$/),
        message: expect.stringContaining('TEST_DATABASE_URL is not set'),
        ...(diagnosis.checks.some(({fix}: Json) => fix)
          ? {fix: expect.stringContaining('--scratch embedded')}
          : {}),
      },
    ])
  })

  test('nothing is left in the destination, and what was there is as it was', async () => {
    await inFolder(async (folder) => {
      await dbbakJson(['backup', '--to', folder], {env})
      const state = async () => {
        // The empty work folder of a destination stays from one command to the next.
        const names = (await readdir(folder, {recursive: true}))
          .filter((name) => name !== '.dbbak-work')
          .sort()
        return Promise.all(
          names.map(async (name) => ({name, changedMs: (await stat(join(folder, name))).mtimeMs})),
        )
      }
      const before = await state()
      expect(before).toHaveLength(2)
      await dbbakJson(['doctor', '--to', folder], {env})
      expect(await state()).toEqual(before)
      const {incomplete} = await dbbakJson(['list', '--from', folder, '--incomplete'], {env})
      expect(incomplete).toEqual([])
    })
  })
})

describe('a destination that is named', () => {
  const promises = ['read after write', 'write once', 'stopped write', 'large object', 'latency', 'removal']

  test('is tried out: a line for each promise, for people and for scripts', async () => {
    await inFolder(async (folder) => {
      const {exitCode, stdout} = await dbbak(['doctor', '--to', folder], {env})
      expect(exitCode).toBe(0)
      expect(stdout).toContain(`${folder}: tried out; 0 backups`)
      for (const name of promises) expect(stdout).toMatch(new RegExp(`^✔ ${name} +\\S`, 'm'))
      const diagnosis = await dbbakJson(['doctor', '--to', folder], {env})
      for (const name of promises) expect(checksOf(diagnosis, name)).toMatchObject([{status: 'ok'}])
      await dbbakJson(['doctor'], {env: {...env, BACKUP_DIR: folder}})
      expect(await readdir(folder)).toEqual([])
    })
  })

  test('is not tried out where it is only configured', async () => {
    const diagnosis = await dbbakJson(['doctor'], {env})
    for (const name of promises) expect(checksOf(diagnosis, name)).toEqual([])
  })

  test('is left as it was by a Ctrl-C amid the trial', async () => {
    await inFolder(async (folder) => {
      const running = startDbbak(['doctor', '--to', folder], {env})
      const begun = async () => (await readdir(folder)).some((name) => name.startsWith('dbbak-doctor-'))
      await until(begun, 'the trial has begun')
      running.child.kill('SIGINT')
      expect((await running.ended).exitCode).toBe(130)
      expect(await readdir(folder)).toEqual([])
    })
  })

  test('and is not there is not made, and is no trouble where the first backup can make it', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'not', 'there')
      for (const [args, more] of [
        [['--to', path], {}],
        [[], {BACKUP_DIR: path}],
        [['--to', `file://${path}`], {}],
      ] as const) {
        const diagnosis = await dbbakJson(['doctor', ...args], {env: {...env, ...more}})
        expect(checksOf(diagnosis, 'destination')).toEqual([
          {
            name: 'destination',
            status: 'ok',
            message: `${path} is not there yet: the first backup makes it, in ${folder}`,
          },
        ])
      }
      expect(await readdir(folder)).toEqual([])
    })
  })
})

describe('the settings', () => {
  test('are all told with where they come from', async () => {
    await inFolder(async (folder) => {
      const config = join(folder, 'dbbak.config.yaml')
      await writeFile(config, 'format: plain\nbackupDir: ./elsewhere\nlabel: from the file\n')
      const args = ['doctor', '--config', config, '--to', folder]
      const {settings} = await dbbakJson(args, {env: {...env, RETENTION_DAYS: '7'}})
      const told = Object.fromEntries(
        settings.map(({name, value, source}: Json) => [name, `${value} (${source})`]),
      )
      expect(told).toMatchObject({
        databaseUrl: expect.stringMatching(/^postgresql:\/\/keeper:\*\*\*@.*\/shop \(DATABASE_URL\)$/),
        testDatabaseUrl: '- (not set)',
        backupDir: `${env.BACKUP_DIR} (BACKUP_DIR)`,
        destinations: `${folder} (--to)`,
        retentionDays: '7 (RETENTION_DAYS)',
        format: 'plain (dbbak.config.yaml)',
        label: 'from the file (dbbak.config.yaml)',
        content: 'counts (default)',
        configFile: `${config} (--config)`,
      })
    })
  })

  test('and all else that is printed hold no password, nor do the arguments of what is started', async () => {
    const bad = new URL(env.DATABASE_URL)
    bad.port = '1'
    const outputs: string[] = []
    const seen = await secretArgumentsDuring(async () => {
      for (const url of [env.DATABASE_URL, bad.href])
        for (const more of [['--verbose'], ['--json']]) {
          const changed = {DATABASE_URL: url, TEST_DATABASE_URL: url}
          const {stdout, stderr} = await dbbak(['doctor', ...more], {env: {...env, ...changed}})
          outputs.push(stdout + stderr)
        }
    })
    expect(seen).toEqual([])
    for (const output of outputs) {
      expect(output).toContain('keeper')
      expectNoSecret(output)
    }
  })
})

describe('a trouble ends with 3 and says what mends it:', () => {
  /** Runs doctor, for people and for scripts, and gives the checks that found an error. */
  async function troubles(changed: Record<string, string>, args: string[] = []): Promise<Json[]> {
    const settings = {env: {...env, ...changed}}
    const diagnosis = await dbbakJson(['doctor', ...args], settings, 3)
    const errors = diagnosis.checks.filter(({status}: Json) => status === 'error')
    expect(diagnosis).toMatchObject({healthy: false, error: {code: 'PREFLIGHT_FAILED', exitCode: 3}})
    const {exitCode, stdout, stderr} = await dbbak(['doctor', ...args], settings)
    expect({exitCode, stderr}).toEqual({
      exitCode: 3,
      stderr: expect.stringContaining('Code: PREFLIGHT_FAILED'),
    })
    for (const {name, message, fix} of errors) {
      expect(stdout).toMatch(new RegExp(`^✖ ${name} `, 'm'))
      expect({name, message, fix}).toEqual({
        name,
        message: expect.stringMatching(/^[A-Z_]+: .|room for \d+ locks/),
        fix: expect.stringMatching(/\S/),
      })
      expect(stdout).toContain(fix)
      expect(diagnosis.error.suggestions).toContain(fix)
    }
    return errors
  }

  const only = (name: string, code: string, fix: string | RegExp) => [
    expect.objectContaining({
      name,
      message: expect.stringContaining(code),
      fix: expect.stringMatching(fix),
    }),
  ]

  test('no database is named', async () => {
    expect(await troubles({DATABASE_URL: ''})).toEqual(
      only('database', 'DATABASE_URL_NOT_SET', /export DATABASE_URL=/),
    )
  })

  test('a URL that is none', async () => {
    expect(await troubles({DATABASE_URL: 'postgresql://h:port/shop'})).toEqual(
      only('database', 'DATABASE_URL_INVALID', /\S/),
    )
  })

  test('a server that cannot be reached', async () => {
    const DATABASE_URL = 'postgresql://keeper@127.0.0.1:1/shop'
    expect(await troubles({DATABASE_URL})).toEqual(
      only('database', 'SERVER_UNREACHABLE', /pg_isready -h 127\.0\.0\.1 -p 1/),
    )
  })

  test('a wrong password', async () => {
    const DATABASE_URL = server.url('shop', 'keeper', 'wrong')
    expect(await troubles({DATABASE_URL})).toEqual(only('database', 'AUTHENTICATION_FAILED', /password/i))
  })

  test('a database that is not there', async () => {
    const DATABASE_URL = server.url('ship', 'keeper', secret)
    expect(await troubles({DATABASE_URL})).toEqual(only('database', 'DATABASE_NOT_FOUND', /\S/))
  })

  test('a test database that is production itself', async () => {
    const TEST_DATABASE_URL = server.url('shop')
    expect(await troubles({TEST_DATABASE_URL})).toEqual(
      only('test database', 'TEST_DATABASE_IS_PRODUCTION', /another (server|database)/),
    )
  })

  test('a test database that cannot be reached, beside a database that can', async () => {
    const TEST_DATABASE_URL = 'postgresql://keeper@127.0.0.1:1/test'
    expect(await troubles({TEST_DATABASE_URL})).toEqual(
      only('test database', 'SERVER_UNREACHABLE', /pg_isready/),
    )
  })

  test('no client tools', async () => {
    const errors = await troubles({DBBAK_PG_BIN: home})
    expect(errors.map(({name}) => name)).toEqual(['client tools', 'tools for this server'])
    for (const {message} of errors) expect(message).toMatch(/^CLIENT_TOOLS_NOT_FOUND: /)
    expect(errors[0].fix).toMatch(/postgresql/i)
  })

  test('client tools that are older than the server', async () => {
    await inFolder(async (folder) => {
      for (const tool of ['pg_dump', 'pg_restore', 'psql'])
        await writeFile(join(folder, tool), `#!/bin/sh\necho '${tool} (PostgreSQL) 10.23'\n`, {mode: 0o755})
      expect(await troubles({DBBAK_PG_BIN: folder})).toEqual(
        only('tools for this server', 'CLIENT_TOOLS_TOO_OLD', /\S/),
      )
    })
  })

  test('a destination that is a file', async () => {
    const file = join(home, 'file')
    await writeFile(file, 'precious')
    expect(await troubles({BACKUP_DIR: file})).toEqual(only('destination', 'DESTINATION_NOT_A_FOLDER', /\S/))
  })

  const asNobody = process.getuid?.() === 0 ? {user: {uid: 65534, gid: 65534}} : {}
  test('a destination that may not be written', async () => {
    const folder = join(home, 'read-only')
    await mkdir(folder, {mode: 0o555})
    await chmod(home, 0o755)
    const settings = {env: {...env, BACKUP_DIR: folder}, cwd: '/', ...asNobody}
    const diagnosis = await dbbakJson(['doctor'], settings, 3)
    expect(diagnosis.checks.filter(({status}: Json) => status === 'error')).toEqual(
      only('destination', 'DESTINATION_READ_ONLY', /\S/),
    )
    expect(await readdir(folder)).toEqual([])
  })

  test('a destination that is not there and cannot be made', async () => {
    const parent = join(home, 'read-only-parent')
    await mkdir(parent, {mode: 0o555})
    await chmod(home, 0o755)
    for (const [args, BACKUP_DIR] of [
      [[], join(parent, 'new')],
      [['--to', join(parent, 'new')], env.BACKUP_DIR],
    ] as const) {
      const settings = {env: {...env, BACKUP_DIR}, cwd: '/', ...asNobody}
      const diagnosis = await dbbakJson(['doctor', ...args], settings, 3)
      expect(diagnosis.checks.filter(({status}: Json) => status === 'error')).toEqual(
        only('destination', 'DESTINATION_READ_ONLY', `ls -ld ${parent}`),
      )
    }
    expect(await readdir(parent)).toEqual([])
  })

  test('several troubles are told at once, and other destinations are still tried', async () => {
    const errors = await troubles({DATABASE_URL: ''}, ['--to', '/dev/null', '--to', home])
    expect(errors.map(({name}) => name)).toEqual(['database', 'destination'])
    const diagnosis = await dbbakJson(['doctor', '--to', '/dev/null', '--to', home], {env}, 3)
    expect(checksOf(diagnosis, 'destination').map(({status}) => status)).toEqual(['error', 'ok'])
  })

  test('more tables than the server has locks for', async () => {
    const small = await startServer({
      major: server.major,
      settings: {max_locks_per_transaction: '10', max_connections: '20'},
    })
    try {
      const url = await small.createDatabase('many')
      for (let batch = 0; batch < 10; batch++)
        await small.query(
          `do $$ begin for i in 1..100 loop execute format('create table t%s_%s ()', ${batch}, i); end loop; end $$`,
          'many',
        )
      const [trouble, ...others] = await troubles({DATABASE_URL: url})
      expect(others).toEqual([])
      expect(trouble).toMatchObject({
        name: 'lock table',
        message: expect.stringMatching(/^1000 tables, .*max_locks_per_transaction/),
        fix: expect.stringMatching(/ALTER SYSTEM SET max_locks_per_transaction = \d+/),
      })
    } finally {
      await small.stop()
    }
  })
})

test('a damaged manifest is a warning, and stops no backup', async () => {
  await inFolder(async (folder) => {
    await writeFile(join(folder, 'shop_2025-01-15T14-30-00-000Z.dump.zst.metadata.json'), '{')
    const diagnosis = await dbbakJson(['doctor', '--to', folder], {env})
    expect(checksOf(diagnosis, 'manifest')).toEqual([
      {
        name: 'manifest',
        status: 'warning',
        message: expect.stringMatching(/^shop_2025.*: MANIFEST_INVALID: /),
        fix: expect.stringContaining('dbbak verify --all'),
      },
    ])
  })
})
