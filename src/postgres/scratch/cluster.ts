import {randomBytes} from 'node:crypto'
import {open, readFile, writeFile} from 'node:fs/promises'
import {createServer, type AddressInfo} from 'node:net'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {DbbakError, messageOf, systemCode} from '../../support/errors.js'
import {fitsSocket, pgHbaConf, postgresqlConf, socketPort, type Endpoint} from './cluster-settings.js'
import {initCluster, lastLinesOf, superuser} from './init-cluster.js'
import type {RunAs} from './run-as.js'
import {findRunAs} from './run-as.js'
import {makeScratchFolder, type ScratchFolder} from './scratch-folder.js'
import {programEnvironment, type ServerPrograms} from './server-programs.js'
import {endServerProcess, startServerProgram, type ServerProcess} from './server-process.js'
import {reachablePrograms} from './reachable-programs.js'

export interface ClusterOptions {
  programs: ServerPrograms
  env: Record<string, string | undefined>
  /** More lines of postgresql.conf, or other values for those that a throw-away server has. */
  settings?: Record<string, string> | undefined
  /** Listens on a loopback port even where a socket could be had. */
  overTcp?: boolean | undefined
  signal?: AbortSignal | undefined
}

/** A throw-away server that runs. */
export interface Cluster {
  major: number
  version: string
  folder: string
  dataFolder: string
  logFile: string
  user: string
  password: string
  endpoint: Endpoint
  /** The server's first process. */
  pid(): number
  /** Starts it again after its process has ended. */
  start(): Promise<void>
  /** Ends the server and leaves its data. */
  end(signal: NodeJS.Signals): Promise<void>
  /** Ends the server and removes its folder. Safe to call twice. */
  stop(): Promise<void>
}

const startTimeoutMs = 60_000

/**
 * Makes a new database cluster in a private folder and starts a server on it, with a password of its own.
 * @throws DbbakError SCRATCH_FAILED; the signal's reason
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const runAs = await findRunAs()
  const folder = await makeScratchFolder(options.env, runAs)
  try {
    return await startIn(folder, runAs, options)
  } catch (error) {
    await folder.remove().catch(() => {}) // the guardian or the next run removes it; the first error matters more
    throw systemCode(error) === undefined ? error : folderFailed(folder, error)
  }
}

function folderFailed({path}: ScratchFolder, cause: unknown): DbbakError {
  return new DbbakError(
    'SCRATCH_FAILED',
    `The scratch server could not be set up in ${path}: ${messageOf(cause)}.`,
    {
      cause,
      suggestions: ['Name a folder with room: TMPDIR=/path/to/folder'],
    },
  )
}

async function startIn(
  folder: ScratchFolder,
  runAs: RunAs | undefined,
  options: ClusterOptions,
): Promise<Cluster> {
  const {env, signal} = options
  const programs = await reachablePrograms(options.programs, folder.path, runAs)
  const dataFolder = await folder.makeFor(runAs, 'data')
  const socketFolder = await folder.makeFor(runAs, 'socket')
  const password = randomBytes(24).toString('base64url')
  await initCluster({programs, dataFolder, folder: folder.path, password, runAs, env, signal})
  const server = new ServerOnFolder({
    ...options,
    programs,
    runAs,
    folder: folder.path,
    dataFolder,
    socketFolder,
  })
  await server.start()
  return {
    major: programs.major,
    version: programs.version,
    folder: folder.path,
    dataFolder,
    logFile: server.logFile,
    user: superuser,
    password,
    endpoint: server.endpoint,
    pid: () => server.pid(),
    start: () => server.start(),
    end: (name) => server.end(name),
    stop: async () => {
      await server.end('SIGQUIT')
      await folder.remove()
    },
  }
}

interface ServerOptions extends ClusterOptions {
  runAs: RunAs | undefined
  folder: string
  dataFolder: string
  socketFolder: string
}

class ServerOnFolder {
  readonly logFile: string
  endpoint: Endpoint
  private running: ServerProcess | undefined

  constructor(private readonly options: ServerOptions) {
    this.logFile = join(options.folder, 'server.log')
    const socket = !options.overTcp && fitsSocket(options.socketFolder)
    this.endpoint = socket ? {socketFolder: options.socketFolder} : {port: 0}
  }

  pid(): number {
    return this.running?.pid ?? 0
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.running) await endServerProcess(this.running, signal)
  }

  /** Somebody else may take a free port between our looking and the server's start: then with another. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if ('port' in this.endpoint && (this.endpoint.port === 0 || attempt > 1))
        this.endpoint = {port: await freePort()}
      await this.configure()
      const failure = await this.startOnce()
      if (failure === undefined) return
      const said = await lastLinesOf(this.logFile)
      const mayWorkAgain = /already in use|pre-existing shared memory/.test(said) && attempt < 20
      if (!mayWorkAgain) throw startFailed(failure, said)
      await delay(100)
    }
  }

  private async configure(): Promise<void> {
    const {dataFolder, settings} = this.options
    await writeFile(join(dataFolder, 'postgresql.conf'), postgresqlConf(this.endpoint, settings))
    await writeFile(join(dataFolder, 'pg_hba.conf'), pgHbaConf)
  }

  /** @returns why it does not run */
  private async startOnce(): Promise<string | undefined> {
    const {programs, dataFolder, folder, runAs, env, signal} = this.options
    signal?.throwIfAborted()
    const log = await open(this.logFile, 'a', 0o600)
    try {
      const options = {env: programEnvironment(env), folder, runAs, kind: 'postgres' as const, output: log.fd}
      this.running = startServerProgram(join(programs.binFolder, 'postgres'), ['-D', dataFolder], options)
    } finally {
      await log.close()
    }
    const failure = await this.untilReady(this.running)
    if (failure === undefined) this.running.child.unref()
    return failure
  }

  private async untilReady(running: ServerProcess): Promise<string | undefined> {
    const end = performance.now() + startTimeoutMs
    while (!(await isReady(this.options.dataFolder, running.pid))) {
      if (running.hasEnded()) return `it ${await running.ended}`
      if (performance.now() > end || this.options.signal?.aborted) {
        await endServerProcess(running, 'SIGQUIT')
        this.options.signal?.throwIfAborted()
        return `it was not ready after ${startTimeoutMs / 1000} seconds`
      }
      await delay(20)
    }
    return undefined
  }
}

/** The server's own word, in the eighth line of its pid file; pg_ctl goes by it too. */
async function isReady(dataFolder: string, pid: number | undefined): Promise<boolean> {
  const text = await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n')
  return lines[7]?.trim() === 'ready' && Number(lines[0]) === pid
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({host: '127.0.0.1', port: 0, exclusive: true}, resolve)
  })
  const {port} = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function startFailed(failure: string, said: string): DbbakError {
  return new DbbakError('SCRATCH_FAILED', `The scratch server did not start, ${failure}: ${said}`, {
    suggestions: [
      'Check what is found: dbbak doctor',
      'Try another kind of scratch server: --scratch embedded',
    ],
  })
}

/** The connection URL of a database on a cluster. */
export function clusterUrl(
  cluster: Cluster,
  database = 'postgres',
  user = cluster.user,
  password = cluster.password,
): string {
  const {endpoint} = cluster
  const [host, port] =
    'port' in endpoint
      ? ['127.0.0.1', endpoint.port]
      : [encodeURIComponent(endpoint.socketFolder), socketPort]
  const credentials = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`
  return `postgresql://${credentials}@${host}:${port}/${encodeURIComponent(database)}`
}
