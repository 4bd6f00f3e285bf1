import {addAbortListener} from 'node:events'

/** How long a request is waited for that nobody wants any more, in milliseconds. */
const settleMs = 5_000

/**
 * Sends a request that changes the store, and does not cut it off at once when the signal is aborted: the store may carry
 * it out all the same, later, when everything has been cleaned up, and nobody would know. So its end is waited for, for a
 * moment, and the caller can take back what it did.
 * @throws what the request fails with; the signal's reason when it was aborted before, or when that moment is over
 */
export async function settled<T>(
  signal: AbortSignal,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const listener = addAbortListener(signal, () => {
    timer = setTimeout(() => late.abort(signal.reason), settleMs)
  })
  try {
    return await request(late.signal)
  } finally {
    listener[Symbol.dispose]()
    clearTimeout(timer)
  }
}
