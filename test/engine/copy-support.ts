import {createHash, randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {readCatalog, type CatalogEntry} from '../../src/engine/catalog.js'
import {serializeManifest, type BackupFormat, type Manifest} from '../../src/engine/manifest.js'
import {globalsName, manifestName, verificationName} from '../../src/engine/naming.js'
import {serializeVerification} from '../../src/engine/verify/verification-record.js'
import type {GetOptions, PutOptions, StorageProvider} from '../../src/storage/provider.js'
import {sampleManifest} from './sample-manifest.js'

export interface SampleBackup {
  snapshotAt?: string
  format?: BackupFormat
  /** Bytes of each of the archive's files. */
  sizes?: number[]
  globals?: boolean
  verified?: boolean
  changes?: Partial<Manifest>
}

const endings = {custom: '.dump.zst', plain: '.sql.zst', directory: '.dir'}

/** Stores a backup of random bytes, whole and with a true manifest. @returns its entry in the catalog */
export async function storeBackup(store: StorageProvider, sample: SampleBackup = {}): Promise<CatalogEntry> {
  const {format = 'custom', sizes = [300_000], globals = true, verified = true} = sample
  const {id} = sampleManifest(sample.snapshotAt)
  const archive = id + endings[format]
  const names =
    format === 'directory'
      ? sizes.map((_, index) => `${archive}/${index === 0 ? 'toc.dat' : `${3000 + index}.dat`}`)
      : [archive]
  const files: Manifest['files'] = []
  const put = async (path: string, bytes: Buffer) => {
    await store.put(path, Readable.from([bytes]))
    files.push({path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex')})
  }
  for (const [index, path] of names.entries()) await put(path, randomBytes(sizes[index]))
  if (globals) await put(globalsName(id), Buffer.from('CREATE ROLE app;\n'))
  const manifest = sampleManifest(sample.snapshotAt, {format, files, ...sample.changes})
  // A space at the end: what is copied byte for byte is not what would be written anew.
  await store.put(manifestName(archive), Readable.from([`${serializeManifest(manifest)} `]))
  if (verified) await storeVerification(store, archive, id)
  return entryOf(store, archive)
}

export async function storeVerification(store: StorageProvider, archive: string, id: string): Promise<void> {
  const record = serializeVerification({
    formatVersion: 1,
    id,
    verdict: 'passed',
    level: 'restore',
    at: '2025-01-16T00:00:00.000Z',
    tool: {name: 'dbbak', version: '1.0.0'},
    checks: [],
    durationMs: 1,
  })
  await store.put(verificationName(archive), Readable.from([record]), {overwrite: true})
}

export async function entryOf(store: StorageProvider, archive: string): Promise<CatalogEntry> {
  const entry = (await readCatalog(store)).backups.find((backup) => backup.archive === archive)
  if (!entry) throw new Error(`${archive} is not a backup at ${store.describe()}.`)
  return entry
}

/** Everything that readers see at a destination, by name. */
export async function contentsOf(store: StorageProvider): Promise<Record<string, string>> {
  const contents: Record<string, string> = {}
  for await (const {key} of store.list(''))
    contents[key] = (await buffer(await store.get(key))).toString('base64')
  return contents
}

export const namesAt = async (store: StorageProvider): Promise<string[]> =>
  Object.keys(await contentsOf(store))

export async function putText(store: StorageProvider, key: string, text: string | Buffer): Promise<void> {
  await store.put(key, Readable.from([Buffer.from(text)]))
}

/** What a test wants to do before or instead of a call to a destination. */
export interface Interference {
  beforePut?(key: string, body: Readable, options?: PutOptions): unknown
  afterPut?(key: string): unknown
  beforeGet?(key: string, options?: GetOptions): unknown
  beforeRemove?(key: string): unknown
}

/** The same destination, with a test's hands in it. A hook that rejects makes the call fail, as a destination does. */
export function interfering(store: StorageProvider, hooks: Interference): StorageProvider {
  return new Proxy(store, {
    get(_, name) {
      if (name === 'put')
        return async (key: string, body: Readable, options?: PutOptions) => {
          body.on('error', () => {})
          try {
            await hooks.beforePut?.(key, body, options)
          } catch (error) {
            body.destroy()
            throw error
          }
          const info = await store.put(key, body, options)
          await hooks.afterPut?.(key)
          return info
        }
      if (name === 'get')
        return async (key: string, options?: GetOptions) => {
          await hooks.beforeGet?.(key, options)
          return store.get(key, options)
        }
      if (name === 'remove')
        return async (key: string) => {
          await hooks.beforeRemove?.(key)
          return store.remove(key)
        }
      const member = Reflect.get(store, name) as unknown
      return typeof member === 'function' ? (member.bind(store) as unknown) : member
    },
  })
}
