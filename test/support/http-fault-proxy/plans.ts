import {createHash} from 'node:crypto'
import {faultNamed, suits, varied, type Fault, type FaultType, type RequestFacts} from './faults.js'
import type {RequestKind} from './kinds.js'

/** A request as the proxy saw it. */
export interface LoggedRequest {
  method: string
  /** As it was sent, percent signs and all. */
  path: string
  /** As it was sent, without the question mark. */
  query: string
  kind: RequestKind
  /** Bytes of the body that were passed on, or read before a refusal. */
  bytes: number
  /** Bytes of the answer's body that were passed on. */
  answerBytes: number
  /** What the server answered, or the proxy instead of it; undefined while there is none. */
  status?: number
  /** The fault that happened to it. */
  fault?: Fault
}

/** Which requests are meant: those of which all that is given is true. */
export interface RequestMatch {
  method?: string
  kind?: RequestKind | RequestKind[]
  path?: RegExp
  query?: RegExp
}

export interface FaultPlan {
  fault: Fault | FaultType
  /** `nth` counts the matching requests from the planning on, from 1: that one, or the next that the fault suits. */
  when?: RequestMatch & {nth?: number}
  /** How many of them, one after the other; by default 1. */
  times?: number
}

/** A planned fault. It has happened when it was seen, not when it was decided on. */
export interface PlannedFault {
  /** The first time; stays pending when it never happens. */
  readonly happened: Promise<LoggedRequest>
  /** How often it has happened. */
  readonly count: number
  cancel(): void
}

export interface RandomFaults {
  /** The share of requests that a fault meets, 0 to 1. */
  rate: number
  /** A name alone leaves its details to chance. By default all but `slow`. */
  faults?: (Fault | FaultType)[]
  seed?: number
  /** Only these kinds of requests. */
  kinds?: RequestKind[]
  /** None of these. */
  except?: RequestKind[]
  /** The same request (method, path and query) meets at most so many one after the other; then it gets through. */
  maxInARow?: number
}

export interface RunningFaults {
  /** Name it when a test fails, and give it to `random` to have the same again. */
  readonly seed: number
  readonly count: number
  stop(): void
}

/** What is to happen to one request. */
export interface Course {
  fault: Fault | undefined
  /** To be called when the fault shows. */
  happen: () => void
  /** To be called at the request's end: a fault that found no occasion stays for another request. */
  over: () => void
}

export class Plans {
  private planned: Planned[] = []
  private chance: Chance | undefined
  private arrivals: {match: RequestMatch; arrived: (request: LoggedRequest) => void}[] = []

  plan({fault, when = {}, times = 1}: FaultPlan): PlannedFault {
    const planned = new Planned(faultNamed(fault), when, times)
    this.planned.push(planned)
    return planned
  }

  random(faults: RandomFaults, seed: number): RunningFaults {
    return (this.chance = new Chance(faults, seed))
  }

  arrival(match: RequestMatch): Promise<LoggedRequest> {
    return new Promise((arrived) => this.arrivals.push({match, arrived}))
  }

  matching(log: LoggedRequest[], match: RequestMatch): LoggedRequest[] {
    return log.filter((request) => matches(match, request)).map((request) => ({...request}))
  }

  clear(): void {
    for (const planned of this.planned) planned.cancel()
    this.planned = []
    this.chance?.stop()
  }

  courseOf(request: LoggedRequest, bodyBytes: number | undefined): Course {
    this.arrivals = this.arrivals.filter(({match, arrived}) => {
      if (!matches(match, request)) return true
      arrived(request)
      return false
    })
    const facts = {kind: request.kind, bodyBytes}
    const due = this.planned.filter((planned) => planned.isDue(request, facts))
    return due[0]?.take(request) ?? this.chance?.throwFor(request, facts) ?? through
  }
}

const through: Course = {fault: undefined, happen() {}, over() {}}

function matches({method, kind, path, query}: RequestMatch, request: LoggedRequest): boolean {
  if (method !== undefined && method !== request.method) return false
  if (kind !== undefined && ![kind].flat().includes(request.kind)) return false
  return (path?.test(request.path) ?? true) && (query?.test(request.query) ?? true)
}

class Planned implements PlannedFault {
  readonly happened: Promise<LoggedRequest>
  count = 0
  private seen = 0
  private left: number
  private readonly tell: (request: LoggedRequest) => void

  constructor(
    private readonly fault: Fault,
    private readonly when: RequestMatch & {nth?: number},
    times: number,
  ) {
    this.left = times
    const {promise, resolve} = Promise.withResolvers<LoggedRequest>()
    this.happened = promise
    this.tell = resolve
  }

  isDue(request: LoggedRequest, facts: RequestFacts): boolean {
    if (!matches(this.when, request)) return false
    this.seen++
    return this.left > 0 && this.seen >= (this.when.nth ?? 1) && suits(this.fault, facts)
  }

  take(request: LoggedRequest): Course {
    this.left--
    return course(request, this.fault, {
      happened: () => {
        this.count++
        this.tell(request)
      },
      missed: () => this.left++,
    })
  }

  cancel(): void {
    this.left = -Infinity
  }
}

const allFaults: FaultType[] = [
  ...(['status', 'lost-answer', 'reset', 'stall', 'truncate'] as const),
  ...(['corrupt-request', 'corrupt-response', 'wrong-checksum'] as const),
]

/**
 * Faults by chance. What the n-th request of a kind meets follows from the seed alone, so that it does not matter which
 * of several requests at a time comes first.
 */
class Chance implements RunningFaults {
  count = 0
  private isOn = true
  private readonly requestsOfKind = new Map<RequestKind, number>()
  private readonly inARow = new Map<string, number>()

  constructor(
    private readonly options: RandomFaults,
    readonly seed: number,
  ) {}

  throwFor(request: LoggedRequest, facts: RequestFacts): Course | undefined {
    const {rate, faults = allFaults, kinds, except, maxInARow = Infinity} = this.options
    const {kind} = request
    if (!this.isOn || (kinds && !kinds.includes(kind)) || except?.includes(kind)) return undefined
    const nth = (this.requestsOfKind.get(kind) ?? 0) + 1
    this.requestsOfKind.set(kind, nth)
    const [hit, which, ...more] = dice(`${this.seed} ${kind} ${nth}`)
    const choices = faults.map((fault) => varied(fault, facts, more)).filter((fault) => fault !== undefined)
    const same = `${request.method} ${request.path}?${request.query}`
    const row = this.inARow.get(same) ?? 0
    if (hit >= rate || row >= maxInARow || choices.length === 0) {
      this.inARow.delete(same)
      return undefined
    }
    return course(request, choices[Math.floor(which * choices.length)], {
      happened: () => {
        this.count++
        this.inARow.set(same, row + 1)
      },
    })
  }

  stop(): void {
    this.isOn = false
  }
}

/** Numbers from 0 to below 1 that follow from the text. */
function dice(text: string): number[] {
  const digest = createHash('sha256').update(text).digest()
  return [0, 4, 8, 12, 16].map((at) => digest.readUInt32BE(at) / 2 ** 32)
}

function course(
  request: LoggedRequest,
  fault: Fault,
  tell: {happened: () => void; missed?: () => void},
): Course {
  let state: 'open' | 'happened' | 'over' = 'open'
  return {
    fault,
    happen() {
      if (state !== 'open') return
      state = 'happened'
      request.fault = fault
      tell.happened()
    },
    over() {
      if (state !== 'open') return
      state = 'over'
      tell.missed?.()
    },
  }
}
