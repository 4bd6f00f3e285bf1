import type {ObjectLock, Protection, StorageProvider} from '../../storage/provider.js'
import {forEach} from '../catalog.js'
import {manifestName, verificationName} from '../naming.js'
import type {PrunePlan, Removal} from './plan-prune.js'

const backupsAtOnce = 8
const objectsAtOnce = 4

interface Lock {
  key: string
  lock: ObjectLock
}

/**
 * Takes out of a plan what the destination itself holds on to. As long as one of its objects is locked a backup stays,
 * whole, and so does what one run left: removed in part it would be neither a backup nor gone.
 *
 * Asks only where something is to go. Requests: 1 or 2 for the bucket; where it can lock objects and its listing does not
 * tell of it, 2 for each object that is to go, and no more of a backup once one of them is locked.
 */
export async function leaveLocked(
  store: StorageProvider,
  plan: PrunePlan,
  signal?: AbortSignal,
): Promise<void> {
  if (plan.removals.length + plan.leftovers.length === 0) return
  const protection = await store.protection?.()
  const locks = new Locks(plan, protection, signal)
  const backups = await locks.first(plan.removals, keysOf)
  const groups = await locks.first(plan.leftovers, ({objects}) => objects.map(({key}) => key))
  plan.removals = plan.removals.filter((removal) => !leave(plan, removal, backups.get(removal)))
  plan.leftovers = plan.leftovers.filter((group) => !leaveGroup(plan, groups.get(group)))
  plan.keepsVersions = protection?.keepsVersions === true
  const {destination} = plan
  plan.warnings.push(...(protection?.warnings ?? []).map((message) => ({destination, message})))
}

/** The manifest first: it was stored last, and whatever locks objects by their age locks it longest. */
function keysOf({entry}: Removal): string[] {
  const {archive, manifest} = entry
  return [manifestName(archive), ...manifest.files.map(({path}) => path), verificationName(archive)]
}

class Locks {
  constructor(
    private readonly plan: PrunePlan,
    private readonly protection: Protection | undefined,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Of each item the first of its objects that is found to be locked. */
  async first<Item>(items: Item[], keys: (item: Item) => string[]): Promise<Map<Item, Lock>> {
    const found = new Map<Item, Lock>()
    await forEach(items, backupsAtOnce, async (item) => {
      const there = keys(item).filter((key) => this.plan.objects.has(key))
      const lock = this.listed(there) ?? (await this.asked(there))
      if (lock) found.set(item, lock)
    })
    return found
  }

  private listed(keys: string[]): Lock | undefined {
    for (const key of keys) {
      const lock = this.plan.objects.get(key)?.lock
      if (lock) return {key, lock}
    }
    return undefined
  }

  private async asked([first, ...others]: string[]): Promise<Lock | undefined> {
    if (this.protection?.lockOf === undefined || first === undefined) return undefined
    let found = await this.lockOf(first)
    await forEach(others, objectsAtOnce, async (key) => {
      if (found === undefined) found = await this.lockOf(key)
    })
    return found
  }

  private async lockOf(key: string): Promise<Lock | undefined> {
    this.signal?.throwIfAborted()
    const lock = await this.protection?.lockOf?.(key)
    return lock && {key, lock}
  }
}

function leave(plan: PrunePlan, {entry, told}: Removal, found: Lock | undefined): boolean {
  if (found === undefined) return false
  const isWhole = [entry.archive, manifestName(entry.archive)].includes(found.key)
  const reason = isWhole ? lockedReason(found.lock) : `${found.key} is ${lockedReason(found.lock)}`
  plan.kept.push({...told, reasons: [reason]})
  plan.locked.push({id: told.id, name: told.name, ...placeAndTime(plan, found), reason})
  return true
}

function leaveGroup(plan: PrunePlan, found: Lock | undefined): boolean {
  if (found === undefined) return false
  plan.locked.push({
    id: null,
    name: found.key,
    ...placeAndTime(plan, found),
    reason: lockedReason(found.lock),
  })
  return true
}

const placeAndTime = ({destination}: PrunePlan, {lock: {until}}: Lock) => ({
  destination,
  until: until?.toISOString() ?? null,
})

/** "locked until 2026-12-31T00:00:00.000Z (retention COMPLIANCE)" */
function lockedReason({until, by}: ObjectLock): string {
  return until === undefined
    ? `locked until somebody ends it (${by})`
    : `locked until ${until.toISOString()} (${by})`
}
