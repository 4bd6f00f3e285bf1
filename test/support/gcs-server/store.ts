import {createHash} from 'node:crypto'
import {mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {GoogleError, noSuchBucket, noSuchObject} from './errors.js'
import {checkPreconditions} from './preconditions.js'

export interface BucketRecord {
  name: string
  timeCreated: string
  metageneration: number
  storageClass: string
  location: string
  retentionPolicy?: {retentionPeriod: string}
  /** Only told: nothing here has versions. */
  versioning?: {enabled: boolean}
}

/** What a client may say about an object. */
export interface Attributes {
  contentType?: string
  contentEncoding?: string
  contentDisposition?: string
  contentLanguage?: string
  cacheControl?: string
  storageClass?: string
  customTime?: string
  metadata?: Record<string, string>
  temporaryHold?: boolean
  eventBasedHold?: boolean
  retention?: {mode: string; retainUntilTime: string}
}

export interface ObjectRecord {
  bucket: string
  name: string
  generation: string
  metageneration: number
  size: number
  crc32c: string
  md5Hash: string
  kmsKeyName?: string
  timeCreated: string
  updated: string
  attributes: Attributes
}

export interface NewObject {
  name: string
  attributes: Attributes
  kmsKeyName?: string
  /** A finished file; the store moves it. */
  file: string
  size: number
  crc32c: string
  md5Hash: string
}

/** Buckets and objects in a folder: a record and a content file each. Loaded again by a server that starts there. */
export class ObjectStore {
  private readonly buckets = new Map<string, BucketRecord>()
  private readonly objects = new Map<string, Map<string, ObjectRecord>>()
  private lastGeneration = 0

  constructor(private readonly folder: string) {
    for (const part of ['buckets', 'records', 'content', 'work'])
      mkdirSync(join(folder, part), {recursive: true})
    for (const bucket of this.read<BucketRecord>('buckets')) this.keepBucket(bucket)
    for (const record of this.read<ObjectRecord>('records'))
      this.objects.get(record.bucket)?.set(record.name, record)
  }

  workFile(name: string): string {
    return join(this.folder, 'work', name)
  }

  bucket(name: string): BucketRecord {
    const bucket = this.buckets.get(name)
    if (!bucket) throw noSuchBucket()
    return bucket
  }

  makeBucket(bucket: BucketRecord): BucketRecord {
    if (this.buckets.has(bucket.name))
      throw new GoogleError(
        409,
        'conflict',
        'Your previous request to create the named bucket succeeded and you already own it.',
      )
    this.write(join('buckets', fileName(bucket.name)), bucket)
    this.keepBucket(bucket)
    return bucket
  }

  changeBucket(name: string, change: Partial<BucketRecord>): BucketRecord {
    const changed = {...this.bucket(name), ...change}
    this.write(join('buckets', fileName(name)), changed)
    this.buckets.set(name, changed)
    return changed
  }

  find(bucket: string, name: string): ObjectRecord | undefined {
    this.bucket(bucket)
    return this.objects.get(bucket)!.get(name)
  }

  /** A generation that was replaced or removed is gone: there is no versioning here. */
  get(bucket: string, name: string, generation?: string | null): ObjectRecord {
    const record = this.find(bucket, name)
    if (!record || (generation && record.generation !== generation)) throw noSuchObject(bucket, name)
    return record
  }

  /** In order of the names' UTF-8 bytes. */
  list(bucket: string): ObjectRecord[] {
    this.bucket(bucket)
    const inOrder = [...this.objects.get(bucket)!.entries()].map(([name, record]) => ({
      key: Buffer.from(name),
      record,
    }))
    return inOrder.sort((one, other) => Buffer.compare(one.key, other.key)).map(({record}) => record)
  }

  content({bucket, name, generation}: ObjectRecord): string {
    return join(this.folder, 'content', `${fileName(`${bucket}/${name}`)}-${generation}`)
  }

  /** The object appears all at once, or, when a precondition does not hold, not at all. */
  insert(bucket: string, object: NewObject, conditions: URLSearchParams): ObjectRecord {
    const before = this.find(bucket, object.name)
    checkPreconditions(before, conditions)
    if (before) this.refuseIfLocked(before)
    const {file, ...rest} = object
    const timeCreated = new Date().toISOString()
    const generation = this.nextGeneration()
    const record: ObjectRecord = {
      ...rest,
      bucket,
      generation,
      metageneration: 1,
      timeCreated,
      updated: timeCreated,
    }
    renameSync(file, this.content(record))
    this.keep(record)
    if (before) rmSync(this.content(before), {force: true})
    return record
  }

  patch(record: ObjectRecord, change: Attributes): ObjectRecord {
    const attributes = mergePatch(record.attributes, change)
    const updated = new Date().toISOString()
    const changed = {...record, attributes, updated, metageneration: record.metageneration + 1}
    this.keep(changed)
    return changed
  }

  remove(record: ObjectRecord): void {
    this.refuseIfLocked(record)
    const {bucket, name} = record
    rmSync(join(this.folder, 'records', fileName(`${bucket}/${name}`)))
    this.objects.get(bucket)!.delete(name)
    rmSync(this.content(record), {force: true})
  }

  /** When a bucket's policy lets go of an object. */
  retentionExpires(record: ObjectRecord): string | undefined {
    const period = this.bucket(record.bucket).retentionPolicy?.retentionPeriod
    if (period === undefined) return undefined
    return new Date(Date.parse(record.timeCreated) + Number(period) * 1000).toISOString()
  }

  private refuseIfLocked(record: ObjectRecord): void {
    const {temporaryHold, eventBasedHold, retention} = record.attributes
    const object = `Object '${record.bucket}/${record.name}'`
    if (temporaryHold || eventBasedHold) {
      const kind = temporaryHold ? 'Temporary' : 'Event-Based'
      const rule = `is under active ${kind} hold and cannot be deleted, overwritten or archived until hold is removed.`
      throw new GoogleError(403, 'objectUnderActiveHold', `${object} ${rule}`)
    }
    const until = [retention?.retainUntilTime, this.retentionExpires(record)].filter(
      (time) => time !== undefined,
    )
    const last = until.sort().at(-1)
    if (last !== undefined && Date.parse(last) > Date.now()) {
      const rule = "is subject to bucket's retention policy or object retention"
      throw new GoogleError(
        403,
        'retentionPolicyNotMet',
        `${object} ${rule} and cannot be deleted or overwritten until ${last}`,
      )
    }
  }

  private keepBucket(bucket: BucketRecord): void {
    this.buckets.set(bucket.name, bucket)
    this.objects.set(bucket.name, new Map())
  }

  private keep(record: ObjectRecord): void {
    this.write(join('records', fileName(`${record.bucket}/${record.name}`)), record)
    this.objects.get(record.bucket)!.set(record.name, record)
    this.lastGeneration = Math.max(this.lastGeneration, Number(record.generation))
  }

  /** Microseconds, as Google's look. */
  private nextGeneration(): string {
    this.lastGeneration = Math.max(Date.now() * 1000, this.lastGeneration + 1)
    return String(this.lastGeneration)
  }

  private write(name: string, value: unknown): void {
    const work = this.workFile(`record-${fileName(name)}`)
    writeFileSync(work, JSON.stringify(value))
    renameSync(work, join(this.folder, name))
  }

  private read<T>(part: string): T[] {
    const folder = join(this.folder, part)
    return readdirSync(folder).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T)
  }
}

/** Of a fixed length, whatever the name holds. */
function fileName(name: string): string {
  return createHash('sha256').update(name).digest('hex')
}

/** JSON merge patch: null removes. */
function mergePatch<T extends object>(target: T, change: object): T {
  const merged = {...target} as Record<string, unknown>
  for (const [key, value] of Object.entries(change) as [string, unknown][]) {
    if (value === null) delete merged[key]
    else if (typeof value === 'object' && !Array.isArray(value))
      merged[key] = mergePatch(merged[key] ?? {}, value)
    else merged[key] = value
  }
  return merged as T
}
