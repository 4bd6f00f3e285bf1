import {Agent as HttpAgent, type AgentOptions} from 'node:http'
import {Agent as HttpsAgent} from 'node:https'
import type {Socket} from 'node:net'

export interface StoreAgents {
  http: HttpAgent
  https: HttpsAgent
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
  const http = watched(new HttpAgent(options), stallMs)
  const https = watched(new HttpsAgent(options), stallMs)
  return {
    http,
    https,
    destroy() {
      http.destroy()
      https.destroy()
    },
  }
}

const isWatched = Symbol('watched')

/** The agent's own timeout only tells the request, and nobody listens. */
function watched<A extends HttpAgent>(agent: A, stallMs: number): A {
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = create(options, (error, stream) => {
      if (stream) watch(stream as Socket, stallMs)
      callback?.(error, stream)
    })
    if (socket) watch(socket as Socket, stallMs)
    return socket
  }
  return agent
}

function watch(socket: Socket & {[isWatched]?: boolean}, stallMs: number): void {
  if (socket[isWatched]) return
  socket[isWatched] = true
  socket.on('timeout', () => socket.destroy(stalled(stallMs)))
}

function stalled(stallMs: number): Error {
  const message = `the connection was silent for ${Math.round(stallMs / 1000)} s`
  return Object.assign(new Error(message), {code: 'ETIMEDOUT', syscall: 'read'})
}
