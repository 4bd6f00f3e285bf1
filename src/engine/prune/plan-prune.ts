import {buffer} from 'node:stream/consumers'
import type {ObjectInfo, StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import type {CatalogCache} from '../catalog-cache.js'
import {forEach, readCatalog, snapshotMs, type CatalogEntry} from '../catalog.js'
import type {Manifest} from '../manifest.js'
import {manifestName, verificationName} from '../naming.js'
import {seriesKey} from '../series.js'
import {databaseKey} from '../whose.js'
import {planRetention, type Content, type RetentionBackup} from '../retention/plan.js'
import {checkPolicy, type RetentionPolicy} from '../retention/policy.js'
import {parseVerification} from '../verify/verification-record.js'
import {findLeftovers, namePrefixOf, type LeftoverGroup} from './leftovers.js'
import {leaveLocked} from './leave-locked.js'
import type {LockedObject, PrunedBackup, PruneProblem, PruneWarning} from './prune-result.js'

export interface PruneRequest {
  policy: RetentionPolicy
  /**
   * Only the databases of which it is true, as their newest backup tells of them, and what their runs left; undefined is
   * everything. A database is one by its name and system identifier: where several have lain at one address, each has
   * the rules to itself, and one that was there once and has moved on is not meant.
   */
  only?: ((database: Manifest['database']) => boolean) | undefined
}

/** A backup with what the destination's listing tells of its manifest. */
interface Listed {
  entry: CatalogEntry
  /** undefined where it was stored while this was planned. */
  manifestObject: ObjectInfo | undefined
}

/** What the rules count together: the backups of one database with one selection, or its safety backups. */
export interface PruneScope {
  /** The database's. */
  name: string
  /** As long as these are there, the rest may go. */
  anchors: Listed[]
}

export interface Removal extends Listed {
  scope: PruneScope
  told: PrunedBackup
}

export interface PrunePlan {
  destination: string
  kept: PrunedBackup[]
  removals: Removal[]
  leftovers: LeftoverGroup[]
  problems: PruneProblem[]
  /** What would go if the destination did not hold on to it. */
  locked: LockedObject[]
  warnings: PruneWarning[]
  /** Whether the destination keeps what is removed, as older versions of the objects. */
  keepsVersions: boolean
  /** Everything at the destination, as it was listed. */
  objects: Map<string, ObjectInfo>
  /** The archives whose manifests name a file: two of one moment in different formats may share their globals. */
  claims: Map<string, Set<string>>
}

/**
 * Finds out what a policy removes from a destination. Changes nothing.
 * @throws DbbakError OPTION_INVALID; what the destination fails with
 */
export async function planPrune(
  store: StorageProvider,
  request: PruneRequest,
  now: Date,
  cache?: CatalogCache,
  signal?: AbortSignal,
): Promise<PrunePlan> {
  checkPolicy(request.policy)
  const objects = new Map<string, ObjectInfo>()
  for await (const object of store.list('')) objects.set(object.key, object)
  const catalog = await readCatalog(store, cache)
  const backups: Verified[] = catalog.backups.map((entry) => ({entry, verification: entry.verification}))
  await forEach(backups, readersAtOnce, async (backup) => {
    backup.verification ??= await readAgain(store, backup.entry, objects)
  })
  const destination = store.describe()
  const scopes = [...Map.groupBy(backups, ({entry}) => databaseKey(entry.manifest.database)).values()]
  const {only} = request
  const isMeant = (ones: Verified[]) => only === undefined || only(lastSeen(ones))
  const plan: PrunePlan = {
    destination,
    kept: [],
    removals: [],
    leftovers: leftoversFor(scopes, isMeant, findLeftovers(catalog.unclaimed, objects, now)),
    problems: catalog.problems.map(({key, code, message}) => ({name: key, destination, code, message})),
    locked: [],
    warnings: [],
    keepsVersions: false,
    objects,
    claims: claimsOf(catalog.backups),
  }
  for (const ones of scopes.filter(isMeant)) addScope(plan, ones, request.policy, now)
  await leaveLocked(store, plan, signal)
  plan.kept.sort(newestFirst)
  plan.removals.sort(({told: one}, {told: other}) => newestFirst(one, other))
  return plan
}

/** What a database was called and where it lay when it was last backed up. */
function lastSeen(backups: Verified[]): Manifest['database'] {
  const {entry} = backups.find((one) => one.entry.manifest.kind === 'backup') ?? backups[0]!
  return entry.manifest.database
}

/** A backup with its newest verification result, if there is one. */
interface Verified {
  entry: CatalogEntry
  verification: RetentionBackup['verification']
}

/**
 * A result that was there and could not be read counts as none in a listing. Here it decides: a backup that passed must
 * not go for a connection that broke as its result was read, and one that failed must not count as good for a result
 * that is damaged, or another backup's.
 */
async function readAgain(
  store: StorageProvider,
  {archive, manifest}: CatalogEntry,
  objects: ReadonlyMap<string, ObjectInfo>,
): Promise<Verified['verification']> {
  const key = verificationName(archive)
  if (!objects.has(key)) return null
  let text: string
  try {
    text = (await buffer(await store.get(key, {end: maxVerificationBytes}))).toString('utf8')
  } catch (error) {
    if (error instanceof DbbakError && error.code === 'OBJECT_NOT_FOUND') return null
    throw error
  }
  try {
    const verification = parseVerification(text)
    return verification.id === manifest.id ? verification : 'unreadable'
  } catch {
    return 'unreadable'
  }
}

const readersAtOnce = 16
const maxVerificationBytes = 64 * 1024 * 1024

function addScope(plan: PrunePlan, backups: Verified[], policy: RetentionPolicy, now: Date): void {
  const listed = (entry: CatalogEntry): Listed => ({
    entry,
    manifestObject: plan.objects.get(manifestName(entry.archive)),
  })
  const {kept, removed, anchors} = planRetention(backups.map(forPlan), policy, now)
  const {name} = backups[0]!.entry.manifest.database
  const scopes = new Map<string | null, PruneScope>()
  for (const series of new Set(anchors.map((anchor) => anchor.series))) {
    const own = anchors.filter((anchor) => anchor.series === series)
    scopes.set(series, {name, anchors: own.map(({entry}) => listed(entry))})
  }
  const scopeOfSafety: PruneScope = {name, anchors: anchors.map(({entry}) => listed(entry))}
  for (const {backup, reasons} of kept) plan.kept.push(tell(plan, backup.entry, reasons))
  for (const {backup, reasons} of removed) {
    const scope = (backup.kind === 'backup' ? scopes.get(backup.series) : undefined) ?? scopeOfSafety
    plan.removals.push({...listed(backup.entry), scope, told: tell(plan, backup.entry, reasons)})
  }
}

function forPlan({entry, verification}: Verified): RetentionBackup & {entry: CatalogEntry} {
  const {manifest, archive} = entry
  return {
    id: manifest.id,
    name: archive,
    kind: manifest.kind,
    snapshotMs: snapshotMs(entry),
    verification,
    series: seriesKey(manifest),
    content: contentOf(manifest),
    entry,
  }
}

function contentOf({content}: Manifest): Content {
  const {level, rowCount, tableCount, largeObjects} = content
  if (rowCount + largeObjects > 0) return 'rows'
  if (tableCount === 0) return 'nothing'
  return level === 'none' ? 'uncounted' : 'tables'
}

function tell({destination, objects}: PrunePlan, entry: CatalogEntry, reasons: string[]): PrunedBackup {
  const {id, kind, snapshotAt, database, files} = entry.manifest
  const beside = [manifestName(entry.archive), verificationName(entry.archive)]
  const bytes = [...beside, ...files.map(({path}) => path)].reduce(
    (sum, key) => sum + (objects.get(key)?.size ?? 0),
    0,
  )
  return {id, name: entry.archive, destination, database: database.name, kind, snapshotAt, bytes, reasons}
}

export function newestFirst(one: PrunedBackup, other: PrunedBackup): number {
  const difference = Date.parse(other.snapshotAt) - Date.parse(one.snapshotAt)
  return difference === 0 ? (one.name < other.name ? 1 : -1) : difference
}

function claimsOf(backups: CatalogEntry[]): Map<string, Set<string>> {
  const claims = new Map<string, Set<string>>()
  for (const {archive, manifest} of backups)
    for (const {path} of manifest.files) claims.set(path, (claims.get(path) ?? new Set()).add(archive))
  return claims
}

/**
 * What a cut-off run left says nothing of its database but by its name: where only some databases are meant, it is
 * theirs if their backups bear names that begin so, and no other's do.
 */
function leftoversFor(
  scopes: Verified[][],
  isMeant: (backups: Verified[]) => boolean,
  leftovers: LeftoverGroup[],
): LeftoverGroup[] {
  if (scopes.every(isMeant)) return leftovers
  const meant = new Set<string | undefined>()
  const others = new Set<string | undefined>()
  for (const backups of scopes)
    for (const {entry} of backups) (isMeant(backups) ? meant : others).add(namePrefixOf(entry.manifest.id))
  return leftovers.filter(
    ({namePrefix}) => namePrefix !== null && meant.has(namePrefix) && !others.has(namePrefix),
  )
}
