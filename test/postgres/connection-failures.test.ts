import {afterAll, afterEach, beforeAll, describe, expect, test} from '@jest/globals'
import {execFile} from 'node:child_process'
import {mkdtemp, rm} from 'node:fs/promises'
import {createServer, type AddressInfo, type Server, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {connect} from '../../src/postgres/connect.js'
import {describeConnection, type ConnectionDescription} from '../../src/postgres/connection.js'
import {DbbakError} from '../../src/support/errors.js'
import {
  passwordOf,
  plainEnvironment,
  startConnectionServer,
  toolFolder,
  type ConnectionServer,
} from './connection-server.js'

let up: ConnectionServer
const fakes: {server: Server; sockets: Set<Socket>}[] = []

beforeAll(async () => {
  up = await startConnectionServer()
})
afterAll(async () => {
  await up.stop()
})
afterEach(async () => {
  for (const {server, sockets} of fakes.splice(0)) {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
})

const described = (text: string, env: Record<string, string> = {}): Promise<ConnectionDescription> =>
  describeConnection(text, plainEnvironment(env), 'DATABASE_URL')

const url = (role: string, {password = passwordOf(role), database = 'postgres', query = ''} = {}): string =>
  `postgresql://${role}:${password}@${up.host}:${up.port}/${database}?${query}`

/** A server that is none: it does with a connection what it is told. @returns its port */
async function fakeServer(onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  fakes.push({server, sockets})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function closedPort(): Promise<number> {
  const port = await fakeServer(() => {})
  const {server} = fakes.pop()!
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function failure(text: string, options: Parameters<typeof connect>[1] = {}): Promise<DbbakError> {
  const error: unknown = await connect(await described(text), options).then(
    async ({client}) => {
      await client.end()
      return new Error('It connected.')
    },
    (caught: unknown) => caught,
  )
  if (!(error instanceof DbbakError)) throw error
  return error
}

describe('a server that cannot be reached', () => {
  test('a refused port', async () => {
    const port = await closedPort()
    const error = await failure(`postgres://app:hush-hush@127.0.0.1:${port}/shop`)
    expect(error).toMatchObject({code: 'SERVER_UNREACHABLE', details: {host: '127.0.0.1', port}})
    expect(error.message).toBe(
      `app@127.0.0.1:${port}/shop cannot be reached: the connection was refused (ECONNREFUSED).`,
    )
    expect(error.suggestions.join()).toContain(`pg_isready -h 127.0.0.1 -p ${port}`)
  })

  test('a host that does not exist', async () => {
    const error = await failure('postgres://app@nowhere.invalid/shop')
    expect(error.code).toBe('SERVER_UNREACHABLE')
    expect(error.message).toMatch(/ENOTFOUND|EAI_AGAIN/)
  })

  test('a socket that does not exist', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dbbak-socket-'))
    const error = await failure(`postgres://app@/shop?host=${folder}`)
    expect(error).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining('no server socket'),
    })
    expect(error.suggestions.join()).toContain(`ls -la ${folder}`)
    await rm(folder, {recursive: true})
  })

  test.each(['disable', 'prefer', 'require'])(
    'one that accepts and never answers, sslmode=%s',
    async (mode) => {
      const port = await fakeServer(() => {})
      const error = await failure(`postgres://app@127.0.0.1:${port}/shop?sslmode=${mode}`, {
        connectTimeoutMs: 300,
      })
      expect(error).toMatchObject({
        code: 'SERVER_UNREACHABLE',
        message: expect.stringContaining('no answer in time'),
      })
    },
  )

  test('connect_timeout is heeded by pg and by the client tools; without it there is a limit too', async () => {
    const port = await fakeServer(() => {})
    const hanging = await described(`postgres://app@127.0.0.1:${port}/shop?connect_timeout=2`)
    expect(await failure(`postgres://app@127.0.0.1:${port}/shop?connect_timeout=2`)).toMatchObject({
      code: 'SERVER_UNREACHABLE',
    })
    const psql = promisify(execFile)(join(await toolFolder(), 'psql'), ['-Xwc', 'select 1'], {
      env: hanging.toolEnvironment(process.env),
    })
    await expect(psql).rejects.toThrow(/timeout expired/)
    expect((await described('postgres://h/d')).toolEnvironment({}).PGCONNECT_TIMEOUT).toBe('30')
    expect((await described('postgres://h/d')).connectTimeoutMs).toBe(30_000)
    expect((await described('postgres://h/d?connect_timeout=0')).connectTimeoutMs).toBe(0)
  })

  test('one that closes the connection', async () => {
    const port = await fakeServer((socket) => socket.end())
    const error = await failure(`postgres://app@127.0.0.1:${port}/shop?sslmode=disable`)
    expect(error).toMatchObject({code: 'SERVER_UNREACHABLE', message: expect.stringContaining('was closed')})
  })

  test('the next host is tried, and the description names the one that was reached', async () => {
    const [refusing, silent] = [await closedPort(), await fakeServer(() => {})]
    const text = `postgres://app:${passwordOf('app')}@127.0.0.1:${refusing},127.0.0.1:${silent},${up.host}:${up.port}/postgres`
    const {client, description} = await connect(await described(text), {connectTimeoutMs: 5000})
    await client.end()
    expect(description.hosts).toEqual([{host: up.host, port: up.port}])
    expect(description.toolEnvironment({})).toMatchObject({PGHOST: up.host, PGPORT: String(up.port)})
  })

  test('when no host answers, each is named', async () => {
    const ports = [await closedPort(), await closedPort()]
    const error = await failure(`postgres://app@127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}/shop`)
    expect(error).toMatchObject({code: 'SERVER_UNREACHABLE'})
    expect(error.message).toMatch(/^None of the 2 hosts/)
    for (const port of ports) expect(error.message).toContain(`:${port}/shop`)
  })

  test('a host that refuses the password ends the search', async () => {
    const text = `postgres://app:wrong@${up.host}:${up.port},127.0.0.1:${await closedPort()}/postgres`
    expect(await failure(text)).toMatchObject({code: 'AUTHENTICATION_FAILED'})
  })
})

describe('what is not a PostgreSQL server, or one that dbbak cannot speak to', () => {
  test.each([
    ['a web server', 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'],
    ['a mail server', '220 mail.example ESMTP\r\n'],
    ['zeroes', '\0'.repeat(100)],
    ['an impossible length', 'R\0\0\0\0\0\0\0\0'],
  ])('%s is an error, not a crash', async (_, answer) => {
    const port = await fakeServer((socket) => socket.once('data', () => socket.write(answer)))
    for (const mode of ['disable', 'prefer', 'require']) {
      const error = await failure(`postgres://app:p@127.0.0.1:${port}/shop?sslmode=${mode}`, {
        connectTimeoutMs: 500,
      })
      expect(['SERVER_UNREACHABLE', 'TLS_FAILED', 'QUERY_FAILED']).toContain(error.code)
    }
  })

  test('a server that asks for Kerberos', async () => {
    const port = await fakeServer((socket) =>
      socket.once('data', () => socket.write(Buffer.from('520000000800000007', 'hex'))),
    )
    expect(await failure(`postgres://app:p@127.0.0.1:${port}/shop?sslmode=disable`)).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: expect.stringContaining('GSSAPI'),
    })
  })
})

describe('a server that says no', () => {
  test('a wrong password', async () => {
    const error = await failure(url('app', {password: 'quite-wrong'}))
    expect(error).toMatchObject({code: 'AUTHENTICATION_FAILED', details: {sqlState: '28P01'}})
    expect(JSON.stringify([error.message, error.suggestions])).not.toContain('quite-wrong')
  })

  test('no password where one is asked for', async () => {
    const error = await failure(`postgres://app@${up.host}:${up.port}/postgres`)
    expect(error).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: expect.stringContaining('none was given'),
    })
    expect(error.suggestions.join()).toContain('PGPASSWORD')
  })

  test('PGPASSWORD and PGOPTIONS of this process have no say in it', async () => {
    process.env.PGPASSWORD = passwordOf('app')
    process.env.PGOPTIONS = '-c work_mem=9MB'
    try {
      expect(await failure(`postgres://app@${up.host}:${up.port}/postgres`)).toMatchObject({
        code: 'AUTHENTICATION_FAILED',
      })
      const {client} = await connect(await described(url('app')))
      const {rows} = await client.query("select current_setting('work_mem') as value")
      await client.end()
      expect(rows).not.toEqual([{value: '9MB'}])
    } finally {
      delete process.env.PGPASSWORD
      delete process.env.PGOPTIONS
    }
  })

  test('an unknown database, with a command that lists those there are', async () => {
    const error = await failure(url('app', {database: 'ab%27sent'}))
    expect(error).toMatchObject({code: 'DATABASE_NOT_FOUND'})
    expect(error.suggestions.join()).toContain(`psql -h ${up.host} -p ${up.port} -U app -d postgres -l`)
  })

  test('a role that may not connect, or is not let in at all', async () => {
    await up.server.query('create database closed; ')
    await up.server.query('revoke connect on database closed from public')
    expect(await failure(url('app', {database: 'closed'}))).toMatchObject({code: 'PERMISSION_DENIED'})
    expect(await failure(url('tls_only'))).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      details: {sqlState: '28000'},
    })
  })

  test('too many sessions', async () => {
    await up.server.query('alter role app connection limit 0')
    expect(await failure(url('app'))).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      details: {sqlState: '53300'},
    })
    await up.server.query('alter role app connection limit -1')
  })

  test('a setting in options that does not exist', async () => {
    expect(await failure(url('app', {query: 'options=-c%20no_such_setting%3D1'}))).toMatchObject({
      code: 'QUERY_FAILED',
      message: expect.stringContaining('no_such_setting'),
    })
  })

  test.each(['standby', 'read-only'])('target_session_attrs=%s on a primary', async (wanted) => {
    expect(await failure(url('app', {query: `target_session_attrs=${wanted}`}))).toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining('is a primary'),
    })
  })

  test('prefer-standby takes a primary when there is nothing else; read-only takes one that is set so', async () => {
    const readOnly = 'options=-c%20default_transaction_read_only%3Don'
    for (const query of [
      'target_session_attrs=prefer-standby',
      `target_session_attrs=read-only&${readOnly}`,
    ]) {
      const {client} = await connect(await described(url('app', {query})))
      await client.end()
    }
    expect(await failure(url('app', {query: `target_session_attrs=read-write&${readOnly}`}))).toMatchObject({
      code: 'SERVER_UNREACHABLE',
    })
  })
})

describe('cancelling', () => {
  test('ends an attempt that hangs, with the reason of the signal', async () => {
    const port = await fakeServer(() => {})
    const stop = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => stop.abort(reason), 200)
    const attempt = connect(await described(`postgres://app@127.0.0.1:${port}/shop?connect_timeout=0`), {
      signal: stop.signal,
    })
    await expect(attempt).rejects.toBe(reason)
    await expect(connect(await described(url('app')), {signal: stop.signal})).rejects.toBe(reason)
  })

  test('leaves a session alone that was opened before', async () => {
    const stop = new AbortController()
    const {client} = await connect(await described(url('app')), {signal: stop.signal})
    stop.abort()
    expect((await client.query('select 1 as one')).rows).toEqual([{one: 1}])
    await client.end()
  })
})
