/**
 * Does something with every item, `limit` at a time, and gives the results in the items' order. The first failure stops
 * the others, and is told when none of them runs any more.
 * @param work is to end soon once its signal is aborted
 */
export async function severalAtATime<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, signal: AbortSignal) => Promise<R>,
  signal: AbortSignal,
): Promise<R[]> {
  const stop = new AbortController()
  const both = AbortSignal.any([signal, stop.signal])
  const results = new Array<R>(items.length)
  const queue = items.entries()
  const worker = async () => {
    try {
      for (const [index, item] of queue) {
        both.throwIfAborted()
        results[index] = await work(item, both)
      }
    } catch (error) {
      stop.abort(error)
    }
  }
  await Promise.all(Array.from({length: Math.min(limit, items.length)}, worker))
  both.throwIfAborted()
  return results
}
