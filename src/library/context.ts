import {homedir, userInfo} from 'node:os'
import {describeConnection, type ConnectionDescription} from '../postgres/connection.js'
import type {ToolSearch} from '../postgres/client-tools.js'
import {openProvider, type OpenOptions} from '../storage/open-provider.js'
import type {StorageProvider} from '../storage/provider.js'
import {throttled, Valve, type Valves} from '../storage/throttled.js'
import {silent, type Events} from '../engine/events.js'
import type {Whose} from '../engine/whose.js'
import {parseByteRate} from '../support/byte-rate.js'
import {systemClock, type Clock} from '../support/clock.js'
import {longestTimeoutMs, parseDuration} from '../support/duration.js'
import {DbbakError} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {loadSettings, type LoadedSettings, type Setting} from './settings.js'

/** What every operation of the library takes. */
export interface RunOptions {
  /** Instead of the process's own environment. */
  env?: Record<string, string | undefined>
  /** Where relative paths and the search for a config file begin. */
  cwd?: string
  /** A config file to use instead of searching. */
  config?: string | undefined
  /** One of the config file's `databases`, whose settings go before variables. */
  database?: string | undefined
  /** One of several: what their notifications have in common is told once for all. */
  isOneOfSeveral?: boolean | undefined
  /** Told of progress, warnings and stages. */
  events?: Events
  /** Ends the operation; what it began is cleaned up. */
  signal?: AbortSignal
  clock?: Clock
  /** Bytes a second to and from destinations: `20MB`; by default as fast as can be. */
  bandwidthLimit?: string | undefined
  /** Runs that share the limit are given the same. */
  line?: Line | undefined
}

/** What all destinations of a run, or of several, are reached by together; its valves are made with the first. */
export interface Line {
  valves?: Valves | undefined
}

/** The composition root: options, environment and config file turned into what the engine works on. */
export interface Context {
  settings: LoadedSettings
  env: Record<string, string | undefined>
  cwd: string
  homeFolder: string
  events: Events
  signal: AbortSignal
  clock: Clock
  search: ToolSearch
  line: Line
  /** The name in the config file of the database that was chosen. */
  chosen: string | undefined
  isOneOfSeveral: boolean | undefined
}

/** Where an operation's environment and relative paths come from. */
export function surroundingsOf({env, cwd}: Pick<RunOptions, 'env' | 'cwd'>): {
  env: Record<string, string | undefined>
  cwd: string
} {
  return {env: env ?? process.env, cwd: cwd ?? process.cwd()}
}

/** @param flags options by the names of the command line's flags: they go before everything else */
export async function openContext(
  options: RunOptions,
  flags: Record<string, unknown> = {},
): Promise<Context> {
  const {env, cwd} = surroundingsOf(options)
  const given = {'bandwidth-limit': options.bandwidthLimit, ...flags}
  const settings = await loadSettings({
    env,
    cwd,
    config: options.config,
    database: options.database,
    flags: given,
  })
  return {
    settings,
    env,
    cwd,
    homeFolder: env.HOME ?? homedir(),
    events: options.events ?? silent,
    signal: options.signal ?? new AbortController().signal,
    clock: options.clock ?? systemClock,
    search: {
      env,
      // Only who looks for the tools needs it: it may be a variable that is not set.
      get pgBin() {
        return settings.pgBin.value
      },
    },
    line: options.line ?? {},
    chosen: options.database,
    isOneOfSeveral: options.isOneOfSeveral,
  }
}

/** The database of DATABASE_URL or libpq's own variables. @throws DbbakError DATABASE_URL_NOT_SET */
export async function openDatabase({settings, ...context}: Context): Promise<ConnectionDescription> {
  const {value, source} = settings.databaseUrl
  if (value === undefined && source === 'not set') {
    throw new DbbakError(
      'DATABASE_URL_NOT_SET',
      'DATABASE_URL is not set, so it is not known which database is meant.',
      {
        suggestions: [
          ...settings.databaseNames
            .slice(0, 1)
            .map(
              (name) => `Say which of the config file's: --database ${shellWord(name)}, or --all-databases`,
            ),
          'export DATABASE_URL=postgresql://user@host:5432/database, with the password in PGPASSWORD or ~/.pgpass',
          "Or set libpq's own variables: export PGHOST=… PGDATABASE=… PGUSER=…",
          'Or see it work without a database of yours: dbbak demo',
        ],
      },
    )
  }
  return connectionOf(context, settings.databaseUrl)
}

/** The database that is set, if one is; nothing is contacted. */
export async function databaseThatIsSet(context: Context): Promise<Whose | undefined> {
  if (context.settings.databaseUrl.source === 'not set') return undefined
  try {
    const connection = await openDatabase({...context, events: silent})
    return connection.database ? addressOf(connection) : undefined
  } catch (error) {
    if (error instanceof DbbakError && error.code === 'CONFIG_INVALID')
      context.events.warning?.({code: error.code, message: error.message})
    return undefined
  }
}

/**
 * Whose backups are asked for: those of one of the config file's databases (`database`), or of those of a name (`of`).
 * @returns undefined where nobody's in particular are
 */
export async function whoseAreMeant(
  options: RunOptions & {of?: string | undefined},
): Promise<Whose | undefined> {
  if (options.of !== undefined) return {name: options.of}
  if (options.database === undefined) return undefined
  // Without the flags: another database may be named to restore into.
  return addressOf(await openDatabase({...(await openContext(options)), events: silent}))
}

const addressOf = ({database, host, port}: ConnectionDescription): Whose => ({name: database, host, port})

/** Whether a backup is of a database, at whichever of its hosts that was when it was taken. */
export const isDatabaseOf =
  ({hosts, database, user}: ConnectionDescription) =>
  (one: Required<Whose>): boolean =>
    one.name === (database || user) && hosts.some(({host, port}) => host === one.host && port === one.port)

/** What a notice and a hook say of an operation before it begins: whatever of it can be known by then. */
export async function factsOf(
  context: Context,
  placesOf: () => string[],
): Promise<{
  database?: {host: string; port: number; name: string} | undefined
  about?: string | undefined
  destinations: string[]
}> {
  const connection = await openDatabase({...context, events: silent}).catch(() => undefined)
  const database = connection && {host: connection.host, port: connection.port, name: connection.database}
  return {database, about: database ? undefined : context.chosen, destinations: ifKnown(placesOf) ?? []}
}

/** What cannot be had stops the work once that is under way, so that somebody is told of it. */
function ifKnown<T>(find: () => T): T | undefined {
  try {
    return find()
  } catch (error) {
    if (error instanceof DbbakError) return undefined
    throw error
  }
}

/** The test database, if one is set. */
export async function openTestDatabase({
  settings,
  ...context
}: Context): Promise<ConnectionDescription | undefined> {
  return settings.testDatabaseUrl.value === undefined
    ? undefined
    : connectionOf(context, settings.testDatabaseUrl)
}

async function connectionOf(
  context: Omit<Context, 'settings'>,
  {value, source}: Setting<string | undefined>,
): Promise<ConnectionDescription> {
  const {env, homeFolder, events} = context
  const connection = await describeConnection(value, {env, homeFolder, userName: userName(env)}, source)
  for (const message of connection.warnings) events.warning?.({code: 'CONNECTION', message})
  return connection
}

function userName(env: Record<string, string | undefined>): string {
  try {
    return userInfo().username
  } catch {
    return env.USER ?? env.LOGNAME ?? 'postgres' // a container's user without an entry in /etc/passwd
  }
}

export async function openStores(context: Context, destinations: string[]): Promise<StorageProvider[]> {
  return Promise.all(destinations.map((destination) => openStore(context, destination)))
}

/** Works with destinations and lets go of them, whatever happens. */
export async function usingStores<T>(stores: StorageProvider[], work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } finally {
    await Promise.all(stores.map((store) => store.close()))
  }
}

export async function openStore(context: Context, destination: string): Promise<StorageProvider> {
  const {settings, cwd, env} = context
  const request = {
    env,
    retryForMs: retryForMs(context),
    stallMs: parseDuration(settings.stallTimeout.value, settings.stallTimeout.source, longestTimeoutMs),
  }
  const store = await openProvider(
    destination,
    // Not spread: what one cloud lacks is no matter of another.
    Object.defineProperties({cwd, request} as OpenOptions, Object.getOwnPropertyDescriptors(settings.stores)),
  )
  const {line} = context
  line.valves ??= valvesOf(settings.bandwidthLimit)
  return line.valves ? throttled(store, line.valves) : store
}

/** How long a store that does not answer is tried again, in milliseconds. */
export function retryForMs({settings: {retryFor}}: Context): number {
  return parseDuration(retryFor.value, retryFor.source)
}

function valvesOf({value, source}: Setting<string | undefined>): Valves | undefined {
  if (value === undefined) return undefined
  const rate = parseByteRate(value, source)
  return {sending: new Valve(rate), receiving: new Valve(rate)}
}

/** Where backups are looked for: `from`, else the first of the destinations that backups go to. */
export function sourceOf({settings}: Context, from: string | undefined): string {
  return from ?? settings.destinations.value[0] ?? settings.backupDir.value
}
