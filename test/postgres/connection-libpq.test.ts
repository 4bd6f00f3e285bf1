import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {execFile} from 'node:child_process'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {connect} from '../../src/postgres/connect.js'
import {describeConnection, type ConnectionEnvironment} from '../../src/postgres/connection.js'
import {
  passwordOf,
  placeFromLibpq,
  placeFromPg,
  placeFromTools,
  plainEnvironment,
  startConnectionServer,
  toolFolder,
  type ConnectionServer,
  type Place,
} from './connection-server.js'

const inContainer = process.env.DBBAK_TEST_SERVERS === 'containers'
const oddNames = [
  'a=b "c"',
  '-Fc x',
  'ünï',
  'postgres://x',
  "it's \\ a 'name'",
  'host=elsewhere',
  'A B',
  '%41',
]
const oddPassword = `p@:/?#[]%41 &=+'"\\ü€`

let up: ConnectionServer
let home: string

beforeAll(async () => {
  up = await startConnectionServer()
  home = await mkdtemp(join(tmpdir(), 'dbbak-home-'))
  for (const name of ['shop', 'app', ...oddNames]) await up.server.createDatabase(name)
  await up.server.query(`create role "o'dd u@ser" login password '${oddPassword.replaceAll("'", "''")}'`)
})

afterAll(async () => {
  await rm(home, {recursive: true, force: true})
  await up.stop()
})

/** Fills in where the server is, as text and percent-encoded. */
const fill = (text: string): string =>
  text
    .replaceAll('HOST', up.host)
    .replaceAll('PORT', String(up.port))
    .replaceAll('%SOCKET%', encodeURIComponent(up.socketFolder ?? ''))
    .replaceAll('SOCKET', up.socketFolder ?? '')
    .replaceAll('PASSWORD', passwordOf('app'))

function environment(env: Record<string, string>): ConnectionEnvironment {
  return plainEnvironment(
    Object.fromEntries(Object.entries(env).map(([name, value]) => [name, fill(value)])),
    home,
  )
}

/** The tools name themselves, dbbak itself. */
const comparable = (place: Place): Place => ({
  ...place,
  applicationName: place.applicationName.replace(/^(psql|dbbak)$/, 'the program'),
})

async function expectSamePlace(text: string | undefined, env: Record<string, string>): Promise<void> {
  const filled = text === undefined ? undefined : fill(text)
  const libpq = comparable(await placeFromLibpq(filled, environment(env)))
  const places = {
    pg: comparable(await placeFromPg(filled, environment(env))),
    environment: comparable(await placeFromTools(filled, environment(env), 'environment')),
    argument: comparable(await placeFromTools(filled, environment(env), 'argument')),
  }
  expect(places).toEqual({pg: libpq, environment: libpq, argument: libpq})
}

type Case = [text: string | undefined, env?: Record<string, string>]

const tcpCases: Case[] = [
  ['postgresql://app:PASSWORD@HOST:PORT/shop'],
  ['postgres://app:PASSWORD@HOST:PORT/shop'],
  ['postgres://app:PASSWORD@HOST:PORT'],
  ['postgres://app:PASSWORD@HOST:PORT/'],
  ['postgres://app:PASSWORD@HOST:PORT/?application_name=a%20b'],
  ['postgres://app:PASSWORD@HOST:PORT?dbname=shop'],
  ['postgres://app:PASSWORD@HOST:PORT/shop?dbname=app'],
  ['postgres://app@HOST:PORT/shop?password=PASSWORD'],
  ['postgres://open@HOST:PORT/shop'],
  ['postgres:///shop?host=HOST&port=PORT&user=app&password=PASSWORD'],
  ['postgres://app:PASSWORD@HOST:PORT/shop?options=-c%20work_mem%3D5MB'],
  ['postgres://app:PASSWORD@HOST:PORT/shop?options=-cwork_mem%3D6MB&application_name=x+y&'],
  [
    'postgres://app:PASSWORD@HOST:PORT/shop?sslmode=disable&connect_timeout=10&keepalives=1&keepalives_idle=30',
  ],
  ['postgres://app:PASSWORD@HOST:PORT/shop?gssencmode=disable&target_session_attrs=read-write'],
  ['postgres://app:PASSWORD@HOST:PORT/shop?target_session_attrs=any&keepalives=0&tcp_user_timeout=1000'],
  ['postgres://app:PASSWORD@HOST:1,HOST:PORT/shop'],
  ['postgres://app:PASSWORD@HOST:1,HOST:PORT/shop?target_session_attrs=read-write'],
  ['postgres://app:PASSWORD@nowhere.invalid,HOST/shop?port=PORT'],
  ['postgres://app:PASSWORD@nowhere.invalid/shop?hostaddr=HOST&port=PORT'],
  ['postgres://app:PASSWORD@%31%32%37.0.0.1:PORT/s%68op'],
  ['host=HOST port=PORT user=app password=PASSWORD dbname=shop'],
  ["host = 'HOST' port=PORT  user\t=app password='PASSWORD' dbname=sh\\op application_name='it\\'s \\\\'"],
  ['hostaddr=HOST port=PORT user=app password=PASSWORD dbname=shop'],
  [undefined, {PGHOST: 'HOST', PGPORT: 'PORT', PGUSER: 'app', PGPASSWORD: 'PASSWORD', PGDATABASE: 'shop'}],
  [undefined, {PGHOST: 'HOST', PGPORT: 'PORT', PGUSER: 'app', PGPASSWORD: 'PASSWORD'}],
  [
    undefined,
    {PGHOSTADDR: 'HOST', PGPORT: 'PORT', PGUSER: 'app', PGPASSWORD: 'PASSWORD', PGAPPNAME: 'named'},
  ],
  [
    'postgres:///shop',
    {PGHOST: 'HOST', PGPORT: 'PORT', PGUSER: 'app', PGPASSWORD: 'PASSWORD', PGDATABASE: 'app'},
  ],
  ['postgres://app@HOST/shop', {PGPORT: 'PORT', PGUSER: 'nobody', PGPASSWORD: 'PASSWORD'}],
  ['postgres://app:PASSWORD@HOST:PORT/shop', {PGPASSWORD: 'wrong', PGHOST: 'nowhere.invalid', PGPORT: '1'}],
  ['postgres://app:PASSWORD@HOST:PORT/shop', {PGOPTIONS: '-c work_mem=7MB'}],
  ['postgres://app:PASSWORD@HOST:PORT/shop?options=', {PGOPTIONS: '-c work_mem=7MB'}],
  ['postgres://app:PASSWORD@HOST:PORT/shop', {PGAPPNAME: 'from the variable'}],
]

describe('over TCP', () => {
  test.each(tcpCases)('%s %p leads where libpq goes', async (text, env = {}) => {
    await expectSamePlace(text, env)
  })

  test('IPv6 in brackets', async () => {
    const text = fill(`postgresql://app:PASSWORD@[::1]:PORT/shop`)
    const libpq = await placeFromLibpq(text, environment({})).catch(() => undefined)
    const ours = await placeFromPg(text, environment({})).catch((error: {code: string}) => error.code)
    // A machine without IPv6 has to be unreachable for both.
    expect(libpq === undefined ? ours : comparable(ours as Place)).toEqual(
      libpq === undefined ? 'SERVER_UNREACHABLE' : comparable(libpq),
    )
  })
})

const onThisMachine = inContainer ? describe.skip : describe

onThisMachine('over a socket, which cannot be had from a container', () => {
  const socketCases: Case[] = [
    ['postgresql://app:PASSWORD@%SOCKET%:PORT/shop'],
    ['postgresql://app:PASSWORD@/shop?host=SOCKET&port=PORT'],
    ['postgresql://app:PASSWORD@:PORT/shop?host=%SOCKET%'],
    ['postgresql:///shop?host=SOCKET&port=PORT&user=open'],
    ['postgresql://app:PASSWORD@%SOCKET%:PORT/shop?sslmode=require'],
    ['postgresql://app:PASSWORD@%SOCKET%:1,HOST:PORT/shop'],
    ['host=SOCKET port=PORT user=app password=PASSWORD dbname=shop sslmode=prefer'],
    [undefined, {PGHOST: 'SOCKET', PGPORT: 'PORT', PGUSER: 'open', PGDATABASE: 'shop'}],
  ]
  test.each(socketCases)('%s %p leads where libpq goes', async (text, env = {}) => {
    await expectSamePlace(text, env)
  })
})

describe('names and passwords', () => {
  test.each(oddNames)('a database named %p is reached by pg, by PGDATABASE and by --dbname', async (name) => {
    const text = fill(`postgres://app:PASSWORD@HOST:PORT/${encodeURIComponent(name)}`)
    await expectSamePlace(text, {})
    expect((await placeFromPg(text, environment({}))).database).toBe(name)
    const other = (
      await describeConnection(fill('postgres://app:PASSWORD@HOST:PORT/shop'), environment({}), 'test')
    ).withDatabase(name)
    const {client} = await connect(other)
    const {rows} = await client.query('select current_database() as name')
    await client.end()
    expect(rows).toEqual([{name}])
  })

  test.each(oddNames)(
    'pg_dump takes the database %p from the environment, vacuumdb from --dbname',
    async (name) => {
      const description = await describeConnection(
        fill(`postgres://app:PASSWORD@HOST:PORT/${encodeURIComponent(name)}`),
        environment({}),
        'test',
      )
      const env = description.toolEnvironment(process.env)
      const dumped = await promisify(execFile)(join(await toolFolder(), 'pg_dump'), ['--create'], {env})
      expect(dumped.stdout).toContain(
        `CREATE DATABASE ${/^[a-z]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`}`,
      )
      const args = ['--create', `--dbname=${description.databaseArgument()}`]
      const again = await promisify(execFile)(join(await toolFolder(), 'pg_dump'), args, {env})
      // \restrict, in newer versions, is followed by a word made up for each dump.
      const stable = (sql: string) => sql.replace(/^\\(un)?restrict .*$/gm, '')
      expect(stable(again.stdout)).toBe(stable(dumped.stdout))
    },
  )

  test('a user and a password full of characters with a meaning, encoded', async () => {
    const credentials = `${encodeURIComponent("o'dd u@ser")}:${encodeURIComponent(oddPassword)}`
    await expectSamePlace(`postgres://${credentials}@HOST:PORT/shop`, {})
  })

  test('the same in a conninfo string and in variables', async () => {
    const quoted = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`
    await expectSamePlace(
      `host=HOST port=PORT dbname=shop user=${quoted("o'dd u@ser")} password=${quoted(oddPassword)}`,
      {},
    )
    await expectSamePlace('postgres://HOST:PORT/shop', {PGUSER: "o'dd u@ser", PGPASSWORD: oddPassword})
  })

  test('a raw @ in the password, where libpq itself goes astray', async () => {
    const raw = 'sec@ret#:1'
    await up.server.query(`create role raw login password '${raw}'`)
    const text = fill(`postgres://raw:${raw}@HOST:PORT/shop`)
    expect(await placeFromPg(text, environment({}))).toMatchObject({user: 'raw', database: 'shop'})
    expect(await placeFromTools(text, environment({}), 'environment')).toMatchObject({user: 'raw'})
    await expect(placeFromLibpq(text, environment({}))).rejects.toThrow()
  })
})

describe('texts that libpq refuses', () => {
  const refused = [
    'postgres://app:PASSWORD@HOST:PORT/shop?hots=x',
    'postgres://app:PASSWORD@HOST:PORT/shop?application_name',
    'postgres://app:PASSWORD@[::1:PORT/shop',
    'postgres://app:PASSWORD@[]:PORT/shop',
    'postgres://app:100%@HOST:PORT/shop',
    'postgres://app:a%00b@HOST:PORT/shop',
    'postgres://app:a/b@HOST:PORT/shop',
    'postgres://app:PASSWORD@HOST:PORT/shop?sslmode=required',
    'postgres://app:PASSWORD@HOST:70000/shop',
    'postgres://app:PASSWORD@HOST:port/shop',
    'postgres://app:PASSWORD@HOST:1,HOST:2,HOST:3/shop?port=1,2',
    'postgres://app:PASSWORD@HOST:PORT/shop?service=none',
    'postgres://app:PASSWORD@HOST:PORT/shop?connect_timeout=soon',
    'host=HOST port=PORT user=app password=my secret dbname=shop',
    "host=HOST port=PORT user=app password='my secret",
    'host=HOST port=PORT usr=app',
  ]
  test.each(refused)('%s', async (text) => {
    const libpq = await placeFromLibpq(fill(text), environment({})).catch((error: Error) => error)
    expect(libpq).toBeInstanceOf(Error)
    await expect(describeConnection(fill(text), environment({}), 'DATABASE_URL')).rejects.toMatchObject({
      code: 'DATABASE_URL_INVALID',
    })
  })
})

describe('password files and service files', () => {
  test('a password file gives each database its own password, also after withDatabase', async () => {
    const file = join(home, 'pass')
    const lines = [
      '# comment',
      '*:1:*:*:wrong',
      `${up.host}:${up.port}:postgres:app:wrong`,
      `${up.host}:*:shop:app:${passwordOf('app')}`,
      `*:*:a=b "c":app:${passwordOf('app')}`,
      `*:*:*:o'dd u@ser:${oddPassword.replace(/[\\:]/g, '\\$&')}`,
    ]
    await writeFile(file, lines.join('\n'), {mode: 0o600})
    const env = {PGPASSFILE: file}
    await expectSamePlace('postgres://app@HOST:PORT/shop', env)
    await expectSamePlace('postgres://app@HOST:PORT/a%3Db%20%22c%22', env)
    await expectSamePlace(`postgres://${encodeURIComponent("o'dd u@ser")}@HOST:PORT/shop`, env)
    await expect(
      placeFromPg(fill('postgres://app@HOST:PORT/postgres'), environment(env)),
    ).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
    const description = await describeConnection(
      fill('postgres://app@HOST:PORT/postgres'),
      environment(env),
      'test',
    )
    const {client} = await connect(description.withDatabase('shop'))
    await client.end()
  })

  test('one that others may read is not used, and a warning says so', async () => {
    await writeFile(join(home, '.pgpass'), `*:*:*:*:${passwordOf('app')}\n`, {mode: 0o644})
    const text = fill('postgres://app@HOST:PORT/shop')
    await expect(placeFromLibpq(text, environment({}))).rejects.toThrow(/group or world access/)
    const description = await describeConnection(text, environment({}), 'test')
    expect(description.warnings).toEqual([expect.stringMatching(/others may read it.*chmod 600/)])
    await expect(connect(description)).rejects.toMatchObject({code: 'AUTHENTICATION_FAILED'})
    await rm(join(home, '.pgpass'))
  })

  test('a service fills in what the text leaves open, before the variables', async () => {
    const service = `[other]\nhost=nowhere.invalid\n\n# mine\n[mine]\nhost=${up.host}\nport=${up.port}\nuser=app\npassword=${passwordOf('app')}\ndbname=app\n[last]\nuser=x\n`
    await writeFile(join(home, '.pg_service.conf'), service)
    await writeFile(join(home, 'elsewhere'), service.replace('dbname=app', 'dbname=shop'))
    await expectSamePlace('service=mine', {PGDATABASE: 'shop', PGPORT: '1'})
    await expectSamePlace('postgres:///shop?service=mine', {})
    await expectSamePlace(undefined, {PGSERVICE: 'mine'})
    await expectSamePlace(undefined, {PGSERVICE: 'mine', PGSERVICEFILE: join(home, 'elsewhere')})
    await expect(describeConnection('service=absent', environment({}), 'x')).rejects.toMatchObject({
      code: 'DATABASE_URL_INVALID',
    })
  })
})
