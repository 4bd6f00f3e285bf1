import {BlobServiceClient} from '@azure/storage-blob'
import {spawn, type ChildProcess} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {existsSync} from 'node:fs'
import {mkdtemp, rm} from 'node:fs/promises'
import {createRequire} from 'node:module'
import {createServer, type AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {guardian} from '../../src/support/guardian.js'
import {until} from './processes.js'

/** A Blob service of one test file. Start it in `beforeAll`, stop it in `afterAll`. */
export interface AzureServer {
  /** With the account's key. */
  connectionString: string
  account: string
  /** Where the server listens; undefined for a real endpoint. */
  port: number | undefined
  /** Makes a container, with a name of its own unless one is given. @returns its name */
  makeContainer(name?: string): Promise<string>
  /** Hears everything and answers nothing until `resume`. */
  pause(): void
  resume(): void
  /** Ends it by SIGKILL and leaves its data; it writes what it knows of blobs only every few seconds. */
  kill(): Promise<void>
  /** Starts it again, on the same port and data. */
  restart(): Promise<void>
  /** Ends and removes it; of a real endpoint, removes the containers that were made. */
  stop(): Promise<void>
}

/** Azurite's, which are the same everywhere and known to everybody. */
const account = 'devstoreaccount1'
const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

/** Why there can be no Blob service here; for `needs('azure', …)`. */
export function missingAzureServer(): string | undefined {
  if (process.env.DBBAK_TEST_AZURE_CONNECTION_STRING) return undefined
  return programOf() === undefined ? 'azurite (npm ci), or DBBAK_TEST_AZURE_CONNECTION_STRING' : undefined
}

/** Starts Azurite; or uses the real account that DBBAK_TEST_AZURE_CONNECTION_STRING names. */
export async function startAzureServer(): Promise<AzureServer> {
  const real = process.env.DBBAK_TEST_AZURE_CONNECTION_STRING
  if (real) return realAccount(real)
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-azurite-'))
  const forgetFolder = guardian().folder(folder)
  const azurite = new Azurite(folder)
  await azurite.start()
  const endpoint = `http://127.0.0.1:${azurite.port}/${account}`
  const connectionString = `DefaultEndpointsProtocol=http;AccountName=${account};AccountKey=${key};BlobEndpoint=${endpoint};`
  return {
    connectionString,
    account,
    port: azurite.port,
    makeContainer: (name) => makeContainer(connectionString, name),
    pause: () => azurite.signal('SIGSTOP'),
    resume: () => azurite.signal('SIGCONT'),
    kill: () => azurite.end(),
    restart: () => azurite.start(),
    async stop() {
      await azurite.end()
      await rm(folder, {recursive: true, force: true})
      forgetFolder()
    },
  }
}

/** Azurite in a process group of its own, which the guardian ends when this process dies. */
class Azurite {
  port = 0
  private process: ChildProcess | undefined
  private forget = () => {}

  constructor(private readonly folder: string) {}

  /** Somebody else may take a free port between our looking and the server's start: then with another. */
  async start(): Promise<void> {
    const isFirst = this.port === 0
    for (let attempt = 1; ; attempt++) {
      if (isFirst) this.port = await freePort()
      const said = await this.startOnce()
      if (said === undefined) return
      if (!said.includes('EADDRINUSE') || attempt === 20) throw new Error(`Azurite did not start: ${said}`)
    }
  }

  /** @returns what it said when it ended instead of listening */
  private async startOnce(): Promise<string | undefined> {
    const place = ['--blobHost', '127.0.0.1', '--blobPort', String(this.port), '--location', this.folder]
    const flags = ['--silent', '--disableTelemetry', '--skipApiVersionCheck']
    const child = spawn(process.execPath, [programOf()!, ...place, ...flags], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {PATH: process.env.PATH, TMPDIR: this.folder},
    })
    this.process = child
    this.forget = guardian().group(child.pid!)
    let said = ''
    const hear = (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000))
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    await until(() => ended(child) || said.includes('successfully listens'), 'Azurite listens')
    if (!ended(child)) return undefined
    this.forget()
    return said || 'it said nothing'
  }

  signal(name: NodeJS.Signals): void {
    process.kill(-this.process!.pid!, name)
  }

  async end(): Promise<void> {
    const child = this.process
    if (!child || ended(child)) return
    const exit = new Promise((resolve) => child.once('exit', resolve))
    this.signal('SIGKILL')
    await exit
    this.forget()
  }
}

const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

function programOf(): string | undefined {
  try {
    const program = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js')
    return existsSync(program) ? program : undefined
  } catch {
    return undefined
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const {port} = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function makeContainer(connectionString: string, name = newName()): Promise<string> {
  await BlobServiceClient.fromConnectionString(connectionString).createContainer(name)
  return name
}

const newName = (): string => `dbbak-test-${randomBytes(6).toString('hex')}`

function realAccount(connectionString: string): AzureServer {
  const service = BlobServiceClient.fromConnectionString(connectionString)
  const made = new Set<string>()
  const impossible = () => {
    throw new Error('A real endpoint cannot be paused or ended.')
  }
  return {
    connectionString,
    account: service.accountName,
    port: undefined,
    async makeContainer(name = newName()) {
      made.add(await makeContainer(connectionString, name))
      return name
    },
    pause: impossible,
    resume: impossible,
    kill: impossible,
    restart: impossible,
    async stop() {
      for (const name of made) await service.getContainerClient(name).deleteIfExists()
    },
  }
}
