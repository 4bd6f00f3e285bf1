import {shellWord} from '../../support/shell.js'
import type {Leftover} from '../../storage/provider.js'
import {snapshotMs, type Catalog, type CatalogProblem} from '../catalog.js'
import {manifestEnding, safePrefix} from '../naming.js'
import type {Commands} from './commands.js'
import type {StatusFinding} from './finding.js'
import {nameOf, type BackupSeries, type DatabaseStatus} from './status-of-database.js'
import {formatBytes} from '../../support/figures.js'
import {countOf, someOf} from './wording.js'

const dayMs = 86_400_000

/**
 * An object of dbbak's naming: prefix, time, and the endings of archives and what stands beside them. What lies in a
 * folder below is another destination's.
 */
const ownName =
  /^([^/]+)_(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3})Z\.(?:dump|sql|dir|globals\.sql)(?:[./]|$)/

interface OwnName {
  prefix: string
  atMs: number
}

function readName(key: string): OwnName | undefined {
  const [, prefix, date, hour, minute, second, ms] = ownName.exec(key) ?? []
  const atMs = Date.parse(`${date}T${hour}:${minute}:${second}.${ms}Z`)
  return prefix === undefined || Number.isNaN(atMs) ? undefined : {prefix, atMs}
}

/** By its name, whose backup it would be: that of a database whose backups are called so. */
function ownerOf(prefix: string, series: BackupSeries[]): BackupSeries | undefined {
  const isCalledSo = ({entries}: BackupSeries) =>
    entries.some(({manifest}) => readName(`${manifest.id}.dump`)?.prefix === prefix)
  return series.find(isCalledSo) ?? series.find(({database}) => safePrefix(database.name) === prefix)
}

/**
 * Manifests that make no backup. Newer than the newest that does, they mean that the last run was for nothing. So they
 * do where there is no backup of that name at all; one of another database is no comfort.
 */
export function damageFindings(
  catalog: Catalog,
  series: BackupSeries[],
  destination: string,
  commands: Commands,
): StatusFinding[] {
  const older: CatalogProblem[] = []
  const orphaned: (CatalogProblem & {prefix: string})[] = []
  const findings: StatusFinding[] = []
  for (const problem of catalog.problems) {
    const name = readName(problem.key)
    const owner = name && ownerOf(name.prefix, series)
    const newest = owner?.counting[0]
    if (!name || (newest && name.atMs <= snapshotMs(newest))) older.push(problem)
    else if (owner)
      findings.push({
        code: 'BACKUP_DAMAGED',
        severity: 'error',
        message: `What should be the newest backup is none: ${problem.code}: ${problem.message}`,
        destination,
        ...nameOf(owner),
        suggestion: `Take another: ${commands.backup(owner.database, destination)}`,
      })
    else if (safetyName.test(name.prefix)) older.push(problem)
    else orphaned.push({...problem, prefix: name.prefix})
  }
  findings.push(...withoutAnyGood(orphaned, destination, commands))
  if (older.length > 0)
    findings.push({
      code: 'BACKUP_DAMAGED',
      severity: 'warning',
      message: `${countOf(older.length, 'older backup')} cannot be used: ${someOf(older.map(({key, code}) => `${archiveOf(key)} (${code})`))}.`,
      destination,
      suggestion: `See what is wrong with each: ${commands.list(destination, undefined)}`,
    })
  return findings
}

/** A restore's safety backup is none that a schedule takes. */
const safetyName = /-safety$/

/** By the beginnings of their names: nothing else tells whose they are. */
function withoutAnyGood(
  problems: (CatalogProblem & {prefix: string})[],
  destination: string,
  commands: Commands,
): StatusFinding[] {
  const groups = [...Map.groupBy(problems, ({prefix}) => prefix)]
  return groups.map(([prefix, group]) => ({
    code: 'BACKUP_DAMAGED',
    severity: 'error',
    message: `There is no good backup called ${prefix}: ${someOf(group.map(({key, code}) => `${archiveOf(key)} (${code})`))}.`,
    destination,
    database: prefix,
    suggestion: `See what is wrong: ${commands.list(destination, undefined)}`,
    otherwise: `If it is backed up no more, leave it out: dbbak status --ignore ${shellWord(prefix)}`,
  }))
}

const archiveOf = (key: string): string =>
  key.endsWith(manifestEnding) ? key.slice(0, -manifestEnding.length) : key

/** What failed runs left: files of ours that no manifest names, and what the destination itself knows as unfinished. */
export function leftoverFindings(
  catalog: Catalog,
  unfinished: Leftover[],
  destination: string,
  now: Date,
): StatusFinding[] {
  const all = [...unclaimedOfOurs(catalog), ...unfinished.filter(isOfThisDestination)]
  const isOld = ({modifiedAt}: Leftover) => now.getTime() - modifiedAt.getTime() > dayMs
  const old = all.filter(isOld)
  const fresh = all.filter((one) => !isOld(one))
  const sum = (leftovers: Leftover[]) => formatBytes(leftovers.reduce((bytes, {size}) => bytes + size, 0))
  const list = `See them: dbbak list --incomplete --from ${shellWord(destination)}`
  return [
    ...(old.length > 0
      ? [
          {
            code: 'LEFTOVERS',
            severity: 'warning',
            message: `${countOf(old.length, 'file')} (${sum(old)}) left by failed runs: ${someOf(old.map(({key}) => key))}.`,
            destination,
            suggestion: `Remove ${old.length === 1 ? 'it' : 'them'}: dbbak prune --from ${shellWord(destination)}`,
          } as const,
        ]
      : []),
    ...(fresh.length > 0
      ? [
          {
            code: 'LEFTOVERS',
            severity: 'info',
            message: `${countOf(fresh.length, 'file')} (${sum(fresh)}) of runs that failed or go on just now: ${someOf(fresh.map(({key}) => key))}.`,
            destination,
            suggestion: list,
          } as const,
        ]
      : []),
  ]
}

const isOfThisDestination = ({key}: Leftover): boolean =>
  !key.includes('/') || key.startsWith('.') || readName(key) !== undefined

/** The files of a backup whose manifest is damaged are told of as that. */
function unclaimedOfOurs({unclaimed, problems}: Catalog): Leftover[] {
  const damaged = problems.map(({key}) => archiveOf(key))
  const ids = new Set(damaged.map((archive) => archive.replace(/\.(?:dump|sql|dir).*$/, '')))
  const isOfDamaged = (key: string) => ids.has(key.replace(/\.(?:dump|sql|dir|globals)(?:[./].*)?$/, ''))
  return unclaimed.filter(({key}) => readName(key) && !isOfDamaged(key))
}

/** The runs that one can see have failed, for the calendar: each day and cause once. */
export function failedRunsOf(
  series: BackupSeries,
  all: BackupSeries[],
  catalog: Catalog,
): DatabaseStatus['failedRuns'] {
  const seen = [...catalog.problems, ...unclaimedOfOurs(catalog).map(({key}) => ({key, code: 'LEFTOVERS'}))]
  const runs = new Map<number, string>()
  for (const {key, code} of seen) {
    const name = readName(key)
    if (name && ownerOf(name.prefix, all) === series) runs.set(name.atMs, code)
  }
  return [...runs]
    .sort(([one], [other]) => one - other)
    .map(([atMs, code]) => ({at: new Date(atMs).toISOString(), code}))
}
