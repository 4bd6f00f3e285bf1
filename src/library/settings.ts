import {homedir} from 'node:os'
import {isAbsolute, join, resolve} from 'node:path'
import {DbbakError} from '../support/errors.js'
import {nearestName} from '../support/nearest-name.js'
import {type ConfigFile, type Environment, loadConfigFile} from './config-file.js'
import type {Config} from './config-schema.js'
import type {HooksConfig} from './hooks.js'
import type {NotificationsConfig} from '../notify/config.js'
import {redactSecrets} from './redaction.js'
import {storeSettings, uploadDestinations, type StoreSettings} from './store-settings.js'

/** A value and where it came from: a flag, an environment variable, the config file's name, `default`, `not set`. */
export interface Setting<T> {
  value: T
  source: string
}

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
}

export interface SettingsFrom {
  env: Environment
  /** Where the search for a config file begins. */
  cwd: string
  /** A config file to use instead of searching (--config). */
  config?: string | undefined
  /** One of the config file's `databases`. */
  database?: string | undefined
  /** A command's flags by their names (`database-url`); those that are undefined or unknown here do not count. */
  flags?: Readonly<Record<string, unknown>> | undefined
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
    destinations: withUploads(
      find('to', {flag: 'to', otherwise: [backupDir.value], otherwiseSource: backupDir.source}),
      upload,
      from.env,
    ),
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
    cacheDir: find('cacheDir', {variable: 'DBBAK_CACHE_DIR', otherwise: defaultCacheDir(from.env)}),
    bandwidthLimit: find('bandwidthLimit', {flag: 'bandwidth-limit', variable: 'DBBAK_BANDWIDTH_LIMIT'}),
    retryFor: find('retryFor', {variable: 'DBBAK_RETRY_FOR', otherwise: '5min'}),
    stallTimeout: find('stallTimeout', {variable: 'DBBAK_STALL_TIMEOUT', otherwise: '30s'}),
    configFile: configFileSetting(from, file),
    stores: storeSettings(from.env, file?.config ?? {}),
    notifications: file?.config.notifications,
    hooks: file?.config.hooks,
    retention: find('retention', {otherwise: {}}),
  }
}

function withUploads(to: Setting<string[]>, upload: Setting<boolean>, env: Environment): Setting<string[]> {
  if (!upload.value) return to
  const added = uploadDestinations(env).filter((destination) => !to.value.includes(destination))
  return {value: [...to.value, ...added], source: `${to.source}, ${upload.source}`}
}

/** The settings as `doctor` prints them: one line each, no secret in any of them. */
export function describeSettings({
  stores: _,
  retention: __,
  notifications: ___,
  hooks: ____,
  ...settings
}: LoadedSettings): {name: string; value: string; source: string}[] {
  return Object.entries(settings).map(([name, setting]: [string, Setting<Described>]) => ({
    name,
    value: describeValue(setting.value),
    source: setting.source,
  }))
}

type Described = string | number | boolean | string[] | undefined

function describeValue(value: Described): string {
  if (value === undefined) return '-'
  return redactSecrets(Array.isArray(value) ? value.join(', ') : String(value))
}

interface Lookup<T> {
  flag?: string
  variable?: string
  otherwise?: T
  otherwiseSource?: string
}

/** The order of precedence, written once. */
function lookUp(from: SettingsFrom, file: ConfigFile | undefined) {
  const chosen = chosenDatabase(from.database, file)
  const find = <T>(key: keyof Config, lookup: Lookup<T> = {}): Setting<T> => {
    const {flag, variable} = lookup
    const fromFlag = flag === undefined ? undefined : from.flags?.[flag]
    if (isSet(fromFlag)) return {value: fromFlag as T, source: `--${flag}`}
    // A variable speaks of one database, so it cannot be meant for one that was chosen by its name.
    if (chosen !== undefined && file !== undefined) {
      const held = configValue(key, {...file, config: chosen})
      if (isSet(held)) return {value: held as T, source: `${file.name}, databases.${from.database}`}
    }
    if (variable !== undefined && from.env[variable])
      return {value: from.env[variable] as T, source: variable}
    if (file !== undefined) {
      const held = configValue(key, file)
      if (isSet(held)) return {value: held as T, source: file.name}
    }
    const source = lookup.otherwiseSource ?? (lookup.otherwise === undefined ? 'not set' : 'default')
    return {value: lookup.otherwise as T, source}
  }
  const findNumber = (key: keyof Config, lookup: Lookup<number>): Setting<number> => {
    const {value, source} = find<number | string>(key, lookup)
    return {value: positiveInteger(value, source), source}
  }
  return {find, findNumber}
}

/** What the config file says of one database, under the names of the file's own keys. */
function chosenDatabase(name: string | undefined, file: ConfigFile | undefined): Config | undefined {
  if (name === undefined) return undefined
  const {url, destinations, ...same} = configuredDatabase(name, file)
  return {...same, databaseUrl: url, ...(destinations && {to: destinations})}
}

/** One of the file's `databases`. @throws DbbakError CONFIG_INVALID where it names none such */
export function configuredDatabase(
  name: string,
  file: ConfigFile | undefined,
): NonNullable<Config['databases']>[string] {
  const databases = file?.config.databases ?? {}
  const found = Object.hasOwn(databases, name) ? databases[name] : undefined
  if (found === undefined) throw unknownDatabase(name, Object.keys(databases), file)
  return found
}

function unknownDatabase(name: string, names: string[], file: ConfigFile | undefined): DbbakError {
  const nearest = nearestName(name, names) ?? names[0]
  const where = file ? file.name : 'no config file was found, so there'
  const sentence = `There is no database "${name}" in the config: ${where} names ${names.length > 0 ? names.join(', ') : 'none'}.`
  return new DbbakError('CONFIG_INVALID', sentence, {
    suggestions: [
      nearest === undefined
        ? 'Name databases in the config file: databases: {shop: {url: ${SHOP_DATABASE_URL}}}'
        : `--database ${nearest}`,
    ],
  })
}

/** A flag that may be repeated and was not given is an empty list. */
const isSet = (value: unknown): boolean =>
  value !== undefined && !(Array.isArray(value) && value.length === 0)

/** A relative path means the same wherever in the project dbbak is started. */
function configValue(key: keyof Config, {config, folder}: ConfigFile): unknown {
  const absolute = (path: string) => (isAbsolute(path) || isUrl(path) ? path : resolve(folder, path))
  if (key === 'to') return config.to?.map(absolute)
  if (key === 'retentionDays') return config.retention?.days ?? config.retentionDays
  const value = config[key]
  const isPath = key === 'backupDir' || key === 'pgBin' || key === 'cacheDir'
  return isPath && typeof value === 'string' ? absolute(value) : value
}

const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(text)

function positiveInteger(value: number | string, source: string): number {
  const number = Number(value)
  if (Number.isInteger(number) && number > 0) return number
  if (value === 0) return value // `retention: {days: 0}` takes the rule out; nothing else gets past the schema
  throw new DbbakError('CONFIG_INVALID', `${source} must be a whole number of at least 1.`, {
    suggestions: [source.startsWith('-') ? `For example: ${source} 30` : `For example: export ${source}=30`],
  })
}

export function namedConfig(
  from: Pick<SettingsFrom, 'config' | 'env'>,
): {path: string; by: string} | undefined {
  if (from.config !== undefined) return {path: from.config, by: '--config'}
  if (from.env.DBBAK_CONFIG) return {path: from.env.DBBAK_CONFIG, by: 'DBBAK_CONFIG'}
  return undefined
}

function configFileSetting(from: SettingsFrom, file: ConfigFile | undefined): Setting<string | undefined> {
  if (file === undefined) return {value: undefined, source: 'not set'}
  return {value: file.path, source: namedConfig(from)?.by ?? 'found'}
}

/** Without a URL, libpq's own variables name the database; say which of them are set. */
function orLibpq(url: Setting<string | undefined>, env: Environment): Setting<string | undefined> {
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
