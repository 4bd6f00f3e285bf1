import {DbbakError} from '../support/errors.js'
import {nearestName} from '../support/nearest-name.js'
import {pathIn, type ConfigFile, type Environment} from './config-file.js'
import type {Config} from './config-schema.js'
import {startsWith, unsetError} from './config-text.js'
import {failing, following, type Setting} from './setting.js'

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

export interface Lookup<T> {
  flag?: string
  variable?: string
  otherwise?: T
}

/** The order of precedence, written once. */
export function lookUp(from: SettingsFrom, file: ConfigFile | undefined) {
  const chosen = chosenDatabase(from.database, file)
  const find = <T>(key: keyof Config, lookup: Lookup<T> = {}): Setting<T> => {
    const {flag, variable, otherwise} = lookup
    const fromFlag = flag === undefined ? undefined : from.flags?.[flag]
    if (isSet(fromFlag)) return {value: fromFlag as T, source: `--${flag}`}
    // A variable speaks of one database, so it cannot be meant for one that was chosen by its name.
    const own = chosen && file && findIn<T>(key, {...file, config: chosen}, from.database)
    if (own !== undefined) return own
    if (variable !== undefined && from.env[variable])
      return {value: from.env[variable] as T, source: variable}
    const common = file && findIn<T>(key, file)
    return common ?? {value: otherwise as T, source: otherwise === undefined ? 'not set' : 'default'}
  }
  const findNumber = (key: keyof Config, lookup: Lookup<number>): Setting<number> =>
    following(find<number | string>(key, lookup), ({value, source}) => ({
      value: positiveInteger(value, source),
      source,
    }))
  return {find, findNumber}
}

/** What the file says of a key, for one database or for all; undefined where it says nothing. */
function findIn<T>(key: keyof Config, file: ConfigFile, database?: string): Setting<T> | undefined {
  const source = database === undefined ? file.name : `${file.name}, databases.${database}`
  const places = placesOf(key, database)
  const unset = file.unset.find(({path}) => places.some((place) => startsWith(path, place)))
  if (unset !== undefined) return failing(unsetError(unset, file.name), source)
  const held = configValue(key, file)
  return isSet(held) ? {value: held as T, source} : undefined
}

const ownNames: Partial<Record<keyof Config, string>> = {databaseUrl: 'url', to: 'destinations'}

function placesOf(key: keyof Config, database: string | undefined): string[][] {
  const keys = key === 'retentionDays' ? ['retention', key] : [key]
  return database === undefined
    ? keys.map((name) => [name])
    : keys.map((name) => ['databases', database, ownNames[name as keyof Config] ?? name])
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

function configValue(key: keyof Config, file: ConfigFile): unknown {
  const {config} = file
  if (key === 'to') return config.to?.map((path) => pathIn(file, path))
  if (key === 'retentionDays') return config.retention?.days ?? config.retentionDays
  const value = config[key]
  const isPath = key === 'backupDir' || key === 'pgBin' || key === 'cacheDir'
  return isPath && typeof value === 'string' ? pathIn(file, value) : value
}

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
