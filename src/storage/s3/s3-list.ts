import {
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  type ListObjectsV2CommandOutput,
  type ListPartsCommandOutput,
  type MultipartUpload,
} from '@aws-sdk/client-s3'
import type {StoredObject, UnfinishedUpload} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {S3Bucket} from './s3-connection.js'
import {abortUpload, unlessStatus} from './s3-upload.js'
import {notS3, quoted} from './s3-write.js'

export interface Page {
  objects: StoredObject[]
  next: string | undefined
}

/** @throws StoreError */
export async function listPage(
  s3: S3Bucket,
  prefix: string,
  next: string | undefined,
  signal: AbortSignal,
): Promise<Page> {
  const input = {
    Bucket: s3.bucket,
    Prefix: prefix,
    MaxKeys: 1000,
    ...(next !== undefined && {ContinuationToken: next}),
  }
  const answer = await s3.run(undefined, signal, (options) =>
    s3.client.send(new ListObjectsV2Command(input), options),
  )
  // A page of a web server, read as a listing, would be an empty one.
  if (answer.Name === undefined && answer.IsTruncated === undefined) throw notS3()
  return {objects: objectsOf(answer), next: nextOf(answer, next)}
}

function objectsOf({Contents: contents = []}: ListObjectsV2CommandOutput): StoredObject[] {
  return contents.flatMap(({Key: name, Size: size, LastModified: modifiedAt, ETag: etag}) => {
    if (name === undefined || name === '' || size === undefined) return []
    return {name, size, modifiedAt: modifiedAt ?? new Date(0), etag: quoted(etag ?? '')}
  })
}

/** A listing that ends early is worse than none: what it lacks would count as lost. */
function nextOf(answer: ListObjectsV2CommandOutput, previous: string | undefined): string | undefined {
  if (answer.IsTruncated !== true) return undefined
  const {NextContinuationToken: next} = answer
  if (next !== undefined && next !== '' && next !== previous) return next
  throw new StoreError('failed', 'the listing of the store breaks off')
}

/** The uploads of exactly this name. @throws StoreError */
async function* uploadsOf(s3: S3Bucket, name: string, signal: AbortSignal): AsyncGenerator<MultipartUpload> {
  let marker: {KeyMarker?: string | undefined; UploadIdMarker?: string | undefined} = {}
  for (;;) {
    const input = {Bucket: s3.bucket, Prefix: name, ...withoutUndefined(marker)}
    const answer = await s3.run(name, signal, (options) =>
      s3.client.send(new ListMultipartUploadsCommand(input), options),
    )
    for (const upload of answer.Uploads ?? []) if (upload.Key === name && upload.UploadId) yield upload
    const {NextKeyMarker: key, NextUploadIdMarker: id} = answer
    // Names come in order, so the ones after a longer one are none of it.
    const isOver = key !== name || id === marker.UploadIdMarker
    if (answer.IsTruncated !== true || isOver) return
    marker = {KeyMarker: key, UploadIdMarker: id}
  }
}

/** All that was begun of a name and not ended. @throws StoreError */
export async function unfinishedUploads(
  s3: S3Bucket,
  name: string,
  signal: AbortSignal,
): Promise<UnfinishedUpload | undefined> {
  let found: UnfinishedUpload | undefined
  for await (const {UploadId: id, Initiated: begun} of uploadsOf(s3, name, signal)) {
    const parts = await partsOf(s3, name, id, signal)
    if (!parts) continue // ended meanwhile
    found = {
      size: (found?.size ?? 0) + parts.size,
      activeAt: latest(found?.activeAt, latest(begun, parts.activeAt)),
    }
  }
  return found
}

/** Ends all of them. @throws StoreError */
export async function discardUploads(s3: S3Bucket, name: string, signal: AbortSignal): Promise<void> {
  const ids: string[] = []
  for await (const {UploadId: id} of uploadsOf(s3, name, signal)) if (id) ids.push(id)
  for (const id of ids) await abortUpload(s3, name, id, signal)
}

/** @returns undefined when there is no such upload */
async function partsOf(
  s3: S3Bucket,
  name: string,
  id: string | undefined,
  signal: AbortSignal,
): Promise<UnfinishedUpload | undefined> {
  const found: UnfinishedUpload = {size: 0, activeAt: undefined}
  let marker: string | undefined
  for (;;) {
    const input = {
      Bucket: s3.bucket,
      Key: name,
      UploadId: id,
      ...(marker !== undefined && {PartNumberMarker: marker}),
    }
    const answer: ListPartsCommandOutput | undefined = await s3.run(name, signal, (options) =>
      unlessStatus(404, s3.client.send(new ListPartsCommand(input), options)),
    )
    if (!answer) return undefined
    for (const {Size: size = 0, LastModified: sentAt} of answer.Parts ?? []) {
      found.size += size
      found.activeAt = latest(found.activeAt, sentAt)
    }
    const next = answer.NextPartNumberMarker
    if (answer.IsTruncated !== true || next === undefined || next === marker) return found
    marker = next
  }
}

function latest(one: Date | undefined, other: Date | undefined): Date | undefined {
  if (!one || !other) return one ?? other
  return other > one ? other : one
}

function withoutUndefined<Value>(values: Record<string, Value | undefined>): Record<string, Value> {
  const present = Object.entries(values).filter((entry): entry is [string, Value] => entry[1] !== undefined)
  return Object.fromEntries(present)
}
