import {createHash, randomBytes} from 'node:crypto'
import {once} from 'node:events'
import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http'
import {createConnection, createServer as createNetServer, type AddressInfo, Socket} from 'node:net'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {
  startHttpFaultProxy,
  type Fault,
  type FaultType,
  type HttpFaultProxy,
  type HttpFaultProxyOptions,
  type LoggedRequest,
  type RandomFaults,
  type RequestKind,
  type Store,
} from '../support/http-fault-proxy.js'

const megabyte = 1024 * 1024
const big = randomBytes(20 * megabyte)

/** What the server has seen of a request. */
interface Served {
  method: string
  url: string
  rawHeaders: string[]
  rawTrailers: string[]
  /** Undefined when the body broke off; then what came of it counts in `bytes`. */
  sha256: string | undefined
  bytes: number
  port: number
}

let served: Served[]
/** This process's ends of connections from and to some ports; other tests' that ran in it before may still be open. */
function connectionsAt(...ports: number[]): number {
  const {_getActiveHandles: handles} = process as unknown as {_getActiveHandles: () => object[]}
  const ends = handles().filter((handle) => handle instanceof Socket)
  return ends.filter(({localPort = 0, remotePort = 0}) =>
    [localPort, remotePort].some((port) => ports.includes(port)),
  ).length
}

let upstream: Server
let proxy: HttpFaultProxy
let proxies: HttpFaultProxy[]
let agent: Agent
let answer: (
  request: IncomingMessage,
  body: Buffer,
) => {headers?: Record<string, string | undefined>; body?: Buffer}

/** Reads the whole body, notes it, and answers what `answer` says. */
const serve: RequestListener = (incoming, response) => {
  const {method = '', url = '', rawHeaders, socket} = incoming
  const entry: Served = {
    ...{method, url, rawHeaders, rawTrailers: [], sha256: undefined, bytes: 0},
    port: socket.remotePort ?? 0,
  }
  served.push(entry)
  const pieces: Buffer[] = []
  incoming.on('data', (piece: Buffer) => {
    pieces.push(piece)
    entry.bytes += piece.length
  })
  incoming.on('error', () => {})
  incoming.on('end', () => {
    entry.sha256 = digest(Buffer.concat(pieces))
    entry.rawTrailers = incoming.rawTrailers
    const {headers = {}, body = Buffer.alloc(0)} = answer(incoming, Buffer.concat(pieces))
    for (const [name, value] of Object.entries(headers))
      if (value !== undefined) response.setHeader(name, value)
    if (headers['Transfer-Encoding']) Readable.from(body.length ? [body] : []).pipe(response)
    else response.setHeader('Content-Length', body.length).end(body)
  })
}

beforeEach(async () => {
  served = []
  proxies = []
  answer = () => ({body: Buffer.from('the answer')})
  upstream = createServer({keepAliveTimeout: 60_000}, serve).listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  proxy = await startProxy()
  agent = new Agent({keepAlive: true})
})

afterEach(async () => {
  agent.destroy()
  await Promise.all(proxies.map((each) => each.close()))
  upstream.closeAllConnections()
  await new Promise((resolve) => upstream.close(resolve))
})

async function startProxy(options?: HttpFaultProxyOptions, to: {address(): unknown} = upstream) {
  const started = await startHttpFaultProxy(`http://127.0.0.1:${(to.address() as AddressInfo).port}`, options)
  proxies.push(started)
  return started
}

interface Ask {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: Buffer
  isChunked?: boolean
  agent?: Agent | false
  by?: HttpFaultProxy
}

interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

/** One request by node:http, without any retry. */
async function ask({method = 'GET', path = '/bucket/key', ...more}: Ask = {}): Promise<Answer> {
  const {headers = {}, body, isChunked = false, by = proxy} = more
  const length = body && !isChunked ? {'Content-Length': String(body.length)} : {}
  const options = {method, path, headers: {...length, ...headers}, agent: more.agent ?? agent}
  const asked = request(by.endpoint, options)
  const answered = new Promise<Answer>((resolve, reject) => {
    asked.on('error', reject)
    asked.on('response', (response) => {
      const answer = {status: response.statusCode ?? 0, headers: response.headers}
      buffer(response).then((bytes) => resolve({...answer, body: bytes}), reject)
    })
  })
  if (isChunked && body) Readable.from(slices(body)).pipe(asked)
  else asked.end(body)
  return answered
}

const put = (body: Buffer, more: Ask = {}) => ask({method: 'PUT', body, ...more})

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 50_000) yield bytes.subarray(at, at + 50_000)
}

/** A client that sends what it is told and collects what comes, with how it ended: `end`, `open` or an error's code. */
class RawClient {
  ending = 'open'
  readonly ended: Promise<string>
  readonly socket: Socket
  private readonly pieces: Buffer[] = []

  constructor(by: HttpFaultProxy = proxy) {
    this.socket = createConnection({port: Number(new URL(by.endpoint).port), host: '127.0.0.1'})
    this.socket.on('data', (bytes: Buffer) => this.pieces.push(bytes))
    this.ended = new Promise((resolve) => {
      const ends = (how: string) => {
        if (this.ending === 'open') this.ending = how
        resolve(this.ending)
      }
      this.socket.on('end', () => ends('end'))
      this.socket.on('error', (error: NodeJS.ErrnoException) => ends(error.code ?? 'error'))
    })
    clients.push(this)
  }

  static say(text: string | Buffer, by: HttpFaultProxy = proxy): RawClient {
    const client = new RawClient(by)
    client.socket.write(text)
    return client
  }

  get bytes(): Buffer {
    if (this.pieces.length > 1) this.pieces.splice(0, Infinity, Buffer.concat(this.pieces))
    return this.pieces[0] ?? Buffer.alloc(0)
  }

  get head(): string {
    return this.bytes.subarray(0, this.bytes.indexOf('\r\n\r\n') + 4).toString('latin1')
  }

  get body(): Buffer {
    return this.bytes.subarray(this.bytes.indexOf('\r\n\r\n') + 4)
  }
}

let clients: RawClient[] = []
afterEach(() => {
  for (const client of clients) client.socket.destroy()
  clients = []
})

const get = (path = '/bucket/key', host = 'store') => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
const putHead = (bytes: number) =>
  `PUT /bucket/key HTTP/1.1\r\nHost: store\r\nContent-Length: ${bytes}\r\n\r\n`
const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const differing = (one: Buffer, other: Buffer) => {
  if (one.length !== other.length) return 'another length'
  const places: number[] = []
  for (let start = 0; start < one.length; start += 1000) {
    const [a, b] = [one, other].map((bytes) => bytes.subarray(start, start + 1000))
    if (a.equals(b)) continue
    for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) places.push(start + at)
  }
  return places
}

/** Waits for what is told by nobody. */
async function until(isSo: () => boolean): Promise<void> {
  for (const end = performance.now() + 30_000; !isSo(); await sleep(5)) {
    if (performance.now() > end) throw new Error(`waited in vain for ${String(isSo)}`)
  }
}

describe('without a fault, the proxy', () => {
  test('passes requests and answers on byte by byte, whatever they look like', async () => {
    const said =
      'PUT /b%2Fu//ck/../%c3%a9+%20?b=2&a=1&&x=%2f HTTP/1.1\r\nhOsT: bucket.store.example:81\r\nX-Twice: 1\r\n' +
      'x-twice:2\r\nX-Latin: \xe9\xff\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n' +
      '5;ext="a"\r\nhello\r\n0A\r\n0123456789\r\n00\r\nx-sum: AAA=\r\n\r\n'
    const answered =
      'HTTP/1.1 200 Very well\r\nServer:  odd\r\neTaG: "x"\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '3\r\nabc\r\n0\r\n\r\n'
    const heard: Buffer[] = []
    const odd = createNetServer((socket) => {
      socket.on('data', (bytes) => {
        heard.push(bytes)
        if (Buffer.concat(heard).length === said.length) socket.write(Buffer.from(answered, 'latin1'))
      })
    }).listen(0, '127.0.0.1')
    await once(odd, 'listening')
    const by = await startProxy({}, odd)
    const client = new RawClient(by)
    const all = Buffer.from(said, 'latin1')
    for (const byte of all) client.socket.write(Buffer.from([byte]))
    await until(() => client.bytes.length >= answered.length)
    expect(Buffer.concat(heard).toString('latin1')).toBe(said)
    expect(client.bytes.toString('latin1')).toBe(answered)
    expect(by.requests()).toEqual([
      {
        ...{method: 'PUT', path: '/b%2Fu//ck/../%c3%a9+%20', query: 'b=2&a=1&&x=%2f', kind: 'put-object'},
        ...{bytes: 15, answerBytes: 3, status: 200},
      },
    ])
    await by.close()
    await new Promise((resolve) => odd.close(resolve))
  })

  describe.each([
    ['kept connections', true],
    ['a connection for each request', false],
  ])('with %s', (_, keepAlive) => {
    test.each([0, 1, big.length])(
      'passes bodies of %i bytes both ways, with a length and in chunks',
      async (length) => {
        const body = big.subarray(0, length)
        for (const isChunked of [false, true]) {
          answer = (_, body) => ({body, headers: isChunked ? {'Transfer-Encoding': 'chunked'} : {}})
          const answered = await put(body, {isChunked, agent: keepAlive ? agent : false})
          expect([answered.status, digest(answered.body)]).toEqual([200, digest(body)])
          expect(served.at(-1)).toMatchObject({sha256: digest(body), bytes: body.length})
          expect(proxy.requests().at(-1)).toMatchObject({bytes: body.length, answerBytes: body.length})
        }
        expect(new Set(served.map(({port}) => port)).size).toBe(keepAlive ? 1 : 2)
      },
    )
  })

  test('serves many requests at a time', async () => {
    answer = (_, body) => ({body})
    const bodies = Array.from({length: 60}, (_, at) => randomBytes(at * 10_000))
    const answers = await Promise.all(bodies.map((body, at) => put(body, {path: `/bucket/${at}`})))
    expect(answers.map(({body}) => digest(body))).toEqual(bodies.map(digest))
    expect(proxy.requests()).toHaveLength(60)
  })

  test('answers to HEAD and with 204 and 304 have no body', async () => {
    upstream.removeAllListeners('request').on('request', (incoming, response) => {
      const status = Number(incoming.url?.slice(-3))
      response.writeHead(status, status === 200 ? {'Content-Length': 1000} : {}).end()
    })
    for (const [method, status] of [
      ['HEAD', 200],
      ['DELETE', 204],
      ['GET', 304],
    ] as const) {
      expect(await ask({method, path: `/bucket/${status}`})).toMatchObject({status, body: Buffer.alloc(0)})
    }
    expect((await ask({method: 'HEAD', path: '/bucket/200'})).headers['content-length']).toBe('1000')
  })

  test('lets a server say 100 Continue before the body is sent', async () => {
    upstream.on('checkContinue', (incoming: IncomingMessage, response) => {
      response.writeContinue()
      serve(incoming, response)
    })
    const asked = request(proxy.endpoint, {
      ...{method: 'PUT', path: '/bucket/key', agent},
      headers: {'Content-Length': 5, Expect: '100-continue'},
    })
    asked.flushHeaders()
    await once(asked, 'continue')
    expect(served).toMatchObject([{bytes: 0}])
    asked.end('12345')
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    expect([response.statusCode, await buffer(response)]).toEqual([200, Buffer.from('the answer')])
    expect(served[0].bytes).toBe(5)
  })

  test('passes on what comes as it comes', async () => {
    upstream.removeAllListeners('request').on('request', (incoming, response) => {
      incoming.on('data', (piece) => response.write(piece))
      incoming.on('end', () => response.end())
    })
    const asked = request(proxy.endpoint, {method: 'PUT', path: '/bucket/key', agent})
    asked.write('first')
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    expect(String((await once(response, 'data'))[0])).toBe('first')
    asked.end('second')
    expect(String(await buffer(response))).toBe('second')
  })

  test('passes on an answer that comes before the request has ended', async () => {
    upstream.removeAllListeners('request').on('request', (_, response) => {
      response.writeHead(412, {Connection: 'close'}).end('no')
    })
    const client = RawClient.say(putHead(big.length))
    client.socket.write(big.subarray(0, 100_000))
    await until(() => client.bytes.includes('no'))
    expect(client.head).toMatch(/^HTTP\/1.1 412 /)
    expect(proxy.requests()).toMatchObject([{status: 412}])
  })

  test('ends a connection when its server does, and a client sees whether it was a reset', async () => {
    let last: Socket | undefined
    upstream.on('connection', (socket: Socket) => (last = socket))
    upstream.removeAllListeners('request').on('request', (incoming, response) => {
      response.writeHead(200, {'Content-Length': 10}).write('12345', () => {
        if (incoming.url === '/bucket/reset') last?.resetAndDestroy()
        if (incoming.url === '/bucket/end') last?.end()
      })
    })
    const cut = RawClient.say(get('/bucket/reset'))
    expect(await cut.ended).toBe('ECONNRESET')
    const short = RawClient.say(get('/bucket/end'))
    expect([await short.ended, String(short.body)]).toEqual(['end', '12345'])
  })

  test('ends an idle connection when its server does', async () => {
    const client = RawClient.say(get())
    await until(() => client.bytes.includes('the answer'))
    upstream.closeIdleConnections()
    expect(await client.ended).toBe('end')
    await until(() => proxy.connections() === 0)
  })

  test('breaks off at the server what a client breaks off', async () => {
    const client = RawClient.say(putHead(1000) + 'some')
    await until(() => served[0]?.bytes === 4)
    client.socket.destroy()
    await until(() => proxy.connections() === 0)
    expect(served[0].sha256).toBeUndefined()
  })

  test('resets connections when there is no server', async () => {
    upstream.closeAllConnections()
    await new Promise((resolve) => upstream.close(resolve))
    await expect(ask()).rejects.toMatchObject({code: 'ECONNRESET'})
    upstream = createServer(serve).listen(0, '127.0.0.1')
  })

  test('makes a Location that names the server name the proxy, and leaves others', async () => {
    const {port} = upstream.address() as AddressInfo
    const by = await startProxy({store: 'gcs'})
    for (const [given, seen] of [
      [`http://127.0.0.1:${port}/upload?upload_id=a%2Fb`, `${by.endpoint}/upload?upload_id=a%2Fb`],
      [`http://localhost:${port}/upload`, `${by.endpoint}/upload`],
      [`http://127.0.0.1:${port}1/upload`, `http://127.0.0.1:${port}1/upload`],
      ['/upload', '/upload'],
    ]) {
      answer = () => ({headers: {Location: given}})
      expect((await ask({by})).headers.location).toBe(seen)
    }
  })
})

describe('a refusal', () => {
  test.each<[Store, number, RegExp, Record<string, string>]>([
    ['s3', 500, /<Error><Code>InternalError<\/Code>/, {'content-type': 'application/xml'}],
    ['s3', 503, /<Error><Code>SlowDown<\/Code>/, {}],
    ['s3', 429, /<Error><Code>TooManyRequests<\/Code>/, {}],
    ['azure', 500, /<Code>InternalError<\/Code>/, {'x-ms-error-code': 'InternalError'}],
    ['azure', 503, /<Code>ServerBusy<\/Code>/, {'x-ms-error-code': 'ServerBusy'}],
    ['gcs', 503, /"code": 503,[^]*"backendError"/, {'content-type': 'application/json; charset=UTF-8'}],
    ['gcs', 429, /"code": 429,[^]*"rateLimitExceeded"/, {}],
  ])(
    'of %s with %i is in its own words, and the server hears nothing of it',
    async (store, status, body, headers) => {
      const by = await startProxy({store})
      const planned = by.plan({fault: {type: 'status', status, retryAfterSeconds: 3}})
      const answered = await ask({by})
      expect(answered).toMatchObject({status, headers: {...headers, 'retry-after': '3'}})
      expect(String(answered.body)).toMatch(body)
      expect(served).toEqual([])
      expect(await planned.happened).toMatchObject({status, fault: {type: 'status', status}})
      expect((await ask({by})).status).toBe(200)
      expect(planned.count).toBe(1)
    },
  )

  test.each([true, false])(
    'comes after the body, and the connection goes on (in chunks: %s)',
    async (isChunked) => {
      proxy.plan({fault: 'status', times: 2})
      expect((await put(big, {isChunked})).status).toBe(503)
      expect((await ask({method: 'HEAD'})).status).toBe(503)
      expect((await put(big, {isChunked})).status).toBe(200)
      expect(proxy.requests()[0]).toMatchObject({bytes: big.length, status: 503})
      expect(served).toMatchObject([{sha256: digest(big)}])
      expect(proxy.connections()).toBe(1)
    },
  )

  test('comes before the body is read, and ends the connection', async () => {
    proxy.plan({fault: {type: 'status', status: 500, answered: 'before-body'}, times: 2})
    const client = RawClient.say(putHead(1000))
    expect(await client.ended).toBe('end')
    expect(client.head).toMatch(/^HTTP\/1.1 500 [^]*Connection: close/)
    expect((await put(big)).status).toBe(500)
    expect(proxy.requests()).toMatchObject([{bytes: 0}, {bytes: 0}])
    expect(served).toEqual([])
  })

  test('comes to a client that waits for 100 Continue, with or without it', async () => {
    for (const answered of ['after-body', 'before-body'] as const) {
      proxy.plan({fault: {type: 'status', status: 503, answered}})
      const client = RawClient.say(putHead(5).replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n'))
      await until(() => client.bytes.length > 0)
      if (answered === 'after-body') {
        expect(String(client.bytes)).toBe('HTTP/1.1 100 Continue\r\n\r\n')
        client.socket.write('12345')
      }
      await until(() => client.bytes.includes('HTTP/1.1 503 '))
    }
  })
})

describe('a lost answer', () => {
  test.each([true, false])('is that of a request that was done (in chunks: %s)', async (isChunked) => {
    const planned = proxy.plan({fault: 'lost-answer'})
    await expect(put(big, {isChunked})).rejects.toMatchObject({code: 'ECONNRESET'})
    expect(served).toMatchObject([{sha256: digest(big)}])
    expect(await planned.happened).toMatchObject({status: 200, answerBytes: 0, fault: {type: 'lost-answer'}})
    expect((await put(big)).status).toBe(200)
  })

  test('is a reset, after the server has answered all', async () => {
    answer = () => ({body: big, headers: {'Transfer-Encoding': 'chunked'}})
    proxy.plan({fault: 'lost-answer'})
    const client = RawClient.say(get())
    expect([await client.ended, client.bytes.length]).toEqual(['ECONNRESET', 0])
  })
})

describe('a reset', () => {
  test('at once keeps the request from the server', async () => {
    proxy.plan({fault: 'reset'})
    const client = RawClient.say(putHead(5) + '12345')
    expect([await client.ended, client.bytes.length]).toEqual(['ECONNRESET', 0])
    expect(served).toEqual([])
  })

  test.each([
    [0, false],
    [1, false],
    [3 * megabyte, false],
    [big.length, false],
    [0, true],
    [3 * megabyte, true],
  ])('in the request comes after %i bytes (in chunks: %s)', async (afterBytes, isChunked) => {
    answer = () => ({body: Buffer.alloc(0), headers: {}})
    const reset = proxy.plan({fault: {type: 'reset', in: 'request', afterBytes}})
    await expect(put(big, {isChunked})).rejects.toMatchObject({
      code: expect.stringMatching(/ECONNRESET|EPIPE/),
    })
    await reset.happened
    await until(() => proxy.connections() === 0)
    expect(served.length).toBeLessThanOrEqual(1)
    for (const {bytes} of served) expect(bytes).toBeLessThanOrEqual(afterBytes)
    if (afterBytes < big.length) for (const {sha256} of served) expect(sha256).toBeUndefined()
    expect((await put(big, {isChunked})).status).toBe(200)
  })

  test('in the request lets the server have what comes before', async () => {
    const gone = new Promise((resolve) => {
      upstream.prependListener('request', (incoming: IncomingMessage) => incoming.on('close', resolve))
    })
    proxy.plan({fault: {type: 'reset', in: 'request', afterBytes: 10}})
    const client = RawClient.say(putHead(100) + '12345')
    await until(() => served[0]?.bytes === 5)
    client.socket.write('67890abcdef')
    expect(await client.ended).toBe('ECONNRESET')
    await gone
    expect(served).toMatchObject([{sha256: undefined}])
    expect(served[0].bytes).toBeLessThanOrEqual(10)
  })

  test.each([0, 1, 3 * megabyte, big.length - 1])(
    'in the answer comes after %i bytes',
    async (afterBytes) => {
      answer = () => ({body: big})
      proxy.plan({fault: {type: 'reset', in: 'response', afterBytes}})
      const client = RawClient.say(get())
      expect(await client.ended).toBe('ECONNRESET')
      expect(client.body.length).toBeLessThanOrEqual(afterBytes)
      expect(proxy.requests()[0]).toMatchObject({status: 200, fault: {type: 'reset'}})
    },
  )

  test('in an answer without a body loses the answer', async () => {
    answer = () => ({})
    proxy.plan({fault: {type: 'reset', in: 'response'}})
    const client = RawClient.say(get())
    expect([await client.ended, client.bytes.length]).toEqual(['ECONNRESET', 0])
    expect(served).toHaveLength(1)
  })
})

describe('a stall', () => {
  /** Long enough that anything on its way on this machine would have arrived. */
  const silence = () => sleep(150)

  test.each([0, 5])(
    'in the request comes after %i bytes, and the connection stays open',
    async (afterBytes) => {
      const stall = proxy.plan({fault: {type: 'stall', in: 'request', afterBytes}})
      const client = RawClient.say(putHead(10) + '1234567890')
      await stall.happened
      await until(() => served[0]?.bytes === afterBytes)
      await silence()
      expect(served).toMatchObject([{bytes: afterBytes, sha256: undefined}])
      expect([client.ending, client.bytes.length]).toEqual(['open', 0])
      client.socket.destroy()
      await until(() => proxy.connections() === 0)
    },
  )

  test('in the request keeps a big body from moving on', async () => {
    const stall = proxy.plan({fault: {type: 'stall', in: 'request', afterBytes: 1000}})
    const client = RawClient.say(putHead(3 * big.length))
    for (let n = 0; n < 3; n++) client.socket.write(big)
    await stall.happened
    await silence()
    expect(client.socket.writableLength).toBeGreaterThan(megabyte)
    expect(served[0].bytes).toBe(1000)
  })

  test('hides that the server has closed the connection', async () => {
    const stall = proxy.plan({fault: {type: 'stall', in: 'request', afterBytes: 5}})
    const client = RawClient.say(putHead(10) + '1234567890')
    await stall.happened
    upstream.closeAllConnections()
    await silence()
    expect(client.ending).toBe('open')
  })

  test('before the answer comes when the server has done its work', async () => {
    const stall = proxy.plan({fault: 'stall'})
    const client = RawClient.say(putHead(5) + '12345')
    await stall.happened
    await silence()
    expect(served).toMatchObject([{sha256: digest(Buffer.from('12345'))}])
    expect([client.ending, client.bytes.length]).toEqual(['open', 0])
    proxy.heal() // a stalled connection stays so
    await silence()
    expect(client.bytes.length).toBe(0)
    expect((await ask()).status).toBe(200)
  })

  test.each([0, 1, 3 * megabyte])('in the answer comes after %i bytes', async (afterBytes) => {
    answer = () => ({body: big})
    proxy.plan({fault: {type: 'stall', in: 'response', afterBytes}})
    const client = RawClient.say(get())
    await until(() => client.head !== '' && client.body.length >= afterBytes)
    await silence()
    expect([client.ending, client.body.length]).toEqual(['open', afterBytes])
    client.socket.destroy()
    await until(() => proxy.connections() === 0)
  })
})

describe('a truncated answer', () => {
  test.each([0, 1, 3 * megabyte, big.length - 1])('ends politely after %i bytes', async (afterBytes) => {
    answer = () => ({body: big})
    proxy.plan({fault: {type: 'truncate', afterBytes}})
    const client = RawClient.say(get())
    expect(await client.ended).toBe('end')
    expect(client.head).toContain(`Content-Length: ${big.length}`)
    expect(client.body.equals(big.subarray(0, afterBytes))).toBe(true)
  })

  test('is an error to a client that knows HTTP', async () => {
    answer = () => ({body: big})
    proxy.plan({fault: 'truncate'})
    await expect(ask()).rejects.toMatchObject({code: 'ECONNRESET'})
    expect(proxy.requests()[0].answerBytes).toBeGreaterThanOrEqual(big.length / 2)
  })

  // By their sizes: jest writes a table's values into the names, a buffer's byte by byte.
  test.each([0, 1, big.length])('in chunks lacks its last one (%i bytes)', async (length) => {
    const body = big.subarray(0, length)
    answer = () => ({body, headers: {'Transfer-Encoding': 'chunked'}})
    const truncated = proxy.plan({fault: {type: 'truncate', afterBytes: big.length + 1}})
    const client = RawClient.say(get())
    expect(await client.ended).toBe('end')
    expect(client.body.length).toBeGreaterThanOrEqual(body.length)
    expect(client.body.subarray(-5).toString('latin1')).not.toBe('0\r\n\r\n')
    expect(truncated.count).toBe(1)
  })
})

describe('corruption', () => {
  test.each([
    ['at a place', 12_345_678, false, 12_345_678],
    ['at the first byte', 0, false, 0],
    ['at the last byte', big.length - 1, false, big.length - 1],
    ['in the middle', undefined, false, big.length / 2],
    ['at a place, in chunks', 12_345_678, true, 12_345_678],
  ])('of a request flips one bit %s', async (_, afterBytes, isChunked, place) => {
    answer = (_, body) => ({body})
    const planned = proxy.plan({fault: {type: 'corrupt-request', afterBytes}})
    const {body} = await put(big, {isChunked})
    expect(differing(body, big)).toEqual([place])
    expect(body[place] ^ big[place]).toBe(1)
    expect(planned.count).toBe(1)
    expect(differing((await put(big, {isChunked})).body, big)).toEqual([])
  })

  test.each([true, false])('of a multipart upload meets the object (in chunks: %s)', async (isChunked) => {
    answer = (_, body) => ({body})
    const by = await startProxy({store: 'gcs'})
    const part = (type: string, text: string) => `--b\r\nContent-Type: ${type}\r\n\r\n${text}\r\n`
    const text =
      part('application/json', '{"name": "o"}') + part('application/octet-stream', 'OBJECT') + '--b--'
    const sent = {
      body: Buffer.from(text),
      headers: {'Content-Type': 'multipart/related; boundary=b'},
      isChunked,
    }
    const corrupted = by.plan({fault: 'corrupt-request'})
    const path = '/upload/storage/v1/b/bucket/o?uploadType=multipart'
    const {body} = await ask({method: 'POST', path, by, ...sent})
    expect(String(body)).toBe(text.replace('OBJECT', 'NBJECT'))
    expect(await corrupted.happened).toMatchObject({kind: 'upload'})
  })

  test('of a request waits for one with a body', async () => {
    const planned = proxy.plan({fault: 'corrupt-request'})
    await ask()
    await put(Buffer.alloc(0))
    expect(planned.count).toBe(0)
    await put(Buffer.from('a'))
    expect(planned.count).toBe(1)
    expect(served.map(({sha256}) => sha256)).toEqual(['', '', '`'].map((text) => digest(Buffer.from(text))))
  })

  test.each([true, false])('of an answer flips one bit of an object (in chunks: %s)', async (isChunked) => {
    answer = () => ({body: big, headers: isChunked ? {'Transfer-Encoding': 'chunked'} : {}})
    const planned = proxy.plan({fault: {type: 'corrupt-response', afterBytes: 7_000_000}})
    expect(differing((await ask({path: '/bucket?list-type=2'})).body, big)).toEqual([])
    expect(differing((await ask()).body, big)).toEqual([7_000_000])
    expect(planned.count).toBe(1)
    expect(differing((await ask()).body, big)).toEqual([])
  })

  test('of an answer leaves an error alone, and waits for an object', async () => {
    const planned = proxy.plan({fault: 'corrupt-response'})
    upstream.removeAllListeners('request').on('request', (incoming, response) => {
      response.writeHead(incoming.url === '/bucket/no' ? 404 : 206).end('object')
    })
    expect(String((await ask({path: '/bucket/no'})).body)).toBe('object')
    expect(planned.count).toBe(0)
    expect(String((await ask()).body)).not.toBe('object')
    expect(planned.count).toBe(1)
  })

  test('of checksums changes those in the headers, of the same form', async () => {
    const headers = {
      ETag: '"9e107d9d372bb6826bd81d3542a419d6-12"',
      'Content-MD5': 'nhB9nTcrtoJr2B01QqQZ1g==',
      'x-amz-checksum-crc32': 'QToPog==',
      'x-amz-checksum-type': 'FULL_OBJECT',
      'x-ms-content-crc64': 'AAAAAAAAAAA=',
      'x-goog-hash': 'crc32c=n03x6A==,md5=nhB9nTcrtoJr2B01QqQZ1g==',
    }
    answer = () => ({headers})
    const planned = proxy.plan({fault: 'wrong-checksum'})
    expect((await ask()).headers).toMatchObject({
      etag: '"9e107d9d372bb6826bd81d3542a419d0-12"',
      'content-md5': 'ahB9nTcrtoJr2B01QqQZ1g==',
      'x-amz-checksum-crc32': 'AToPog==',
      'x-amz-checksum-type': 'FULL_OBJECT',
      'x-ms-content-crc64': 'BAAAAAAAAAA=',
      'x-goog-hash': 'crc32c=a03x6A==,md5=ahB9nTcrtoJr2B01QqQZ1g==',
    })
    expect(planned.count).toBe(1)
    expect((await ask()).headers.etag).toBe(headers.ETag)
  })

  test('of checksums changes those in answers of Google', async () => {
    const by = await startProxy({store: 'gcs'})
    const body = '{"name": "crc32c", "md5Hash": "nhB9nQ==", "crc32c":"AAAAAA=="}'
    answer = () => ({body: Buffer.from(body), headers: {'Content-Type': 'application/json; charset=UTF-8'}})
    by.plan({fault: 'wrong-checksum'})
    const path = '/storage/v1/b/bucket/o/key'
    expect(String((await ask({by, path})).body)).toBe(
      body.replace('nhB9', 'ahB9').replace('AAAAAA', 'BAAAAA'),
    )
    expect(String((await ask({by, path})).body)).toBe(body)
  })

  test('of checksums waits for an answer that has any', async () => {
    const planned = proxy.plan({fault: 'wrong-checksum'})
    await ask()
    expect(planned.count).toBe(0)
    answer = () => ({headers: {ETag: '"abc"'}})
    expect((await ask()).headers.etag).toBe('"aba"')
  })
})

describe('a slow network', () => {
  const body = randomBytes(300_000)

  async function milliseconds(work: () => Promise<unknown>): Promise<number> {
    const start = performance.now()
    await work()
    return performance.now() - start
  }

  test.each(['request', 'response'])('takes its time with a %s', async (direction) => {
    answer = (_, body) => ({body})
    proxy.plan({fault: {type: 'slow', [`${direction}BytesPerSecond`]: megabyte}})
    const took = await milliseconds(async () => expect(digest((await put(body)).body)).toBe(digest(body)))
    expect(took).toBeGreaterThan(250)
    expect(took).toBeLessThan(3000)
  })

  test('is shared by all requests, until it heals', async () => {
    proxy.slowAll({requestBytesPerSecond: megabyte})
    const took = await milliseconds(() => Promise.all([put(body), put(body), put(body)]))
    expect(took).toBeGreaterThan(800)
    proxy.slowAll({requestBytesPerSecond: 1000})
    const slow = put(body)
    await until(() => (proxy.requests().at(-1)?.bytes ?? 0) > 0)
    proxy.slowAll({})
    expect((await slow).status).toBe(200)
  })
})

describe('a plan', () => {
  const status: Fault = {type: 'status', status: 500}

  test('meets the requests it is for, from the n-th on, so many times', async () => {
    const planned = proxy.plan({
      ...{fault: status, times: 2},
      when: {method: 'PUT', kind: ['put-object', 'upload-part'], path: /wanted/, query: /x=1/, nth: 2},
    })
    const paths = ['/b/wanted?x=1', '/b/other?x=1', '/b/wanted?x=2', '/b/wanted?x=1', '/b/wanted?x=1&acl']
    const statuses: number[] = []
    for (const path of [...paths, ...paths, ...paths])
      statuses.push((await put(Buffer.from('x'), {path})).status)
    expect(statuses).toEqual([200, 200, 200, 500, 200, 500, 200, 200, 200, 200, 200, 200, 200, 200, 200])
    expect((await ask({path: '/b/wanted?x=1'})).status).toBe(200)
    expect(planned.count).toBe(2)
    expect(proxy.requests({kind: 'put-object', path: /wanted/}).filter(({fault}) => fault)).toHaveLength(2)
  })

  test('is given up when it is cancelled or all is healed', async () => {
    proxy.plan({fault: status}).cancel()
    proxy.plan({fault: status, times: Infinity})
    expect((await ask()).status).toBe(500)
    proxy.heal()
    expect((await ask()).status).toBe(200)
  })

  test('meets as many of the requests that come at a time as it is for', async () => {
    proxy.plan({fault: status, times: 3})
    const answers = await Promise.all(Array.from({length: 20}, () => ask()))
    expect(answers.filter((answered) => answered.status === 500)).toHaveLength(3)
  })

  test('that found no place in a request stays for the next', async () => {
    const planned = proxy.plan({fault: {type: 'truncate', afterBytes: 100}})
    expect((await ask()).status).toBe(200)
    answer = () => ({body: big})
    await expect(ask()).rejects.toThrow()
    expect(planned.count).toBe(1)
  })

  test('an arrival is told before the server hears of it', async () => {
    const arrival = proxy.arrival({kind: 'put-object'})
    proxy.plan({fault: 'stall', when: {kind: 'put-object'}})
    await ask()
    RawClient.say(putHead(5))
    expect(await arrival).toMatchObject({kind: 'put-object', method: 'PUT'})
  })
})

describe('faults by chance', () => {
  /** What happened to a row of requests, some of them at a time. */
  async function run(random: RandomFaults, {atATime = 1} = {}): Promise<LoggedRequest[]> {
    answer = ({method}) => ({
      body: method === 'GET' ? randomBytes(5000) : Buffer.alloc(0),
      headers: {ETag: '"ab"'},
    })
    const by = await startProxy()
    const running = by.random(random)
    for (let at = 0; at < 120; at += atATime) {
      await Promise.allSettled(
        Array.from({length: atATime}, (_, n) => {
          const path = `/bucket/${at + n}`
          const asked = (at + n) % 3 === 0 ? put(Buffer.alloc(3000), {path, by}) : ask({path, by})
          return asked
        }),
      )
    }
    expect(running.count).toBe(by.requests().filter(({fault}) => fault).length)
    running.stop()
    const requests = by.requests()
    await by.close()
    return requests
  }

  const faults: FaultType[] = [
    ...(['status', 'lost-answer', 'reset', 'truncate', 'corrupt-request', 'corrupt-response'] as const),
    'wrong-checksum',
  ]
  const fates = (requests: LoggedRequest[]) =>
    ['put-object', 'get-object'].map((kind) =>
      requests.filter((request) => request.kind === kind).map(({fault}) => fault ?? 'none'),
    )

  test('are the same for the same seed, also when requests come at a time, and others for another', async () => {
    const first = fates(await run({rate: 0.3, faults, seed: 7}))
    expect(fates(await run({rate: 0.3, faults, seed: 7}))).toEqual(first)
    expect(fates(await run({rate: 0.3, faults, seed: 7}, {atATime: 6}))).toEqual(first)
    expect(fates(await run({rate: 0.3, faults, seed: 8}))).not.toEqual(first)
    const types = first.flat().map((fate) => (fate === 'none' ? fate : fate.type))
    expect(new Set(types)).toEqual(new Set(['none', ...faults]))
    const share = types.filter((type) => type !== 'none').length / types.length
    expect(share).toBeGreaterThan(0.15)
    expect(share).toBeLessThan(0.45)
  })

  test('take the seed of the proxy, and leave out kinds', async () => {
    const by = await startProxy({seed: 42})
    const running = by.random({rate: 1, faults: ['status'], except: ['list']})
    expect([by.seed, running.seed]).toEqual([42, 42])
    expect((await ask({by, path: '/bucket?list-type=2'})).status).toBe(200)
    expect((await ask({by})).status).toBeGreaterThanOrEqual(429)
    by.random({rate: 1, faults: ['status'], kinds: ['list']})
    expect((await ask({by, path: '/bucket?list-type=2'})).status).toBeGreaterThanOrEqual(429)
    expect((await ask({by})).status).toBe(200)
    by.heal()
    expect((await ask({by, path: '/bucket?list-type=2'})).status).toBe(200)
  })

  test('let a request through after so many in a row', async () => {
    proxy.random({rate: 1, faults: [{type: 'status', status: 503}], maxInARow: 2})
    const statuses: number[] = []
    for (let n = 0; n < 6; n++) {
      for (const path of ['/b/1', '/b/2']) statuses.push((await ask({path})).status)
    }
    expect(statuses).toEqual([503, 503, 503, 503, 200, 200, 503, 503, 503, 503, 200, 200])
  })
})

describe('the whole proxy', () => {
  test('refuses every connection, open or new, until it heals', async () => {
    const open = RawClient.say(get())
    await until(() => open.bytes.includes('the answer'))
    proxy.refuseAll()
    expect(await open.ended).toBe('ECONNRESET')
    await expect(ask()).rejects.toMatchObject({code: expect.stringMatching(/ECONNRESET|EPIPE/)})
    expect(served).toHaveLength(1)
    proxy.heal()
    expect((await ask()).status).toBe(200)
  })

  test('stalls every connection, open or new, and goes on where it stopped', async () => {
    answer = (_, body) => ({body})
    const idle = RawClient.say(get())
    await until(() => idle.bytes.length > 0)
    const sending = RawClient.say(putHead(8) + '1234')
    await until(() => served[1]?.bytes === 4)
    const before = idle.bytes.length
    proxy.stallAll()
    sending.socket.write('5678')
    idle.socket.write(get())
    const fresh = RawClient.say(get())
    await until(() => proxy.connections() === 3)
    await sleep(150)
    expect([served[1].bytes, served.length]).toEqual([4, 2])
    expect([sending, idle, fresh].map(({ending}) => ending)).toEqual(['open', 'open', 'open'])
    expect([sending.bytes.length, idle.bytes.length, fresh.bytes.length]).toEqual([0, before, 0])
    proxy.heal()
    await until(() => fresh.bytes.length > 0 && idle.bytes.length > before && sending.body.length === 8)
    expect(String(sending.body)).toBe('12345678')
  })

  test('lets go of a stalled connection whose client has gone', async () => {
    proxy.stallAll()
    const client = RawClient.say(get())
    await until(() => proxy.requests().length === 1)
    client.socket.destroy()
    await until(() => proxy.connections() === 0)
    proxy.heal()
  })

  test('leaves nothing open when it is closed, whatever hangs', async () => {
    await proxy.close()
    const {port: served} = upstream.address() as AddressInfo
    await until(() => connectionsAt(served) === 0)
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const by = await startProxy()
    const {port} = new URL(by.endpoint)
    answer = () => ({body: big})
    const faults: Fault[] = [
      ...(['request', 'response'] as const).map((side) => ({
        type: 'stall' as const,
        in: side,
        afterBytes: 5,
      })),
      {type: 'stall'},
      {type: 'slow', requestBytesPerSecond: 1},
      {type: 'slow', responseBytesPerSecond: 1},
    ]
    const planned = faults.map((fault, at) => by.plan({fault, when: {path: new RegExp(`/${at}$`)}}))
    const failed = (asked: Promise<unknown>) => asked.catch((error: Error) => error)
    const hanging = faults.map((_, at) => failed(put(big, {path: `/bucket/${at}`, by})))
    await Promise.all(planned.map(({happened}) => happened))
    const idle = RawClient.say(get(), by)
    await until(() => idle.bytes.length > big.length)
    by.stallAll()
    const last = failed(put(big, {by}))
    await until(() => by.requests().length === 7)
    expect(by.connections()).toBe(7)
    expect(connectionsAt(served, Number(port))).toBeGreaterThan(14)
    await by.close()
    expect(by.connections()).toBe(0)
    upstream.closeAllConnections() // those that it answers slowly, or that are kept
    for (const result of await Promise.all([...hanging, last])) expect(result).toBeInstanceOf(Error)
    agent.destroy()
    await until(() => connectionsAt(served, Number(port)) === 0 && timers() <= before)
    await expect(ask({by})).rejects.toMatchObject({code: 'ECONNREFUSED'})
  })

  test('keeps the path of an endpoint, and speaks no TLS', async () => {
    const {port} = upstream.address() as AddressInfo
    const by = await startHttpFaultProxy(`http://127.0.0.1:${port}/account/`, {store: 'azure'})
    proxies.push(by)
    expect(by.endpoint).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/account$/)
    expect((await ask({by, path: '/account/container/blob'})).status).toBe(200)
    expect(served[0].url).toBe('/account/container/blob')
    await expect(startHttpFaultProxy('https://127.0.0.1:1')).rejects.toThrow('plain http')
  })
})

describe('the kind of a request', () => {
  const cases: [Store, string, RequestKind, Record<string, string>?][] = [
    ['s3', 'PUT /b/a/k?x-id=PutObject', 'put-object'],
    ['s3', 'PUT /b/k', 'copy-object', {'x-amz-copy-source': '/b/o'}],
    ['s3', 'PUT /b/k?partNumber=2&uploadId=u&x-id=UploadPart', 'upload-part'],
    ['s3', 'PUT /b/k?retention', 'other'],
    ['s3', 'PUT /b', 'other'],
    ['s3', 'GET /b/k?x-id=GetObject', 'get-object'],
    ['s3', 'GET /b/k?uploadId=u', 'list-parts'],
    ['s3', 'GET /b/k?tagging', 'other'],
    ['s3', 'HEAD /b/k', 'head-object'],
    ['s3', 'HEAD /b', 'other'],
    ['s3', 'DELETE /b/k', 'delete-object'],
    ['s3', 'DELETE /b/k?uploadId=u', 'abort-upload'],
    ['s3', 'POST /b/k?uploads', 'create-upload'],
    ['s3', 'POST /b/k?uploadId=u', 'complete-upload'],
    ['s3', 'POST /b?delete', 'delete-objects'],
    ['s3', 'GET /b?list-type=2&prefix=p', 'list'],
    ['s3', 'GET /b/?list-type=2', 'list'],
    ['s3', 'GET /b?uploads&prefix=p', 'list-uploads'],
    ['s3', 'GET /b?object-lock', 'other'],
    ['s3', 'GET /', 'other'],
    ['azure', 'PUT /a/c/b', 'put-blob'],
    ['azure', 'PUT /a/c/b', 'copy-blob', {'x-ms-copy-source': 'http://x'}],
    ['azure', 'PUT /a/c/b?comp=block&blockid=QQ', 'stage-block'],
    ['azure', 'PUT /a/c/b?comp=blocklist', 'commit-blocks'],
    ['azure', 'PUT /a/c?restype=container', 'other'],
    ['azure', 'GET /a/c/b?sv=2026&sig=x', 'get-blob'],
    ['azure', 'GET /a/c/b?comp=blocklist&blocklisttype=all', 'block-list'],
    ['azure', 'GET /a/c?restype=container&comp=list', 'list'],
    ['azure', 'GET /a?comp=list', 'other'],
    ['azure', 'HEAD /a/c/b', 'head-blob'],
    ['azure', 'HEAD /a/c?restype=container', 'other'],
    ['azure', 'DELETE /a/c/b', 'delete-blob'],
    ['gcs', 'POST /upload/storage/v1/b/b/o?uploadType=multipart', 'upload'],
    ['gcs', 'POST /upload/storage/v1/b/b/o?uploadType=media&name=k', 'upload'],
    ['gcs', 'POST /upload/storage/v1/b/b/o?name=k&uploadType=resumable', 'start-session'],
    ['gcs', 'PUT /up?upload_id=u', 'session-chunk', {'Content-Range': 'bytes 0-9/*'}],
    ['gcs', 'PUT /up?upload_id=u', 'session-chunk'],
    ['gcs', 'PUT /up?upload_id=u', 'session-status', {'Content-Range': 'bytes */*'}],
    ['gcs', 'PUT /up?upload_id=u', 'session-status', {'Content-Range': 'bytes */1000'}],
    ['gcs', 'DELETE /up?upload_id=u', 'session-delete'],
    ['gcs', 'GET /storage/v1/b/b/o/a%2Fk?alt=media', 'get-media'],
    ['gcs', 'GET /download/storage/v1/b/b/o/k', 'get-media'],
    ['gcs', 'GET /b/b/o/k', 'get-metadata'],
    ['gcs', 'DELETE /storage/v1/b/b/o/k', 'delete'],
    ['gcs', 'GET /storage/v1/b/b/o?prefix=p', 'list'],
    ['gcs', 'GET /storage/v1/b/b', 'other'],
    ['gcs', 'PATCH /storage/v1/b/b/o/k', 'other'],
  ]

  test.each(cases)('%s: %s is %s', async (store, said, kind, headers = {}) => {
    const by = await startProxy({store})
    const [method, path] = said.split(' ')
    await ask({method, path, headers, by})
    expect(by.requests()).toMatchObject([{kind}])
  })
})
