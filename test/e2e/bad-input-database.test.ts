import {execFile} from 'node:child_process'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {promisify} from 'node:util'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {Client} from 'pg'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, expectNoSecret, failing, filesAt, secret, toolSettings} from './program.js'

let server: TestServer
let tools: Record<string, string>
let cwd: string
let to: string

beforeAll(async () => {
  server = await startServer({overTcp: true, settings: {max_locks_per_transaction: '64'}})
  tools = await toolSettings(server.major)
  await server.query(`create role clerk login password '${secret}'`)
})
afterAll(() => server?.stop())
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'bad-database-'))
  to = join(cwd, 'backups')
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

const settings = (url: string, more: Record<string, string> = {}) => ({
  env: {...tools, BACKUP_DIR: to, DATABASE_URL: url, TEST_DATABASE_URL: server.url(), ...more},
  cwd,
})

async function withDatabase(name: string, sql: string, work: (url: string) => Promise<void>) {
  const url = await server.createDatabase(name)
  try {
    await server.psql(sql, name)
    await work(url)
  } finally {
    await server.dropDatabase(name)
  }
}

describe('a database called', () => {
  const names = [
    'a=b "c"',
    '-Fc x',
    "it's",
    ' blanks  around ',
    'Größe 東京 🐘',
    'per%cent%20',
    'back\\slash',
    '$(touch hacked); `x` & | > y',
    'dbname=postgres',
    'postgresql://elsewhere/x',
    '../../etc/passwd',
    '.hidden',
    'line\nbreak',
    '€'.repeat(21),
  ]
  const formats = ['custom', 'plain', 'directory']
  const cases = names.map((name, index): [string, string] => [name, formats[index % formats.length]])
  const sql = 'create table orders (id int primary key); insert into orders values (1), (2)'

  test.each(cases)('%j is backed up, listed, verified, damaged and restored (%s)', async (name, format) => {
    await withDatabase(name, sql, async (url) => {
      const options = settings(url)
      const {backup} = await dbbakJson(['backup', '--format', format], options)
      expect(backup.database.name).toBe(name)
      const {backups} = await dbbakJson(['list'], options)
      expect(backups).toHaveLength(1)
      const [listed] = backups
      expect(listed).toMatchObject({database: name, tableCount: 1, rowCount: 2})
      expect(listed.name).toMatch(/^[\p{L}\p{N}_][\p{L}\p{N}._-]*$/u) // needs no quotes anywhere
      expect(listed.location).toBe(join(to, listed.name))
      const level = ['--level', 'restore', '--scratch', 'url']
      expect(await dbbakJson(['verify', listed.name, ...level], options)).toMatchObject({verdict: 'passed'})
      await server.query('delete from orders', name)
      const force = ['--force', '--verify', '--no-safety-backup']
      const restored = await dbbakJson(['restore', listed.name, ...force], options)
      expect(restored).toMatchObject({targetState: 'restored', target: {database: name}})
      expect(await server.query('select * from orders', name)).toHaveLength(2)
    })
  })
})

describe('a role that may not read everything', () => {
  const backupAs = (role: string, database: string) => settings(server.url(database, role, secret))

  test('fails by name, and the suggestion, typed as a superuser, lets the next backup through', async () => {
    const sql =
      'create table open (id int); grant select on open to clerk; create table "Closed Books" (id int)'
    await withDatabase('closed', sql, async () => {
      for (const [index, more] of [[], ['--content', 'none'], ['--format', 'directory']].entries()) {
        const args = ['backup', ...more]
        const {error, output} = await failing(args, backupAs('clerk', 'closed'), {
          exitCode: 4,
          code: 'PERMISSION_DENIED',
        })
        expectNoSecret(output)
        expect(error.message).toContain('clerk')
        expect(error.message).toContain('Closed Books')
        expect(await filesAt(to)).toEqual({})
        if (index < 2) continue
        const [grant] = /GRANT .* TO "clerk"/.exec(error.suggestions[0])!
        if (server.major >= 14) {
          await server.query(grant)
          expect((await dbbak(args, backupAs('clerk', 'closed'))).exitCode).toBe(0)
          await server.query('revoke pg_read_all_data from clerk')
        }
      }
    })
  })

  test('or may leave that part out', async () => {
    const sql =
      'create table open (id int); grant select on open to clerk; create schema closed; create table closed.books (id int)'
    await withDatabase('partly', sql, async () => {
      const {error} = await failing(['backup'], backupAs('clerk', 'partly'), {
        exitCode: 4,
        code: 'PERMISSION_DENIED',
      })
      expect(error.suggestions.join()).toContain('--exclude-schema NAME')
      const {backup} = await dbbakJson(['backup', '--exclude-schema', 'closed'], backupAs('clerk', 'partly'))
      expect(backup.content.tables).toMatchObject([{schema: 'public', name: 'open'}])
    })
  })

  test('because of row-level security is not given a backup of some of the rows', async () => {
    const sql = `create table letters (id int, owner text); insert into letters values (1, 'clerk'), (2, 'judge');
      alter table letters enable row level security; create policy own on letters using (owner = current_user);
      grant select on letters to clerk`
    await withDatabase('letters', sql, async () => {
      for (const more of [[], ['--content', 'none'], ['--format', 'plain'], ['--format', 'directory']]) {
        const args = ['backup', ...more]
        const {error} = await failing(args, backupAs('clerk', 'letters'), {exitCode: 4, code: 'ROW_SECURITY'})
        expect(error.message).toContain('table letters')
        expect(error.message).toContain('role clerk')
        expect(await filesAt(to)).toEqual({})
      }
      const {error} = await failing(['backup'], backupAs('clerk', 'letters'), {
        exitCode: 4,
        code: 'ROW_SECURITY',
      })
      await server.query(/ALTER ROLE .*$/.exec(error.suggestions[0])![0])
      const {backup} = await dbbakJson(['backup'], backupAs('clerk', 'letters'))
      expect(backup.content.rowCount).toBe(2)
      await server.query('alter role clerk nobypassrls')
    })
  })

  test('because it may not connect says what to grant', async () => {
    await withDatabase('private', 'revoke connect on database private from public', async () => {
      const {error} = await failing(['backup'], backupAs('clerk', 'private'), {
        exitCode: 4,
        code: 'PERMISSION_DENIED',
      })
      expect(error.suggestions.join()).toContain('GRANT CONNECT')
    })
  })
})

describe('a table that another session has locked', () => {
  const wanted = {exitCode: 4, code: 'LOCK_TIMEOUT'}

  async function whileLocked(database: string, work: (pid: number) => Promise<void>) {
    const url = new URL(server.url(database))
    const client = new Client({connectionString: url.href, application_name: 'a migration'})
    await client.connect()
    try {
      await client.query('begin; lock table "Orders" in access exclusive mode')
      const {rows} = await client.query('select pg_backend_pid() as pid')
      await work(rows[0].pid)
    } finally {
      await client.end()
    }
  }

  test.each([
    ['--content', 'counts'],
    ['--content', 'none'],
    ['--format', 'directory'],
  ])('ends a backup after --lock-timeout with the table and who has it (%s %s)', async (...more) => {
    await withDatabase('locked', 'create table "Orders" (id int)', async (url) => {
      const args = ['backup', '--lock-timeout', '1s', ...more]
      await whileLocked('locked', async (pid) => {
        const {error} = await failing(args, settings(url), wanted)
        expect(error.message).toContain('"Orders"')
        expect(error.message).toContain(String(pid))
        expect(error.message).toContain('a migration')
        expect(error.suggestions.at(-1)).toContain('--lock-timeout')
        expect(await filesAt(to)).toEqual({})
      })
      expect((await dbbak(args, settings(url))).exitCode).toBe(0)
    })
  })

  test('holds a backup up no longer than it is locked', async () => {
    await withDatabase('locked', 'create table "Orders" (id int)', async (url) => {
      let backup: ReturnType<typeof dbbak> | undefined
      await whileLocked('locked', async () => {
        backup = dbbak(['backup'], settings(url))
        await until(async () => {
          const waiting = await server.query(
            `select from pg_stat_activity where datname = 'locked' and wait_event_type = 'Lock'`,
          )
          return waiting.length > 0
        }, 'the backup waits')
        await delay(200)
      })
      expect((await backup!).exitCode).toBe(0)
    })
  })
})

test('a value too large to be dumped is named with its table and column, and the suggestion, typed, leaves its rows out', async () => {
  const sql = `create table "Big Files" (id int, name text, "the body" bytea);
    alter table "Big Files" alter column "the body" set storage external;
    insert into "Big Files" select 1, 'holiday.mov', half || half from (select decode(repeat('ab', 300 * 1024 * 1024), 'hex') as half) halves`
  await withDatabase('big', sql, async (url) => {
    for (const format of ['custom', 'directory']) {
      const args = ['backup', '--format', format]
      const {error} = await failing(args, settings(url), {exitCode: 4, code: 'VALUE_TOO_LARGE'})
      expect(error.message).toContain('"Big Files"')
      expect(error.message).toContain('the body')
      expect(error.message).not.toContain('name') // the other column is not to blame
      expect(await filesAt(to)).toEqual({})
      const [, command] = /dbbak (.*)$/.exec(error.suggestions.at(-1)!)!
      const {stdout} = await promisify(execFile)('sh', ['-c', `printf '%s\\n' ${command}`])
      const {backup} = await dbbakJson(stdout.trimEnd().split('\n'), settings(url))
      expect(backup.content.tables).toMatchObject([{name: 'Big Files', dataExcluded: true}])
      await rm(to, {recursive: true})
    }
  })
})

test('more tables than the server has locks for: the setting and a value that does are named before the dump starts', async () => {
  const small = await startServer({
    settings: {
      max_locks_per_transaction: '10',
      max_connections: '20',
      max_worker_processes: '0',
      autovacuum_max_workers: '1',
    },
  })
  try {
    await small.psql(
      `do $$ begin for n in 1..600 loop execute 'create table t' || n || ' (id int)'; if n % 50 = 0 then commit; end if; end loop; end $$`,
    )
    const {error, output} = await failing(['backup'], settings(small.url()), {
      exitCode: 4,
      code: 'LOCK_TABLE_TOO_SMALL',
    })
    expect(error.message).toContain('max_locks_per_transaction')
    expect(error.message).toContain('600')
    expect(output).not.toContain('Dumping')
    expect(await filesAt(to)).toEqual({})
    await small.query(/ALTER SYSTEM [^;]*/.exec(error.suggestions[0])![0])
    await small.kill('SIGINT')
    await small.start()
    expect((await dbbak(['backup'], settings(small.url()))).exitCode).toBe(0)
  } finally {
    await small.stop()
  }
})
