import {spawn} from 'node:child_process'
import {setTimeout as delay} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import pg from 'pg'
import {asConnectionError, asQueryError, connect} from '../../src/postgres/connect.js'
import {describeConnection, type ConnectionDescription} from '../../src/postgres/connection.js'
import {tellsOfConnectionLoss} from '../../src/postgres/query-errors.js'
import {DbbakError} from '../../src/support/errors.js'
import {
  passwordOf,
  plainEnvironment,
  startConnectionServer,
  type ConnectionServer,
} from './connection-server.js'

let up: ConnectionServer

beforeAll(async () => {
  up = await startConnectionServer()
})
afterAll(async () => {
  await up.stop()
})

const described = (text: string): Promise<ConnectionDescription> =>
  describeConnection(text, plainEnvironment(), 'DATABASE_URL')

const url = (role: string): string =>
  `postgresql://${role}:${passwordOf(role)}@${up.host}:${up.port}/postgres`

describe('an open session', () => {
  test('gives what JavaScript cannot hold as text', async () => {
    const {client} = await connect(await described(url('app')), {applicationName: 'named here'})
    const {rows} =
      await client.query(`select 9007199254740993::int8 as big, array[9007199254740993::int8] as bigs,
      '2020-01-02 03:04:05.678901'::timestamp as time, 'infinity'::timestamptz as ever, '2020-01-02'::date as day,
      '1 day'::interval as span, array['2020-01-02'::date] as days, 1.10::numeric as price, 7::int4 as number,
      true as yes, null::timestamp as nothing, current_setting('application_name') as name`)
    await client.end()
    expect(rows).toEqual([
      {
        big: '9007199254740993',
        bigs: ['9007199254740993'],
        time: '2020-01-02 03:04:05.678901',
        ever: 'infinity',
        day: '2020-01-02',
        span: '1 day',
        days: ['2020-01-02'],
        price: '1.10',
        number: 7,
        yes: true,
        nothing: null,
        name: 'named here',
      },
    ])
    expect(pg.types.getTypeParser(1114)('2020-01-02 03:04:05')).toBeInstanceOf(Date) // others' clients are as before
  })

  test.each([
    ['statement_timeout', '1ms'],
    ['idle_session_timeout', '10ms'],
  ])(
    'has no %s, however short that of the role is (%s), and however busy the processors are',
    async (name, limit) => {
      await up.server.query(`alter role app set ${name} = '${limit}'`)
      const busy = Array.from({length: 8}, () => spawn(process.execPath, ['-e', 'for (;;);']))
      try {
        const description = await described(url('app'))
        for (let round = 0; round < 15; round++) {
          const sessions = await Promise.all(Array.from({length: 5}, () => connect(description)))
          await delay(10)
          for (const {client} of sessions) {
            const {rows} = await client.query(`select current_setting($1) as limit`, [name])
            expect(rows).toEqual([{limit: '0'}])
            await client.end()
          }
        }
      } finally {
        for (const each of busy) each.kill('SIGKILL')
        await up.server.query(`alter role app reset ${name}`)
      }
    },
  )

  test('that is ended while idle does not end the process; the next query says CONNECTION_LOST', async () => {
    const {client} = await connect(await described(url('app')))
    const {rows} = await client.query<{pid: number}>('select pg_backend_pid() as pid')
    const ended = new Promise((resolve) => client.once('end', () => resolve(undefined)))
    await up.server.query(`select pg_terminate_backend(${rows[0].pid})`)
    await ended
    const error: unknown = await client.query('select 1').catch((caught: unknown) => caught)
    expect(asQueryError(error, 'asking')).toMatchObject({code: 'CONNECTION_LOST'})
    await client.end()
  })

  test('that is ended during a query', async () => {
    const {client} = await connect(await described(url('app')))
    const {rows} = await client.query<{pid: number}>('select pg_backend_pid() as pid')
    const running = client.query('select pg_sleep(600)').catch((caught: unknown) => caught)
    await up.server.query(`select pg_terminate_backend(${rows[0].pid})`)
    expect(asQueryError(await running, 'sleeping')).toMatchObject({code: 'CONNECTION_LOST'})
    await client.end()
  })
})

describe('errors of queries', () => {
  const failing = async (sql: string, role = 'app'): Promise<DbbakError> => {
    const {client} = await connect(await described(url(role)))
    const error: unknown = await client.query(sql).catch((caught: unknown) => caught)
    await client.end()
    return asQueryError(error, 'trying')
  }

  beforeAll(async () => {
    await up.server.query(`create table mine (id int); create table ruled (id int);
      alter table ruled enable row level security; grant select on ruled to app`)
  })

  test.each([
    ['select * from mine', 'PERMISSION_DENIED', /permission denied for table mine/],
    ['set row_security = off; select * from ruled', 'ROW_SECURITY', /row-level security/],
    ['select 1/0', 'QUERY_FAILED', /^While trying: division by zero\.$/],
    ['selct', 'QUERY_FAILED', /syntax error/],
  ])('%s: %s', async (sql, code, message) => {
    const error = await failing(sql)
    expect(error).toMatchObject({code, message: expect.stringMatching(message)})
  })

  test('a lock that is not to be had in time', async () => {
    const {client} = await connect(await described(url('app')))
    await up.server.query('create table if not exists locked (id int); grant select on locked to app')
    const {client: holder} = await connect(up.server.connection)
    await holder.query('begin; lock table locked in access exclusive mode')
    const error: unknown = await client
      .query(`set lock_timeout = '50ms'; select * from locked`)
      .catch((e: unknown) => e)
    expect(asQueryError(error, 'reading')).toMatchObject({code: 'LOCK_TIMEOUT'})
    await holder.end()
    await client.end()
  })

  test('a lock table that is full is told from memory that is full', () => {
    const serverError = (message: string, hint?: string) =>
      Object.assign(new Error(message), {
        code: '53200',
        severity: 'ERROR',
        ...(hint === undefined ? {} : {hint}),
      })
    const hint = 'You might need to increase max_locks_per_transaction.'
    expect(asQueryError(serverError('out of shared memory', hint), 'dumping').code).toBe(
      'LOCK_TABLE_TOO_SMALL',
    )
    expect(asQueryError(serverError('nicht genug gemeinsamer Speicher', hint), 'dumping').code).toBe(
      'LOCK_TABLE_TOO_SMALL',
    )
    expect(asQueryError(serverError('out of memory'), 'dumping').code).toBe('QUERY_FAILED')
  })

  test('an error that is one of ours stays as it is', async () => {
    const ours = new DbbakError('DUMP_EMPTY', 'x')
    expect(asQueryError(ours, 'y')).toBe(ours)
    expect(asConnectionError(ours, await described('postgres://h/d'))).toBe(ours)
  })
})

describe('what a tool prints tells of a lost connection', () => {
  test.each([
    'pg_restore: error: could not execute query: server closed the connection unexpectedly',
    'psql:<stdin>:12: server closed the connection unexpectedly',
    'pg_dump: error: query failed: FATAL:  terminating connection due to administrator command',
    'pg_restore: error: error returned by PQputCopyData: SSL SYSCALL error: EOF detected',
    'psql: error: connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory',
    'FATAL:  the database system is in recovery mode',
    'pg_restore: creating TABLE "public.a"\nserver closed the connection unexpectedly\n\tThis probably means',
  ])('%s', (printed) => expect(tellsOfConnectionLoss(printed)).toBe(true))

  test.each([
    '',
    'pg_restore: error: could not execute query: ERROR:  relation "a" does not exist',
    `Command was: INSERT INTO log VALUES ('server closed the connection unexpectedly')`,
    `pg_restore: error: could not execute query: ERROR:  invalid value "terminating connection"`,
    "    raise 'terminating connection';",
  ])('and this does not: %s', (printed) => expect(tellsOfConnectionLoss(printed)).toBe(false))
})
