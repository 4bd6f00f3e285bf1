import {randomInt} from 'node:crypto'
import type {Fault} from './faults.js'
import {kindOf, type Store} from './kinds.js'
import type {Head} from './messages.js'
import {Plans, type Course, type LoggedRequest} from './plans.js'
import {Rate} from './rate.js'

type Direction = 'request' | 'response'

/** What all connections of a proxy share. */
export class ProxyState {
  readonly plans = new Plans()
  readonly log: LoggedRequest[] = []
  readonly upstream: {host: string; port: number}
  /** Where clients find the proxy. */
  origin = ''
  isStalled = false
  /** When things move again after a stall. */
  moving: Promise<void> = Promise.resolve()
  private goOn = () => {}
  private shared: Partial<Record<Direction, Rate>> = {}

  constructor(
    upstream: URL,
    readonly store: Store,
    readonly seed = randomInt(2 ** 31),
  ) {
    this.upstream = {host: upstream.hostname, port: Number(upstream.port || 80)}
  }

  begin(head: Head): {request: LoggedRequest; course: Course} {
    const [method, target] = head.firstLine.split(' ')
    const [, path, query = ''] = /^([^?]*)\??(.*)$/.exec(target) ?? []
    const kind = kindOf(this.store, {method, path, query, header: head.header})
    const request: LoggedRequest = {method, path, query, kind, bytes: 0, answerBytes: 0}
    this.log.push(request)
    const framing = head.requestFraming()
    const bodyBytes = framing === 'none' ? 0 : typeof framing === 'object' ? framing.bytes : undefined
    return {request, course: this.plans.courseOf(request, bodyBytes)}
  }

  /** A resumable session's address names the server: its chunks are to come by here too. */
  ownLinks(head: Head): Head {
    const {host, port} = this.upstream
    const hosts = [host, ...(['127.0.0.1', 'localhost'].includes(host) ? ['127.0.0.1', 'localhost'] : [])]
    const origin = hosts.map((name) => `http://${name}:${port}`)
    return head.edited((name, value) => {
      const from = name === 'location' ? origin.find((start) => value.startsWith(`${start}/`)) : undefined
      return from === undefined ? value : this.origin + value.slice(from.length)
    })
  }

  /** The rates that hold at a moment for one request's bytes. */
  rates(direction: Direction, fault: Fault | undefined): () => Rate[] {
    const ofFault = fault?.type === 'slow' ? fault[`${direction}BytesPerSecond`] : undefined
    const own = ofFault === undefined ? [] : [new Rate(ofFault)]
    return () => (this.shared[direction] ? [...own, this.shared[direction]] : own)
  }

  slow(limits: {requestBytesPerSecond?: number; responseBytesPerSecond?: number}): void {
    const rate = (limit: number | undefined) => (limit === undefined ? undefined : new Rate(limit))
    this.shared = {request: rate(limits.requestBytesPerSecond), response: rate(limits.responseBytesPerSecond)}
  }

  stall(): void {
    if (this.isStalled) return
    this.isStalled = true
    const {promise, resolve} = Promise.withResolvers<void>()
    this.moving = promise
    this.goOn = resolve
  }

  heal(): void {
    this.plans.clear()
    this.shared = {}
    this.isStalled = false
    this.goOn()
  }
}
