import {snapshotMs, type CatalogEntry} from '../catalog.js'
import type {Manifest} from '../manifest.js'
import {isPart} from '../series.js'
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
  name: string
  systemIdentifier: string | null
  destination: string
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
  /** It is backed up from another server since: of this one no more backups will come. */
  hasMoved: boolean
}

/** The backups of one database at one destination, newest first. */
export interface BackupSeries {
  name: string
  systemIdentifier: string | null
  destination: string
  /** All of them. */
  entries: CatalogEntry[]
  /** Those that count: whole, and not from the future, where there are such. */
  counting: CatalogEntry[]
}

/** Clocks of two machines may differ by so much. */
export const clockToleranceMs = 5 * 60_000
const historyMs = 400 * 86_400_000

/** Groups a catalogue's backups by the database that their manifests name. Safety backups are none of its history. */
export function seriesOf(entries: CatalogEntry[], destination: string, now: Date): BackupSeries[] {
  const groups = new Map<string, CatalogEntry[]>()
  for (const entry of entries) {
    if (entry.manifest.kind !== 'backup') continue
    const {name, systemIdentifier} = entry.manifest.database
    const key = JSON.stringify([name, systemIdentifier])
    groups.set(key, [...(groups.get(key) ?? []), entry])
  }
  const series = [...groups.values()].map((group): BackupSeries => {
    const {name, systemIdentifier} = group[0]!.manifest.database
    const past = group.filter((entry) => snapshotMs(entry) <= now.getTime() + clockToleranceMs)
    const known = past.length > 0 ? past : group
    const whole = known.filter(({manifest}) => !isPart(manifest))
    const counting = whole.length > 0 ? whole : known
    return {name, systemIdentifier, destination, entries: group, counting}
  })
  return series.sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0))
}

export const bytesOf = ({files}: Manifest): number => files.reduce((sum, {bytes}) => sum + bytes, 0)

export const rowsOf = ({content}: Manifest): number | null =>
  content.level === 'none' ? null : content.rowCount

/** It was restored, and held what its manifest says. */
export const isVerified = ({verification}: CatalogEntry): boolean => hasPassedRestoreTest(verification)

export function statusOfSeries(series: BackupSeries, now: Date): DatabaseStatus {
  const {name, systemIdentifier, destination, entries, counting} = series
  const [newest] = counting
  const verified = counting.find(isVerified)
  const recent = entries.filter((entry) => snapshotMs(entry) > now.getTime() - historyMs)
  return {
    name,
    systemIdentifier,
    destination,
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

export const ageSecondsOf = (entry: CatalogEntry, now: Date): number =>
  Math.max(0, Math.round((now.getTime() - snapshotMs(entry)) / 1000))

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
