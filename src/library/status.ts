import {eachOnce, worstFirst, type Severity, type StatusFinding} from '../engine/status/finding.js'
import {judge, type Judgement} from '../engine/status/judge.js'
import {
  lookAtDestination,
  unreachableFinding,
  type DestinationState,
} from '../engine/status/look-at-destination.js'
import {lookAtServer} from '../engine/status/look-at-server.js'
import {severalAtATime} from '../engine/several-at-a-time.js'
import {
  limitsShown,
  type BackupFacts,
  type DatabaseStatus,
  type VerifiedFacts,
} from '../engine/status/status-of-database.js'
import type {DrillRecord} from '../report/status-html.js'
import {parseDestination} from '../storage/open-provider.js'
import {DbbakError} from '../support/errors.js'
import {catalogCache} from './catalog-cache-file.js'
import {
  factsOf,
  openContext,
  openDatabase,
  openStore,
  usingStores,
  type Context,
  type RunOptions,
} from './context.js'
import {withNotices} from './notices.js'
import {placeOf} from './places.js'
import {redactSecrets} from './redaction.js'
import {limitsOf, type LimitOptions} from './status-limits.js'
import {
  knownUnit,
  otherUnit,
  unitNames,
  withShortPatience,
  type Unit,
  type UnitNames,
} from './status-units.js'
import {reportsOf, withReports} from './status-reports.js'

export type {Severity, StatusCode, StatusFinding} from '../engine/status/finding.js'
export type {
  BackupFacts,
  DatabaseStatus,
  HistoryEntry,
  VerifiedFacts,
} from '../engine/status/status-of-database.js'
export type {DrillRecord} from '../report/status-html.js'

export interface StatusOptions extends RunOptions, LimitOptions {
  /** The destinations to look at; by default all that backups go to. */
  from?: string[] | undefined
  /**
   * The databases to tell of: those of the config file's that are called so, else databases by their own names. By
   * default all that have backups; where the config file names some and no database is set, those. One without any
   * backup is a finding.
   */
  databases?: string[] | undefined
  /** All of the config file's databases. */
  allDatabases?: boolean | undefined
  /** A part of them: `2/5`. */
  shard?: string | undefined
  /** Databases at a time. */
  concurrency?: number | undefined
  /** Databases that are backed up no more: `NAME`, `NAME@HOST:PORT` or `NAME@SYSTEM-IDENTIFIER`. */
  ignore?: string[] | undefined
  /** What makes it unhealthy: `error` (the default), or warnings too. */
  failOn?: 'error' | 'warning' | undefined
  /** A file for the node exporter's textfile collector; its name must end with .prom there. */
  prometheus?: string | undefined
  /** A file for the page that people look at. */
  html?: string | undefined
  /** Rehearsals of recovery, for the page. */
  drills?: DrillRecord[] | undefined
  /** Asks the database itself whether a restore was cut off; on by default, where one is set. */
  askDatabase?: boolean | undefined
}

export interface StatusResult {
  healthy: boolean
  /** The worst first. */
  findings: StatusFinding[]
  /** The newest backup of all. */
  newest: (BackupFacts & {database: string; destination: string}) | null
  /** The newest backup of all that passed a restore test. */
  newestVerified: (VerifiedFacts & {database: string; destination: string}) | null
  databases: DatabaseStatus[]
  destinations: {destination: string; reachable: boolean}[]
  limits: {maxAgeSeconds: number; maxVerifiedAgeSeconds: number; maxSizeChangePercent: number}
  /** When this was the state of things. */
  at: string
}

/**
 * How the backups are: their age, whether they were verified, whether they are like those before them, and what else an
 * operator should know. A destination or database that cannot be reached is a finding, and so is what is wrong with one
 * of several databases. Changes nothing.
 * @throws DbbakError wrong usage; the signal's reason
 */
export async function status(options: StatusOptions = {}): Promise<StatusResult> {
  limitsOf(options) // refuses what is wrong before anything is looked at
  const base = withShortPatience(
    await openContext({...options, database: undefined, line: options.line ?? {}}),
  )
  for (const destination of options.from ?? []) parseDestination(destination)
  const names = await unitNames(options, base)
  const reports = await reportsOf(options, base)
  const {notifications} = base.settings
  const {from = []} = options
  // The same at every run, whatever cannot be had today: notices of one matter are told by it.
  const placesOf = () => (from.length > 0 ? from : base.settings.destinations.value)
  const facts = {...(await factsOf(base, placesOf)), failure: statusError}
  return withNotices('status', {...base, notifications}, facts, async () => {
    const result = await lookAt(names, options, base)
    return withReports(result, reports, options.drills)
  })
}

/** What was found of one unit, and where it was looked for. */
interface Told extends Judgement {
  states: DestinationState[]
}

async function lookAt(
  {known, others}: UnitNames,
  options: StatusOptions,
  base: Context,
): Promise<StatusResult> {
  const {concurrency = 4, failOn} = options
  const lookout = new Lookout()
  const now = base.clock.now()
  const tell = async (unit: Unit) => told(unit, lookout, options, now)
  const tellKnown = async (name: string) => {
    try {
      return await tell(await knownUnit(name, options, base))
    } catch (error) {
      base.signal.throwIfAborted()
      return {databases: [], states: [], findings: [troubleOf(name, error)]}
    }
  }
  const work = [
    ...(others ? [async () => tell(await otherUnit(others, options, base))] : []),
    ...known.map((name) => () => tellKnown(name)),
  ]
  const all: Told[] = await severalAtATime(work, concurrency, (one) => one(), base.signal)
  const databases = all.flatMap((one) => one.databases)
  const states = new Map(all.flatMap((one) => one.states.map((state) => [state.destination, state])))
  const findings = worstFirst(eachOnce(all.flatMap((one) => one.findings))).map(withoutSecrets)
  const isBad = ({severity}: StatusFinding) =>
    severity === 'error' || (severity === 'warning' && failOn === 'warning')
  return {
    healthy: !findings.some(isBad),
    findings,
    newest: newestOf(databases, 'newest'),
    newestVerified: newestOf(databases, 'newestVerified'),
    databases,
    destinations: [...states.values()].map((state) => ({
      destination: state.destination,
      reachable: 'catalog' in state,
    })),
    limits: limitsShown(limitsOf(options, others ? base.settings : undefined)),
    at: now.toISOString(),
  }
}

async function told(
  {name, context, destinations, question}: Unit,
  lookout: Lookout,
  {askDatabase}: StatusOptions,
  now: Date,
): Promise<Told> {
  const [states, ofServer] = await Promise.all([
    Promise.all(destinations.map((destination) => lookout.stateOf(context, destination))),
    askDatabase === false ? [] : askServer(context),
  ])
  const {databases, findings} = judge(states, question, now)
  const called = (finding: StatusFinding): StatusFinding =>
    name === undefined || finding.database === undefined ? finding : {...finding, database: name}
  return {states, databases, findings: [...findings, ...ofServer.map(called)]}
}

/** What keeps one of several databases from being told of. @throws what is no matter of settings */
function troubleOf(database: string, error: unknown): StatusFinding {
  if (!(error instanceof DbbakError)) throw error
  const {code, message, suggestions} = error
  return {
    code,
    severity: 'error',
    message,
    database,
    suggestion: suggestions[0] ?? `See what is wrong: dbbak doctor`,
  }
}

/** The error that ends a command when the backups are not healthy. */
export function statusError(result: StatusResult): DbbakError | undefined {
  if (result.healthy) return undefined
  const count = (wanted: Severity, one: string) => {
    const number = result.findings.filter(({severity}) => severity === wanted).length
    return number === 0 ? [] : [`${number} ${number === 1 ? one : `${one}s`}`]
  }
  const counted = [...count('error', 'error'), ...count('warning', 'warning')].join(' and ')
  const codes = [
    ...new Set(result.findings.flatMap(({code, severity}) => (severity === 'info' ? [] : [code]))),
  ]
  const suggestions = result.findings.flatMap(({severity, suggestion}) =>
    severity === 'info' || suggestion === undefined ? [] : [suggestion],
  )
  return new DbbakError('STATUS_UNHEALTHY', `Not healthy: ${counted} (${codes.join(', ')}).`, {
    suggestions: [...new Set(suggestions)].slice(0, 4),
    details: {document: result},
  })
}

/** Looks at each destination once, however many databases have their backups there. */
class Lookout {
  private readonly states = new Map<string, Promise<DestinationState>>()

  stateOf(context: Context, destination: string): Promise<DestinationState> {
    const place = placeOf(destination, context.cwd)
    const state = this.states.get(place) ?? stateOf(context, destination)
    this.states.set(place, state)
    return state
  }
}

async function stateOf(context: Context, destination: string): Promise<DestinationState> {
  try {
    const store = await openStore(context, destination)
    return await usingStores([store], () =>
      lookAtDestination(store, catalogCache(context, store), context.signal),
    )
  } catch (error) {
    context.signal.throwIfAborted()
    if (error instanceof DbbakError && error.exitCode === 2) throw error
    // It was not even opened (no credentials): its own way to describe itself is not to be had.
    return {
      destination: redactSecrets(destination),
      unreachable: unreachableFinding(error, redactSecrets(destination)),
    }
  }
}

async function askServer(context: Context): Promise<StatusFinding[]> {
  if (context.settings.databaseUrl.source === 'not set') return []
  return lookAtServer(await openDatabase(context), context.signal)
}

function withoutSecrets(finding: StatusFinding): StatusFinding {
  const {message, suggestion} = finding
  return {
    ...finding,
    message: redactSecrets(message),
    ...(suggestion === undefined ? {} : {suggestion: redactSecrets(suggestion)}),
  }
}

function newestOf<K extends 'newest' | 'newestVerified'>(
  databases: DatabaseStatus[],
  which: K,
): (NonNullable<DatabaseStatus[K]> & {database: string; destination: string}) | null {
  const all = databases.flatMap((one) => {
    const facts = one[which]
    return facts === null ? [] : [{...facts, database: one.name, destination: one.destination}]
  })
  return all.sort((one, other) => Date.parse(other.snapshotAt) - Date.parse(one.snapshotAt))[0] ?? null
}
