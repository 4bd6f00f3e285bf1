import {DeliveryFailure, type Channel, type Environment, type SendDeps} from './channel.js'
import type {Notice} from './notice.js'

/** What became of a notice at one channel. */
export interface Delivery {
  channel: string
  status: 'sent' | 'failed'
  /** Why it failed, as the end of a sentence; fit to print. */
  reason?: string
  durationMs: number
}

export interface NotifyDeps {
  env?: Environment | undefined
  /** The signal of the run: once it is aborted, somebody waits for the end. */
  signal?: AbortSignal | undefined
  limitMs?: number | undefined
  interruptedLimitMs?: number | undefined
}

/** So long a channel may take, with everything. */
export const channelLimitMs = 10_000
/** So long after an interruption. */
export const interruptedLimitMs = 5000

/**
 * Tells every channel that wants to know, all at the same time. Never throws and never takes longer than its limit:
 * what is done must not depend on who could be told of it.
 */
export async function notify(
  notice: Notice,
  channels: Channel[],
  deps: NotifyDeps = {},
): Promise<Delivery[]> {
  const wanting = channels.filter((channel) => channel.wants(notice))
  if (wanting.length === 0) return []
  const deadline = startDeadline(deps)
  try {
    return await Promise.all(wanting.map((channel) => deliver(channel, notice, deadline)))
  } finally {
    deadline.clear()
  }
}

async function deliver(channel: Channel, notice: Notice, deadline: Deadline): Promise<Delivery> {
  const start = performance.now()
  const end = (rest: Pick<Delivery, 'status' | 'reason'>): Delivery => ({
    channel: channel.name,
    ...rest,
    durationMs: Math.round(performance.now() - start),
  })
  try {
    // A channel that does not listen to the signal is left behind.
    await Promise.race([channel.send(notice, deadline), deadline.passed])
    return end({status: 'sent'})
  } catch (error) {
    // What is no DeliveryFailure may hold an address.
    const reason = error instanceof DeliveryFailure ? error.message : 'it could not be told'
    return end({status: 'failed', reason})
  }
}

interface Deadline extends SendDeps {
  passed: Promise<never>
  clear(): void
}

function startDeadline({env = {}, signal, ...limits}: NotifyDeps): Deadline {
  const {limitMs = channelLimitMs, interruptedLimitMs: interruptedMs = interruptedLimitMs} = limits
  const stop = new AbortController()
  let endsAtMs = performance.now() + limitMs
  let timer = setTimeout(() => stop.abort(), limitMs)
  const hurry = () => {
    const leftMs = Math.min(interruptedMs, endsAtMs - performance.now())
    endsAtMs = performance.now() + leftMs
    clearTimeout(timer)
    timer = setTimeout(() => stop.abort(), leftMs)
  }
  if (signal?.aborted) hurry()
  signal?.addEventListener('abort', hurry, {once: true})
  const passed = new Promise<never>((_, reject) => {
    // A little later, so that a channel that does listen can say it in its own words.
    const late = () => setImmediate(() => reject(new DeliveryFailure('it gave no answer in time')))
    stop.signal.addEventListener('abort', late, {once: true})
  })
  passed.catch(() => {}) // all may have answered before
  return {
    env,
    signal: stop.signal,
    remainingMs: () => endsAtMs - performance.now(),
    passed,
    clear() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', hurry)
    },
  }
}
