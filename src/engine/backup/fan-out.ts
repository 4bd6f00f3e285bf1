import {once} from 'node:events'
import {PassThrough} from 'node:stream'
import {setTimeout as delay} from 'node:timers/promises'
import {identityOf, type StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'

/** A destination of a running backup, and what became of it. */
export interface Branch {
  store: StorageProvider
  /** Keys that this backup has stored there: its own, whatever else bears such a name. */
  stored: string[]
  /** Set once it has failed; it gets nothing more. */
  error?: DbbakError
}

/** A place that is named twice is refused the second time: the two would take each other's names, each of other files. */
export async function branchesTo(stores: StorageProvider[]): Promise<Branch[]> {
  const identities = await Promise.all(stores.map(identityOf))
  return stores.map((store, at) => {
    const first = stores[identities.indexOf(identities[at]!)]!
    if (first === store) return {store, stored: []}
    const former = first.describe() === store.describe() ? '' : `, first as ${first.describe()}`
    const error = new DbbakError(
      'DESTINATION_INVALID',
      `The destination ${store.describe()} was named twice${former}.`,
      {
        suggestions: ['Name each destination once: dbbak backup --to DEST --to ANOTHER'],
      },
    )
    return {store, stored: [], error}
  })
}

export const alive = (branches: Branch[]): Branch[] => branches.filter(({error}) => !error)

export interface StreamOptions {
  signal: AbortSignal
  /** About how many bytes will come: a hint for the destinations. */
  expectedBytes?: number | undefined
  /** A destination that takes nothing for so long is left out, so that it cannot hold up the others for ever. */
  stalledAfterMs: number
}

/**
 * Stores one stream at every destination that still works, as it is produced: each sees every byte, the slowest sets
 * the pace. One that fails, or takes nothing any more, is left out from there on; only when none is left, or the source
 * itself fails, this fails.
 */
export async function storeEverywhere(
  branches: Branch[],
  key: string,
  source: AsyncIterable<Buffer>,
  options: StreamOptions,
): Promise<void> {
  const puts = alive(branches).map((branch) => new RunningPut(branch, key, options))
  try {
    for await (const chunk of source) {
      await Promise.all(puts.map((put) => put.write(chunk)))
      options.signal.throwIfAborted()
      throwIfNoneLeft(branches)
    }
  } catch (error) {
    await Promise.all(puts.map((put) => put.abort(error)))
    throw error
  }
  await Promise.all(puts.map((put) => put.end()))
  options.signal.throwIfAborted()
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
 * a manifest nothing of it counts as a backup, and the error at hand matters more, so a destination that does not
 * answer is not waited for. Where a manifest is all the same (a copy was faster, or only its answer was lost), the backup
 * is complete, and stays.
 */
export async function discardStored(branches: Branch[], manifest: string): Promise<void> {
  const patience = new AbortController()
  const gaveUp = delay(discardMs, undefined, {signal: patience.signal}).catch(() => {})
  await Promise.race([Promise.allSettled(branches.map((branch) => discardAt(branch, manifest))), gaveUp])
  patience.abort()
}

const discardMs = 20_000

/** What cannot be removed `list --incomplete` shows, and prune removes. */
async function discardAt({store, stored}: Branch, manifest: string): Promise<void> {
  if (stored.length === 0 || (await store.head(manifest))) return
  for (let key = stored.pop(); key !== undefined; key = stored.pop()) await store.remove(key)
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

/** One destination's part of a stream. Nothing here fails: what goes wrong is the branch's error. */
class RunningPut {
  private readonly body = new PassThrough({highWaterMark: 1024 * 1024})
  private readonly stop = new AbortController()
  private readonly stored: Promise<void>
  private sourceFailed = false

  constructor(
    private readonly branch: Branch,
    key: string,
    private readonly options: StreamOptions,
  ) {
    const signal = AbortSignal.any([options.signal, this.stop.signal])
    this.body.on('error', () => {}) // reported by the put that reads it
    this.stored = branch.store.put(key, this.body, {signal, expectedBytes: options.expectedBytes}).then(
      () => void branch.stored.push(key),
      (error: unknown) => {
        if (!this.sourceFailed && !options.signal.aborted && !branch.error) failed(branch, error)
        this.body.destroy()
      },
    )
  }

  async write(chunk: Buffer): Promise<void> {
    const {body, branch} = this
    if (branch.error || body.destroyed || body.write(chunk)) return
    await this.unlessStalled(Promise.race([once(body, 'drain').catch(() => {}), this.stored]))
  }

  async end(): Promise<void> {
    if (this.branch.error) return
    this.body.end()
    await this.unlessStalled(this.stored)
  }

  async abort(reason: unknown): Promise<void> {
    this.sourceFailed = true
    this.body.destroy(reason instanceof Error ? reason : new Error(messageOf(reason)))
    if (!this.branch.error) await this.unlessStalled(this.stored)
  }

  /**
   * Leaves the destination out once it has done nothing for too long; what it is doing is told to stop. Over a slow line
   * what is in flight takes long: as long as bytes go, it is not at a stand.
   */
  private async unlessStalled(work: Promise<unknown>): Promise<void> {
    const {stalledAfterMs} = this.options
    const {store} = this.branch
    let moved: number | undefined
    let isStalled: boolean
    do {
      moved = store.bytesMoved?.()
      isStalled = await isLongerThan(stalledAfterMs, work)
    } while (isStalled && store.bytesMoved?.() !== moved)
    if (!isStalled || this.branch.error) return
    const error = stalledError(this.branch.store, stalledAfterMs)
    failed(this.branch, error)
    this.stop.abort(error)
    this.body.destroy()
  }
}

/** Whether a work takes longer; it goes on then. */
async function isLongerThan(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, milliseconds, 'late')
  })
  return (await Promise.race([work, late]).finally(() => clearTimeout(timer))) === 'late'
}

function stalledError(store: StorageProvider, afterMs: number): DbbakError {
  const place = store.describe()
  return new DbbakError(
    'DESTINATION_STALLED',
    `The destination ${place} has taken nothing for ${Math.round(afterMs / 1000)} s, and was left out.`,
    {suggestions: [`Try the destination by itself: dbbak doctor --to ${shellWord(place)}`]},
  )
}
