import type {Call} from './call.js'
import {GoogleError, invalid, json, type Reply} from './errors.js'
import {parseResource} from './multipart.js'
import {checkPreconditions} from './preconditions.js'
import type {BucketRecord} from './store.js'
import {attributesOf, bucketResource, objectResource, selectFields} from './resource.js'

export async function patchObject(call: Call): Promise<Reply> {
  const {store, bucket, object, query, base} = call
  const change = attributesOf(await resourceOf(call))
  const record = store.get(bucket, object, query.get('generation'))
  checkPreconditions(record, query)
  const changed = store.patch(record, change)
  return json(
    selectFields(objectResource(changed, base, store.retentionExpires(changed)), query.get('fields')),
  )
}

export function deleteObject({store, bucket, object, query}: Call): Reply {
  const record = store.get(bucket, object, query.get('generation'))
  checkPreconditions(record, query)
  store.remove(record)
  return {status: 204, body: ''}
}

export async function insertBucket(call: Call): Promise<Reply> {
  if (!call.query.get('project')) throw invalid('Required parameter: project')
  const {
    name = '',
    storageClass,
    location,
    retentionPolicy,
  } = (await resourceOf(call)) as Partial<BucketRecord>
  if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(name)) throw invalid(`Invalid bucket name: '${name}'`)
  const bucket = call.store.makeBucket({
    name,
    timeCreated: new Date().toISOString(),
    metageneration: 1,
    storageClass: storageClass ?? 'STANDARD',
    location: location ?? 'US',
    ...(retentionPolicy && {retentionPolicy}),
  })
  return json(bucketResource(bucket, call.base))
}

export function getBucket({store, bucket, base, query}: Call): Reply {
  return json(selectFields(bucketResource(store.bucket(bucket), base), query.get('fields')))
}

/** Only the retention policy can be changed here; null removes it. */
export async function patchBucket(call: Call): Promise<Reply> {
  const {retentionPolicy} = await resourceOf(call)
  if (retentionPolicy === undefined)
    throw new GoogleError(501, 'notImplemented', 'Only retentionPolicy can be patched')
  const change = {retentionPolicy: (retentionPolicy ?? undefined) as {retentionPeriod: string}}
  return json(bucketResource(call.store.changeBucket(call.bucket, change), call.base))
}

async function resourceOf(call: Call): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  for await (const bytes of call.body()) chunks.push(bytes)
  return parseResource(Buffer.concat(chunks))
}
