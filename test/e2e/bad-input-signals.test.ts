import {once} from 'node:events'
import {existsSync} from 'node:fs'
import {chmod, mkdir, mkdtemp, readdir, rm, writeFile} from 'node:fs/promises'
import {createServer, type AddressInfo, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import {toolsForDump} from '../../src/postgres/client-tools.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, filesAt, processesOf, startDbbak, toolSettings} from './program.js'

let server: TestServer
let tools: Record<string, string>
let cwd: string
let to: string
let temporary: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.psql(
    'create table orders (id int); insert into orders select generate_series(1, 1000); create table customers (id int)',
    'shop',
  )
})
afterAll(() => server?.stop())
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'signals-'))
  to = join(cwd, 'backups')
  temporary = join(cwd, 'temporary')
  await mkdir(temporary)
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

const settings = (more: Record<string, string> = {}) => ({
  env: {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: to, TMPDIR: temporary, ...more},
  cwd,
})

/** Of a length that nobody else sleeps. */
const nap = `600.${process.pid}`

/** A folder of client tools whose pg_dump does as the real one, but takes its time. */
async function slowTools(folder: string): Promise<Record<string, string>> {
  const real = await toolsForDump(server.major, {env: process.env, pgBin: tools.DBBAK_PG_BIN})
  await mkdir(folder)
  const script = `#!/bin/sh
case "$1" in --version) exec ${real.dump} --version ;; esac
${real.dump} "$@"
code=$?
touch "$0.has-dumped"
sleep ${nap}
exit $code
`
  await writeFile(join(folder, 'pg_dump'), script)
  for (const name of ['pg_restore', 'psql', 'pg_dumpall'])
    await writeFile(join(folder, name), `#!/bin/sh\nexec ${join(real.folder, name)} "$@"\n`)
  for (const name of await readdir(folder)) await chmod(join(folder, name), 0o755)
  return {DBBAK_PG_BIN: folder}
}

const sessions = () =>
  server.query<{pid: number; lock: boolean}>(
    `select pid, false as lock from pg_stat_activity where datname = 'shop' and backend_type = 'client backend' and application_name <> 'the test'
     union all select pid, true from pg_locks where locktype = 'advisory'`,
  )

/** Nothing at the destination, no process, no session, no temporary file. */
async function expectNothingLeft(): Promise<void> {
  expect(await filesAt(to)).toEqual({})
  expect(await processesOf(cwd)).toEqual([])
  expect(await processesOf(nap)).toEqual([])
  expect(await readdir(temporary)).toEqual([])
  await until(async () => (await sessions()).length === 0, 'no session and no lock is left')
  expect((await dbbakJson(['list', '--incomplete'], settings())).incomplete).toEqual([])
}

const onThisMachine = process.env.DBBAK_TEST_SERVERS === 'containers' ? test.skip : test

const endings = [
  ['SIGINT', 130, 'INTERRUPTED'],
  ['SIGTERM', 143, 'TERMINATED'],
  ['SIGHUP', 143, 'TERMINATED'],
] as const

describe.each(endings)('%s', (signal, exitCode, code) => {
  test.each(['custom', 'plain', 'directory'])(
    'while pg_dump runs ends it and everything of it (%s)',
    async (format) => {
      const bin = join(cwd, 'slow')
      const {child, ended} = startDbbak(
        ['backup', '--format', format, '--json'],
        settings(await slowTools(bin)),
      )
      await until(
        () => existsSync(join(bin, 'pg_dump.has-dumped')),
        'pg_dump has written what it has to write',
      )
      child.kill(signal)
      const run = await ended
      expect(run).toMatchObject({exitCode, signal: null})
      expect(JSON.parse(run.stdout).error).toMatchObject({code, exitCode})
      await expectNothingLeft()
      expect((await dbbak(['backup', '--format', format], settings())).exitCode).toBe(0)
    },
  )

  test.each([[], ['--content', 'none']].map((more) => [more]))(
    'while a lock is waited for does not wait with it, nor leave a session that does (%j)',
    async (more) => {
      await whileLocked(async () => {
        const {child, ended} = startDbbak(['backup', ...more], settings())
        await until(async () => (await waiting()).length > 0, 'the backup waits')
        child.kill(signal)
        expect(await ended).toMatchObject({exitCode, stderr: expect.stringContaining(code)})
        await expectNothingLeft()
      })
    },
  )

  onThisMachine('while a server that has stopped answering is waited for gives up on it', async () => {
    await whileLocked(async () => {
      const {child, ended} = startDbbak(['backup'], settings())
      await until(async () => (await waiting()).length > 0, 'the backup waits')
      const pids = (await sessions()).filter(({lock}) => !lock).map(({pid}) => pid)
      for (const pid of pids) process.kill(pid, 'SIGSTOP')
      try {
        child.kill(signal)
        expect(await ended).toMatchObject({exitCode})
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT')
      }
      await expectNothingLeft()
    })
  })

  test('while a host that does not answer is waited for ends at once', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    const connected = once(silent, 'connection')
    await once(silent, 'listening')
    const {port} = silent.address() as AddressInfo
    const DATABASE_URL = `postgresql://127.0.0.1:${port}/shop?connect_timeout=0`
    const {child, ended} = startDbbak(['backup'], settings({DATABASE_URL}))
    const [socket] = (await connected) as [Socket]
    child.kill(signal)
    expect(await ended).toMatchObject({exitCode, stderr: expect.stringContaining(code)})
    socket.destroy()
    silent.close()
    await expectNothingLeft()
  })
})

const waiting = () =>
  server.query(`select from pg_stat_activity where datname = 'shop' and wait_event_type = 'Lock'`)

/** With a table locked, so that a backup comes to a halt. */
async function whileLocked(work: () => Promise<void>): Promise<void> {
  const client = new Client({connectionString: server.url('shop'), application_name: 'the test'})
  await client.connect()
  try {
    await client.query('begin; lock table orders in access exclusive mode')
    await work()
  } finally {
    await client.end()
  }
}
