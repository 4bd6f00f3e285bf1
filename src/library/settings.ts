import {homedir} from 'node:os'
import {join} from 'node:path'
import type {DbbakError} from '../support/errors.js'
import {type ConfigFile, type Environment, loadConfigFile} from './config-file.js'
import type {Config} from './config-schema.js'
import {unsetError} from './config-text.js'
import {lookUp, namedConfig, type SettingsFrom} from './find-setting.js'
import {describeTold, hooksOf, notificationsOf} from './told-settings.js'
import type {HooksConfig} from './hooks.js'
import type {NotificationsConfig} from '../notify/config.js'
import {redactSecrets} from './redaction.js'
import {secretsIn} from './config-secrets.js'
import {failing, following, type Setting} from './setting.js'
import {storesOf, uploadDestinations, type StoreSettings} from './store-settings.js'

export {configuredDatabase, namedConfig, type SettingsFrom} from './find-setting.js'
export type {Setting} from './setting.js'

/** Everything that can be set, after flag > environment variable > config file > default. */
export interface Settings {
  /** undefined leaves it to libpq's own variables, service file and .pgpass. */
  databaseUrl: Setting<string | undefined>
  testDatabaseUrl: Setting<string | undefined>
  /** The local destination; safety backups go here. */
  backupDir: Setting<string>
  /** Where backups go: --to, the config file's `to`, else the local destination. Never empty. */
  destinations: Setting<string[]>
  retentionDays: Setting<number>
  pgBin: Setting<string | undefined>
  format: Setting<'custom' | 'plain' | 'directory'>
  /** ALGORITHM or ALGORITHM:LEVEL; undefined leaves the choice to the backup. */
  compress: Setting<string | undefined>
  content: Setting<'counts' | 'checksums' | 'none'>
  jobs: Setting<number | undefined>
  name: Setting<string | undefined>
  label: Setting<string | undefined>
  lockTimeout: Setting<string | undefined>
  /** Backups hold the server's roles and tablespaces too. */
  globals: Setting<boolean>
  /** How old the newest backup may be; undefined leaves it to `status`, as the two after it. */
  maxAge: Setting<string | undefined>
  maxVerifiedAge: Setting<string | undefined>
  maxSizeChange: Setting<string | undefined>
  /** Databases that are backed up no more, for `status`. */
  ignore: Setting<string[] | undefined>
  cacheDir: Setting<string>
  /** Whether backups also go to the buckets that the environment names; `destinations` has them already. */
  upload: Setting<boolean>
  /** Bytes a second, as written (`20MB`); undefined is as fast as can be. */
  bandwidthLimit: Setting<string | undefined>
  /** How long a store that does not answer is tried again. */
  retryFor: Setting<string>
  /** When a connection on which nothing moves is given up. */
  stallTimeout: Setting<string>
  /** The config file in force. */
  configFile: Setting<string | undefined>
}

/** The settings, and what comes with them that is shown nowhere. */
export interface LoadedSettings extends Settings {
  stores: StoreSettings
  notifications: NotificationsConfig | undefined
  hooks: HooksConfig | undefined
  retention: Setting<NonNullable<Config['retention']>>
  /** What the config file takes from variables that are not set. */
  faults: {path: string[]; error: DbbakError}[]
  /** What the config file holds of secrets. */
  secrets: string[]
  /** Of the config file's `databases`. */
  databaseNames: string[]
}

/**
 * Finds out what is set, and where.
 * @throws DbbakError CONFIG_INVALID
 */
export async function loadSettings(from: SettingsFrom): Promise<LoadedSettings> {
  const file = await loadConfigFile({named: namedConfig(from), cwd: from.cwd, env: from.env})
  const {find, findNumber} = lookUp(from, file)
  const backupDir = find<string>('backupDir', {variable: 'BACKUP_DIR', otherwise: './backups'})
  const upload = find<boolean>('upload', {flag: 'upload', otherwise: false})
  return {
    databaseUrl: orLibpq(
      find<string | undefined>('databaseUrl', {flag: 'database-url', variable: 'DATABASE_URL'}),
      from.env,
    ),
    testDatabaseUrl: find('testDatabaseUrl', {flag: 'test-database-url', variable: 'TEST_DATABASE_URL'}),
    backupDir,
    destinations: withUploads(orBackupDir(find('to', {flag: 'to'}), backupDir), upload, from.env),
    upload,
    retentionDays: findNumber('retentionDays', {
      flag: 'keep-days',
      variable: 'RETENTION_DAYS',
      otherwise: 30,
    }),
    pgBin: find('pgBin', {variable: 'DBBAK_PG_BIN'}),
    format: find('format', {flag: 'format', otherwise: 'custom'}),
    compress: find('compress', {flag: 'compress'}),
    content: find('content', {flag: 'content', otherwise: 'counts'}),
    jobs: find('jobs', {flag: 'jobs'}),
    name: find('name', {flag: 'name'}),
    label: find('label', {flag: 'label'}),
    lockTimeout: find('lockTimeout', {flag: 'lock-timeout'}),
    globals: find('globals', {flag: 'globals', otherwise: false}),
    maxAge: find('maxAge', {flag: 'max-age'}),
    maxVerifiedAge: find('maxVerifiedAge', {flag: 'max-verified-age'}),
    maxSizeChange: find('maxSizeChange', {flag: 'max-size-change'}),
    ignore: find('ignore'),
    cacheDir: find('cacheDir', {variable: 'DBBAK_CACHE_DIR', otherwise: defaultCacheDir(from.env)}),
    bandwidthLimit: find('bandwidthLimit', {flag: 'bandwidth-limit', variable: 'DBBAK_BANDWIDTH_LIMIT'}),
    retryFor: find('retryFor', {variable: 'DBBAK_RETRY_FOR', otherwise: '5min'}),
    stallTimeout: find('stallTimeout', {variable: 'DBBAK_STALL_TIMEOUT', otherwise: '30s'}),
    configFile: configFileSetting(from, file),
    stores: storesOf(from.env, file),
    notifications: notificationsOf(file, from.database),
    hooks: hooksOf(file, from.database),
    retention: find('retention', {otherwise: {}}),
    secrets: secretsIn(file),
    databaseNames: Object.keys(file?.config.databases ?? {}),
    faults: (file?.unset ?? []).map((unset) => ({path: unset.path, error: unsetError(unset, file!.name)})),
  }
}

function orBackupDir(to: Setting<string[] | undefined>, backupDir: Setting<string>): Setting<string[]> {
  return following(to, ({value, source}) =>
    value !== undefined
      ? {value, source}
      : following(backupDir, (folder) => ({value: [folder.value], source: folder.source})),
  )
}

function withUploads(to: Setting<string[]>, upload: Setting<boolean>, env: Environment): Setting<string[]> {
  if (upload.fault) return failing(upload.fault, upload.source)
  if (!upload.value) return to
  return following(to, ({value, source}) => {
    const added = uploadDestinations(env).filter((destination) => !value.includes(destination))
    return {value: [...value, ...added], source: `${source}, ${upload.source}`}
  })
}

/** The settings as `doctor` prints them: one line each, no secret in any of them. */
export function describeSettings(
  loaded: LoadedSettings,
  env: Environment = {},
): {name: string; value: string; source: string}[] {
  const {
    stores: _,
    retention,
    notifications,
    hooks,
    faults: __,
    secrets: ___,
    databaseNames: ____,
    ...settings
  } = loaded
  return [
    ...Object.entries(settings).map(([name, setting]: [string, Setting<Described>]) => ({
      name,
      value: setting.fault ? '(not set)' : describeValue(setting.value),
      source: setting.source,
    })),
    ...describeTold({retention, notifications, hooks}, {env, configFile: settings.configFile.value}),
  ]
}

type Described = string | number | boolean | string[] | undefined

function describeValue(value: Described): string {
  if (value === undefined) return '-'
  return redactSecrets(Array.isArray(value) ? value.join(', ') : String(value))
}

function configFileSetting(from: SettingsFrom, file: ConfigFile | undefined): Setting<string | undefined> {
  if (file === undefined) return {value: undefined, source: 'not set'}
  return {value: file.path, source: namedConfig(from)?.by ?? 'found'}
}

/** Without a URL, libpq's own variables name the database; say which of them are set. */
function orLibpq(url: Setting<string | undefined>, env: Environment): Setting<string | undefined> {
  if (url.fault) return url
  const set = ['PGSERVICE', 'PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGDATABASE', 'PGUSER'].filter(
    (name) => env[name],
  )
  return url.value === undefined && set.length > 0 ? {value: undefined, source: set.join(', ')} : url
}

function defaultCacheDir(env: Environment): string {
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'dbbak')
  if (process.platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'dbbak', 'cache')
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'dbbak')
  return join(homedir(), '.cache', 'dbbak')
}
