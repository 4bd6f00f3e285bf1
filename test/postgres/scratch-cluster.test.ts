import {execFileSync} from 'node:child_process'
import {existsSync} from 'node:fs'
import {mkdir, readdir, readFile, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import {postgresqlConf} from '../../src/postgres/scratch/cluster-settings.js'
import {startCluster, type Cluster, type ClusterOptions} from '../../src/postgres/scratch/cluster.js'
import {parsePasswd} from '../../src/postgres/scratch/run-as.js'
import {closest, findServerPrograms} from '../../src/postgres/scratch/server-programs.js'
import {needs} from '../support/needs.js'
import {isAlive} from '../support/processes.js'

const [programs] = await findServerPrograms(process.env)
const describeInstalled = needs(
  'installed-server',
  programs ? undefined : 'no PostgreSQL server is installed',
)

const open: Cluster[] = []
async function start(options: Partial<ClusterOptions> = {}): Promise<Cluster> {
  const cluster = await startCluster({programs, env: process.env, ...options})
  open.push(cluster)
  return cluster
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((cluster) => cluster.stop()))
})

async function ask(cluster: Cluster, sql: string, credentials: {user?: string; password?: string} = {}) {
  const {endpoint, user, password} = cluster
  const where =
    'port' in endpoint ? {host: '127.0.0.1', port: endpoint.port} : {host: endpoint.socketFolder, port: 5432}
  const client = new Client({...where, user, password, database: 'postgres', ...credentials})
  await client.connect()
  try {
    return (await client.query<Record<string, string>>(sql)).rows
  } finally {
    await client.end()
  }
}

async function scratchFolders(parent = tmpdir()): Promise<string[]> {
  return (await readdir(parent)).filter((name) => name.startsWith('dbbak-scratch-'))
}

async function longFolder(): Promise<string> {
  const folder = join(tmpdir(), 'x'.repeat(100))
  await mkdir(folder, {recursive: true})
  return folder
}

describeInstalled('a throw-away server', () => {
  test('takes its own password, over its own socket only', async () => {
    const cluster = await start()
    expect(cluster.endpoint).toEqual({socketFolder: join(cluster.folder, 'socket')})
    const [row] = await ask(
      cluster,
      `select current_user as "user", current_setting('listen_addresses') as addresses,
      current_setting('server_encoding') as encoding, (select rolsuper from pg_roles where rolname = current_user)::text as super`,
    )
    expect(row).toEqual({user: 'postgres', addresses: '', encoding: 'UTF8', super: 'true'})
  })

  test.each([false, true])(
    'refuses a wrong password, none, and other users (over TCP: %p)',
    async (overTcp) => {
      const cluster = await start({overTcp})
      await expect(ask(cluster, 'select 1', {password: 'wrong'})).rejects.toThrow(
        'password authentication failed',
      )
      await expect(ask(cluster, 'select 1', {password: ''})).rejects.toThrow()
      await expect(ask(cluster, 'select 1', {user: 'root'})).rejects.toThrow('password authentication failed')
      expect(await ask(cluster, 'select 1 as one')).toEqual([{one: 1}])
    },
  )

  test('listens on the loopback address only, where a socket path would be too long', async () => {
    const cluster = await start({env: {...process.env, TMPDIR: await longFolder()}})
    expect(cluster.endpoint).toEqual({port: expect.any(Number)})
    const [row] = await ask(
      cluster,
      `select current_setting('listen_addresses') as addresses, current_setting('unix_socket_directories') as sockets`,
    )
    expect(row).toEqual({addresses: '127.0.0.1', sockets: ''})
  })

  test('runs without root rights, in folders that are closed to others', async () => {
    const cluster = await start()
    const uid = Number(execFileSync('ps', ['-o', 'uid=', '-p', String(cluster.pid())]).toString())
    expect(uid).not.toBe(0)
    for (const path of [cluster.dataFolder, join(cluster.folder, 'socket')]) {
      const info = await stat(path)
      expect([info.uid, info.mode & 0o777]).toEqual([uid, 0o700])
    }
    expect((await stat(cluster.folder)).mode & 0o007).toBe(0)
    expect((await stat(cluster.logFile)).mode & 0o077).toBe(0)
  })

  test('leaves its password in no file, argument or environment', async () => {
    const cluster = await start()
    const found = execFileSync('sh', [
      '-c',
      'grep -rlF -- "$0" "$1" || true',
      cluster.password,
      cluster.folder,
    ]).toString()
    expect(found).toBe('')
    const processes = execFileSync('ps', ['-Aww', '-o', 'args='], {maxBuffer: 1 << 26}).toString()
    expect(processes).not.toContain(cluster.password)
    if (process.platform === 'linux') {
      expect(await readFile(`/proc/${cluster.pid()}/environ`, 'utf8')).not.toMatch(
        /DATABASE|PGPASS|AWS|DBBAK/,
      )
    }
  })

  test('is gone after stop, which may be called twice', async () => {
    const cluster = await start()
    const pid = cluster.pid()
    await Promise.all([cluster.stop(), cluster.stop()])
    await cluster.stop()
    expect(isAlive(pid)).toBe(false)
    expect(existsSync(cluster.folder)).toBe(false)
  })

  test('can be several at once', async () => {
    const clusters = await Promise.all([start(), start(), start({overTcp: true}), start({overTcp: true})])
    for (const cluster of clusters) expect(await ask(cluster, 'select 1 as one')).toEqual([{one: 1}])
    expect(new Set(clusters.map((cluster) => JSON.stringify(cluster.endpoint))).size).toBe(4)
  })

  test('can be started again after its process was killed, with its data', async () => {
    const cluster = await start({settings: {synchronous_commit: 'on'}})
    await ask(cluster, 'create table kept as select 42 as answer')
    await cluster.end('SIGKILL')
    await expect(ask(cluster, 'select 1')).rejects.toThrow()
    await cluster.start()
    expect(await ask(cluster, 'select answer from kept')).toEqual([{answer: 42}])
  })

  test('that does not start says why, and leaves nothing', async () => {
    const before = await scratchFolders()
    const failing = start({settings: {no_such_setting: 'on'}})
    await expect(failing).rejects.toMatchObject({
      code: 'SCRATCH_FAILED',
      message: expect.stringContaining('no_such_setting'),
    })
    expect(await scratchFolders()).toEqual(before)
  })

  test.each([0, 50, 200, 400])(
    'can be called off %p ms after the beginning, and leaves nothing',
    async (delayMs) => {
      const before = await scratchFolders()
      const controller = new AbortController()
      const starting = startCluster({programs, env: process.env, signal: controller.signal})
      setTimeout(() => controller.abort(new Error('called off')), delayMs)
      const outcome = await starting.then(
        (cluster) => cluster.stop(),
        (error: Error) => error.message,
      )
      expect([undefined, 'called off']).toContain(outcome)
      expect(await scratchFolders()).toEqual(before)
    },
  )
})

describe('settings of a throw-away server', () => {
  test('are quoted', () => {
    const conf = postgresqlConf({socketFolder: `/tmp/it's, "so"`}, {application_name: `a\\b'c`})
    expect(conf).toContain(`unix_socket_directories = '"/tmp/it''s, ""so"""'\n`)
    expect(conf).toContain(`application_name = 'a\\\\b''c'\n`)
  })

  test('may be replaced', () => {
    const conf = postgresqlConf({port: 1}, {fsync: 'on'})
    expect(conf.match(/^fsync = .*$/gm)).toEqual([`fsync = 'on'`])
  })
})

describe('which server is taken', () => {
  const installed = ['14.2', '15.9', '15.18', '17.0'].map((version) => ({
    version,
    major: Number.parseInt(version),
    binFolder: `/${version}`,
  }))

  test.each([
    [13, '14.2'],
    [15, '15.18'],
    [16, '17.0'],
    [18, undefined],
  ])('for %p: %p', (major, version) => {
    expect(closest(installed, major)?.version).toBe(version)
  })
})

test('root becomes a user of /etc/passwd that is not root itself', () => {
  const users = parsePasswd(
    'root:x:0:0::/root:/bin/sh\npostgres:x:112:120::/:/bin/sh\nbroken\ntoor:x:0:5::/:\nnobody:x:65534:65534::/:/x\n',
  )
  expect(users).toEqual([
    {name: 'postgres', uid: 112, gid: 120},
    {name: 'nobody', uid: 65534, gid: 65534},
  ])
})
