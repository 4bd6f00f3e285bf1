import type {Manifest} from '../manifest.js'
import type {RetentionPolicy} from '../retention/policy.js'
import type {AgeLimits} from './age-findings.js'

export interface StatusLimits extends AgeLimits {
  /** 0.5 is 50 %. */
  maxSizeChange: number
}

export type DatabaseOfManifest = Manifest['database']

/** What status is asked about the backups of some destinations, and what it has to know to answer. */
export interface Question {
  limits: StatusLimits
  /** Databases by their own names; empty for all that there are. Each of them should have backups. */
  names?: string[] | undefined
  /** By its own name, where all are told of: it should have backups among them. */
  set?: string | undefined
  /** One of the config file's databases instead: only its backups are meant, and it is called so. */
  known?: KnownDatabase | undefined
  /** Databases that are left out, each by its name, or by `NAME@HOST:PORT` or `NAME@SYSTEM-IDENTIFIER`. */
  ignored?: string[] | undefined
  /** Which backups are kept, as far as it is known here. */
  policy?: RetentionPolicy | undefined
  commands?: CommandDefaults | undefined
}

export interface KnownDatabase {
  /** In the config file. */
  name: string
  /** The database's own name. */
  databaseName: string
  isAt(database: DatabaseOfManifest): boolean
}

/** What commands mean where nothing else is said. */
export interface CommandDefaults {
  isDatabase?: ((database: DatabaseOfManifest) => boolean) | undefined
  /** Where backups go; the first of them is where they are looked for. */
  destinations: string[]
}

/** `db.internal:5432` */
export const addressOf = ({host, port}: Pick<DatabaseOfManifest, 'host' | 'port'>): string =>
  `${host}:${port}`

/** Whether somebody said that this database is not to be told of. One that the config file names is called as there. */
export function isIgnored(
  database: DatabaseOfManifest,
  configName: string | undefined,
  ignored: string[],
): boolean {
  const {name, host, systemIdentifier} = database
  const servers = [host, addressOf(database), ...(systemIdentifier === null ? [] : [systemIdentifier])]
  const spellings = [configName ?? name, ...servers.map((server) => `${name}@${server}`)]
  return ignored.some((one) => spellings.includes(one))
}

/** The one way to write it that means no other database. */
export const ignoreWord = (database: DatabaseOfManifest): string =>
  `${database.name}@${database.systemIdentifier ?? addressOf(database)}`

/** By a name alone, whatever server it may be on. */
export const isIgnoredName = (name: string, ignored: string[]): boolean => ignored.includes(name)
