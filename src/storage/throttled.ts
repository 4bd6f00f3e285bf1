import {Transform, pipeline, type Readable} from 'node:stream'
import {setTimeout as delay} from 'node:timers/promises'
import type {StorageProvider} from './provider.js'

/** Lets bytes pass at a rate; shared by everything that is to stay below it together. */
export class Valve {
  private freeAt = 0

  /** @param bytesPerSecond over any time longer than a moment */
  constructor(private readonly bytesPerSecond: number) {}

  /** Waits until so many bytes may pass. */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    const now = performance.now()
    this.freeAt = Math.max(this.freeAt, now) + (bytes / this.bytesPerSecond) * 1000
    const waitMs = this.freeAt - now - burstMs
    if (waitMs > 0) await delay(waitMs, undefined, {signal})
  }
}

/** Shorter waits than this are not worth a timer. */
const burstMs = 50

/** One for what is sent and one for what is received: a line has both. */
export interface Valves {
  sending: Valve
  receiving: Valve
}

/** A destination that is written to and read from no faster than the valves let through. */
export function throttled<S extends StorageProvider>(store: S, {sending, receiving}: Valves): S {
  const slow: Partial<StorageProvider> = {
    async put(key, body, options) {
      try {
        return await store.put(key, limited(body, sending), options)
      } finally {
        body.destroy()
      }
    },
    get: async (key, options) => limited(await store.get(key, options), receiving),
  }
  return new Proxy(store, {
    get(target, name) {
      if (name in slow) return slow[name as keyof StorageProvider]
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })
}

/** Both ends see each other's errors. */
function limited(source: Readable, valve: Valve): Readable {
  const stop = new AbortController()
  const slowly = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      valve.pass(chunk.length, stop.signal).then(
        () => done(null, chunk),
        (error: unknown) => done(error as Error),
      )
    },
    destroy(error, done) {
      stop.abort()
      done(error)
    },
  })
  if (source.destroyed) {
    // A pipeline would not tell an error that came before it.
    slowly.destroy(source.errored ?? undefined)
    return slowly
  }
  pipeline(source, slowly, () => {})
  return slowly
}
