import {readCatalog, type Catalog, type CatalogEntry} from '../engine/catalog.js'
import {brokenSinceNewest, findWithCautions, type BackupChoice} from '../engine/find-backup.js'
import {lacksOf} from '../engine/newest-backup.js'
import {
  restoreBackup as restoreInEngine,
  type Consent,
  type RestorePlan,
  type RestoreRequest,
  type RestoreResult,
} from '../engine/restore/restore-backup.js'
import {parseCriticalTable} from '../engine/restore/table-checks.js'
import type {Whose} from '../engine/whose.js'
import {longestTimeoutMs, parseDuration} from '../support/duration.js'
import type {StorageProvider} from '../storage/provider.js'
import {DbbakError} from '../support/errors.js'
import {refuseSeveralWays, splitBackupName} from './backup-name.js'
import {catalogCache} from './catalog-cache-file.js'
import {withHooks, type Beginning} from './hooks.js'
import {withNotices} from './notices.js'
import {placeOf} from './places.js'
import {hidingOf} from './secrets.js'
import {
  factsOf,
  openContext,
  openDatabase,
  openStore,
  sourceOf,
  usingStores,
  whoseAreMeant,
  type Context,
  type RunOptions,
} from './context.js'

export interface RestoreOptions extends RunOptions {
  /** A backup's name, path or URL; without it `latest` or `at`. */
  backup?: string | undefined
  latest?: boolean | undefined
  /** The newest backup not newer than this time. */
  at?: string | undefined
  /** Only backups of a database of this name; by default the target's, where there are some of several. */
  of?: string | undefined
  from?: string | undefined
  /** The database to restore into; DATABASE_URL or libpq's variables by default. */
  databaseUrl?: string | undefined
  /** `auto`: a swap where the server allows it. */
  strategy?: 'auto' | 'swap' | 'in-place' | undefined
  /** Tables and indexes restored at a time (swap); by default as the backup's shape suggests. */
  jobs?: number | undefined
  /** Only these schemas, with everything in them. */
  schemas?: string[] | undefined
  /** Only these tables, with what belongs to them. */
  tables?: string[] | undefined
  /** The former content stays in a database of its own (swap). */
  keepOld?: boolean | undefined
  /** Also into an older server than the backup's. */
  forceVersion?: boolean | undefined
  /** Make the roles that the backup names and the server lacks, from its globals; without passwords. */
  globals?: boolean | undefined
  /** Compare row counts and sequences with the content record. */
  verify?: boolean | undefined
  /** Goes ahead without a confirmation. */
  force?: boolean | undefined
  /** Asked before anything is changed, unless `force`; rejects to cancel. */
  confirm?: ((plan: RestorePlan) => Promise<void>) | undefined
  /** `orders` or `orders:1000`. */
  criticalTables?: string[] | undefined
  safetyBackup?: boolean | undefined
  /** Where the safety backup goes; the local destination by default. */
  safetyTo?: string | undefined
  terminateConnections?: boolean | undefined
  noOwner?: boolean | undefined
  noPrivileges?: boolean | undefined
  analyze?: boolean | undefined
  /** How long to wait for something in the target that another session has locked: `30s`, `5min`. */
  lockTimeout?: string | undefined
  dryRun?: boolean | undefined
}

const defaultLockTimeout = '30s'

/** The staged restore; the result says what became of each stage and of the target. */
export async function restoreBackup(options: RestoreOptions = {}): Promise<RestoreResult> {
  if (options.safetyBackup === false && !options.force && !options.dryRun) {
    throw new DbbakError('OPTION_INVALID', 'A restore without a safety backup needs --force as well.', {
      suggestions: ['dbbak restore --latest', 'dbbak restore --latest --no-safety-backup --force'],
    })
  }
  const context = await openContext(options, {
    'database-url': options.databaseUrl,
    'lock-timeout': options.lockTimeout,
  })
  const request = requestOf(options, context)
  const {backup, latest = false, at} = options
  refuseSeveralWays('restore', {'--latest': latest, '--at': at !== undefined, NAME: backup !== undefined})
  const named = backup === undefined ? undefined : splitBackupName(backup)
  const from = () => named?.from ?? sourceOf(context, options.from)
  const opened: StorageProvider[] = []
  const open = async (destination: string) => {
    const store = await openStore(context, destination)
    opened.push(store)
    return store
  }
  const {dbbakVersion: version} = await import('./version.js')
  const {notifications, hooks} = context.settings
  const hide = await hidingOf(context)
  const about = await factsOf(context, () => [placeOf(from(), context.cwd)])
  const facts = {...about, dryRun: options.dryRun}
  const restore = async (begin: Beginning) => {
    const connection = await openDatabase(context)
    const store = await open(from())
    const safetyStore = await open(options.safetyTo ?? context.settings.backupDir.value)
    const catalog = await readCatalog(store, catalogCache(context, store))
    const {database: name, host, port} = connection
    const whose = {of: await whoseAreMeant(options), preferring: {name, host, port}}
    const choice = choiceOf(options, named?.name, {...whose, now: context.clock.now()})
    const {entry, cautions} = findWithCautions(catalog, choice, store.describe())
    if (latest) warnOfDamaged(catalog, entry, context)
    for (const caution of [...cautions, ...lacksOf(entry, catalog.backups)]) context.events.warning?.(caution)
    return restoreInEngine({store, entry}, request, {
      openStore: open,
      ...context,
      connection,
      safetyStore,
      confirm: (plan) => consent(options, plan),
      prepare: {run: (plan) => begin({backupId: plan.backup.id}), mayEndSessions: begin.hasHook},
      version,
    })
  }
  return withNotices('restore', {...context, notifications}, facts, () =>
    usingStores(opened, () => withHooks('restore', {...context, hooks, hide}, facts, restore)),
  )
}

/** Whoever asks for the newest has to know that a newer one was there and cannot be used. */
function warnOfDamaged(catalog: Catalog, entry: CatalogEntry, {events}: Context): void {
  const {id} = entry.manifest
  for (const {key, code, message} of brokenSinceNewest(catalog, entry))
    events.warning?.({code, message: `${id} is restored; ${key} is newer and cannot be used: ${message}`})
}

function requestOf(options: RestoreOptions, {settings}: Context): RestoreRequest {
  return {
    criticalTables: (options.criticalTables ?? []).map(parseCriticalTable),
    verify: options.verify ?? false,
    strategy: options.strategy ?? 'auto',
    part: partOf(options),
    jobs: options.jobs,
    keepOld: options.keepOld ?? false,
    forceVersion: options.forceVersion ?? false,
    globals: options.globals ?? false,
    noOwner: options.noOwner ?? false,
    noPrivileges: options.noPrivileges ?? false,
    terminateConnections: options.terminateConnections ?? false,
    safetyBackup: options.safetyBackup ?? true,
    analyze: options.analyze ?? true,
    lockTimeoutMs: parseDuration(
      settings.lockTimeout.value ?? defaultLockTimeout,
      '--lock-timeout',
      longestTimeoutMs,
    ),
    dryRun: options.dryRun ?? false,
  }
}

/** A part is replaced in place, and held against its own tables alone. */
function partOf(options: RestoreOptions): RestoreRequest['part'] {
  const {schemas = [], tables = [], keepOld, criticalTables = []} = options
  if (schemas.length + tables.length === 0) return undefined
  const unfitting = keepOld ? '--keep-old' : criticalTables.length > 0 ? '--critical-table' : undefined
  if (unfitting === undefined) return {schemas, tables}
  throw new DbbakError('OPTION_INVALID', `${unfitting} does not go with --schema and --table.`, {
    suggestions: ['dbbak restore --latest --table sales.orders --verify'],
  })
}

async function consent({force, confirm}: RestoreOptions, plan: RestorePlan): Promise<Consent> {
  if (force) return {by: 'flag'}
  if (!confirm) {
    throw new DbbakError(
      'CONFIRMATION_REQUIRED',
      'A restore replaces everything in its target, and nobody was asked.',
      {suggestions: ['Pass force: true, or confirm.']},
    )
  }
  await confirm(plan)
  return {by: 'typed'}
}

function choiceOf(
  {latest, at}: RestoreOptions,
  name: string | undefined,
  whose: {of: Whose | undefined; preferring: Whose; now: Date},
): BackupChoice {
  if (name !== undefined) return {name}
  if (at !== undefined) return {notAfter: parseTime(at), ...whose, refusingOthers: true}
  if (latest) return {latest: true, ...whose, refusingOthers: true}
  throw new DbbakError('OPTION_INVALID', 'Which backup is to be restored?', {
    suggestions: [
      'dbbak restore --latest',
      'dbbak restore --at 2025-01-15T14:30:00Z',
      'dbbak restore NAME, with a name from: dbbak list',
    ],
  })
}

function parseTime(text: string): Date {
  const time = new Date(text)
  if (!Number.isNaN(time.getTime())) return time
  throw new DbbakError('OPTION_INVALID', `--at ${text} is not a time.`, {
    suggestions: ['--at 2025-01-15T14:30:00Z'],
  })
}
