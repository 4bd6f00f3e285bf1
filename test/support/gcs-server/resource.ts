import {invalid} from './errors.js'
import type {Attributes, BucketRecord, ObjectRecord} from './store.js'

export function etagOf({generation, metageneration}: {generation: string; metageneration: number}): string {
  return Buffer.from(`${generation}/${metageneration}`).toString('base64')
}

/** The Objects resource. Numbers of 64 bits are strings. */
export function objectResource(record: ObjectRecord, base: string, retentionExpirationTime?: string) {
  const {bucket, name, generation, metageneration, size, crc32c, md5Hash, timeCreated, updated} = record
  const path = `b/${encodeURIComponent(bucket)}/o/${encodeURIComponent(name)}`
  return {
    kind: 'storage#object',
    id: `${bucket}/${name}/${generation}`,
    selfLink: `${base}/storage/v1/${path}`,
    mediaLink: `${base}/download/storage/v1/${path}?generation=${generation}&alt=media`,
    name,
    bucket,
    generation,
    metageneration: String(metageneration),
    storageClass: 'STANDARD',
    size: String(size),
    md5Hash,
    crc32c,
    etag: etagOf(record),
    timeCreated,
    updated,
    timeStorageClassUpdated: timeCreated,
    ...(record.kmsKeyName && {kmsKeyName: `${record.kmsKeyName}/cryptoKeyVersions/1`}),
    ...(retentionExpirationTime && {retentionExpirationTime}),
    ...record.attributes,
  }
}

export function bucketResource(record: BucketRecord, base: string) {
  const {name, metageneration} = record
  return {
    kind: 'storage#bucket',
    id: name,
    selfLink: `${base}/storage/v1/b/${name}`,
    ...record,
    metageneration: String(metageneration),
    updated: record.timeCreated,
    etag: etagOf({generation: '0', metageneration}),
  }
}

const settable = [
  'contentType',
  'contentEncoding',
  'contentDisposition',
  'contentLanguage',
  'cacheControl',
  'storageClass',
  'customTime',
  'metadata',
  'temporaryHold',
  'eventBasedHold',
  'retention',
] as const

const storageClasses = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE']

/** What of an Objects resource a client may set; everything else it says is ignored. */
export function attributesOf(resource: Record<string, unknown>): Attributes {
  const chosen = Object.fromEntries(
    settable.filter((key) => key in resource).map((key) => [key, resource[key]]),
  )
  const attributes: Attributes = chosen
  if (attributes.storageClass && !storageClasses.includes(attributes.storageClass))
    throw invalid(`Invalid storage class ${attributes.storageClass}`)
  if (attributes.customTime && Number.isNaN(Date.parse(attributes.customTime)))
    throw invalid(`Invalid value for: Invalid format: "${attributes.customTime}"`)
  return attributes
}

type Selection = Map<string, Selection | true>

/** The `fields` parameter ("partial response"): `a,b/c,items(name,size)`. */
export function selectFields(value: unknown, fields: string | null): unknown {
  return fields === null || fields === '*' ? value : select(value, parseFields(fields))
}

function parseFields(text: string): Selection {
  const selection: Selection = new Map()
  for (const field of splitFields(text)) {
    const match = /^([A-Za-z0-9_]+)(?:\/(.+)|\((.+)\))?$/.exec(field)
    if (!match) throw invalid(`Invalid field selection ${field}`)
    const [, name, below, inside] = match
    const rest = below ?? inside
    selection.set(name, rest === undefined ? true : parseFields(rest))
  }
  return selection
}

function splitFields(text: string): string[] {
  const fields: string[] = ['']
  let depth = 0
  for (const character of text) {
    if (character === '(') depth++
    if (character === ')') depth--
    if (character === ',' && depth === 0) fields.push('')
    else fields[fields.length - 1] += character
  }
  return fields
}

function select(value: unknown, selection: Selection): unknown {
  if (Array.isArray(value)) return value.map((item) => select(item, selection))
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key]) => selection.has(key))
  return Object.fromEntries(
    kept.map(([key, child]) => {
      const below = selection.get(key)
      return [key, below instanceof Map ? select(child, below) : child]
    }),
  )
}
