import {planBackup, type BackupPlan} from '../engine/backup/plan-backup.js'
import {
  takeBackup as takeInEngine,
  type BackupDeps,
  type BackupRequest,
  type BackupResult,
} from '../engine/backup/take-backup.js'
import type {Selection} from '../engine/manifest.js'
import {longestTimeoutMs, parseDuration} from '../support/duration.js'
import {DbbakError} from '../support/errors.js'
import {withHooks} from './hooks.js'
import {withNotices} from './notices.js'
import {hidingOf} from './secrets.js'
import {
  factsOf,
  openContext,
  openDatabase,
  openStores,
  retryForMs,
  usingStores,
  type Context,
  type RunOptions,
} from './context.js'

export interface BackupOptions extends RunOptions {
  /** The database to back up; DATABASE_URL or libpq's variables by default. */
  databaseUrl?: string | undefined
  format?: 'custom' | 'plain' | 'directory' | undefined
  /** `zstd`, `gzip:9`, `none`, …; by default zstd. */
  compress?: string | undefined
  /** For the directory format: so many tables at a time. */
  jobs?: number | undefined
  /** Destinations: paths or URLs; BACKUP_DIR by default. */
  to?: string[] | undefined
  /** Also to the buckets that AWS_S3_BUCKET, GCS_BUCKET and AZURE_STORAGE_CONTAINER name. */
  upload?: boolean | undefined
  schemas?: string[] | undefined
  excludeSchemas?: string[] | undefined
  tables?: string[] | undefined
  excludeTables?: string[] | undefined
  excludeTableData?: string[] | undefined
  /** Keep the server's roles and tablespaces too, without password hashes. */
  globals?: boolean | undefined
  content?: 'counts' | 'none' | undefined
  label?: string | undefined
  /** What the backup's name begins with, instead of the database's name. */
  name?: string | undefined
  /** How long to wait for a locked table: `30s`, `5min`. */
  lockTimeout?: string | undefined
}

const defaultLockTimeout = '5min'

/**
 * Takes a backup to one or more destinations.
 * @param check refuses what could not go on after it; that it was refused is told like any failure
 */
export async function takeBackup(
  options: BackupOptions = {},
  check?: () => Promise<void>,
): Promise<BackupResult> {
  const context = await contextOf(options)
  const {notifications, hooks, destinations} = context.settings
  const facts = await factsOf(context, () => destinations.value)
  const hide = await hidingOf(context)
  return withNotices('backup', {...context, notifications}, facts, () =>
    withHooks('backup', {...context, hooks, hide}, facts, async (begin) => {
      await check?.()
      const {request, deps} = await open(options, context)
      return usingStores(deps.stores, async () => {
        await begin()
        return takeInEngine(request, deps)
      })
    }),
  )
}

/** What `takeBackup` with the same options would do; connects and looks, changes nothing. */
export async function planBackupOf(options: BackupOptions = {}): Promise<BackupPlan> {
  const {request, deps} = await open(options, await contextOf(options))
  return usingStores(deps.stores, () => planBackup(request, deps))
}

function contextOf(options: BackupOptions): Promise<Context> {
  return openContext(options, {
    'database-url': options.databaseUrl,
    format: options.format,
    compress: options.compress,
    jobs: options.jobs,
    to: options.to,
    upload: options.upload,
    content: options.content,
    globals: options.globals,
    label: options.label,
    name: options.name,
    'lock-timeout': options.lockTimeout,
  })
}

async function open(
  options: BackupOptions,
  context: Context,
): Promise<{request: BackupRequest; deps: BackupDeps}> {
  const {settings, events, clock, signal, search} = context
  const {dbbakVersion: version} = await import('./version.js')
  const connection = await openDatabase(context)
  const stores = await openStores(context, settings.destinations.value)
  return {
    request: requestOf(options, context),
    deps: {
      connection,
      stores,
      search,
      events,
      clock,
      signal,
      version,
      stalledAfterMs: 2 * retryForMs(context),
    },
  }
}

function requestOf(options: BackupOptions, {settings}: Context): BackupRequest {
  const content = settings.content.value
  if (content === 'checksums') {
    throw new DbbakError(
      'OPTION_INVALID',
      'Content records with checksums are not offered yet; counts are exact row counts.',
      {
        suggestions: ['dbbak backup --content counts'],
      },
    )
  }
  return {
    kind: 'backup',
    content,
    format: settings.format.value,
    compress: settings.compress.value,
    jobs: settings.jobs.value ?? 2,
    selection: selectionOf(options),
    globals: settings.globals.value,
    label: settings.label.value ?? null,
    namePrefix: settings.name.value,
    lockTimeoutMs: parseDuration(
      settings.lockTimeout.value ?? defaultLockTimeout,
      '--lock-timeout',
      longestTimeoutMs,
    ),
  }
}

/** null: the whole database. */
function selectionOf({
  schemas,
  excludeSchemas,
  tables,
  excludeTables,
  excludeTableData,
}: BackupOptions): Selection | null {
  const given = Object.entries({schemas, excludeSchemas, tables, excludeTables, excludeTableData}).filter(
    (entry): entry is [string, string[]] => (entry[1]?.length ?? 0) > 0,
  )
  return given.length > 0 ? Object.fromEntries(given) : null
}
