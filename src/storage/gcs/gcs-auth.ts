import {existsSync} from 'node:fs'
import {Agent, get} from 'node:http'
import {join} from 'node:path'
import type {StoreAgents} from '../objects/agents.js'
import {StoreError} from '../objects/store-error.js'
import type {GcsOptions, RequestOptions} from '../objects/store-options.js'
import {noCredentials, signInError} from './gcs-errors.js'

export type Headers = Record<string, string>

interface TokenSource {
  getRequestHeaders(url?: string): Promise<Iterable<[string, string]>>
}

/** A metadata server answers within milliseconds; elsewhere nobody may be there to refuse the connection. */
const metadataMs = 3000

/** Tokens for requests, by the SDK: a key file, workload identity, gcloud's sign-in, or the machine's service account. */
export class GcsAuth {
  private source: Promise<TokenSource> | undefined
  /** A request was let in with a token of this source. */
  private worked = false

  constructor(
    private readonly options: GcsOptions,
    private readonly request: RequestOptions,
    private readonly agents: StoreAgents,
  ) {}

  /** @throws StoreError */
  async headers(url: string): Promise<Headers> {
    if (this.options.emulator !== undefined) return {}
    try {
      this.source ??= this.findSource()
      const source = await this.source
      return Object.fromEntries(await this.inTime(source.getRequestHeaders(url)))
    } catch (error) {
      this.source = undefined
      throw signInError(error)
    }
  }

  accepted(): void {
    this.worked = true
  }

  /**
   * A token was refused. One that was good before may have been withdrawn, or this machine slept while it expired:
   * then a new one is worth a try.
   */
  refused(): boolean {
    const isWorthATry = this.worked
    this.source = undefined
    this.worked = false
    return isWorthATry
  }

  /** Some of the library's own requests go past the agents, which would notice silence. */
  private inTime<T>(work: Promise<T>): Promise<T> {
    const {stallMs} = this.request
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const message = `nothing came of signing in to Google Cloud for ${Math.round(stallMs / 1000)} s`
        reject(new StoreError('transient', message))
      }, stallMs)
      work.then(resolve, reject).finally(() => clearTimeout(timer))
    })
  }

  private async findSource(): Promise<TokenSource> {
    const {env} = this.request
    const file = this.options.keyFile ?? (env.GOOGLE_APPLICATION_CREDENTIALS || signInFile(env))
    if (file === undefined && !(await hasMetadataServer(env))) throw noCredentials()
    const {Storage} = await import('@google-cloud/storage')
    // The project is never asked for; without one the library would look for it with gcloud and on the network.
    const projectId = this.options.projectId ?? 'unknown'
    const {authClient} = new Storage({projectId, retryOptions: {autoRetry: false, maxRetries: 0}})
    if (file === undefined) return authClient.getClient()
    // Its public ways to use a file print a warning to the terminal.
    const client = await authClient._getApplicationCredentialsFromFilePath(file, this.clientOptions())
    client.transporter.interceptors.request.add({resolved: once})
    // The exchange of a workload identity's token would be made without all that.
    const {stsCredential} = client as {stsCredential?: {transporter?: unknown}}
    if (stsCredential) stsCredential.transporter = client.transporter
    if (env.GOOGLE_CLOUD_QUOTA_PROJECT) client.quotaProjectId = env.GOOGLE_CLOUD_QUOTA_PROJECT
    return client
  }

  /** Token requests take the same proxies, and notice silence. */
  private clientOptions() {
    const {http, https} = this.agents
    return {transporterOptions: {agent: ({protocol}: URL) => (protocol === 'http:' ? http : https)}}
  }
}

/** The library would try again by itself. Its default options cannot keep it from that; the last word can. */
function once<T extends {retry?: boolean; retryConfig?: object}>(config: T): Promise<T> {
  return Promise.resolve({...config, retry: false, retryConfig: {...config.retryConfig, retry: 0}})
}

/** Where `gcloud auth application-default login` leaves what it got. */
function signInFile(env: RequestOptions['env']): string | undefined {
  const {CLOUDSDK_CONFIG, APPDATA, HOME} = env
  const home =
    process.platform === 'win32' ? APPDATA && join(APPDATA, 'gcloud') : HOME && join(HOME, '.config/gcloud')
  const folder = CLOUDSDK_CONFIG || home
  const file = folder ? join(folder, 'application_default_credentials.json') : undefined
  return file !== undefined && existsSync(file) ? file : undefined
}

/** Asked here since the library prints a warning when nobody answers. */
function hasMetadataServer(env: RequestOptions['env']): Promise<boolean> {
  if (env.METADATA_SERVER_DETECTION === 'none') return Promise.resolve(false)
  if (env.METADATA_SERVER_DETECTION === 'assume-present') return Promise.resolve(true)
  const host = env.GCE_METADATA_IP || env.GCE_METADATA_HOST || '169.254.169.254'
  const url = `${/^https?:\/\//.test(host) ? host : `http://${host}`}/computeMetadata/v1/instance/`
  const options = {
    headers: {'metadata-flavor': 'Google'},
    signal: AbortSignal.timeout(metadataMs),
    // Never by a proxy.
    agent: new Agent(),
  }
  return new Promise((resolve) => {
    get(url, options, (response) => {
      response.resume()
      resolve(response.headers['metadata-flavor'] === 'Google')
    }).on('error', () => resolve(false))
  })
}
