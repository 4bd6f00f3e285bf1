import {createReadStream} from 'node:fs'
import {mkdtemp, rm} from 'node:fs/promises'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {finished, pipeline} from 'node:stream/promises'
import {createGunzip} from 'node:zlib'
import type {Call, Operation} from './call.js'
import {deleteObject, getBucket, insertBucket, patchBucket, patchObject} from './changing.js'
import {GoogleError, type Reply} from './errors.js'
import {damaged, Faults, type Fault} from './faults.js'
import {insertObject} from './insert.js'
import {getMedia, getMetadata, listObjects} from './reading.js'
import {cancelSession, continueSession, startSession} from './resumable.js'
import {routeOf} from './route.js'
import {Sessions} from './sessions.js'
import {ObjectStore, type BucketRecord} from './store.js'

export interface GcsServerOptions {
  /** Requests have to bear this OAuth token; without it nobody is asked. */
  token?: string
  /** Where everything is kept; a temporary folder by default, which stop() removes. */
  folder?: string
  port?: number
}

/** A request that came, for tests that look at what is asked. */
export interface SeenRequest {
  operation: Operation
  query: URLSearchParams
  headers: IncomingMessage['headers']
}

const operations: Record<Operation, (call: Call) => Reply | Promise<Reply>> = {
  'buckets.insert': insertBucket,
  'buckets.get': getBucket,
  'buckets.patch': patchBucket,
  'objects.insert': insertObject,
  'objects.get': getMetadata,
  'objects.media': getMedia,
  'objects.list': listObjects,
  'objects.patch': patchObject,
  'objects.delete': deleteObject,
  'session.start': startSession,
  'session.chunk': continueSession,
  'session.status': continueSession,
  'session.cancel': cancelSession,
}

/**
 * Google Cloud Storage's JSON API as its documentation describes it, as far as a backup needs it: buckets, objects,
 * the three kinds of uploads, preconditions, holds and retention. Without versioning, ACLs, compose, copies and events.
 */
export class GcsServer {
  readonly seen: SeenRequest[] = []
  readonly store: ObjectStore
  readonly sessions: Sessions
  private readonly faults = new Faults()
  private readonly http: Server
  private address = ''

  static async start(options: GcsServerOptions = {}): Promise<GcsServer> {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'gcs-server-')))
    const server = new GcsServer(folder, options)
    server.http.listen(options.port ?? 0, '127.0.0.1')
    await new Promise((resolve, reject) => server.http.once('listening', resolve).once('error', reject))
    server.address = `http://127.0.0.1:${(server.http.address() as AddressInfo).port}`
    return server
  }

  private constructor(
    private readonly folder: string,
    private readonly options: GcsServerOptions,
  ) {
    this.store = new ObjectStore(folder)
    this.sessions = new Sessions(join(folder, 'sessions'))
    this.http = createServer({requestTimeout: 0}, (request, response) => void this.handle(request, response))
  }

  get endpoint(): string {
    return this.address
  }

  makeBucket(
    name = `bucket-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`,
    more: Partial<BucketRecord> = {},
  ): string {
    const fresh = {
      timeCreated: new Date().toISOString(),
      metageneration: 1,
      storageClass: 'STANDARD',
      location: 'US',
    }
    return this.store.makeBucket({name, ...fresh, ...more}).name
  }

  inject(...faults: Fault[]): void {
    for (const fault of faults) this.faults.add(fault)
  }

  clearFaults(): void {
    this.faults.clear()
  }

  async stop(): Promise<void> {
    this.http.closeAllConnections()
    await new Promise((resolve) => this.http.close(resolve))
    if (this.options.folder === undefined) await rm(this.folder, {recursive: true, force: true})
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => {})
    response.on('error', () => {})
    const url = new URL(request.url ?? '/', this.address)
    const route = routeOf(request.method ?? '', url, request.headers['content-range'])
    if (!route) return write(response, new GoogleError(404, 'notFound', 'Not Found').reply('text'), undefined)
    const {operation} = route
    this.seen.push({operation, query: url.searchParams, headers: request.headers})
    const fault = this.faults.take(operation)
    if (fault?.do === 'hold') return
    if (fault?.do === 'drop') return void request.socket.destroy()
    const body = () => (fault?.do === 'damage' ? damaged(request as AsyncIterable<Buffer>) : request)
    const {store, sessions, address: base} = this
    const call: Call = {...route, store, sessions, base, request, query: url.searchParams, fault, body}
    const reply = await this.replyTo(call)
    if (request.destroyed && !request.complete) return
    if (fault?.do === 'carry-out-and-drop' || fault?.do === 'break-off') return void request.socket.destroy()
    await write(response, reply, fault).catch(() => response.destroy())
  }

  private async replyTo(call: Call): Promise<Reply> {
    const {operation, fault, request} = call
    try {
      if (fault?.do === 'answer') return await refusal(fault, request)
      this.checkToken(call)
      const reply = await operations[operation](call)
      return fault?.do === 'carry-out-and-answer' ? await refusal(fault, request) : reply
    } catch (error) {
      await drain(request)
      if (error instanceof GoogleError) return error.reply(isPlain(operation, error) ? 'text' : 'json')
      return new GoogleError(500, 'internalError', String(error)).reply('json')
    }
  }

  /** A session's URI is an authentication token by itself. */
  private checkToken({operation, request}: Call): void {
    const {token} = this.options
    if (token === undefined || /^session\.(chunk|status|cancel)$/.test(operation)) return
    const {authorization} = request.headers
    if (authorization === `Bearer ${token}`) return
    const place = {locationType: 'header', location: 'Authorization'}
    if (authorization === undefined) throw new GoogleError(401, 'required', 'Login Required', place)
    throw new GoogleError(401, 'authError', 'Invalid Credentials', place)
  }
}

/** Downloads and requests of a session are answered in plain text where the storage itself has no say. */
function isPlain(operation: Operation, {status}: GoogleError): boolean {
  return (
    operation === 'objects.media' ||
    (/^session\.(chunk|status|cancel)$/.test(operation) && ![400, 403, 412].includes(status))
  )
}

async function refusal(fault: Fault, request: IncomingMessage): Promise<Reply> {
  await drain(request)
  const {
    status = 503,
    reason = 'backendError',
    message = 'We encountered an internal error. Please try again.',
  } = fault
  const reply = new GoogleError(status, reason, message).reply('json')
  return {...reply, headers: {...reply.headers, ...fault.headers}}
}

/** An answer before the request was read would break the connection, and be lost. */
async function drain(request: IncomingMessage): Promise<void> {
  // An iteration that was left waits for this event, and keeps the stream from flowing.
  request.removeAllListeners('readable')
  request.resume()
  if (!request.readableEnded) await finished(request).catch(() => {})
}

async function write(response: ServerResponse, reply: Reply, fault: Fault | undefined): Promise<void> {
  const {status, headers = {}, body = ''} = reply
  if (typeof body === 'string' || body.end < body.start) {
    const bytes = Buffer.from(typeof body === 'string' ? body : '')
    // Neither has a body.
    if (status === 204 || status === 304) response.writeHead(status, headers).end()
    else response.writeHead(status, {...headers, 'content-length': bytes.length}).end(bytes)
    return
  }
  const {file, start, end, gunzip} = body
  const content = createReadStream(file, {start, end})
  if (gunzip) return pipeline(content, createGunzip(), response.writeHead(status, headers))
  response.writeHead(status, {...headers, 'content-length': end - start + 1})
  if (fault?.do === 'damage') return pipeline(damaged(content as AsyncIterable<Buffer>), response)
  if (fault?.do !== 'truncate') return pipeline(content, response)
  const cut =
    fault.bytes === 0 ? [] : createReadStream(file, {start, end: Math.min(end, start + fault.bytes! - 1)})
  for await (const bytes of cut) response.write(bytes)
  // What was written has to be on its way before the connection breaks.
  await new Promise<void>((resolve) => response.write('', () => resolve()))
  response.socket?.destroySoon()
}
