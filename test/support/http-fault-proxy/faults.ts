import {readKinds, writeKinds, type RequestKind} from './kinds.js'

/** A place in a body: after so many bytes, or after that share of it (0 to 1, by default 0.5). */
export interface Place {
  afterBytes?: number
  afterShare?: number
}

export type Fault =
  /** The store says no in its own words, and does nothing. */
  | {type: 'status'; status: number; retryAfterSeconds?: number; answered?: 'before-body' | 'after-body'}
  /** The server does what it was asked, and the client hears of a broken connection. */
  | {type: 'lost-answer'}
  /** A connection that breaks; without `in` before the server sees anything of the request. */
  | ({type: 'reset'; in?: 'request' | 'response'} & Place)
  /** Nothing moves any more on an open connection; without `in` when the server has done its work and is to answer. */
  | ({type: 'stall'; in?: 'request' | 'response'} & Place)
  /** The response ends too early, politely. */
  | ({type: 'truncate'} & Place)
  /** A bit of the request's body flips; in a multipart/related body, the object's first byte. */
  | ({type: 'corrupt-request'} & Place)
  /** A bit of an object flips while it is read. */
  | ({type: 'corrupt-response'} & Place)
  /** The response's checksums and ETags are others. */
  | {type: 'wrong-checksum'}
  | {type: 'slow'; requestBytesPerSecond?: number; responseBytesPerSecond?: number}

export type FaultType = Fault['type']

/** What is known of a request before its body comes. */
export interface RequestFacts {
  kind: RequestKind
  /** Bytes of its body; undefined when it comes in chunks. */
  bodyBytes: number | undefined
}

/** The fault that a bare name stands for. */
export function faultNamed(fault: Fault | FaultType): Fault {
  if (typeof fault !== 'string') return fault
  return fault === 'status' ? {type: 'status', status: 503} : {type: fault}
}

/** Whether the fault can happen to such a request at all. What its answer allows is seen only later. */
export function suits(fault: Fault, {kind, bodyBytes}: RequestFacts): boolean {
  if (fault.type === 'corrupt-response') return readKinds.has(kind)
  if (fault.type === 'corrupt-request') return bodyBytes === undefined || bodyBytes > (fault.afterBytes ?? 0)
  if ((fault.type === 'reset' || fault.type === 'stall') && fault.in === 'request') {
    return bodyBytes === undefined || bodyBytes >= (fault.afterBytes ?? 0)
  }
  return true
}

/**
 * A variant of the fault for a throw of `dice` (each 0 to 1): what was left open is filled in. A damaged request that
 * is no object's bytes would be refused for good (as malformed), so that is left out.
 */
export function varied(fault: Fault | FaultType, request: RequestFacts, dice: number[]): Fault | undefined {
  const pick = <T>(choices: T[], die: number): T => choices[Math.floor(die * choices.length)]
  const hasBody = request.bodyBytes !== 0
  let chosen = faultNamed(fault)
  if (fault === 'status') {
    const status = pick([500, 503, 429], dice[0])
    chosen = {type: 'status', status, answered: pick(['before-body', 'after-body'], dice[1])}
  } else if (fault === 'reset' || fault === 'stall') {
    const places = [undefined, 'response' as const, ...(hasBody ? ['request' as const] : [])]
    chosen = {type: fault, in: pick(places, dice[0])}
  }
  if (chosen.type === 'corrupt-request' && !writeKinds.has(request.kind)) return undefined
  const hasPlace =
    chosen.type === 'truncate' ||
    chosen.type.startsWith('corrupt-') ||
    ((chosen.type === 'reset' || chosen.type === 'stall') && chosen.in !== undefined)
  if (hasPlace && !('afterBytes' in chosen) && !('afterShare' in chosen)) {
    chosen = {...chosen, afterShare: dice[2]} as Fault
  }
  return suits(chosen, request) ? chosen : undefined
}
