import type {Call} from './call.js'
import {GoogleError, invalid, json, type Reply} from './errors.js'
import {checkPreconditions} from './preconditions.js'
import {etagOf, objectResource, selectFields} from './resource.js'
import type {ObjectRecord} from './store.js'

export function getMetadata(call: Call): Reply {
  const record = wanted(call)
  checkPreconditions(record, call.query)
  return json(
    selectFields(
      objectResource(record, call.base, call.store.retentionExpires(record)),
      call.query.get('fields'),
    ),
  )
}

/** Objects: get with `alt=media` */
export function getMedia(call: Call): Reply {
  const record = wanted(call)
  checkPreconditions(record, call.query)
  const file = call.store.content(record)
  const headers = mediaHeaders(record)
  if (
    record.attributes.contentEncoding === 'gzip' &&
    !/\bgzip\b/.test(String(call.request.headers['accept-encoding']))
  )
    return transcoded(file, record, headers)
  if (record.attributes.contentEncoding) headers['content-encoding'] = record.attributes.contentEncoding
  const range = parseRange(call.request.headers.range, record.size)
  if (range === undefined) return {status: 200, headers, body: {file, start: 0, end: record.size - 1}}
  if (range.start >= record.size) return notSatisfiable(record.size)
  headers['content-range'] = `bytes ${range.start}-${range.end}/${record.size}`
  return {status: 206, headers, body: {file, ...range}}
}

/** 416 names the size, so that the client can ask again. */
function notSatisfiable(size: number): Reply {
  const message = 'The requested range cannot be satisfied.'
  const reply = new GoogleError(416, 'requestedRangeNotSatisfiable', message).reply('text')
  return {...reply, headers: {...reply.headers, 'content-range': `bytes */${size}`}}
}

/** "Decompressive transcoding": who does not accept gzip gets the content unpacked, whole, and of unknown length. */
function transcoded(file: string, record: ObjectRecord, headers: Record<string, string>): Reply {
  const unpacked = {...headers, warning: '214 UploadServer gunzipped'}
  return {status: 200, headers: unpacked, body: {file, start: 0, end: record.size - 1, gunzip: true}}
}

function mediaHeaders(record: ObjectRecord): Record<string, string> {
  const {attributes, crc32c, md5Hash, generation, metageneration, size, updated} = record
  return {
    'content-type': attributes.contentType ?? 'application/octet-stream',
    'accept-ranges': 'bytes',
    etag: etagOf(record),
    'last-modified': new Date(updated).toUTCString(),
    'x-goog-hash': `crc32c=${crc32c},md5=${md5Hash}`,
    'x-goog-generation': generation,
    'x-goog-metageneration': String(metageneration),
    'x-goog-storage-class': attributes.storageClass ?? 'STANDARD',
    'x-goog-stored-content-encoding': attributes.contentEncoding ?? 'identity',
    'x-goog-stored-content-length': String(size),
  }
}

/** undefined: no range, or one that cannot be read, which is ignored. */
function parseRange(header: string | undefined, size: number): {start: number; end: number} | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (!match || (match[1] === '' && match[2] === '')) return undefined
  if (match[1] === '') return {start: Math.max(0, size - Number(match[2])), end: size - 1}
  const start = Number(match[1])
  const end = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  return start > Number(match[2] || Infinity) ? undefined : {start, end}
}

function wanted({store, bucket, object, query}: Call): ObjectRecord {
  return store.get(bucket, object, query.get('generation'))
}

/** Objects: list */
export function listObjects(call: Call): Reply {
  const {store, bucket, query, base} = call
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const limit = Math.min(Number(query.get('maxResults') ?? 1000) || 1000, 1000)
  const last = parseToken(query.get('pageToken'))
  const items: unknown[] = []
  const prefixes: string[] = []
  let nextPageToken: string | undefined
  let reached: string | undefined
  for (const record of store.list(bucket)) {
    const {name} = record
    if (!name.startsWith(prefix) || !isWithin(name, query)) continue
    const cut = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length)
    const entry = cut < 0 ? name : name.slice(0, cut + delimiter.length)
    if (entry === reached || (last !== undefined && compare(entry, last) <= 0)) continue
    if (items.length + prefixes.length === limit) {
      nextPageToken = Buffer.from(reached!).toString('base64url')
      break
    }
    reached = entry
    if (cut < 0) items.push(objectResource(record, base, store.retentionExpires(record)))
    else prefixes.push(entry)
  }
  const page = {
    kind: 'storage#objects',
    ...(nextPageToken !== undefined && {nextPageToken}),
    ...(prefixes.length > 0 && {prefixes}),
    ...(items.length > 0 && {items}),
  }
  return json(selectFields(page, query.get('fields')))
}

function isWithin(name: string, query: URLSearchParams): boolean {
  const [from, to] = [query.get('startOffset'), query.get('endOffset')]
  return (from === null || compare(name, from) >= 0) && (to === null || compare(name, to) < 0)
}

function parseToken(token: string | null): string | undefined {
  if (token === null || token === '') return undefined
  const name = Buffer.from(token, 'base64url').toString()
  if (name === '') throw invalid('Invalid argument.')
  return name
}

const compare = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other))
