import {databaseKey} from '../whose.js'
import {shellWord} from '../../support/shell.js'
import {snapshotMs} from '../catalog.js'
import {ageFindings, futureFindings} from './age-findings.js'
import {Commands} from './commands.js'
import {contentFindings} from './content-findings.js'
import {damageFindings, failedRunsOf, leftoverFindings} from './destination-findings.js'
import {eachOnce, type StatusFinding} from './finding.js'
import type {DestinationState} from './look-at-destination.js'
import {missedRuns, type Gap} from './missed-runs.js'
import {partFindings} from './part-findings.js'
import {movedFindings, movedTo} from './moved.js'
import {isIgnoredName, type Question} from './question.js'
import {
  limitsShown,
  nameOf,
  seriesOf,
  statusOfSeries,
  type BackupSeries,
  type DatabaseStatus,
} from './status-of-database.js'
import {formatAge, formatTime} from '../../support/figures.js'
import {verdictFindings, verifiedFindings} from './verification-findings.js'
import {countOf, someOf} from './wording.js'

export type {StatusLimits} from './question.js'

export interface Judgement {
  databases: DatabaseStatus[]
  findings: StatusFinding[]
}

interface Place {
  state: Extract<DestinationState, {catalog: object}>
  /** All that there are, those of others too. */
  series: BackupSeries[]
  /** Those that were asked for. */
  mine: BackupSeries[]
}

/** What is to be said of what the destinations hold. */
export function judge(states: DestinationState[], question: Question, now: Date): Judgement {
  const unreachable = states.flatMap((state) => ('unreachable' in state ? [state.unreachable] : []))
  const places = states.flatMap((state) => ('catalog' in state ? [placeOf(state, question, now)] : []))
  const commands = new Commands(question)
  const databases: DatabaseStatus[] = []
  const findings = [...unreachable]
  for (const place of places) {
    const {state, series, mine} = place
    findings.push(...missingFindings(place, places, question, commands))
    for (const one of mine) {
      findings.push(...findingsOf(one, series, question, commands, now))
      const failedRuns = failedRunsOf(one, series, state.catalog)
      const hasMoved = movedTo(one, series) !== undefined
      databases.push({...statusOfSeries(one, question, now), failedRuns, hasMoved})
    }
    findings.push(...damageOf(place, question, commands))
    findings.push(...leftoverFindings(state.catalog, state.leftovers, state.destination, now))
  }
  findings.push(...setFindings(places, question, commands))
  findings.push(...coverageFindings(places))
  databases.push(...nowhere(places, question))
  return {databases, findings: eachOnce(findings)}
}

function placeOf(state: Place['state'], question: Question, now: Date): Place {
  const series = seriesOf(state.catalog.backups, state.destination, question, now)
  const {known} = question
  const asked = askedFor(question)
  const isMine = ({isKnown, name}: BackupSeries) =>
    known ? isKnown : asked.length === 0 || asked.includes(name)
  return {state, series, mine: series.filter(isMine)}
}

/** Empty for all. */
const askedFor = ({known, names = [], ignored = []}: Question): string[] =>
  known ? [known.name] : names.filter((name) => !isIgnoredName(name, ignored))

function findingsOf(
  series: BackupSeries,
  others: BackupSeries[],
  question: Question,
  commands: Commands,
  now: Date,
): StatusFinding[] {
  const {limits} = question
  const tooOld = ageFindings(series, question, commands, now)
  const found = [
    ...tooOld,
    ...(tooOld.length > 0 ? movedFindings(series, others, question, now) : []),
    ...futureFindings(series, now),
    ...partFindings(series, commands),
    ...verifiedFindings(series, question, commands, now),
    ...verdictFindings(series, commands),
    ...missedFindings(series, limits, now),
    ...contentFindings(series, limits.maxSizeChange, commands),
  ]
  return found.map((finding) => ({...finding, ...nameOf(series), destination: series.destination}))
}

function missedFindings(
  {counting}: BackupSeries,
  {maxAgeMs}: Question['limits'],
  now: Date,
): Omit<StatusFinding, 'database' | 'destination'>[] {
  const gaps = missedRuns(counting.map(snapshotMs), maxAgeMs, now.getTime())
  if (gaps.length === 0) return []
  const text = ({fromMs, toMs}: Gap) =>
    `${formatAge((toMs - fromMs) / 1000)} from ${formatTime(fromMs)} to ${formatTime(toMs)}`
  return [
    {
      code: 'RUNS_MISSED',
      severity: 'warning',
      message: `${countOf(gaps.length, 'gap')} in the backups of the last 30 days: ${someOf(gaps.map(text))}.`,
      suggestion: "See the schedule's own log of that time: journalctl, cron's mail, or the CI's runs",
    },
  ]
}

/** Damage is told to all who ask for everything, and to those whose it seems to be. */
function damageOf({state, series, mine}: Place, question: Question, commands: Commands): StatusFinding[] {
  const {catalog, destination} = state
  const {ignored = [], known} = question
  const asked = askedFor(question)
  const isMine = ({database, server}: StatusFinding) => {
    if (database === undefined) return true
    if (isIgnoredName(database, ignored)) return false
    if (series.some((one) => !mine.includes(one) && one.name === database && one.server === (server ?? null)))
      return false
    return asked.length === 0 || asked.includes(database) || database === known?.databaseName
  }
  return damageFindings(catalog, series, destination, commands).filter(isMine)
}

/** A destination without any backup, or a database that is asked for and has none anywhere. */
function missingFindings(
  {state: {destination}, series, mine}: Place,
  places: Place[],
  question: Question,
  commands: Commands,
): StatusFinding[] {
  const suggestion = `Take one: ${commands.backup(undefined, destination)}`
  const base = {code: 'NO_BACKUP', severity: 'error', destination, suggestion} as const
  const isEmpty = series.length === 0
  const asked = askedFor(question)
  if (asked.length === 0) {
    const isForAll = (question.names?.length ?? 0) === 0
    return isEmpty && isForAll ? [{...base, message: `There is no backup at ${destination}.`}] : []
  }
  const isSomewhere = (name: string) => places.some((place) => has(place.mine, name))
  return asked
    .filter((name) => !has(mine, name) && (isEmpty || question.known || !isSomewhere(name)))
    .map((database) => ({
      ...base,
      database,
      message: `There is no backup of ${database} at ${destination}.`,
    }))
}

/** That others have backups is no comfort to the database that is set. */
function setFindings(places: Place[], {set, ignored = []}: Question, commands: Commands): StatusFinding[] {
  const [first] = places
  const filled = places.filter(({series}) => series.length > 0)
  if (set === undefined || first === undefined || filled.length === 0 || isIgnoredName(set, ignored))
    return []
  if (filled.some(({series}) => series.some(({database}) => database.name === set))) return []
  return [
    {
      code: 'NO_BACKUP',
      severity: 'error',
      database: set,
      message: `There is no backup of ${set}, which is the database that is set, only of others.`,
      suggestion: `Take one: ${commands.backup(undefined, first.state.destination)}`,
      otherwise: `If it needs none, leave it out: dbbak status --ignore ${shellWord(set)}`,
    },
  ]
}

const has = (series: BackupSeries[], name: string): boolean => series.some((one) => one.name === name)

/** A database whose newest backup is not at every destination that could be read. */
function coverageFindings(places: Place[]): StatusFinding[] {
  const filled = places.filter(({series}) => series.length > 0)
  if (filled.length < 2) return []
  const all = filled.flatMap(({mine}) => mine)
  return [...Map.groupBy(all, ({database}) => databaseKey(database)).values()].flatMap((same) => {
    const newest = same
      .map(({counting}) => counting[0]!)
      .reduce((one, other) => (snapshotMs(other) > snapshotMs(one) ? other : one))
    const {id} = newest.manifest
    const holders = same.filter(({entries}) => entries.some(({manifest}) => manifest.id === id))
    const lacking = filled
      .map(({state}) => state.destination)
      .filter((destination) => !holders.some((one) => one.destination === destination))
    if (lacking.length === 0) return []
    const from = holders[0]!.destination
    return [
      {
        code: 'BACKUP_NOT_EVERYWHERE',
        severity: 'warning',
        ...nameOf(same[0]!),
        message: `The newest backup, ${id}, is at ${holders.length} of ${filled.length} destinations; not at ${someOf(lacking)}.`,
        suggestion: `dbbak copy ${shellWord(newest.archive)} --from ${shellWord(from)}${lacking.map((to) => ` --to ${shellWord(to)}`).join('')}`,
      } satisfies StatusFinding,
    ]
  })
}

/** Databases that are asked for and have no backup at a destination. */
function nowhere(places: Place[], question: Question): DatabaseStatus[] {
  const {known, limits} = question
  return places.flatMap(({state: {destination}, mine}) =>
    askedFor(question)
      .filter((name) => !has(mine, name))
      .map((name) => ({
        name,
        databaseName: known?.databaseName ?? name,
        server: null,
        systemIdentifier: null,
        host: null,
        port: null,
        destination,
        limits: limitsShown(limits),
        newest: null,
        newestVerified: null,
        count: 0,
        totalBytes: 0,
        history: [],
        failedRuns: [],
        hasMoved: false,
      })),
  )
}
