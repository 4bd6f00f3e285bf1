/** Two works at the same time: where one fails, the other is stopped, and both have ended before the failure is told. */
export interface Together {
  /** For both works: aborted with the caller's signal, or when one of them failed. */
  signal: AbortSignal
  both: <A, B>(first: () => Promise<A>, second: () => Promise<B>) => Promise<[A, B]>
}

export function together(signal: AbortSignal): Together {
  const controller = new AbortController()
  const stopping = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      controller.abort(error)
      throw error
    }
  }
  return {
    signal: AbortSignal.any([signal, controller.signal]),
    async both(first, second) {
      const works = [stopping(first), stopping(second)] as const
      await Promise.allSettled(works)
      if (controller.signal.aborted) throw controller.signal.reason
      return Promise.all(works)
    },
  }
}
