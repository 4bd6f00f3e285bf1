import {setTimeout as delay} from 'node:timers/promises'
import type {ObjectClient} from './object-client.js'
import {StoreError} from './store-error.js'

/** What waiting is made of; tests pass their own. */
export interface PatienceOptions {
  retryForMs: number
  /** From 0 up to, not including, 1. */
  random?: () => number
  sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds that only go up. */
  now?: () => number
}

/** A store that has never answered is more likely misspelt than down. */
const firstContactMs = 20_000
const shortestPauseMs = 100
const longestPauseMs = 15_000

/** Tries requests to one store again, for as long as it makes sense. */
export class Retrying {
  private readonly options: Required<PatienceOptions>
  /** Whether the store has ever answered. */
  private isKnown = false

  constructor(
    private readonly client: Pick<ObjectClient, 'explain'>,
    options: PatienceOptions,
  ) {
    this.options = {
      random: Math.random,
      sleep: (milliseconds, signal) => delay(milliseconds, undefined, {signal}),
      now: () => performance.now(),
      ...options,
    }
  }

  /** @throws StoreError, or the signal's reason */
  async run<T>(signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    const patience = this.begin(signal)
    for (;;) {
      try {
        const result = await request()
        this.isKnown = true
        return result
      } catch (error) {
        await patience.afterFailure(error)
      }
    }
  }

  /** For a request that may get further each time. */
  begin(signal: AbortSignal): Patience {
    const heard = () => (this.isKnown = true)
    return new Patience(this.client, this.options, signal, {heard, isKnown: () => this.isKnown})
  }
}

interface Acquaintance {
  heard(): void
  isKnown(): boolean
}

/** The tries of one request. Pauses grow, and are random so that many who failed together do not come back together. */
export class Patience {
  private failures = 0
  private tries = 0
  private since: number | undefined

  constructor(
    private readonly client: Pick<ObjectClient, 'explain'>,
    private readonly options: Required<PatienceOptions>,
    private readonly signal: AbortSignal,
    private readonly store: Acquaintance,
  ) {}

  /** Something was transferred: time begins anew. */
  progressed(): void {
    this.store.heard()
    this.failures = 0
    this.since = undefined
  }

  /** Waits until the next try. @throws StoreError when there is to be none, or the signal's reason */
  async afterFailure(error: unknown): Promise<void> {
    this.signal.throwIfAborted()
    const failure = error instanceof StoreError ? error : this.client.explain(error)
    if (failure.trouble !== 'transient') this.store.heard()
    const now = this.options.now()
    this.since ??= now
    this.failures++
    this.tries++
    const pauseMs = this.pauseMs(failure)
    const isOver = now + pauseMs - this.since > this.limitMs()
    if (!mayGoBetter(failure, this.failures) || isOver) throw this.withTries(failure, now - this.since)
    await this.options.sleep(pauseMs, this.signal).catch((cause: unknown) => {
      throw this.signal.aborted ? this.signal.reason : cause
    })
  }

  private limitMs(): number {
    const {retryForMs} = this.options
    return this.store.isKnown() ? retryForMs : Math.min(retryForMs, firstContactMs)
  }

  private pauseMs({retryAfterMs = 0, trouble}: StoreError): number {
    const least = trouble === 'throttled' ? 5 * shortestPauseMs : shortestPauseMs
    const most = Math.min(longestPauseMs, least * 2 ** Math.min(this.failures, 20))
    return Math.max(retryAfterMs, least + this.options.random() * (most - least))
  }

  private withTries(failure: StoreError, elapsedMs: number): StoreError {
    if (!failure.mayGoBetter || this.tries === 1) return failure
    const {trouble, message, retryAfterMs, size, suggestions} = failure
    const seconds = Math.round(elapsedMs / 1000)
    return new StoreError(trouble, `${message} (tried ${this.tries} times in ${seconds} s)`, {
      cause: failure,
      retryAfterMs,
      size,
      suggestions,
    })
  }
}

/** The SDKs learn the difference of the clocks from the first refusal, so that the second try is right. */
function mayGoBetter(failure: StoreError, failures: number): boolean {
  return failure.mayGoBetter || (failure.trouble === 'clock-skew' && failures === 1)
}
