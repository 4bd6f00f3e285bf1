import {randomUUID} from 'node:crypto'
import {open, rm} from 'node:fs/promises'
import {Checksums} from './checksums.js'
import {invalid, json, type Reply} from './errors.js'
import type {Call} from './call.js'
import {readRelated} from './multipart.js'
import {attributesOf, objectResource, selectFields} from './resource.js'
import type {Attributes, ObjectRecord, ObjectStore} from './store.js'

export interface Expected {
  crc32c?: string | undefined
  md5Hash?: string | undefined
}

/** Objects: insert with `uploadType=media` or `multipart`: the content in the same request. */
export async function insertObject(call: Call): Promise<Reply> {
  const {store, bucket, query, request} = call
  store.bucket(bucket)
  const contentType = request.headers['content-type'] ?? ''
  const isMedia = query.get('uploadType') === 'media'
  if (!isMedia && !/^multipart\//i.test(contentType)) throw invalid('Bad content type. Please use multipart.')
  const {resource, mediaType, media} = isMedia
    ? {resource: {}, mediaType: contentType, media: call.body()}
    : await readRelated(call.body(), contentType)
  const described = describeObject(query, resource, mediaType)
  const file = store.workFile(`insert-${randomUUID()}`)
  try {
    const stored = await save(media, file)
    checkHashes(stored, [expectedOf(resource), expectedOfHeader(request.headers['x-goog-hash'])])
    return insertedReply(
      call,
      store.insert(bucket, {...described, ...stored, file}, query),
      query.get('fields'),
    )
  } finally {
    await rm(file, {force: true})
  }
}

/** Name, attributes and key of a new object, as the query and the resource say. */
export function describeObject(
  query: URLSearchParams,
  resource: Record<string, unknown>,
  contentType: string | undefined,
): {name: string; attributes: Attributes; kmsKeyName?: string} {
  const [inQuery, inResource] = [query.get('name'), resource.name as string | undefined]
  if (inQuery !== null && inResource !== undefined && inQuery !== inResource)
    throw invalid(`Value '${inResource}' in content does not agree with value '${inQuery}'.`)
  const name = inQuery ?? inResource
  if (!name) throw invalid('Required parameter: name')
  checkName(name)
  const type = contentType || 'application/octet-stream'
  const kmsKeyName = query.get('kmsKeyName') ?? (resource.kmsKeyName as string | undefined)
  if (
    kmsKeyName &&
    !/^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+$/.test(kmsKeyName)
  )
    throw invalid(`Malformed Cloud KMS crypto key: ${kmsKeyName}`)
  return {name, attributes: {contentType: type, ...attributesOf(resource)}, ...(kmsKeyName && {kmsKeyName})}
}

/** "Object name requirements" */
function checkName(name: string): void {
  const isAllowed =
    Buffer.byteLength(name) <= 1024 &&
    !/[\r\n]/.test(name) &&
    !['.', '..'].includes(name) &&
    !name.startsWith('.well-known/acme-challenge/')
  if (!isAllowed) throw invalid('Invalid argument.')
}

async function save(
  media: AsyncIterable<Buffer>,
  file: string,
): Promise<{size: number; crc32c: string; md5Hash: string}> {
  const checksums = new Checksums()
  const handle = await open(file, 'w')
  try {
    let size = 0
    for await (const bytes of media) {
      checksums.take(bytes)
      size += bytes.length
      await handle.write(bytes)
    }
    return {size, ...checksums.end()}
  } finally {
    await handle.close()
  }
}

export function expectedOf(resource: Record<string, unknown>): Expected {
  const {crc32c, md5Hash} = resource as Expected
  return {crc32c, md5Hash}
}

/** `X-Goog-Hash: crc32c=…,md5=…` */
export function expectedOfHeader(header: string | string[] | undefined): Expected {
  const text = String(header ?? '')
  return {crc32c: /crc32c=([^,\s]+)/.exec(text)?.[1], md5Hash: /md5=([^,\s]+)/.exec(text)?.[1]}
}

export function checkHashes(actual: {crc32c: string; md5Hash: string}, expected: Expected[]): void {
  for (const {crc32c, md5Hash} of expected) {
    if (crc32c !== undefined && crc32c !== actual.crc32c)
      throw invalid(`Provided CRC32C "${crc32c}" doesn't match calculated CRC32C "${actual.crc32c}".`)
    if (md5Hash !== undefined && md5Hash !== actual.md5Hash)
      throw invalid(`Provided MD5 hash "${md5Hash}" doesn't match calculated MD5 hash "${actual.md5Hash}".`)
  }
}

export function insertedReply(
  {store, base}: {store: ObjectStore; base: string},
  record: ObjectRecord,
  fields: string | null,
): Reply {
  return json(selectFields(objectResource(record, base, store.retentionExpires(record)), fields))
}
