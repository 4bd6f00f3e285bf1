import {shellWord} from '../../support/shell.js'
import {snapshotMs} from '../catalog.js'
import {
  ageFindings,
  futureFindings,
  verdictFindings,
  verifiedFindings,
  type AgeLimits,
} from './age-findings.js'
import {contentFindings} from './content-findings.js'
import {damageFindings, failedRunsOf, leftoverFindings} from './destination-findings.js'
import {eachOnce, type StatusFinding} from './finding.js'
import type {DestinationState} from './look-at-destination.js'
import {missedRuns, type Gap} from './missed-runs.js'
import {partFindings} from './part-findings.js'
import {seriesOf, statusOfSeries, type BackupSeries, type DatabaseStatus} from './status-of-database.js'
import {formatAge, formatTime} from '../../support/figures.js'
import {countOf, someOf} from './wording.js'

export interface StatusLimits extends AgeLimits {
  /** 0.5 is 50 %. */
  maxSizeChange: number
}

export interface Judgement {
  databases: DatabaseStatus[]
  findings: StatusFinding[]
}

interface Place {
  state: DestinationState & {catalog: object}
  series: BackupSeries[]
}

/**
 * What is to be said of what the destinations hold.
 * @param names the databases that are asked for; empty for all
 */
export function judge(
  states: DestinationState[],
  names: string[],
  limits: StatusLimits,
  now: Date,
): Judgement {
  const unreachable = states.flatMap((state) => ('unreachable' in state ? [state.unreachable] : []))
  const places = states.flatMap((state) =>
    'catalog' in state ? [{state, series: seriesOf(state.catalog.backups, state.destination, now)}] : [],
  )
  const asked = ({name}: {name: string}) => names.length === 0 || names.includes(name)
  const databases: DatabaseStatus[] = []
  const findings = [...unreachable]
  for (const {state, series} of places) {
    const mine = series.filter(asked)
    findings.push(...missingFindings(state.destination, mine, names, places))
    for (const one of mine) {
      const found = findingsOf(one, series, limits, now)
      findings.push(...found)
      const hasMoved = found.some(({code}) => code === 'DATABASE_MOVED')
      const failedRuns = failedRunsOf(one, series, state.catalog)
      databases.push({...statusOfSeries(one, now), failedRuns, hasMoved})
    }
    const damaged = damageFindings(state.catalog, series, state.destination)
    findings.push(...damaged.filter(({database}) => database === undefined || asked({name: database})))
    findings.push(...leftoverFindings(state.catalog, state.leftovers, state.destination, now))
  }
  findings.push(...coverageFindings(places, asked))
  databases.push(...nowhere(names, places))
  return {databases, findings: eachOnce(findings)}
}

function findingsOf(
  series: BackupSeries,
  others: BackupSeries[],
  limits: StatusLimits,
  now: Date,
): StatusFinding[] {
  const {name: database, destination} = series
  const moved = movedFinding(series, others, now)
  const found = moved
    ? [moved]
    : [
        ...ageFindings(series, limits, now),
        ...futureFindings(series, now),
        ...partFindings(series),
        ...verifiedFindings(series, limits, now),
        ...verdictFindings(series),
        ...missedFindings(series, limits, now),
        ...contentFindings(series, limits.maxSizeChange),
      ]
  return found.map((finding) => ({...finding, database, destination}))
}

const movedRecentlySeconds = 30 * 86_400

/**
 * A database of the same name on another server whose backups begin after the last one of this: it has moved, by an
 * upgrade or to another machine. Of the former no more backups will come.
 */
function movedFinding(
  series: BackupSeries,
  others: BackupSeries[],
  now: Date,
): Omit<StatusFinding, 'database' | 'destination'> | undefined {
  const last = series.entries[0]!
  const next = others.find(
    (other) =>
      other !== series && other.name === series.name && snapshotMs(other.entries.at(-1)!) > snapshotMs(last),
  )
  if (!next) return undefined
  const seconds = (now.getTime() - snapshotMs(last)) / 1000
  return {
    code: 'DATABASE_MOVED',
    severity: seconds < movedRecentlySeconds ? 'warning' : 'info',
    message: `No backup of ${series.name} on the server ${series.systemIdentifier ?? '(unknown)'} for ${formatAge(seconds)}; since then they are of ${next.name} on another, ${next.systemIdentifier ?? '(unknown)'}.`,
    suggestion:
      'If it has not moved (an upgrade, another machine), see which server is backed up: dbbak doctor',
  }
}

function missedFindings(
  {counting}: BackupSeries,
  {maxAgeMs}: StatusLimits,
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

/** A destination without any backup, or a database that is asked for and has none anywhere. */
function missingFindings(
  destination: string,
  mine: BackupSeries[],
  names: string[],
  places: Place[],
): StatusFinding[] {
  const suggestion = `Take one: dbbak backup --to ${shellWord(destination)}`
  const base = {code: 'NO_BACKUP', severity: 'error', destination, suggestion} as const
  const isEmpty = places.find(({state}) => state.destination === destination)?.series.length === 0
  if (names.length === 0) return isEmpty ? [{...base, message: `There is no backup at ${destination}.`}] : []
  const isSomewhere = (name: string) => places.some(({series}) => series.some((one) => one.name === name))
  return names
    .filter((name) => !mine.some((one) => one.name === name) && (isEmpty || !isSomewhere(name)))
    .map((database) => ({...base, database, message: `There is no backup of ${database} at ${destination}.`}))
}

/** A database whose newest backup is not at every destination that could be read. */
function coverageFindings(places: Place[], asked: (one: {name: string}) => boolean): StatusFinding[] {
  const filled = places.filter(({series}) => series.length > 0)
  if (filled.length < 2) return []
  const all = filled.flatMap(({series}) => series.filter(asked))
  const keyOf = ({name, systemIdentifier}: BackupSeries) => JSON.stringify([name, systemIdentifier])
  return [...new Set(all.map(keyOf))].flatMap((key) => {
    const same = all.filter((one) => keyOf(one) === key)
    const newest = same
      .map(({counting}) => counting[0]!)
      .reduce((one, other) => (snapshotMs(other) > snapshotMs(one) ? other : one))
    const {id} = newest.manifest
    const holders = same.filter(({entries}) => entries.some(({manifest}) => manifest.id === id))
    const lacking = filled
      .map(({state}) => state.destination)
      .filter((destination) => !holders.some((one) => one.destination === destination))
    if (lacking.length === 0) return []
    const database = same[0]!.name
    const from = holders[0]!.destination
    return [
      {
        code: 'BACKUP_NOT_EVERYWHERE',
        severity: 'warning',
        database,
        message: `The newest backup, ${id}, is at ${holders.length} of ${filled.length} destinations; not at ${someOf(lacking)}.`,
        suggestion: `dbbak copy ${shellWord(newest.archive)} --from ${shellWord(from)}${lacking.map((to) => ` --to ${shellWord(to)}`).join('')}`,
      } satisfies StatusFinding,
    ]
  })
}

/** Databases that are asked for and have no backup at any destination. */
function nowhere(names: string[], places: Place[]): DatabaseStatus[] {
  return places.flatMap(({state: {destination}, series}) =>
    names
      .filter((name) => !series.some((one) => one.name === name))
      .map((name) => ({
        name,
        systemIdentifier: null,
        destination,
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
