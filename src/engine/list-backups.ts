import type {StorageProvider} from '../storage/provider.js'
import type {Clock} from '../support/clock.js'
import type {CatalogCache} from './catalog-cache.js'
import {readCatalog, type CatalogEntry, type CatalogProblem} from './catalog.js'
import type {Manifest} from './manifest.js'
import {isPart, packingKey, seriesKey} from './series.js'
import {databaseKey, onlyOf, type Whose} from './whose.js'
import type {VerificationLevel, VerificationRecord} from './verify/verification-record.js'

export interface ListRequest {
  /** So many, the newest; undefined lists all. */
  limit: number | undefined
  /** Safety backups too. */
  allKinds: boolean
  /** Leftovers of failed runs too. */
  incomplete: boolean
  /** Only those of this database. */
  of?: Whose | undefined
}

export interface ListedBackup {
  id: string
  name: string
  kind: Manifest['kind']
  database: string
  snapshotAt: string
  ageSeconds: number
  bytes: number
  /** Against the one before it of the same database and selection that was packed in the same way; null for the first. */
  bytesChange: number | null
  format: Manifest['format']
  compression: string
  encryption: string | null
  label: string | null
  /** What was taken and left, as the patterns that were given; null for everything. */
  selection: Manifest['selection']
  /** Only some of the tables or schemas. */
  isPart: boolean
  tableCount: number
  rowCount: number
  verification: {level: VerificationLevel; verdict: VerificationRecord['verdict']; at: string} | null
  location: string
}

export interface ListResult {
  destination: string
  backups: ListedBackup[]
  /** Manifests that do not make a backup, and why: damaged, of an unknown version, or with files missing. */
  problems: CatalogProblem[]
  /** With `incomplete`: what failed or cut-off runs left. */
  incomplete?: {name: string; bytes: number; modifiedAt: string}[]
}

/** Lists the complete backups of a destination, newest first. */
export async function listBackups(
  store: StorageProvider,
  request: ListRequest,
  clock: Clock,
  cache?: CatalogCache,
): Promise<ListResult> {
  const everything = await readCatalog(store, cache)
  const catalog = request.of === undefined ? everything : onlyOf(everything, request.of)
  const shown = catalog.backups.filter(({manifest}) => request.allKinds || manifest.kind === 'backup')
  const before = onesBefore(shown)
  const listed = shown.map((entry) => describe(entry, before.get(entry), store, clock.now()))
  const result = {
    destination: store.describe(),
    backups: listed.slice(0, request.limit),
    problems: catalog.problems,
  }
  return request.incomplete ? {...result, incomplete: await leftovers(store, catalog.unclaimed)} : result
}

/** Of each backup the one before it that its size can be compared with. @param entries newest first */
function onesBefore(entries: CatalogEntry[]): Map<CatalogEntry, CatalogEntry | undefined> {
  const last = new Map<string, CatalogEntry>()
  const before = new Map<CatalogEntry, CatalogEntry | undefined>()
  for (const entry of entries.toReversed()) {
    const {database, kind} = entry.manifest
    const key = JSON.stringify([
      databaseKey(database),
      kind,
      seriesKey(entry.manifest),
      packingKey(entry.manifest),
    ])
    before.set(entry, last.get(key))
    last.set(key, entry)
  }
  return before
}

function describe(
  {manifest, archive, verification}: CatalogEntry,
  before: CatalogEntry | undefined,
  store: StorageProvider,
  now: Date,
): ListedBackup {
  const bytes = size(manifest)
  return {
    id: manifest.id,
    name: archive,
    kind: manifest.kind,
    database: manifest.database.name,
    snapshotAt: manifest.snapshotAt,
    ageSeconds: Math.max(0, Math.round((now.getTime() - Date.parse(manifest.snapshotAt)) / 1000)),
    bytes,
    bytesChange: before ? bytes - size(before.manifest) : null,
    format: manifest.format,
    compression: manifest.compression.algorithm,
    encryption: manifest.encryption?.method ?? null,
    label: manifest.label,
    selection: seriesKey(manifest) === null ? null : manifest.selection,
    isPart: isPart(manifest),
    tableCount: manifest.content.tableCount,
    rowCount: manifest.content.rowCount,
    verification: verification
      ? {level: verification.level, verdict: verification.verdict, at: verification.at}
      : null,
    location: `${store.describe().replace(/\/$/, '')}/${archive}`,
  }
}

const size = ({files}: Manifest) => files.reduce((sum, {bytes}) => sum + bytes, 0)

async function leftovers(
  store: StorageProvider,
  unclaimed: {key: string; size: number; modifiedAt: Date}[],
): Promise<NonNullable<ListResult['incomplete']>> {
  const found = [...unclaimed]
  for await (const leftover of store.leftovers()) found.push(leftover)
  return found.map(({key, size: bytes, modifiedAt}) => ({
    name: key,
    bytes,
    modifiedAt: modifiedAt.toISOString(),
  }))
}
