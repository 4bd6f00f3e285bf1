import {createServer, request as httpRequest, type IncomingMessage, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {buffer} from 'node:stream/consumers'

/** What becomes of a request. */
export type Fate =
  /** The server does it, and the answer does not arrive. */
  | 'lose answer'
  /** One byte of what was sent is another one when it arrives. */
  | 'damage'
  | {status: number; headers?: Record<string, string>; body?: string}
  /** The server does it, and its answer is changed. */
  | {replace: (body: string) => string; headers?: (headers: IncomingMessage['headers']) => void}

export interface SeenRequest {
  method: string
  /** With the query. */
  path: string
  headers: IncomingMessage['headers']
}

/** A way to an S3 server on which something goes wrong; what is not meddled with passes unchanged, signatures too. */
export interface S3Proxy {
  endpoint: string
  seen: SeenRequest[]
  /** Says for each request what becomes of it; undefined lets it pass. */
  meddle(rule: (request: SeenRequest) => Fate | undefined): void
  stop(): Promise<void>
}

export async function startS3Proxy(endpoint: string): Promise<S3Proxy> {
  const target = new URL(endpoint)
  const seen: SeenRequest[] = []
  let rule: (request: SeenRequest) => Fate | undefined = () => undefined
  const server = createServer((incoming, outgoing) => {
    const one = {method: incoming.method ?? '', path: incoming.url ?? '', headers: incoming.headers}
    seen.push(one)
    carryOut(target, incoming, outgoing, rule(one)).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    meddle: (next) => (rule = next),
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function carryOut(
  target: URL,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fate: Fate | undefined,
): Promise<void> {
  const sent = await buffer(incoming)
  if (typeof fate === 'object' && 'status' in fate) {
    outgoing.writeHead(fate.status, fate.headers).end(incoming.method === 'HEAD' ? undefined : fate.body)
    return
  }
  if (fate === 'damage') sent[0] = (sent[0] ?? 0) ^ 1
  const answer = await forward(target, incoming, sent)
  const body = await buffer(answer)
  if (fate === 'lose answer') return void outgoing.destroy()
  const headers = {...answer.headers}
  if (typeof fate === 'object' && 'replace' in fate) {
    const changed = Buffer.from(fate.replace(body.toString()))
    fate.headers?.(headers)
    delete headers['transfer-encoding']
    if (incoming.method !== 'HEAD') headers['content-length'] = String(changed.length)
    outgoing.writeHead(answer.statusCode ?? 500, headers).end(changed)
    return
  }
  outgoing.writeHead(answer.statusCode ?? 500, headers).end(body)
}

function forward({hostname, port}: URL, incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  const {method, url: path, headers} = incoming
  return new Promise((resolve, reject) => {
    httpRequest({hostname, port, method, path, headers}, resolve).on('error', reject).end(body)
  })
}
