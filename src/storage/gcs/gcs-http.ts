import {addAbortListener} from 'node:events'
import {request as httpRequest, type IncomingHttpHeaders, type IncomingMessage} from 'node:http'
import {request as httpsRequest} from 'node:https'
import {buffer} from 'node:stream/consumers'
import {storeAgents, type StoreAgents} from '../objects/agents.js'
import {StoreError, type StoreTrouble} from '../objects/store-error.js'
import type {GcsOptions, RequestOptions} from '../objects/store-options.js'
import {GcsAuth, type Headers} from './gcs-auth.js'
import {explainError, readRefusal, refusalError, type Refusal} from './gcs-errors.js'

export interface GcsRequest {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  url: string
  headers?: Headers
  /** Sent one after the other. */
  body?: Buffer[]
  /** Statuses besides 2xx that are no failure. */
  expected?: number[]
  /** What a failure's status means for this request, where that differs. */
  troubles?: Partial<Record<number, StoreTrouble>>
}

export interface GcsResponse {
  status: number
  headers: IncomingHttpHeaders
}

const publicEndpoint = 'https://storage.googleapis.com'

/**
 * Requests to the JSON API, each made once. Not by the SDK: its streams try again by themselves, gather whole chunks,
 * and don't tell how far an upload got.
 */
export class GcsHttp {
  readonly endpoint: string
  private readonly agents: StoreAgents
  private readonly auth: GcsAuth

  constructor(options: GcsOptions, request: RequestOptions) {
    const {emulator, endpoint = publicEndpoint} = options
    this.endpoint = withScheme(emulator, 'http') ?? withScheme(endpoint, 'https')
    this.agents = storeAgents(request)
    this.auth = new GcsAuth(options, request, this.agents)
  }

  /** @throws StoreError, or the signal's reason */
  async json<T>(request: GcsRequest, signal: AbortSignal): Promise<GcsResponse & {body: T | undefined}> {
    return this.unlessAborted(signal, async () => {
      const response = await this.exchange(request, signal)
      const text = (await buffer(response)).toString()
      const {statusCode: status = 0, headers} = response
      const isJson = /^application\/json/i.test(headers['content-type'] ?? '')
      return {status, headers, body: isJson ? (JSON.parse(text) as T) : undefined}
    })
  }

  /** The content as it comes; an abort ends it with the signal's reason. @throws StoreError, or the signal's reason */
  async content(request: GcsRequest, signal: AbortSignal): Promise<GcsResponse & {body: IncomingMessage}> {
    return this.unlessAborted(signal, async () => {
      const body = await this.exchange(request, signal)
      const listener = addAbortListener(signal, () => body.destroy(signal.reason as Error))
      body.once('close', () => listener[Symbol.dispose]())
      return {status: body.statusCode ?? 0, headers: body.headers, body}
    })
  }

  bytesMoved(): number {
    return this.agents.bytesMoved()
  }

  close(): void {
    this.agents.destroy()
  }

  private async unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      signal.throwIfAborted()
      return await work()
    } catch (error) {
      throw signal.aborted ? signal.reason : explainError(error)
    }
  }

  private async exchange(request: GcsRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const authorization = await abortable(this.auth.headers(request.url), signal)
    const response = await this.send(request, {...authorization, ...request.headers}, signal)
    const {statusCode: status = 0, headers} = response
    if (status === 401) this.throwUnlessKnown(await refusalOf(response))
    else this.auth.accepted()
    if ((status >= 200 && status < 300) || request.expected?.includes(status)) return response
    const refusal = await refusalOf(response)
    const error = refusalError(refusal, request.troubles)
    throw error.trouble === 'beyond-end' ? withSize(error, headers['content-range']) : error
  }

  private throwUnlessKnown(refusal: Refusal): never {
    throw refusalError(refusal, this.auth.refused() ? {401: 'transient'} : {})
  }

  private send(
    {method, url, body = []}: GcsRequest,
    headers: Headers,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const length = body.reduce((sum, {byteLength}) => sum + byteLength, 0)
    const isPlain = url.startsWith('http:')
    const options = {
      method,
      agent: isPlain ? this.agents.http : this.agents.https,
      headers: {
        'user-agent': 'dbbak',
        ...headers,
        ...(method !== 'GET' && {'content-length': String(length)}),
      },
      signal,
    }
    return new Promise((resolve, reject) => {
      const request = (isPlain ? httpRequest : httpsRequest)(url, options, resolve)
      // Stays: when an answer is there already, its body tells of the failure.
      request.on('error', reject)
      for (const bytes of body) request.write(bytes)
      request.end()
    })
  }
}

async function refusalOf(response: IncomingMessage): Promise<Refusal> {
  const text = (await buffer(response)).toString()
  return readRefusal(response.statusCode ?? 0, text, response.headers['retry-after'])
}

/** `bytes *` + `/SIZE` */
function withSize(error: StoreError, contentRange: string | undefined): StoreError {
  const size = /^bytes \*\/(\d+)$/.exec(contentRange ?? '')?.[1]
  return new StoreError(error.trouble, error.message, {size: size === undefined ? undefined : Number(size)})
}

function withScheme(text: string, scheme: string): string
function withScheme(text: string | undefined, scheme: string): string | undefined
function withScheme(text: string | undefined, scheme: string): string | undefined {
  if (text === undefined) return undefined
  return (/^https?:\/\//i.test(text) ? text : `${scheme}://${text}`).replace(/\/+$/, '')
}

/** For what takes no signal. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const listener = addAbortListener(signal, () => reject(signal.reason as Error))
    work.then(resolve, reject).finally(() => listener[Symbol.dispose]())
  })
}
