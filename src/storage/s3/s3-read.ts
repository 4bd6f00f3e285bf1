import {GetObjectCommand, type GetObjectCommandOutput} from '@aws-sdk/client-s3'
import type {Readable} from 'node:stream'
import type {RangeAnswer, StoredObject} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {S3Bucket} from './s3-connection.js'
import {codeOf, headerOf, statusOf, type ServiceError} from './s3-errors.js'
import {etagOf, headObject, isDamaged, md5Of, notS3, storedObject, tokenOf} from './s3-write.js'

type Sending = {abortSignal: AbortSignal}

export interface Range {
  start: number
  end: number
  etag: string | undefined
}

/** @throws StoreError */
export async function head(
  s3: S3Bucket,
  name: string,
  signal: AbortSignal,
): Promise<(StoredObject & {token: string | undefined}) | undefined> {
  const found = await s3.run(name, signal, (options) =>
    headObject(s3, name, options).catch((error: unknown) =>
      reasonOfHead(s3, name, error as ServiceError, options),
    ),
  )
  return found && {...storedObject(name, found), token: tokenOf(found)}
}

/** A refusal of a HEAD has no body that says why; that of a GET has one. @throws always */
async function reasonOfHead(
  s3: S3Bucket,
  name: string,
  error: ServiceError,
  options: Sending,
): Promise<never> {
  const status = statusOf(error) ?? 500
  const isRefusal =
    status < 500 && codeOf(error) === undefined && error.$metadata?.clockSkewCorrected !== true
  if (!isRefusal) throw error
  const input = {Bucket: s3.bucket, Key: name, Range: 'bytes=0-0'}
  const answer = await s3.client.send(new GetObjectCommand(input), options).catch((reason: ServiceError) => {
    throw statusOf(reason) === status ? reason : error
  })
  ;(answer.Body as Readable).destroy()
  throw error
}

/** @throws StoreError */
export async function getRange(
  s3: S3Bucket,
  name: string,
  range: Range,
  signal: AbortSignal,
): Promise<RangeAnswer> {
  const {start, end, etag} = range
  const input = {
    Bucket: s3.bucket,
    Key: name,
    Range: `bytes=${start}-${end}`,
    ...(etag !== undefined && {IfMatch: etag}),
  }
  const answer = await s3.run(name, signal, (options) =>
    s3.client
      .send(new GetObjectCommand(input), options)
      .catch(async (error: unknown) => throwWithSize(s3, name, error as ServiceError, options)),
  )
  const body = answer.Body as Readable
  try {
    const isWhole = (pieces: Buffer[]) => !isDamaged(s3, answer, {md5: md5Of(pieces)})
    return {body, size: sizeOf(answer, range), etag: etagFor(answer, etag), isWhole}
  } catch (error) {
    body.on('error', () => {}).destroy()
    throw error
  }
}

async function throwWithSize(
  s3: S3Bucket,
  name: string,
  error: ServiceError,
  options: Sending,
): Promise<never> {
  if (statusOf(error) !== 416) throw error
  const told = /^bytes \*\/(\d+)$/.exec(headerOf(error, 'content-range') ?? '')?.[1]
  const size = told === undefined ? (await headObject(s3, name, options))?.ContentLength : Number(told)
  throw new StoreError('beyond-end', 'the object ends before', {size})
}

function etagFor(answer: GetObjectCommandOutput, wanted: string | undefined): string {
  const etag = etagOf(answer)
  // Not every store looks at If-Match.
  if (wanted !== undefined && etag !== wanted)
    throw new StoreError('changed', 'the object is another one by now')
  return etag
}

function sizeOf(
  {ContentRange: told, ContentLength: length}: GetObjectCommandOutput,
  {start, end}: Range,
): number {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(told ?? '') ?? []
  if (total !== undefined && Number(first) === start) return Number(total)
  if (told !== undefined || length === undefined) throw notS3()
  // The whole object where a part was asked for is right only if it is no more than that.
  if (start === 0 && end >= length - 1) return length
  throw new StoreError('failed', 'the store does not give parts of an object (Range)')
}
