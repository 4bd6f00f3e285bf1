import {execFile} from 'node:child_process'
import {homedir} from 'node:os'
import {promisify} from 'node:util'
import {Client} from 'pg'
import {describeConnection, type ConnectionDescription} from '../../src/postgres/connection.js'
import {quoteIdentifier} from '../../src/postgres/identifiers.js'
import {clusterUrl, startCluster, type Cluster} from '../../src/postgres/scratch/cluster.js'
import {bringPrograms, cachedPrograms, type EmbeddedRequest} from '../../src/postgres/scratch/embedded.js'
import {closest, findServerPrograms, type ServerPrograms} from '../../src/postgres/scratch/server-programs.js'
import {clientTools18, testCacheEnv} from './client-tools-18.js'
import {startContainer} from './server-containers.js'

export interface ServerRequest {
  /** Any server that can be had when absent: an installed one, else 17 from npm. */
  major?: number
  /** Lines of postgresql.conf; without them the settings are those of a scratch server (no autovacuum, no fsync, …). */
  settings?: Record<string, string>
  /** Listens on a loopback port instead of a socket. */
  overTcp?: boolean
}

/** A PostgreSQL server of one test file. Start it in `beforeAll`, stop it in `afterAll`. */
export interface TestServer {
  major: number
  /** The superuser on the database postgres. */
  connection: ConnectionDescription
  /** A connection URL, of the superuser unless somebody else is named. */
  url(database?: string, user?: string, password?: string): string
  describe(database?: string): Promise<ConnectionDescription>
  /** Makes a database, with a name of its own unless one is given; `options` follow in CREATE DATABASE. @returns its URL */
  createDatabase(name?: string, options?: string): Promise<string>
  dropDatabase(name: string): Promise<void>
  /** Runs SQL as the superuser. @returns the rows of the last statement */
  query<Row extends object = Record<string, unknown>>(sql: string, database?: string): Promise<Row[]>
  /** Runs a script, a text or a file, through psql, and stops at the first error. @returns what it printed */
  psql(script: string | {file: string}, database?: string): Promise<string>
  /** Ends the server by a signal and leaves its data; `start` starts it again. */
  kill(signal: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  /** Ends and removes it. */
  stop(): Promise<void>
  /** Undefined for one in a container. */
  dataFolder: string | undefined
  logFile: string | undefined
}

/** What `startServer` needs of whatever runs a server. */
export interface RunningServer {
  major: number
  url(database?: string, user?: string, password?: string): string
  kill(signal: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
  dataFolder: string | undefined
  logFile: string | undefined
}

/** What a scratch server does without and a test may look for: a commit survives the server's being killed. */
const realistic = {synchronous_commit: 'on'}

/** The major version from npm where no server is installed. */
const usualMajor = 17

/** Starts a server of its own; in a container where DBBAK_TEST_SERVERS=containers. */
export async function startServer(request: ServerRequest = {}): Promise<TestServer> {
  const inContainer = process.env.DBBAK_TEST_SERVERS === 'containers'
  const server = inContainer
    ? await startContainer(request.major ?? usualMajor, request.settings)
    : await startHere(request)
  return testServer(server, await describeUrl(server.url()))
}

/** Why a server of that major version cannot be had here; undefined when it can. For `needs`. */
export async function missingServer(major: number): Promise<string | undefined> {
  if (process.env.DBBAK_TEST_SERVERS === 'containers') return undefined
  return programsOf(major).then(
    () => undefined,
    (error: Error) => error.message,
  )
}

/** A connection description of a URL, without any regard to the environment. */
export async function describeUrl(url: string): Promise<ConnectionDescription> {
  return describeConnection(url, {env: {}, homeFolder: '/nonexistent', userName: 'nobody'}, 'the test')
}

async function startHere({major, settings, overTcp}: ServerRequest): Promise<RunningServer> {
  const cluster = await startCluster({
    programs: await programsOf(major),
    env: process.env,
    settings: {...realistic, ...settings},
    overTcp,
  })
  return runningServer(cluster)
}

function runningServer(cluster: Cluster): RunningServer {
  return {
    major: cluster.major,
    url: (database, user, password) => clusterUrl(cluster, database, user, password),
    kill: (signal) => cluster.end(signal),
    start: () => cluster.start(),
    stop: () => cluster.stop(),
    dataFolder: cluster.dataFolder,
    logFile: cluster.logFile,
  }
}

async function programsOf(major: number | undefined): Promise<ServerPrograms> {
  const installed = await findServerPrograms(process.env)
  const fitting = major === undefined ? installed : installed.filter((programs) => programs.major === major)
  const found = closest(fitting, 0)
  if (found) return found
  const request: EmbeddedRequest = {
    major: major ?? usualMajor,
    env: testCacheEnv(),
    homeFolder: homedir(),
    mayDownload: async () => true,
  }
  return (await cachedPrograms(request)) ?? bringPrograms(request)
}

function testServer(server: RunningServer, connection: ConnectionDescription): TestServer {
  const query = <Row extends object>(sql: string, database?: string) =>
    runQuery<Row>(server.url(database), sql)
  let made = 0
  return {
    ...server,
    connection,
    query,
    describe: (database) => describeUrl(server.url(database)),
    createDatabase: async (name = `test_${process.pid}_${++made}`, options = '') => {
      await query(`create database ${quoteIdentifier(name)} ${options}`)
      return server.url(name)
    },
    dropDatabase: async (name) => {
      await query(`drop database if exists ${quoteIdentifier(name)} with (force)`)
    },
    psql: async (script, database) => runPsql(await describeUrl(server.url(database)), script),
  }
}

async function runQuery<Row extends object>(url: string, sql: string): Promise<Row[]> {
  const client = new Client(await clientConfig(url))
  await client.connect()
  try {
    const results = [await client.query<Row>(sql)].flat()
    return results.at(-1)?.rows ?? []
  } finally {
    await client.end()
  }
}

/** `pg` reads a socket's folder only from a setting of its own, not from a URL's host. */
async function clientConfig(url: string) {
  const {hostname, port, pathname, username, password} = new URL(url.replace(/^postgresql:/, 'postgres:'))
  const decode = decodeURIComponent
  return {
    host: decode(hostname),
    port: Number(port),
    database: decode(pathname.slice(1)),
    user: decode(username),
    password: decode(password),
  }
}

async function runPsql(connection: ConnectionDescription, script: string | {file: string}): Promise<string> {
  const file = typeof script === 'string' ? '-' : script.file
  const args = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-f', file]
  const env = connection.toolEnvironment(process.env)
  const running = promisify(execFile)(await psqlProgram(), args, {env, maxBuffer: 1 << 30})
  running.child.stdin?.on('error', () => {}) // psql that stopped early says why itself
  running.child.stdin?.end(typeof script === 'string' ? script : '')
  return (await running).stdout
}

async function psqlProgram(): Promise<string> {
  const installed = await promisify(execFile)('psql', ['--version']).then(
    () => true,
    () => false,
  )
  if (installed) return 'psql'
  const {folder, missing} = await clientTools18()
  if (folder === undefined) throw new Error(`There is no psql here, and it could not be had: ${missing}`)
  return `${folder}/psql`
}
