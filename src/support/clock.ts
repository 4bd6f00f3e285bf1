/** Where the time comes from; tests pass their own. */
export interface Clock {
  now(): Date
}

export const systemClock: Clock = {now: () => new Date()}

/** Runs something and says how long it took, in whole milliseconds of a clock that is never set back. */
export async function timed<T>(work: () => Promise<T>): Promise<{value: T; durationMs: number}> {
  const start = performance.now()
  const value = await work()
  return {value, durationMs: Math.round(performance.now() - start)}
}

/** Clocks of two machines may differ by so much. */
export const clockToleranceMs = 5 * 60_000
