import {Readable} from 'node:stream'
import type {Manifest} from '../../src/engine/manifest.js'
import {serializeVerification, type VerificationRecord} from '../../src/engine/verify/verification-record.js'
import type {Leftover, ObjectInfo, PutOptions} from '../../src/storage/provider.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {sampleManifest} from './sample-manifest.js'

/** A destination in memory whose time is that of the test, and whose archives are as large as they say without being so. */
export class TimedStorage extends MemoryStorage {
  private readonly times = new Map<string, Date>()
  private readonly sizes = new Map<string, number>()
  unfinished: Leftover[] = []

  constructor(
    private readonly clock: {now(): Date},
    name = 'memory',
  ) {
    super(name)
  }

  override put(key: string, body: Readable, options?: PutOptions): Promise<ObjectInfo> {
    this.times.set(key, this.clock.now())
    return super.put(key, body, options)
  }

  override async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    for await (const object of super.list(prefix)) {
      const {key, size, modifiedAt} = object
      yield {
        ...object,
        size: this.sizes.get(key) ?? size,
        modifiedAt: this.times.get(key) ?? modifiedAt,
      }
    }
  }

  override async *leftovers(): AsyncGenerator<Leftover> {
    yield* this.unfinished
  }

  /** An archive without its manifest: what a run leaves that was killed. */
  async putArchive({files}: Manifest): Promise<void> {
    for (const {path, bytes} of files) {
      await this.put(path, Readable.from([Buffer.from('x')]), {overwrite: true})
      this.sizes.set(path, bytes)
    }
  }

  async putBackup(manifest: Manifest): Promise<void> {
    await this.putArchive(manifest)
    await this.put(`${manifest.files[0].path}.metadata.json`, Readable.from([JSON.stringify(manifest)]))
  }

  async putVerification(
    {id, files}: Manifest,
    verdict: VerificationRecord['verdict'],
    level: VerificationRecord['level'] = 'restore',
  ): Promise<void> {
    const record: VerificationRecord = {
      formatVersion: 1,
      id,
      verdict,
      level,
      at: this.clock.now().toISOString(),
      tool: {name: 'dbbak', version: '1.0.0'},
      checks: [{name: 'restore-test', status: verdict}],
      durationMs: 1,
    }
    const key = `${files[0].path}.verification.json`
    await this.put(key, Readable.from([serializeVerification(record)]), {overwrite: true})
  }

  /** The archive loses its end, and its manifest does not know. */
  truncate({files: [file]}: Manifest): void {
    this.sizes.set(file.path, Math.floor(file.bytes / 2))
  }

  async removeBackup({files}: Manifest): Promise<void> {
    for (const {path} of files) {
      await this.remove(`${path}.metadata.json`)
      await this.remove(`${path}.verification.json`)
      await this.remove(path)
    }
  }
}

export interface BackupShape {
  database?: string
  systemIdentifier?: string | null
  bytes?: number
  /** Rows by table, in the schema public. */
  tables?: Record<string, number>
  changes?: Partial<Manifest>
}

/** A manifest of a backup taken then. */
export function manifestAt(atMs: number, shape: BackupShape = {}): Manifest {
  const {database = 'shop', bytes = 42_000_000, tables = {orders: 5000, customers: 800}, changes = {}} = shape
  const snapshotAt = new Date(atMs).toISOString()
  const base = sampleManifest(snapshotAt)
  const id = `${database}_${snapshotAt.replace(/[:.]/g, '-')}`
  const records = Object.entries(tables).map(([name, rows]) => ({
    schema: 'public',
    name,
    rows,
    bytes: 8192,
    checksum: null,
  }))
  return {
    ...base,
    id,
    database: {
      ...base.database,
      name: database,
      ...(shape.systemIdentifier === undefined ? {} : {systemIdentifier: shape.systemIdentifier}),
    },
    files: [{path: `${id}.dump.zst`, bytes: Math.round(bytes), sha256: 'a'.repeat(64)}],
    content: {
      ...base.content,
      tables: records,
      tableCount: records.length,
      rowCount: records.reduce((sum, {rows}) => sum + rows, 0),
    },
    ...changes,
  }
}
