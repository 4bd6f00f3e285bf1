import {Agent as HttpAgent, type AgentOptions} from 'node:http'
import {Agent as HttpsAgent} from 'node:https'
import type {Socket} from 'node:net'

export interface StoreAgents {
  http: HttpAgent
  https: HttpsAgent
  /** Bytes that have gone over all connections until now, both ways. */
  bytesMoved: () => number
  destroy(): void
}

export interface StoreAgentOptions {
  /** A connection with a request on it that neither sends nor receives a byte for so long is ended. */
  stallMs: number
  /** Where HTTPS_PROXY, HTTP_PROXY and NO_PROXY are looked up. */
  env: Record<string, string | undefined>
}

/**
 * Connections to one store: kept open between requests, and ended with ETIMEDOUT when nothing moves on them, since no
 * SDK notices that by itself.
 */
export function storeAgents({stallMs, env}: StoreAgentOptions): StoreAgents {
  const options = {keepAlive: true, maxSockets: 64, timeout: stallMs, proxyEnv: env} as AgentOptions
  const traffic = new Traffic()
  const watch = (socket: Socket) => watchSocket(socket, stallMs, traffic)
  const http = watched(new HttpAgent(options), watch)
  const https = watched(new HttpsAgent(options), watch)
  return {
    http,
    https,
    bytesMoved: () => traffic.bytes,
    destroy() {
      http.destroy()
      https.destroy()
    },
  }
}

const isWatched = Symbol('watched')

/** The agent's own timeout only tells the request, and nobody listens. */
function watched<A extends HttpAgent>(agent: A, watch: (socket: Socket) => void): A {
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = create(options, (error, stream) => {
      if (stream) watch(stream as Socket)
      callback?.(error, stream)
    })
    if (socket) watch(socket as Socket)
    return socket
  }
  return agent
}

function watchSocket(socket: Socket & {[isWatched]?: boolean}, stallMs: number, traffic: Traffic): void {
  if (socket[isWatched]) return
  socket[isWatched] = true
  socket.on('timeout', () => socket.destroy(stalled(stallMs)))
  traffic.add(socket)
}

/** Counts what connections have sent and received. */
class Traffic {
  private readonly open = new Set<Socket>()
  private ended = 0

  add(socket: Socket): void {
    this.open.add(socket)
    socket.once('close', () => {
      this.open.delete(socket)
      this.ended += bytesOf(socket)
    })
  }

  get bytes(): number {
    return [...this.open].reduce((sum, socket) => sum + bytesOf(socket), this.ended)
  }
}

/** What was written but still waits in this process has not gone yet: a part of many megabytes is written at once. */
function bytesOf(socket: Socket & {_handle?: {writeQueueSize?: number} | null}): number {
  return socket.bytesRead + socket.bytesWritten - (socket._handle?.writeQueueSize ?? 0)
}

function stalled(stallMs: number): Error {
  const message = `the connection was silent for ${Math.round(stallMs / 1000)} s`
  return Object.assign(new Error(message), {code: 'ETIMEDOUT', syscall: 'read'})
}
