import {execFile, spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {existsSync} from 'node:fs'
import {mkdir, readdir} from 'node:fs/promises'
import {createConnection, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import type {Client} from 'pg'
import {toolsForDump, type ClientTools} from '../../src/postgres/client-tools.js'
import {connect} from '../../src/postgres/connect.js'
import {lendSession, type LentSession, type LendingOptions} from '../../src/postgres/lent-session.js'
import {destroySession} from '../../src/postgres/session-guard.js'
import {int32, message} from '../../src/postgres/wire.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'

let server: TestServer
let tools: ClientTools
let client: Client
let loan: LentSession | undefined

beforeAll(async () => {
  server = await startServer()
  tools = await toolsForDump(server.major, {env: process.env})
  await server.createDatabase('work')
})
afterAll(() => server.stop())
beforeEach(async () => {
  client = (await connect(await server.describe('work'))).client
})
afterEach(async () => {
  await loan?.abandon()
  loan = undefined
  destroySession(client)
  await server.query('drop table if exists t; drop procedure if exists p', 'work')
})

async function lend(options: Partial<LendingOptions> = {}): Promise<LentSession> {
  await client.query('begin')
  loan = await lendSession(client, {inTransaction: true, ...options})
  return loan
}

const environment = ({environment: variables}: LentSession) => ({
  PATH: process.env.PATH,
  PGUSER: 'whoever',
  PGDATABASE: 'whatever',
  ...variables,
})

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs psql over the lent session. */
async function psql(
  lent: LentSession,
  script: string | Iterable<string>,
  args: string[] = [],
): Promise<Ended> {
  const child = startPsql(lent, args)
  const result = {stdout: '', stderr: ''}
  for (const name of ['stdout', 'stderr'] as const)
    child[name]!.setEncoding('utf8').on('data', (text: string) => (result[name] += text))
  const closed = once(child, 'close')
  for (const part of typeof script === 'string' ? [script] : script)
    if (!child.stdin!.write(part)) await Promise.race([once(child.stdin!, 'drain'), closed])
  child.stdin!.end()
  const [code] = (await closed) as [number | null]
  return {code, ...result}
}

function startPsql(lent: LentSession, args: string[] = []): ChildProcess {
  const child = spawn(tools.psql, ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...args], {
    env: environment(lent),
  })
  child.stdin.on('error', () => {})
  return child
}

const backendPid = async () => (await client.query('select pg_backend_pid() as pid')).rows[0].pid as number

describe('a lent session', () => {
  test('is our own: same process, same transaction, and ours again afterwards', async () => {
    const pid = await backendPid()
    const lent = await lend()
    const {stdout, code} = await psql(
      lent,
      'create table t (a int); insert into t values (1); select pg_backend_pid()',
    )
    expect({stdout, code}).toEqual({stdout: `${pid}\n`, code: 0})
    await lent.takeBack()
    expect((await client.query('select a from t')).rows).toEqual([{a: 1}])
    await client.query('rollback')
    expect((await server.query(`select to_regclass('t') as t`, 'work'))[0]).toEqual({t: null})
  })

  test('tells a tool what the server would tell it', async () => {
    await client.query(`set datestyle = 'German'; set standard_conforming_strings = off`)
    const lent = await lend()
    const {stdout} = await psql(lent, '\\echo :SERVER_VERSION_NUM :ENCODING\nshow datestyle')
    const [row] = await server.query<{v: string}>(`select current_setting('server_version_num') as v`)
    expect(stdout).toBe(`${row.v} UTF8\nGerman, DMY\n`)
    await lent.takeBack()
  })

  test.each([
    'BEGIN; create table t (a int); COMMIT;',
    'create table t (a int); commit work; begin; END;',
    '/* x */ COMMIT; create table t (a int); COMMIT AND CHAIN;',
  ])('what a tool commits is not true before we commit: %s', async (script) => {
    const lent = await lend()
    expect(await psql(lent, script)).toMatchObject({code: 0, stderr: ''})
    await lent.takeBack()
    expect((await client.query('select * from t')).rows).toEqual([])
    expect((await server.query(`select to_regclass('t') as t`, 'work'))[0]).toEqual({t: null})
    await client.query('commit')
    expect((await server.query(`select to_regclass('t')::text as t`, 'work'))[0]).toEqual({t: 't'})
  })

  test('serves one tool after the other', async () => {
    const lent = await lend()
    await psql(lent, 'create table t (a int)')
    await psql(lent, 'insert into t values (1)')
    expect((await psql(lent, 'select a from t')).stdout).toBe('1\n')
    await lent.takeBack()
  })

  test('serves one tool at a time: the second is turned away, the first goes on', async () => {
    const lent = await lend()
    const first = startPsql(lent)
    first.stdin!.write(`select 'ready';\n`)
    await once(first.stdout!, 'data')

    const second = await psql(lent, 'select 1')
    expect(second.code).toBe(2)
    first.stdin!.end('create table t (a int);\n')
    expect(await once(first, 'close')).toEqual([0, null])
    await lent.takeBack()
    expect((await client.query('select * from t')).rows).toEqual([])
  })

  test('outside a transaction leaves BEGIN and COMMIT to the tool', async () => {
    loan = await lendSession(client, {inTransaction: false})
    expect(await psql(loan, 'begin; create table t (a int); commit')).toMatchObject({code: 0})
    await loan.takeBack()
    expect((await server.query(`select to_regclass('t')::text as t`, 'work'))[0]).toEqual({t: 't'})
  })

  test('answers a statement in the server’s place where it is told to', async () => {
    const asked: string[] = []
    const lent = await lend({
      standIn: (sql) => {
        asked.push(sql)
        return sql.startsWith('SET transaction_timeout') ? 'SET' : undefined
      },
    })
    const {code, stderr} = await psql(lent, 'SET transaction_timeout = 0; create table t (a int);')
    expect({code, stderr}).toEqual({code: 0, stderr: ''})
    expect(asked).toEqual(['SET transaction_timeout = 0;', 'create table t (a int);'])
    await lent.takeBack()
  })
})

describe('data', () => {
  test('comes through a COPY unharmed in both directions, also what looks like messages', async () => {
    const lent = await lend()
    const rows = 60_000
    const nasty = ['Q\\\\000X', 'COMMIT;', 'BEGIN', 'ünï ✓', '\\\\N', 'X']
    const lines = Array.from(
      {length: rows},
      (_, index) => `${index}\t${nasty[index % nasty.length]}${'y'.repeat(index % 200)}\n`,
    )
    const script = ['create table t (a int, b text);\ncopy t from stdin;\n', ...lines, '\\.\n']
    expect(await psql(lent, script)).toMatchObject({code: 0, stderr: ''})
    const out = await psql(lent, 'copy t to stdout')
    expect(out.stdout === lines.join('')).toBe(true)
    await lent.takeBack()
    expect((await client.query('select count(*) as n from t')).rows).toEqual([{n: String(rows)}])
  })

  test('a statement of 100 MB passes', async () => {
    const lent = await lend()
    const part = 'x'.repeat(1 << 20)
    function* script() {
      yield "create table t (a text);\ninsert into t values ('"
      for (let index = 0; index < 100; index++) yield part
      yield `');\n`
    }
    const {code, stderr} = await psql(lent, script())
    expect({code, stderr}).toEqual({code: 0, stderr: ''})
    await lent.takeBack()
    expect((await client.query('select length(a) as n from t')).rows).toEqual([{n: 100 << 20}])
  })

  test('errors and notices reach the tool', async () => {
    const lent = await lend()
    const {code, stderr} = await psql(lent, `do $$ begin raise notice 'hello'; end $$; select 1/0;`)
    expect(code).toBe(3)
    expect(stderr).toMatch(/hello[\s\S]*division by zero/)
    await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
  })
})

describe('a transaction that the tool tries to end', () => {
  const there = async () =>
    (await server.query<{t: string | null}>(`select to_regclass('t')::text as t`, 'work'))[0].t

  test.each(['ROLLBACK;', 'abort work;'])('%s: is cut off, and nothing after it is done', async (command) => {
    const lent = await lend()
    expect((await psql(lent, `${command}\ncreate table t (a int);`)).code).not.toBe(0)
    await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
    expect(lent.transactionEnded()).toBe(false)
    expect(await there()).toBeNull()
  })

  test('inside a longer statement: that is told, since what it changed may stay', async () => {
    const lent = await lend()
    // psql sends both at once where they are separated so.
    expect((await psql(lent, 'ROLLBACK\\; create table t (a int);\nselect 1;')).code).not.toBe(0)
    expect(lent.transactionEnded()).toBe(true)
    await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
    expect(await there()).toBe('t')
  })

  test('by an error in it: nothing stays, and that is known', async () => {
    const lent = await lend()
    await psql(lent, 'create table t (a int);\nROLLBACK\\; select 1/0;', ['-v', 'ON_ERROR_STOP=0'])
    expect(lent.transactionEnded()).toBe(false)
    await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
    expect(await there()).toBeNull()
  })

  test('a procedure that would commit is refused by the server', async () => {
    const lent = await lend()
    const script = 'create table t (a int); create procedure p() language plpgsql as $$ begin commit; end $$;'
    expect(await psql(lent, script)).toMatchObject({code: 0})
    expect((await psql(lent, 'call p()')).stderr).toMatch(/invalid transaction termination/)
    await lent.abandon()
    expect(await there()).toBeNull()
  })
})

describe('a tool that dies', () => {
  test.each(['SIGKILL', 'SIGTERM'] as const)(
    'in the middle of a COPY, by %s: everything is rolled back',
    async (signal) => {
      const pid = await backendPid()
      const lent = await lend()
      const child = startPsql(lent)
      child.stdin!.write(`create table t (a int);\nselect 'ready';\ncopy t from stdin;\n1\n2\n`)
      await once(child.stdout!, 'data')
      child.kill(signal)
      await once(child, 'close')
      await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
      await until(
        async () => (await server.query(`select from pg_stat_activity where pid = ${pid}`)).length === 0,
        'the server has let go',
      )
      expect(await server.query(`select to_regclass('t') as t`, 'work')).toEqual([{t: null}])
    },
  )

  test('takes its socket and its folder with it, and the lent session too', async () => {
    const lent = await lend()
    expect(existsSync(join(lent.environment.PGHOST, '.s.PGSQL.5432'))).toBe(true)
    await lent.abandon()
    expect(existsSync(lent.environment.PGHOST)).toBe(false)
    await expect(client.query('select 1')).rejects.toThrow()
  })

  test('or a server process that ends: the tool hears why, and is not left waiting', async () => {
    const pid = await backendPid()
    const lent = await lend()
    const running = psql(lent, 'select pg_sleep(60)')
    await until(
      async () =>
        (
          await server.query(
            `select from pg_stat_activity where pid = ${pid} and query ~ 'pg_sleep' and state = 'active'`,
          )
        ).length > 0,
      'the statement runs',
    )
    await server.query(`select pg_terminate_backend(${pid})`)
    const {code, stderr} = await running
    expect(code).toBe(2)
    expect(stderr).toMatch(/terminating connection due to administrator command/)
    await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
  })
})

describe('the private socket', () => {
  const visit = async (lent: LentSession): Promise<Socket> => {
    const socket = createConnection(join(lent.environment.PGHOST, '.s.PGSQL.5432'))
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  const closing = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve))
  const said = async (socket: Socket) => String((await once(socket, 'data'))[0])
  const request = (code: number, ...rest: Buffer[]) =>
    Buffer.concat([int32(8 + Buffer.concat(rest).length), int32(code), ...rest])
  const start = request(196_608, Buffer.from('user\0a\0\0'))

  test('lies in a folder that nobody else can enter', async () => {
    const lent = await lend()
    const {stdout} = await promisify(execFile)('stat', ['-c', '%a', lent.environment.PGHOST])
    expect(stdout.trim()).toBe('700')
  })

  test.each([
    ['TLS', 80_877_103],
    ['GSSAPI', 80_877_104],
  ])('refuses encryption by %s, and goes on without', async (_, code) => {
    const lent = await lend()
    const socket = await visit(lent)
    socket.write(request(code))
    expect(await said(socket)).toBe('N')
    socket.write(start)
    expect(await said(socket)).toMatch(/^R/)
    socket.write(message('X'))
    await once(socket.end(), 'close')
    await lent.takeBack()
  })

  test.each([
    ['a request to cancel', request(80_877_102, int32(1), int32(2))],
    ['an old protocol', request(131_072, Buffer.from('user\0\0'))],
    ['nonsense', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('turns %s away and stays usable', async (_, bytes) => {
    const lent = await lend()
    const socket = await visit(lent)
    socket.write(bytes)
    await closing(socket)
    expect((await psql(lent, 'select 1')).stdout).toBe('1\n')
    await lent.takeBack()
  })

  test('is closed to a visitor that says nothing when the lending ends', async () => {
    const lent = await lend()
    const socket = await visit(lent)
    const closed = closing(socket)
    socket.write(start.subarray(0, 5))
    await lent.takeBack()
    await closed
    expect((await client.query('select 1 as one')).rows).toEqual([{one: 1}])
  })

  test('is closed on one that does not speak the protocol after all, and the session with it', async () => {
    const lent = await lend()
    const socket = await visit(lent)
    socket.write(start)
    await said(socket)
    socket.write(Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]))
    await closing(socket)
    await expect(lent.takeBack()).rejects.toMatchObject({code: 'CONNECTION_LOST'})
  })

  test('finds a place where the temporary folder’s path is too long for a socket', async () => {
    const long = join(tmpdir(), 'long'.repeat(25))
    await mkdir(long)
    const lent = await lend({temporaryFolder: long})
    expect((await psql(lent, 'select 1')).stdout).toBe('1\n')
    await lent.takeBack()
    expect(existsSync(lent.environment.PGHOST)).toBe(false)
    expect(await readdir(long)).toEqual([])
  })

  test('that cannot be made leaves the session as it was', async () => {
    await client.query('begin')
    const missing = lendSession(client, {inTransaction: true, temporaryFolder: '/not/there'})
    await expect(missing).rejects.toThrow(/ENOENT/)
    expect((await client.query('select 1 as one')).rows).toEqual([{one: 1}])
  })
})
