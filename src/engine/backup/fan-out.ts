import {once} from 'node:events'
import {PassThrough} from 'node:stream'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf} from '../../support/errors.js'

/** A destination of a running backup, and what became of it. */
export interface Branch {
  store: StorageProvider
  /** Keys that this backup has stored there: its own, whatever else bears such a name. */
  stored: string[]
  /** Set once it has failed; it gets nothing more. */
  error?: DbbakError
}

export const alive = (branches: Branch[]): Branch[] => branches.filter(({error}) => !error)

/**
 * Stores one stream at every destination that still works, as it is produced: each sees every byte, the slowest sets
 * the pace. One that fails is left out from there on; only when none is left, or the source itself fails, this fails.
 */
export async function storeEverywhere(
  branches: Branch[],
  key: string,
  source: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  const puts = alive(branches).map((branch) => startPut(branch, key, signal))
  try {
    for await (const chunk of source) {
      await Promise.all(puts.map((put) => put.write(chunk)))
      throwIfNoneLeft(branches)
    }
  } catch (error) {
    await Promise.all(puts.map((put) => put.abort(error)))
    throw error
  }
  await Promise.all(puts.map((put) => put.end()))
  throwIfNoneLeft(branches)
}

/** Stores one object, the same way, at every destination that still works. */
export async function putEverywhere(
  branches: Branch[],
  key: string,
  put: (store: StorageProvider) => Promise<unknown>,
): Promise<void> {
  await everywhere(branches, async (branch) => {
    await put(branch.store)
    branch.stored.push(key)
  })
}

/** Runs one step at every destination that still works. */
export async function everywhere(
  branches: Branch[],
  step: (branch: Branch) => Promise<unknown>,
): Promise<void> {
  await Promise.all(alive(branches).map((branch) => attemptAt(branch, step)))
  throwIfNoneLeft(branches)
}

/** Runs one step at one destination, which is left out from there on if it fails. @returns undefined then */
export async function attemptAt<T>(
  branch: Branch,
  step: (branch: Branch) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await step(branch)
  } catch (error) {
    failed(branch, error)
    return undefined
  }
}

/**
 * Removes what this backup has stored, newest first, also where a destination failed later on. Best effort: without
 * a manifest nothing of it counts as a backup, and the error at hand matters more.
 */
export async function discardStored(branches: Branch[]): Promise<void> {
  for (const {store, stored} of branches) {
    try {
      for (let key = stored.pop(); key !== undefined; key = stored.pop()) await store.remove(key)
    } catch {
      // list --incomplete shows what is left, prune removes it
    }
  }
}

/** @throws DbbakError of the first destination, once all have failed */
export function throwIfNoneLeft(branches: Branch[]): void {
  if (alive(branches).length === 0)
    throw branches[0]?.error ?? new DbbakError('DESTINATION_INVALID', 'No destination was given.')
}

function failed(branch: Branch, error: unknown): void {
  branch.error =
    error instanceof DbbakError
      ? error
      : new DbbakError('DESTINATION_FAILED', `${branch.store.describe()}: ${messageOf(error)}`, {
          cause: error,
        })
}

interface RunningPut {
  write(chunk: Buffer): Promise<void>
  end(): Promise<void>
  abort(reason: unknown): Promise<void>
}

function startPut(branch: Branch, key: string, signal: AbortSignal): RunningPut {
  const body = new PassThrough({highWaterMark: 1024 * 1024})
  body.on('error', () => {}) // reported by the put that reads it
  let sourceFailed = false
  const stored = branch.store.put(key, body, {signal}).then(
    () => void branch.stored.push(key),
    (error: unknown) => {
      if (!sourceFailed && !signal.aborted) failed(branch, error)
      body.destroy()
    },
  )
  return {
    async write(chunk) {
      if (branch.error || body.destroyed || body.write(chunk)) return
      await Promise.race([once(body, 'drain').catch(() => {}), stored])
    },
    async end() {
      body.end()
      await stored
      signal.throwIfAborted()
    },
    async abort(reason) {
      sourceFailed = true
      body.destroy(reason instanceof Error ? reason : new Error(messageOf(reason)))
      await stored
    },
  }
}
