import {execFile} from 'node:child_process'
import {mkdir, writeFile} from 'node:fs/promises'
import {createServer, type AddressInfo} from 'node:net'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {findClientTools} from '../../src/postgres/client-tools.js'
import {needs} from '../support/needs.js'
import {missingServer, startServer, type TestServer} from '../support/servers.js'
import {
  dbbak,
  dbbakJson,
  expectNoSecret,
  failing,
  filesAt,
  inFolder,
  secret,
  secretArgumentsDuring,
  toolSettings,
} from './program.js'

let server: TestServer
let tools: Record<string, string>

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.query('create table orders (id int); insert into orders values (1), (2)', 'shop')
  await server.query(`create role clerk login password '${secret}'; grant pg_read_all_data to clerk`)
})
afterAll(() => server?.stop())

/** A failing backup leaves nothing at its destination, not even the folder, and its password is seen nowhere. */
async function failingBackup(
  env: Record<string, string | undefined>,
  wanted: {exitCode: number; code: string},
  args: string[] = [],
) {
  return inFolder(async (folder) => {
    const to = join(folder, 'backups')
    let failed: Awaited<ReturnType<typeof failing>> | undefined
    const run = async () => {
      failed = await failing(['backup', '--to', to, ...args], {env: {...tools, ...env}, cwd: folder}, wanted)
    }
    expect(await secretArgumentsDuring(run)).toEqual([])
    expectNoSecret(failed!.output)
    expect(await filesAt(to)).toEqual({})
    return failed!
  })
}

describe('a backup of a database that cannot be reached', () => {
  test('because none is named says how to name one', async () => {
    const {error} = await failingBackup({}, {exitCode: 2, code: 'DATABASE_URL_NOT_SET'})
    const [example] = error.suggestions
    expect(example).toMatch(/^export DATABASE_URL=postgresql:\/\/[^ ]+\/database, /)
    expect(example).not.toContain('*') // what is shown as an example is not masked like a secret
  })

  test('because DATABASE_URL is nonsense says what is wrong and does not repeat it', async () => {
    for (const DATABASE_URL of [
      `mysql://clerk:${secret}@host/shop`,
      `nonsense ${secret}`,
      `postgresql://clerk:${secret}@h:99999/shop`,
    ])
      await failingBackup({DATABASE_URL}, {exitCode: 2, code: 'DATABASE_URL_INVALID'})
  })

  test('because its port refuses names the address', async () => {
    const port = await unusedPort()
    const url = new URL(server.url('shop', 'clerk', secret))
    url.port = String(port)
    const {error} = await failingBackup({DATABASE_URL: url.href}, {exitCode: 4, code: 'SERVER_UNREACHABLE'})
    expect(error.message).toContain(`127.0.0.1:${port}/shop`)
  })

  test('because its host does not exist says so', async () => {
    const DATABASE_URL = `postgresql://clerk:${encodeURIComponent(secret)}@no-such-host.invalid/shop`
    const {error} = await failingBackup({DATABASE_URL}, {exitCode: 4, code: 'SERVER_UNREACHABLE'})
    expect(error.message).toContain('no-such-host.invalid')
  })

  test('because what listens there never answers gives up after connect_timeout', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => silent.once('listening', resolve))
    const {port} = silent.address() as AddressInfo
    const DATABASE_URL = `postgresql://clerk:${encodeURIComponent(secret)}@127.0.0.1:${port}/shop?connect_timeout=2`
    try {
      await failingBackup({DATABASE_URL}, {exitCode: 4, code: 'SERVER_UNREACHABLE'})
    } finally {
      silent.close()
    }
  })

  test('because the password is wrong says so', async () => {
    const DATABASE_URL = server.url('shop', 'clerk', `not ${secret}`)
    const {error} = await failingBackup({DATABASE_URL}, {exitCode: 4, code: 'AUTHENTICATION_FAILED'})
    expect(error.message).toMatch(/clerk@127.0.0.1:\d+\/shop.*password/)
    expect(error.suggestions.join()).toContain('DATABASE_URL')
  })

  test('because the role does not exist says so', async () => {
    const DATABASE_URL = server.url('shop', 'nobody_here', secret)
    await failingBackup({DATABASE_URL}, {exitCode: 4, code: 'AUTHENTICATION_FAILED'})
  })

  test('because there is no such database: the suggestion, typed, lists those that there are', async () => {
    const DATABASE_URL = server.url("no 'such' shop", 'clerk', secret)
    const {error} = await failingBackup({DATABASE_URL}, {exitCode: 4, code: 'DATABASE_NOT_FOUND'})
    expect(error.message).toContain("no 'such' shop")
    const command = /psql .*$/.exec(error.suggestions[0])![0]
    const {stdout} = await typed(command, {PGPASSWORD: secret})
    expect(stdout).toMatch(/^ *shop /m)
  })

  test('list, verify and restore say the same of it, with their own exit codes, and change nothing', async () => {
    await inFolder(async (cwd) => {
      const to = join(cwd, 'backups')
      const good = {...tools, DATABASE_URL: server.url('shop', 'clerk', secret), BACKUP_DIR: to}
      await dbbakJson(['backup'], {env: good, cwd})
      const before = await filesAt(to)
      const env = {...good, DATABASE_URL: server.url('shop', 'clerk', `not ${secret}`)}
      const {document, output} = await failing(
        ['restore', '--latest', '--force'],
        {env, cwd},
        {
          exitCode: 3,
          code: 'PREFLIGHT_FAILED',
        },
      )
      expect(document.findings).toEqual([expect.objectContaining({code: 'AUTHENTICATION_FAILED'})])
      expect(document.targetState).toBe('unchanged')
      expectNoSecret(output)
      expect(await filesAt(to)).toEqual(before)
      expect((await dbbakJson(['list'], {env, cwd})).backups).toHaveLength(1)
      const doctor = await failing(['doctor'], {env, cwd}, {exitCode: 3, code: 'PREFLIGHT_FAILED'})
      expect(doctor.output).toContain('AUTHENTICATION_FAILED')
      expectNoSecret(doctor.output)
    })
  })
})

describe('client tools', () => {
  const wanted = {exitCode: 4, code: 'CLIENT_TOOLS_NOT_FOUND'}

  test('that are not in DBBAK_PG_BIN: the message names the folder, the suggestion how to install them', async () => {
    await inFolder(async (empty) => {
      const {error} = await failingBackup({DATABASE_URL: server.url('shop'), DBBAK_PG_BIN: empty}, wanted)
      expect(error.message).toContain(empty)
      expect(error.suggestions.join('\n')).toMatch(/Install|install/)
    })
  })

  test('that PATH does not lead to are looked for in the usual folders', async () => {
    await inFolder(async (empty) => {
      const env = {PATH: empty, DBBAK_PG_BIN: undefined, DATABASE_URL: server.url('shop')}
      const usual = await findClientTools({env: {PATH: empty}})
      if (usual.some(({major}) => major >= server.major))
        await dbbakJson(['backup', '--to', join(empty, 'to')], {env})
      else await failingBackup(env, usual.length > 0 ? {...wanted, code: 'CLIENT_TOOLS_TOO_OLD'} : wanted)
    })
  })

  test('that are there but cannot be run count as missing', async () => {
    await inFolder(async (folder) => {
      for (const name of ['pg_dump', 'pg_restore', 'psql'])
        await writeFile(join(folder, name), '\x7fELF of another machine', {mode: 0o755})
      await failingBackup({DATABASE_URL: server.url('shop'), DBBAK_PG_BIN: folder}, wanted)
    })
  })

  test('that are older than the server: all that were found are named, with the version that is needed', async () => {
    await inFolder(async (folder) => {
      for (const name of ['pg_dump', 'pg_restore', 'psql'])
        await writeFile(join(folder, name), `#!/bin/sh\necho '${name} (PostgreSQL) 12.22'\n`, {mode: 0o755})
      const env = {DATABASE_URL: server.url('shop'), DBBAK_PG_BIN: folder}
      const {error} = await failingBackup(env, {exitCode: 4, code: 'CLIENT_TOOLS_TOO_OLD'})
      expect(error.message).toContain(`12.22 in ${folder}`)
      expect(error.message).toContain(`version ${server.major} or newer`)
      expect(error.suggestions.join()).toMatch(new RegExp(`install.*${server.major}`, 'is'))
    })
  })

  test('of a backup that cannot be restored without them: restore and verify say so and change nothing', async () => {
    await inFolder(async (cwd) => {
      const good = {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: join(cwd, 'backups')}
      await dbbakJson(['backup'], {env: good, cwd})
      const empty = join(cwd, 'empty')
      await mkdir(empty)
      const env = {...good, DBBAK_PG_BIN: empty}
      const {document} = await failing(
        ['restore', '--latest', '--force'],
        {env, cwd},
        {
          exitCode: 3,
          code: 'PREFLIGHT_FAILED',
        },
      )
      expect(document.findings).toEqual([expect.objectContaining({code: 'CLIENT_TOOLS_NOT_FOUND'})])
      const level = ['verify', '--latest', '--level', 'archive']
      const verified = await failing(level, {env, cwd}, {exitCode: 11, code: 'VERIFICATION_COULD_NOT_RUN'})
      expect(verified.error.message).toContain('CLIENT_TOOLS_NOT_FOUND')
      expect(verified.document.verdict).toBe('could-not-run')
      expect((await dbbak(['verify', '--latest', '--level', 'checksum'], {env, cwd})).exitCode).toBe(0)
    })
  })
})

const [oldest] = await findClientTools({env: process.env})
const newer = oldest ? [18, 17, 16].find((major) => major > oldest.major) : undefined
const missing = newer === undefined ? 'there are no older client tools here' : await missingServer(newer)
needs('embedded-server', missing)(`a server of PostgreSQL ${newer} and real tools that are older`, () => {
  test('are not put together', async () => {
    const young = await startServer({major: newer!})
    try {
      const env = {DATABASE_URL: young.url(), DBBAK_PG_BIN: oldest.folder}
      const {error} = await failingBackup(env, {exitCode: 4, code: 'CLIENT_TOOLS_TOO_OLD'})
      expect(error.message).toContain(`${oldest.version} in ${oldest.folder}`)
      expect(error.suggestions[0]).toContain(String(newer))
    } finally {
      await young.stop()
    }
  })
})

/** A port on which nobody listens now. */
async function unusedPort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => listener.once('listening', resolve))
  const {port} = listener.address() as AddressInfo
  await new Promise((resolve) => listener.close(resolve))
  return port
}

/** Types a command into a shell. */
function typed(command: string, env: Record<string, string>) {
  return promisify(execFile)('sh', ['-c', command], {env: {PATH: process.env.PATH, ...env}})
}
