import {dirname} from 'node:path'
import {worstFirst, type Severity, type StatusFinding} from '../engine/status/finding.js'
import {judge, type StatusLimits} from '../engine/status/judge.js'
import {
  lookAtDestination,
  unreachableFinding,
  type DestinationState,
} from '../engine/status/look-at-destination.js'
import {lookAtServer} from '../engine/status/look-at-server.js'
import type {BackupFacts, DatabaseStatus, VerifiedFacts} from '../engine/status/status-of-database.js'
import {htmlReport, type DrillRecord} from '../report/status-html.js'
import {prometheusText} from '../report/status-prometheus.js'
import {parseDestination} from '../storage/open-provider.js'
import {parseDuration} from '../support/duration.js'
import {DbbakError, messageOf, systemCode} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
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
import {redactSecrets} from './redaction.js'
import {refuseSameFile, reportTarget, writeReport, type ReportTarget} from './report-file.js'

export type {Severity, StatusCode, StatusFinding} from '../engine/status/finding.js'
export type {
  BackupFacts,
  DatabaseStatus,
  HistoryEntry,
  VerifiedFacts,
} from '../engine/status/status-of-database.js'
export type {DrillRecord} from '../report/status-html.js'

export interface StatusOptions extends RunOptions {
  /** The destinations to look at; by default all that backups go to. */
  from?: string[] | undefined
  /** The databases to tell of, by name; by default all that have backups. One without any is a finding. */
  databases?: string[] | undefined
  /** How old the newest backup may be: `26h`. */
  maxAge?: string | undefined
  /** How old the newest backup that passed a restore test may be: `8d`. */
  maxVerifiedAge?: string | undefined
  /** By how much the newest backup may differ from those before it: `50%`. */
  maxSizeChange?: string | undefined
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
 * operator should know. A destination or database that cannot be reached is a finding. Changes nothing.
 * @throws DbbakError wrong usage; the signal's reason
 */
export async function status(options: StatusOptions = {}): Promise<StatusResult> {
  limitsOf(options) // refuses what is wrong before anything is looked at
  const context = withShortPatience(await openContext(options))
  const destinations = [...new Set(options.from?.length ? options.from : context.settings.destinations.value)]
  for (const destination of destinations) parseDestination(destination) // a typing error is no state of things
  const reports = await reportsOf(options, context)
  const {notifications} = context.settings
  const facts = {...(await factsOf(context, destinations)), failure: statusError}
  return withNotices('status', {...context, notifications}, facts, () =>
    lookAt(destinations, options, context, reports),
  )
}

async function lookAt(
  destinations: string[],
  options: StatusOptions,
  context: Context,
  reports: Reports,
): Promise<StatusResult> {
  const limits = limitsOf(options)
  const [states, ofServer] = await Promise.all([
    Promise.all(destinations.map((destination) => stateOf(context, destination))),
    options.askDatabase === false ? [] : askServer(context),
  ])
  const now = context.clock.now()
  const {databases, findings} = judge(states, {limits, names: options.databases}, now)
  const result: StatusResult = {
    healthy: true,
    findings: worstFirst([...findings, ...ofServer]).map(withoutSecrets),
    newest: newestOf(databases, 'newest'),
    newestVerified: newestOf(databases, 'newestVerified'),
    databases,
    destinations: states.map((state) => ({destination: state.destination, reachable: 'catalog' in state})),
    limits: {
      maxAgeSeconds: limits.maxAgeMs / 1000,
      maxVerifiedAgeSeconds: limits.maxVerifiedAgeMs / 1000,
      maxSizeChangePercent: Math.round(limits.maxSizeChange * 1000) / 10,
    },
    at: now.toISOString(),
  }
  const isBad = ({severity}: StatusFinding) =>
    severity === 'error' || (severity === 'warning' && options.failOn === 'warning')
  result.healthy = !result.findings.some(isBad)
  return withReports(result, reports, options.drills)
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

function limitsOf(options: StatusOptions): StatusLimits {
  const text = options.maxSizeChange ?? '50%'
  const percent = /^(\d+(?:\.\d+)?)\s*%$/.exec(text.trim())?.[1]
  if (percent === undefined || Number(percent) === 0)
    throw new DbbakError('OPTION_INVALID', `--max-size-change takes a percentage, and "${text}" is none.`, {
      suggestions: ['For example: --max-size-change 50%'],
    })
  return {
    maxAgeMs: parseDuration(options.maxAge ?? '26h', '--max-age'),
    maxVerifiedAgeMs: parseDuration(options.maxVerifiedAge ?? '8d', '--max-verified-age'),
    maxSizeChange: Number(percent) / 100,
  }
}

/** A monitor waits for an answer: a store that does not answer is not tried for minutes, unless somebody says so. */
function withShortPatience(context: Context): Context {
  const {settings} = context
  if (settings.retryFor.source !== 'default') return context
  return {...context, settings: {...settings, retryFor: {value: '20s', source: 'status'}}}
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

interface Reports {
  html: ReportTarget | undefined
  prometheus: ReportTarget | undefined
}

/** @throws DbbakError OPTION_INVALID */
async function reportsOf({html, prometheus}: StatusOptions, {cwd}: Context): Promise<Reports> {
  const targetOf = async (option: string, path: string | undefined) =>
    path === undefined ? [] : [{option, target: await reportTarget(cwd, option, path)}]
  const [ofHtml, ofPrometheus] = [await targetOf('--html', html), await targetOf('--prometheus', prometheus)]
  await refuseSameFile([...ofHtml, ...ofPrometheus])
  return {html: ofHtml[0]?.target, prometheus: ofPrometheus[0]?.target}
}

/** The page first: that it could not be written is to be among the metrics. */
async function withReports(
  result: StatusResult,
  {html, prometheus}: Reports,
  drills: DrillRecord[] | undefined,
): Promise<StatusResult> {
  let told = result
  if (html) told = await written(told, html, htmlReport(told, drills))
  if (prometheus) told = await written(told, prometheus, prometheusText(told))
  return told
}

/** A report that is not written leaves an old one in its place, which says that all is well: that is not healthy. */
async function written(result: StatusResult, target: ReportTarget, content: string): Promise<StatusResult> {
  const {path} = target
  try {
    await writeReport(target, content)
    return result
  } catch (error) {
    const finding: StatusFinding = {
      code: 'REPORT_NOT_WRITTEN',
      severity: 'error',
      message: `${path} could not be written: ${systemCode(error) ?? messageOf(error)}.`,
      suggestion: `ls -ld ${shellWord(dirname(path))}`,
    }
    return {...result, healthy: false, findings: worstFirst([...result.findings, finding])}
  }
}
