import type {Leftover, ObjectInfo, StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import {forEach} from '../catalog.js'
import {activity, type Events} from '../events.js'
import {globalsName, manifestEnding, manifestName, verificationName} from '../naming.js'
import type {LeftoverGroup} from './leftovers.js'
import {newestFirst, type PrunePlan, type PruneScope, type Removal} from './plan-prune.js'
import type {PrunedBackup, PrunedLeftover, PruneResult} from './prune-result.js'

export interface PruneDeps {
  events: Events
  signal: AbortSignal
}

/** Backups removed at a time, and files of one backup. */
const backupsAtOnce = 8
const filesAtOnce = 4

/** What a plan would do, in the form of what was done. Changes nothing. */
export async function describePlan(
  store: StorageProvider,
  plan: PrunePlan,
  result: PruneResult,
): Promise<void> {
  begin(plan, result)
  for (const {told} of plan.removals) {
    result.removed.push(told)
    result.bytesFreed += told.bytes
  }
  for (const group of plan.leftovers)
    for (const object of group.objects) addLeftover(result, plan.destination, object, group.reason)
  for await (const leftover of store.leftovers()) addLeftover(result, plan.destination, leftover, unfinished)
}

/**
 * Carries out a plan, and adds to the result what was done.
 *
 * Of each backup the manifest goes first: from then on it is no backup, and whatever stops the removal leaves files
 * that the next prune takes away. A removal that fails does not stop the others. Right before each the manifest must
 * still be the one that was planned for, and what is to stay for it must still be there: another prune, or somebody by
 * hand, may have been at work in the meantime.
 *
 * Requests for a removed backup: 1 for its manifest, 1 for that of the newest (rarely up to 4), and 1 for each of its
 * objects; besides 1 listing for each database and 1 for each run that left something.
 * @throws the signal's reason when aborted; the result tells what was done until then
 */
export async function carryOut(
  store: StorageProvider,
  plan: PrunePlan,
  result: PruneResult,
  deps: PruneDeps,
): Promise<void> {
  begin(plan, result)
  const total = plan.removals.reduce((sum, {told}) => sum + told.bytes, 0)
  const run = new PruneRun(store, plan, result, deps, total)
  if (plan.removals.length + plan.leftovers.length > 0)
    await activity(
      deps.events,
      `Removing backups from ${plan.destination}`,
      async () => {
        await forEach(plan.removals, backupsAtOnce, (removal) => run.removeBackup(removal))
        await forEach(plan.leftovers, backupsAtOnce, (group) => run.removeLeftovers(group))
      },
      () => run.failing(),
    )
  await run.sweep()
  for (const list of [result.kept, result.removed]) list.sort(newestFirstIn(result.from))
  deps.signal.throwIfAborted()
}

/** Several were at work at a time: they ended in any order. */
function newestFirstIn(from: string[]): (one: PrunedBackup, other: PrunedBackup) => number {
  return (one, other) =>
    from.indexOf(one.destination) - from.indexOf(other.destination) || newestFirst(one, other)
}

function begin(plan: PrunePlan, result: PruneResult): void {
  result.from.push(plan.destination)
  result.kept.push(...plan.kept)
  result.problems.push(...plan.problems)
  result.locked.push(...plan.locked)
  result.warnings.push(...plan.warnings)
  if (plan.keepsVersions) result.keepsVersions.push(plan.destination)
}

function addLeftover(result: PruneResult, destination: string, leftover: Leftover, reason: string): void {
  const {key, size, modifiedAt} = leftover
  const told: PrunedLeftover = {
    name: key,
    destination,
    bytes: size,
    modifiedAt: modifiedAt.toISOString(),
    reason,
  }
  result.leftovers.push(told)
  result.bytesFreed += size
}

const unfinished = 'an upload that was cut off left it'

/** After these the destination would only be waited for again, once for each backup. */
const isDown = ({code}: DbbakError): boolean =>
  /^(DESTINATION_(UNREACHABLE|STALLED|NOT_FOUND|NOT_A_FOLDER)|CREDENTIALS_REFUSED|CLOCK_SKEW)$/.test(code)

class PruneRun {
  private down: DbbakError | undefined
  private readonly checks = new Map<PruneScope, Promise<void>>()
  private doneBytes = 0

  constructor(
    private readonly store: StorageProvider,
    private readonly plan: PrunePlan,
    private readonly result: PruneResult,
    private readonly deps: PruneDeps,
    private readonly totalBytes: number,
  ) {}

  async removeBackup(removal: Removal): Promise<void> {
    const {told, entry} = removal
    await this.attempt(told.id, told.name, async () => {
      const manifest = manifestName(entry.archive)
      const found = await this.store.head(manifest)
      if (found === undefined) {
        this.result.removed.push({
          ...told,
          bytes: 0,
          reasons: [...told.reasons, 'somebody else removed it meanwhile'],
        })
        return
      }
      if (!isSame(found, removal.manifestObject)) {
        this.result.kept.push({...told, reasons: ['it was replaced since this was planned']})
        return
      }
      await this.checkAnchors(removal.scope)
      await this.removeManifest(removal, manifest)
    })
  }

  private async removeManifest({entry, told}: Removal, manifest: string): Promise<void> {
    const {claims, objects} = this.plan
    try {
      await this.store.remove(manifest)
    } catch (error) {
      if (isLocked(error)) this.result.kept.push({...told, reasons: [lockedReason]})
      throw error
    }
    // From here on it is no backup any more.
    this.freed(manifest)
    this.result.removed.push(told)
    const verification = verificationName(entry.archive)
    if (objects.has(verification)) await this.removeObject(told.id, verification)
    for (const {path} of entry.manifest.files) claims.get(path)?.delete(entry.archive)
    const unclaimed = entry.manifest.files
      .map(({path}) => path)
      .filter((path) => claims.get(path)?.size === 0)
    const globals = globalsName(told.id)
    await forEach(
      unclaimed.filter((path) => path !== globals),
      filesAtOnce,
      (path) => this.removeObject(told.id, path),
    )
    if (unclaimed.includes(globals)) await this.removeObject(told.id, globals)
  }

  private async removeObject(id: string | null, key: string): Promise<void> {
    await this.attempt(id, key, async () => {
      await this.store.remove(key)
      this.freed(key)
    })
  }

  private freed(key: string): void {
    const size = this.plan.objects.get(key)?.size ?? 0
    this.result.bytesFreed += size
    this.doneBytes += size
    this.deps.events.activityProgress?.({bytes: this.doneBytes, totalBytes: this.totalBytes, object: key})
  }

  /**
   * Whole once, its manifest each time: nothing goes for a backup that is not there any more.
   * @throws DbbakError OBJECT_NOT_FOUND
   */
  private async checkAnchors(scope: PruneScope): Promise<void> {
    const isWhole = this.checks.get(scope) ?? this.checkWhole(scope)
    this.checks.set(scope, isWhole)
    await isWhole
    for (const {entry, manifestObject} of scope.anchors) {
      const look = async () => isSame(await this.store.head(manifestName(entry.archive)), manifestObject)
      // An answer that was damaged on the way is not to be told as a backup that has gone.
      if (!(await look()) && !(await look())) throw this.anchorGone(scope, entry.archive)
    }
  }

  private async checkWhole(scope: PruneScope): Promise<void> {
    for (const {entry} of scope.anchors) {
      const {id, files} = entry.manifest
      const sizes = new Map<string, number>()
      for await (const {key, size} of this.store.list(`${id}.`)) sizes.set(key, size)
      if (files.some(({path, bytes}) => sizes.get(path) !== bytes))
        throw this.anchorGone(scope, entry.archive)
    }
  }

  private anchorGone({name}: PruneScope, archive: string): DbbakError {
    const {destination} = this.plan
    return new DbbakError(
      'OBJECT_NOT_FOUND',
      `${archive}, which was to stay of ${name}, is not at ${destination} any more as it was: no more backups were removed that it makes up for.`,
      {
        suggestions: [
          `See what is there: dbbak list --from ${shellWord(destination)}`,
          `Then run it again: dbbak prune --from ${shellWord(destination)} --dry-run`,
        ],
      },
    )
  }

  /** Unless a manifest has come, or one of the objects was stored again: then a copy is at work, or was. */
  async removeLeftovers(group: LeftoverGroup): Promise<void> {
    await this.attempt(null, group.prefix, async () => {
      const now = new Map<string, ObjectInfo>()
      for await (const object of this.store.list(group.prefix)) now.set(object.key, object)
      const isClaimed = [...now.keys()].some((key) => key.endsWith(manifestEnding))
      const planned = group.objects.filter(({key}) => now.has(key)) // others are gone by now
      if (isClaimed || planned.some((object) => !isSame(now.get(object.key), object))) return
      await forEach(planned, filesAtOnce, (object) =>
        this.attempt(null, object.key, async () => {
          await this.store.remove(object.key)
          addLeftover(this.result, this.plan.destination, object, group.reason)
        }),
      )
    })
  }

  /** How many steps failed, in words; undefined where none did. */
  failing(): string | undefined {
    const {length} = this.result.failed.filter(({destination}) => destination === this.plan.destination)
    return length === 0 ? undefined : `${length} could not be removed`
  }

  async sweep(): Promise<void> {
    await this.attempt(null, 'unfinished uploads', async () => {
      for (const leftover of await this.store.sweep())
        addLeftover(this.result, this.plan.destination, leftover, unfinished)
    })
  }

  /** Does one step, unless nothing more is to be done; its failure is noted. */
  private async attempt(id: string | null, name: string, step: () => Promise<void>): Promise<void> {
    if (this.deps.signal.aborted) return
    const {destination} = this.plan
    try {
      if (this.down) throw this.down
      await step()
    } catch (error) {
      if (isLocked(error)) {
        this.result.locked.push({id, name, destination, until: null, reason: lockedReason})
        return
      }
      const failure = asFailure(error, destination)
      if (isDown(failure)) this.down ??= failure
      const {code, message, suggestions} = failure
      this.result.failed.push({id, name, destination, error: {code, message, suggestions}})
    }
  }
}

const lockedReason = 'locked until its retention ends'

const isLocked = (error: unknown): boolean => error instanceof DbbakError && error.code === 'OBJECT_LOCKED'

function asFailure(error: unknown, destination: string): DbbakError {
  if (error instanceof DbbakError) return error
  return new DbbakError('DESTINATION_FAILED', `${destination}: ${messageOf(error)}`, {
    cause: error,
    suggestions: ['Check the disk or the connection, then run dbbak prune again.'],
  })
}

/** Whether an object is the one that was listed. */
function isSame(found: ObjectInfo | undefined, listed: ObjectInfo | undefined): boolean {
  return (
    found !== undefined &&
    found.size === listed?.size &&
    found.etag === listed.etag &&
    found.modifiedAt.getTime() === listed.modifiedAt.getTime()
  )
}
