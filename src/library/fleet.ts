import {activity, type Events} from '../engine/events.js'
import {DbbakError, exitCodeOf, messageOf, worstExitCode, type ExitCode} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {loadConfigFile, type ConfigFile} from './config-file.js'
import {surroundingsOf, type RunOptions} from './context.js'
import {redactSecrets} from './redaction.js'
import {configuredDatabase, namedConfig} from './settings.js'

export interface FleetChoice extends Pick<RunOptions, 'env' | 'cwd' | 'config'> {
  /** Names of the config file's `databases`. */
  databases?: string[] | undefined
  all?: boolean | undefined
  /** `2/5`: the second of five parts of them. */
  shard?: string | undefined
  /** Names of other databases, that have backups, too. */
  others?: boolean | undefined
}

/** What became of one of several databases. */
export type FleetRun<T> =
  | {database: string; status: 'done'; result: T}
  | {database: string; status: 'failed'; error: FleetError; result?: unknown}
  | {database: string; status: 'not-run'}

export interface FleetError {
  code: string
  message: string
  suggestions: string[]
  exitCode: ExitCode
}

export interface FleetResult<T> {
  databases: FleetRun<T>[]
  succeeded: number
  failed: number
  durationMs: number
}

/**
 * The databases that are meant, by name, in the same order on every machine.
 * @returns undefined where neither names nor all were asked for
 * @throws DbbakError CONFIG_INVALID, OPTION_INVALID
 */
export async function chosenDatabases(choice: FleetChoice): Promise<string[] | undefined> {
  const {databases: named = [], all = false, shard} = choice
  if (named.length === 0 && !all) {
    if (shard === undefined) return undefined
    throw new DbbakError('OPTION_INVALID', '--shard divides several databases.', {
      suggestions: [`Of which? --all-databases --shard ${shard}`],
    })
  }
  const file = await configOf(choice)
  if (!all) {
    // All of them, before anything is done for the first.
    if (!choice.others) for (const name of named) configuredDatabase(name, file)
    return part([...new Set(named)].sort(), shard)
  }
  const names = Object.keys(file?.config.databases ?? {})
  if (names.length > 0) return part(names.sort(), shard)
  throw new DbbakError(
    'CONFIG_INVALID',
    `--all-databases: ${file ? `${file.name} names none` : 'there is no config file'}.`,
    {
      suggestions: ['Name them in the config file: databases: {shop: {url: ${SHOP_DATABASE_URL}}}'],
    },
  )
}

/**
 * Whose backups a name means: one of the config file's `databases`, else a database by the name in its manifests.
 */
export async function whoseBackups(
  name: string | undefined,
  choice: Omit<FleetChoice, 'databases'>,
): Promise<{database?: string; of?: string}> {
  if (name === undefined) return {}
  const file = await configOf(choice)
  return Object.hasOwn(file?.config.databases ?? {}, name) ? {database: name} : {of: name}
}

function configOf(choice: Omit<FleetChoice, 'databases'>): Promise<ConfigFile | undefined> {
  const {env, cwd} = surroundingsOf(choice)
  return loadConfigFile({named: namedConfig({config: choice.config, env}), cwd, env})
}

/** Every name is in exactly one part, and the parts differ by one at most. */
function part(names: string[], shard: string | undefined): string[] {
  if (shard === undefined) return names
  const [, number, count] = /^(\d+)\/(\d+)$/.exec(shard) ?? []
  const [index, parts] = [Number(number), Number(count)]
  if (index >= 1 && index <= parts) return names.filter((_, at) => at % parts === index - 1)
  throw new DbbakError('OPTION_INVALID', `--shard takes PART/PARTS, and "${shard}" is none.`, {
    suggestions: ['For example, the second of five: --shard 2/5'],
  })
}

export interface FleetOptions {
  /** So many databases at a time. */
  concurrency: number
  /** What is being done, for the progress: "Backing up". */
  doing: string
  events?: Events | undefined
  signal?: AbortSignal | undefined
}

/** Runs an operation for each database, a few at a time; the failure of one never touches another. */
export async function forEachDatabase<T>(
  names: string[],
  {concurrency, doing, events = {}, signal}: FleetOptions,
  run: (database: string, events: Events) => Promise<T>,
): Promise<FleetResult<T>> {
  const start = performance.now()
  const progress = fleetProgress(events)
  const runs = new Map<string, FleetRun<T>>()
  const queue = names.values()
  const worker = async () => {
    for (const database of queue) {
      if (signal?.aborted) return
      runs.set(database, await outcomeOf(database, () => run(database, progress.eventsOf(database))))
    }
  }
  const workers = () => Promise.all(Array.from({length: Math.min(concurrency, names.length)}, worker))
  const what = `${doing} ${names.length} ${names.length === 1 ? 'database' : 'databases'}`
  if (names.length > 0) await activity(events, what, workers)
  const databases = names.map((database) => runs.get(database) ?? {database, status: 'not-run' as const})
  const result = {
    databases,
    succeeded: databases.filter(({status}) => status === 'done').length,
    failed: databases.filter(({status}) => status === 'failed').length,
    durationMs: Math.round(performance.now() - start),
  }
  if (signal?.aborted) throw withDocument(signal.reason, result)
  return result
}

async function outcomeOf<T>(database: string, run: () => Promise<T>): Promise<FleetRun<T>> {
  try {
    return {database, status: 'done', result: await run()}
  } catch (error) {
    const known = error instanceof DbbakError ? error : undefined
    const {code, suggestions} = known ?? {code: 'INTERNAL', suggestions: []}
    const document = known?.details?.document
    const told = {message: redactSecrets(messageOf(error)), suggestions: suggestions.map(redactSecrets)}
    return {
      database,
      status: 'failed',
      error: {code, ...told, exitCode: exitCodeOf(error)},
      ...(document === undefined ? {} : {result: document}),
    }
  }
}

function withDocument(reason: unknown, document: object): unknown {
  if (!(reason instanceof DbbakError)) return reason
  return new DbbakError(reason.code, reason.message, {
    cause: reason,
    suggestions: reason.suggestions,
    details: {document},
  })
}

/** Several stories at once cannot be told; their bytes are added up, and warnings say whose they are. */
function fleetProgress(events: Events): {eventsOf(database: string): Events} {
  const bytesOf = new Map<string, number>()
  return {
    eventsOf: (database) => ({
      warning: ({code, message}) => events.warning?.({code, message: `${database}: ${message}`}),
      activityProgress({bytes}) {
        bytesOf.set(database, bytes)
        events.activityProgress?.({bytes: [...bytesOf.values()].reduce((sum, one) => sum + one, 0)})
      },
    }),
  }
}

/**
 * The error that a fleet of which some failed ends a command with: the worst exit code of all.
 * @param command to run for one database alone
 */
export function fleetError<T>(result: FleetResult<T>, command = 'backup'): DbbakError | undefined {
  const failed = result.databases.filter((run) => run.status === 'failed')
  if (failed.length === 0) return undefined
  const list = failed.map(({database, error}) => `${database}: ${error.message}`).join(' ')
  const sentence = `${failed.length} of ${result.databases.length} databases failed. ${list}`
  return new DbbakError('DATABASES_FAILED', sentence, {
    suggestions: failed
      .map(({database}) => `Run it alone: dbbak ${command} --database ${shellWord(database)}`)
      .slice(0, 3),
    details: {document: result},
  }).during(worstExitCode(failed.map(({error}) => error.exitCode)))
}
