import type {StorageProvider} from '../storage/provider.js'
import type {Clock} from '../support/clock.js'
import type {CatalogCache} from './catalog-cache.js'
import {readCatalog, type CatalogEntry, type CatalogProblem} from './catalog.js'
import type {Manifest} from './manifest.js'
import {onlyOf, type Whose} from './whose.js'
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
  /** Against the backup of the same database before it; null for the first. */
  bytesChange: number | null
  format: Manifest['format']
  compression: string
  encryption: string | null
  label: string | null
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
  const listed = shown.map((entry, index) => describe(entry, oneBefore(shown, index), store, clock.now()))
  const result = {
    destination: store.describe(),
    backups: listed.slice(0, request.limit),
    problems: catalog.problems,
  }
  return request.incomplete ? {...result, incomplete: await leftovers(store, catalog.unclaimed)} : result
}

/** The backup of the same database and kind that was taken before one. @param entries newest first */
function oneBefore(entries: CatalogEntry[], index: number): CatalogEntry | undefined {
  const {database, kind} = entries[index]?.manifest ?? {}
  for (let at = index + 1; at < entries.length; at++) {
    const {manifest} = entries[at] ?? {}
    if (manifest?.database.name === database?.name && manifest?.kind === kind) return entries[at]
  }
  return undefined
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
