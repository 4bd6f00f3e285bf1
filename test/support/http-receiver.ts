import {createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse} from 'node:http'
import {createServer as createTlsServer} from 'node:https'
import type {AddressInfo, Socket} from 'node:net'

export interface ReceivedRequest {
  method: string
  /** With the query. */
  path: string
  headers: IncomingHttpHeaders
  body: string
  json(): Json
}

/** What a service was sent; the tests say what they expect of it. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any

/** How a request is answered: with a status, by cutting the connection, or never. */
export type Behaviour =
  {status: number; headers?: Record<string, string>; body?: string} | 'reset' | 'never' | 'half'

/** A service that records what it is sent and answers as the test says. */
export interface HttpReceiver {
  url: string
  port: number
  requests: ReceivedRequest[]
  /** The next requests are answered so, one each, and all others by the last. */
  answer(...behaviours: Behaviour[]): void
  /** Waits for so many requests. */
  received(count: number): Promise<ReceivedRequest[]>
  stop(): Promise<void>
}

export async function startReceiver(tls?: {key: string; cert: string}): Promise<HttpReceiver> {
  const requests: ReceivedRequest[] = []
  const waiting = new Set<() => void>()
  const sockets = new Set<Socket>()
  let behaviours: Behaviour[] = [{status: 200, body: 'ok'}]
  const listener = async (request: IncomingMessage, response: ServerResponse) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk as string
    const {method = '', url: path = '', headers} = request
    requests.push({method, path, headers, body, json: () => JSON.parse(body)})
    behave(behaviours.length > 1 ? behaviours.shift()! : behaviours[0], response)
    for (const look of waiting) look()
  }
  const listen = (request: IncomingMessage, response: ServerResponse) =>
    void listener(request, response).catch(() => {}) // the other side went away
  const server = tls ? createTlsServer(tls, listen) : createServer(listen)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const {port} = server.address() as AddressInfo
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    requests,
    answer: (...given) => void (behaviours = given),
    received: (count) =>
      new Promise((resolve) => {
        const look = () => {
          if (requests.length < count) return
          waiting.delete(look)
          resolve(requests)
        }
        waiting.add(look)
        look()
      }),
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function behave(behaviour: Behaviour, response: ServerResponse): void {
  if (behaviour === 'never') return
  if (behaviour === 'reset') return void (response.socket as Socket).resetAndDestroy()
  if (behaviour === 'half') {
    response.writeHead(500, {'content-length': '1000'})
    response.write('half')
    return
  }
  response.writeHead(behaviour.status, behaviour.headers)
  response.end(behaviour.body ?? '')
}
