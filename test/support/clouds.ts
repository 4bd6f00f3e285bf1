import {randomBytes} from 'node:crypto'
import {missingAzureServer, startAzureServer} from './azure-server.js'
import {startGcsServerProcess} from './gcs-server/index.js'
import {startHttpFaultProxy, type HttpFaultProxy, type Store} from './http-fault-proxy.js'
import type {Need} from './needs.js'
import {missingS3Server, sharedS3Server, startS3Server, type S3Address} from './s3-server.js'

/** A real server of one cloud's protocol, as the program is told of it. */
export interface Cloud {
  store: Store
  /** What the program needs to know to use it. */
  env: Record<string, string>
  /** An empty destination of its own. */
  newDestination(): string
  /** A way to it that can fail, and the environment that leads there. */
  proxied(seed?: number): Promise<{proxy: HttpFaultProxy; env: Record<string, string>}>
  pause(): void
  resume(): void
  kill(): Promise<void>
  restart(): Promise<void>
  stop(): Promise<void>
}

interface CloudKind {
  name: string
  need: Need
  missing: () => string | undefined
  /** Why a server that is killed may lose what it said it had stored. */
  forgets?: string
  /** @param own one that nobody else uses, to be paused and killed */
  open: (own?: boolean) => Promise<Cloud>
}

export const clouds: CloudKind[] = [
  {name: 'S3', need: 's3', missing: missingS3Server, open: openS3},
  {
    name: 'Azure',
    need: 'azure',
    missing: missingAzureServer,
    forgets: 'Azurite writes every few seconds only',
    open: openAzure,
  },
  {name: 'GCS', need: 'gcs', missing: () => undefined, open: openGcs},
]

const unique = (base: string) => `${base}/${randomBytes(6).toString('hex')}`

async function openS3(own = false): Promise<Cloud> {
  const server = own ? await startS3Server() : await sharedS3Server()
  const bucket = await server.makeBucket()
  const env = s3Environment(server)
  return {
    store: 's3',
    env,
    newDestination: () => unique(`s3://${bucket}`),
    async proxied(seed) {
      const proxy = await startHttpFaultProxy(server.endpoint, {store: 's3', seed})
      return {proxy, env: {...env, AWS_ENDPOINT_URL_S3: proxy.endpoint}}
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: async () => {
      if (own) await server.stop()
    },
  }
}

function s3Environment({endpoint, region, accessKeyId, secretAccessKey}: S3Address): Record<string, string> {
  return {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  }
}

async function openAzure(): Promise<Cloud> {
  const server = await startAzureServer()
  const container = await server.makeContainer()
  return {
    store: 'azure',
    env: {AZURE_STORAGE_CONNECTION_STRING: server.connectionString},
    newDestination: () => unique(`azblob://${container}`),
    async proxied(seed) {
      const [, endpoint] = /BlobEndpoint=(http:\/\/[^;]+)/.exec(server.connectionString) ?? []
      if (!endpoint) throw new Error('a real account is not reached through the proxy')
      const proxy = await startHttpFaultProxy(endpoint, {store: 'azure', seed})
      const connectionString = server.connectionString.replace(endpoint, proxy.endpoint)
      return {proxy, env: {AZURE_STORAGE_CONNECTION_STRING: connectionString}}
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
  }
}

async function openGcs(): Promise<Cloud> {
  const server = await startGcsServerProcess()
  return {
    store: 'gcs',
    env: {STORAGE_EMULATOR_HOST: server.endpoint},
    newDestination: () => unique(`gs://${server.bucket}`),
    async proxied(seed) {
      const proxy = await startHttpFaultProxy(server.endpoint, {store: 'gcs', seed})
      return {proxy, env: {STORAGE_EMULATOR_HOST: proxy.endpoint}}
    },
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    restart: () => server.restart(),
    stop: () => server.stop(),
  }
}

/** Text that compresses to half its size at best, so that a backup of it is sent in parts: some `rows` KiB. */
export const noise = (rows: number): string =>
  `create table noise as select g as id, (select string_agg(md5(g || '-' || h), '') from generate_series(1, 32) h) as content
   from generate_series(1, ${rows}) g`
