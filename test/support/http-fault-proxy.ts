import {once} from 'node:events'
import {createServer, type AddressInfo} from 'node:net'
import type {Store} from './http-fault-proxy/kinds.js'
import {bufferBytes, Link} from './http-fault-proxy/link.js'
import type {
  FaultPlan,
  LoggedRequest,
  PlannedFault,
  RandomFaults,
  RequestMatch,
  RunningFaults,
} from './http-fault-proxy/plans.js'
import {ProxyState} from './http-fault-proxy/state.js'

export type {Fault, FaultType, Place} from './http-fault-proxy/faults.js'
export type {RequestKind, Store} from './http-fault-proxy/kinds.js'
export type {FaultPlan, LoggedRequest, PlannedFault, RandomFaults, RequestMatch, RunningFaults}

/**
 * A way to an HTTP object store that can fail. Everything goes through as it was sent, byte by byte, but for the faults
 * that are planned, and a `Location` header that names the server, which is made to name the proxy.
 */
export interface HttpFaultProxy {
  /** Instead of the upstream's address, with the same path. */
  endpoint: string
  /** Seed of `random` where none is given. */
  seed: number
  /** All requests so far, in the order of their arrival. */
  requests(match?: RequestMatch): LoggedRequest[]
  /** The next such request, when its head has arrived and nothing of it was passed on. */
  arrival(match: RequestMatch): Promise<LoggedRequest>
  /** A request meets the first plan that fits; plans go before faults by chance. */
  plan(plan: FaultPlan): PlannedFault
  /** From now on, instead of an earlier `random`. */
  random(faults: RandomFaults): RunningFaults
  /** Resets every connection, and every new one, as if the server had died. */
  refuseAll(): void
  /** Nothing moves any more on any connection, open or new, until `heal`: then it goes on where it stopped. */
  stallAll(): void
  /** A rate for all requests together, and one for all responses. */
  slowAll(limits: {requestBytesPerSecond?: number; responseBytesPerSecond?: number}): void
  /** Forgets all faults. A connection on which a planned `stall` happened stays as it is. */
  heal(): void
  /** Connections that are open at this moment. */
  connections(): number
  close(): Promise<void>
}

export interface HttpFaultProxyOptions {
  /** Whose requests and refusals they are; by default `s3`. */
  store?: Store
  seed?: number
}

/** @param upstream `http://127.0.0.1:PORT`, with a path where the store's endpoint has one */
export async function startHttpFaultProxy(
  upstream: string,
  {store = 's3', seed}: HttpFaultProxyOptions = {},
): Promise<HttpFaultProxy> {
  const url = new URL(upstream)
  if (url.protocol !== 'http:') throw new Error(`the proxy speaks plain http only, not ${url.protocol}`)
  const state = new ProxyState(url, store, seed)
  const links = new Set<Link>()
  let isRefusing = false
  const options = {allowHalfOpen: true, noDelay: true, highWaterMark: bufferBytes}
  const server = createServer(options, (client) => {
    const link = new Link(client, state)
    links.add(link)
    client.once('close', () => links.delete(link))
    if (isRefusing) link.reset()
    void link.run()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  state.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    endpoint: state.origin + url.pathname.replace(/\/$/, ''),
    seed: state.seed,
    requests: (match = {}) => state.plans.matching(state.log, match),
    arrival: (match) => state.plans.arrival(match),
    plan: (plan) => state.plans.plan(plan),
    random: (faults) => state.plans.random(faults, faults.seed ?? state.seed),
    refuseAll() {
      isRefusing = true
      for (const link of links) link.reset()
    },
    stallAll: () => state.stall(),
    slowAll: (limits) => state.slow(limits),
    heal() {
      isRefusing = false
      state.heal()
    },
    connections: () => links.size,
    async close() {
      const closed = once(server, 'close')
      server.close()
      await Promise.all([closed, ...[...links].map((link) => link.destroy())])
    },
  }
}
