import {Readable} from 'node:stream'
import {createHash} from 'node:crypto'
import {readCatalog} from '../../src/engine/catalog.js'
import {serializeManifest, type BackupFormat, type Manifest} from '../../src/engine/manifest.js'
import {archiveName, backupId, globalsName, manifestName, verificationName} from '../../src/engine/naming.js'
import {planPrune, type PruneRequest} from '../../src/engine/prune/plan-prune.js'
import {carryOut} from '../../src/engine/prune/prune-backups.js'
import {emptyResult, type PruneResult} from '../../src/engine/prune/prune-result.js'
import type {RetentionPolicy} from '../../src/engine/retention/policy.js'
import {serializeVerification} from '../../src/engine/verify/verification-record.js'
import type {StorageProvider} from '../../src/storage/provider.js'
import {policyOf} from './retention-support.js'
import {sampleManifest} from './sample-manifest.js'

/** Two days from now: what a test stores is old by then. */
export const later = new Date(Date.now() + 2 * 86_400_000)

export const daysAgo = (days: number, from = later): string =>
  new Date(from.getTime() - days * 86_400_000).toISOString()

export interface SmallBackup {
  at: string
  database?: string
  systemIdentifier?: string | null
  host?: string
  prefix?: string
  format?: BackupFormat
  globals?: boolean
  kind?: Manifest['kind']
  verified?: 'passed' | 'failed'
  files?: number
  selection?: Manifest['selection']
  rows?: number
}

/** Stores a small backup; gives its archive's name. */
export async function store(at: StorageProvider, backup: SmallBackup): Promise<string> {
  const {database = 'shop', format = 'custom', kind = 'backup', globals = false, files = 3} = backup
  const id = backupId(backup.prefix ?? database, new Date(backup.at))
  const compression = {algorithm: 'zstd', level: 3, by: format === 'directory' ? 'pg_dump' : 'dbbak'} as const
  const archive = archiveName(id, format, compression)
  const names =
    format === 'directory'
      ? Array.from(
          {length: files},
          (_, index) => `${archive}/${index === 0 ? 'toc.dat' : `${3000 + index}.dat.zst`}`,
        )
      : [archive]
  if (globals) names.push(globalsName(id))
  const bytes = Buffer.from(`content of ${id}`)
  for (const name of names) if (!(await at.head(name))) await put(at, name, bytes)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const sample = sampleManifest(backup.at)
  const manifest: Manifest = {
    ...sample,
    id,
    kind,
    format,
    compression,
    selection: backup.selection ?? null,
    content: {...sample.content, rowCount: backup.rows ?? sample.content.rowCount},
    files: names.map((path) => ({path, bytes: bytes.length, sha256})),
    database: {
      ...sample.database,
      name: database,
      host: backup.host ?? sample.database.host,
      systemIdentifier: backup.systemIdentifier === undefined ? '7301' : backup.systemIdentifier,
    },
  }
  await put(at, manifestName(archive), serializeManifest(manifest))
  if (backup.verified) await verify(at, archive, id, backup.verified)
  return archive
}

export async function verify(
  at: StorageProvider,
  archive: string,
  id: string,
  verdict: 'passed' | 'failed',
): Promise<void> {
  const record = serializeVerification({
    formatVersion: 1,
    id,
    verdict,
    level: 'restore',
    at: '2025-01-16T00:00:00.000Z',
    tool: {name: 'dbbak', version: '1.0.0'},
    checks: [],
    durationMs: 1,
  })
  await at.put(verificationName(archive), Readable.from([record]), {overwrite: true})
}

export async function put(at: StorageProvider, key: string, content: string | Buffer): Promise<void> {
  await at.put(key, Readable.from([Buffer.from(content)]))
}

export async function keysAt(at: StorageProvider): Promise<string[]> {
  const keys: string[] = []
  for await (const {key} of at.list('')) keys.push(key)
  return keys
}

/** The archives of complete backups, and what is broken. */
export async function backupsAt(at: StorageProvider): Promise<{whole: string[]; broken: string[]}> {
  const {backups, problems} = await readCatalog(at)
  return {whole: backups.map(({archive}) => archive).sort(), broken: problems.map(({key}) => key)}
}

export async function prune(
  at: StorageProvider,
  rules: Partial<RetentionPolicy>,
  options: {only?: PruneRequest['only']; signal?: AbortSignal; now?: Date} = {},
): Promise<PruneResult> {
  const {only, signal = new AbortController().signal, now = later} = options
  const result = emptyResult(false)
  const plan = await planPrune(at, {policy: policyOf(rules), only}, now)
  await carryOut(at, plan, result, {events: {}, signal})
  return result
}

const methods = ['head', 'get', 'put', 'remove', 'list', 'sweep'] as const
export type Method = (typeof methods)[number]

/** The same destination, with a test's hands before and after each request. */
export function watched(
  at: StorageProvider,
  hooks: {
    before?: (method: Method, key: string) => unknown
    after?: (method: Method, key: string) => unknown
  },
): StorageProvider {
  return new Proxy(at, {
    get(_, name) {
      const member = Reflect.get(at, name) as unknown
      if (typeof member !== 'function') return member
      const call = (...args: unknown[]) => (member as (...args: unknown[]) => unknown).apply(at, args)
      const method = methods.find((one) => one === name)
      if (method === undefined) return call
      if (method === 'list')
        return async function* (prefix: string) {
          await hooks.before?.('list', prefix)
          yield* at.list(prefix)
          await hooks.after?.('list', prefix)
        }
      return async (...args: unknown[]) => {
        const key = typeof args[0] === 'string' ? args[0] : ''
        await hooks.before?.(method, key)
        const result = await call(...args)
        await hooks.after?.(method, key)
        return result
      }
    },
  })
}
