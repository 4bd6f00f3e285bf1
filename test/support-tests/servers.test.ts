import {execFile} from 'node:child_process'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {clientTools18} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {missingServer, startServer, type TestServer} from '../support/servers.js'

const tools = await clientTools18()
const run = promisify(execFile)

describe('a server for tests', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(async () => {
    await server.stop()
  })

  test.each(['plain', 'With "quotes", blanks/slashes?', 'ünïcode ✓', 'a=b', '100%41'])(
    'makes and drops a database called %j',
    async (name) => {
      const url = await server.createDatabase(name)
      expect(await server.query('select current_database() as name', name)).toEqual([{name}])
      expect(await server.psql('select current_database()', name)).toBe(`${name}\n`)
      expect((await server.describe(name)).database).toBe(name)
      expect(url).not.toBe(server.url())
      await server.dropDatabase(name)
      await expect(server.query('select 1', name)).rejects.toThrow('does not exist')
    },
  )

  test('gives each database without a name one of its own, with options', async () => {
    const urls = [
      await server.createDatabase(),
      await server.createDatabase(undefined, `encoding 'LATIN1' locale 'C' template template0`),
    ]
    expect(new Set(urls).size).toBe(2)
    const name = new URL(urls[1].replace('postgresql:', 'postgres:')).pathname.slice(1)
    expect(await server.query('show server_encoding', name)).toEqual([{server_encoding: 'LATIN1'}])
  })

  test('runs a script up to its first error', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'psql-'))
    const file = join(folder, 'script.sql')
    await writeFile(
      file,
      'create table here (a int);\ncopy here from stdin;\n1\n2\n\\.\nselect sum(a) from here;\nselect nothing;\ncreate table not_here ();\n',
    )
    await expect(server.psql({file})).rejects.toThrow('column "nothing" does not exist')
    await rm(folder, {recursive: true})
    expect(await server.query(`select sum(a)::int, to_regclass('not_here') as other from here`)).toEqual([
      {sum: 3, other: null},
    ])
  })

  test('can be killed, and comes back with what was committed', async () => {
    await server.query('create table kept as select 1 as one')
    await server.kill('SIGKILL')
    await expect(server.query('select 1')).rejects.toThrow()
    await server.start()
    expect(await server.query('select one from kept')).toEqual([{one: 1}])
  })

  test('takes settings, and users with passwords', async () => {
    const other = await startServer({
      overTcp: true,
      settings: {max_locks_per_transaction: '64', wal_level: 'logical', max_wal_senders: '4'},
    })
    try {
      expect(other.connection.host).toBe('127.0.0.1')
      expect(await other.query('show max_locks_per_transaction')).toEqual([{max_locks_per_transaction: '64'}])
      await other.query(`create role "o'p:q" login password 'p@/:?#w'`)
      expect(other.url('postgres', "o'p:q", 'p@/:?#w')).toContain('p%40%2F%3A%3F%23w')
    } finally {
      await other.stop()
    }
  })
})

needs('pg18-tools', tools.missing)('the client tools of PostgreSQL 18', () => {
  test('are there and run', async () => {
    for (const tool of ['pg_dump', 'pg_dumpall', 'pg_restore', 'psql']) {
      const {stdout} = await run(join(tools.folder as string, tool), ['--version'])
      expect(stdout).toContain('(PostgreSQL) 18.0')
    }
  })
})

for (const major of [14, 15, 16, 17, 18]) {
  const missing = await missingServer(major)
  needs('embedded-server', missing ?? tools.missing)(`PostgreSQL ${major}`, () => {
    test('starts, and is dumped by the tools of PostgreSQL 18', async () => {
      const server = await startServer({major})
      try {
        expect(server.major).toBe(major)
        await server.query('create table seen (a int); insert into seen values (41)')
        const env = server.connection.toolEnvironment(process.env)
        const {stdout} = await run(join(tools.folder as string, 'pg_dump'), [], {env})
        expect(stdout).toContain('COPY public.seen (a) FROM stdin;\n41\n')
      } finally {
        await server.stop()
      }
    })
  })
}
