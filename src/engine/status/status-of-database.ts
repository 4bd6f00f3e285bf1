import {clockToleranceMs} from '../../support/clock.js'
import {snapshotMs, type CatalogEntry} from '../catalog.js'
import type {Manifest} from '../manifest.js'
import {isPart} from '../series.js'
import {addressOf, isIgnored, type DatabaseOfManifest, type Question, type StatusLimits} from './question.js'
import {databaseKey} from '../whose.js'
import {
  hasPassedRestoreTest,
  type VerificationLevel,
  type VerificationRecord,
} from '../verify/verification-record.js'

export interface BackupFacts {
  id: string
  /** The archive's name. */
  name: string
  snapshotAt: string
  /** Negative for a backup from the future. */
  ageSeconds: number
  bytes: number
  /** null where they were not counted. */
  rows: number | null
}

export interface VerifiedFacts extends BackupFacts {
  /** When it passed its restore test. */
  verifiedAt: string
}

export interface HistoryEntry extends Pick<BackupFacts, 'id' | 'snapshotAt' | 'bytes' | 'rows'> {
  verification: {level: VerificationLevel; verdict: VerificationRecord['verdict']; at: string} | null
  /** It was restored and compared, and nothing was found wrong with it since. */
  isVerified: boolean
  /** Only some of the tables or schemas. */
  isPart: boolean
}

/** One database at one destination. */
export interface DatabaseStatus {
  /** What findings call it: its name in the config file where it is one of those, else its own. */
  name: string
  /** Its own name. */
  databaseName: string
  /** Which one it is, where several servers have a database of this name. */
  server: string | null
  systemIdentifier: string | null
  /** Where it was when the newest backup was taken; null where there is none. */
  host: string | null
  port: number | null
  destination: string
  /** What is held against it. */
  limits: {maxAgeSeconds: number; maxVerifiedAgeSeconds: number; maxSizeChangePercent: number}
  /** Of backups of the whole database, where there are such; a backup from the future counts only if there is no other. */
  newest: BackupFacts | null
  /** The newest that passed a restore test. */
  newestVerified: VerifiedFacts | null
  count: number
  totalBytes: number
  /** Oldest first; at most those of the last 400 days. */
  history: HistoryEntry[]
  /** Runs that left something damaged or unfinished, oldest first. */
  failedRuns: {at: string; code: string}[]
  /** All backups of a database of its name on another server are newer: it may have moved there. */
  hasMoved: boolean
}

/** The backups of one database at one destination, newest first. */
export interface BackupSeries {
  /** As findings call it. */
  name: string
  server: string | null
  /** It is the one that the config file names. */
  isKnown: boolean
  /** As the newest backup names it. */
  database: DatabaseOfManifest
  destination: string
  /** All of them. */
  entries: CatalogEntry[]
  /** Those that count: whole, and not from the future, where there are such. */
  counting: CatalogEntry[]
}

const historyMs = 400 * 86_400_000

/**
 * Groups a catalogue's backups by the database that their manifests name, but for those that are left out. Safety
 * backups are none of its history.
 */
export function seriesOf(
  entries: CatalogEntry[],
  destination: string,
  {known, ignored = []}: Pick<Question, 'known' | 'ignored'>,
  now: Date,
): BackupSeries[] {
  const backups = entries.filter(({manifest}) => manifest.kind === 'backup')
  const isKnown = (group: CatalogEntry[]) =>
    known !== undefined && group.some(({manifest}) => known.isAt(manifest.database))
  const isLeftOut = (group: CatalogEntry[]) =>
    isIgnored(group[0]!.manifest.database, isKnown(group) ? known?.name : undefined, ignored)
  const groups = [...Map.groupBy(backups, ({manifest}) => databaseKey(manifest.database)).values()].filter(
    (group) => !isLeftOut(group),
  )
  const series = groups.map((group): BackupSeries => {
    const {database} = group[0]!.manifest
    const naming = isKnown(group)
      ? {name: known!.name, isKnown: true, server: null}
      : {name: database.name, isKnown: false, server: serverLabel(group, groups)}
    return {...naming, database, destination, entries: group, counting: countingOf(group, now)}
  })
  return series.sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0))
}

function countingOf(group: CatalogEntry[], now: Date): CatalogEntry[] {
  const past = group.filter((entry) => snapshotMs(entry) <= now.getTime() + clockToleranceMs)
  const known = past.length > 0 ? past : group
  const whole = known.filter(({manifest}) => !isPart(manifest))
  return whole.length > 0 ? whole : known
}

/** Its address, or what is left to tell it by where another has been at the same. */
function serverLabel(group: CatalogEntry[], groups: CatalogEntry[][]): string | null {
  const databaseOf = ([newest]: CatalogEntry[]) => newest!.manifest.database
  const database = databaseOf(group)
  const others = groups
    .filter((one) => one !== group && databaseOf(one).name === database.name)
    .map(databaseOf)
  if (others.length === 0) return null
  const address = addressOf(database)
  const isAlone = others.every((other) => addressOf(other) !== address)
  return isAlone || database.systemIdentifier === null ? address : `${address}, ${database.systemIdentifier}`
}

/** As a finding names it. */
export const nameOf = ({name, server}: BackupSeries): {database: string; server?: string} =>
  server === null ? {database: name} : {database: name, server}

export const bytesOf = ({files}: Manifest): number => files.reduce((sum, {bytes}) => sum + bytes, 0)

export const rowsOf = ({content}: Manifest): number | null =>
  content.level === 'none' ? null : content.rowCount

/** It was restored, and held what its manifest says. */
export const isVerified = ({verification}: CatalogEntry): boolean => hasPassedRestoreTest(verification)

export function statusOfSeries(series: BackupSeries, {limits}: Question, now: Date): DatabaseStatus {
  const {name, server, database, destination, entries, counting} = series
  const [newest] = counting
  const verified = counting.find(isVerified)
  const recent = entries.filter((entry) => snapshotMs(entry) > now.getTime() - historyMs)
  return {
    name,
    databaseName: database.name,
    server,
    systemIdentifier: database.systemIdentifier,
    host: database.host,
    port: database.port,
    destination,
    limits: limitsShown(limits),
    newest: newest ? factsOf(newest, now) : null,
    newestVerified: verified
      ? {...factsOf(verified, now), verifiedAt: restoredAt(verified.verification!)}
      : null,
    count: entries.length,
    totalBytes: entries.reduce((sum, {manifest}) => sum + bytesOf(manifest), 0),
    history: recent.map(historyOf).reverse(),
    failedRuns: [],
    hasMoved: false,
  }
}

export const limitsShown = (limits: StatusLimits): DatabaseStatus['limits'] => ({
  maxAgeSeconds: limits.maxAgeMs / 1000,
  maxVerifiedAgeSeconds: limits.maxVerifiedAgeMs / 1000,
  maxSizeChangePercent: Math.round(limits.maxSizeChange * 1000) / 10,
})

/** Less than nothing for a backup from the future; what clocks may differ by is no future. */
export function ageSecondsOf(entry: CatalogEntry, now: Date): number {
  const ms = now.getTime() - snapshotMs(entry)
  const age = Math.round(ms / 1000)
  return ms < -clockToleranceMs ? age : Math.max(0, age)
}

function factsOf(entry: CatalogEntry, now: Date): BackupFacts {
  const {manifest, archive} = entry
  const {id, snapshotAt} = manifest
  const measures = {bytes: bytesOf(manifest), rows: rowsOf(manifest)}
  return {id, name: archive, snapshotAt, ageSeconds: ageSecondsOf(entry, now), ...measures}
}

const restoredAt = ({restoredAt: earlier, at}: VerificationRecord): string => earlier ?? at

function historyOf({manifest, verification}: CatalogEntry): HistoryEntry {
  const {id, snapshotAt} = manifest
  return {
    id,
    snapshotAt,
    bytes: bytesOf(manifest),
    rows: rowsOf(manifest),
    verification: verification
      ? {level: verification.level, verdict: verification.verdict, at: verification.at}
      : null,
    isVerified: hasPassedRestoreTest(verification),
    isPart: isPart(manifest),
  }
}
