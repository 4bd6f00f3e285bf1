import {
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type HeadObjectCommandOutput,
  type PutObjectCommandInput,
  type PutObjectCommandOutput,
} from '@aws-sdk/client-s3'
import {createHash} from 'node:crypto'
import type {CreateOptions, StoredObject} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import {workFolderName} from '../object-name.js'
import type {S3Bucket} from './s3-connection.js'
import {codeOf, statusOf, type ServiceError} from './s3-errors.js'

/** As S3 keeps metadata: in small letters. */
export const tokenKey = 'dbbakput'
const dayMs = 24 * 3_600_000

/** Whether the store takes conditions on writes; found out by the first that it does not know. */
export interface Conditions {
  areKnown: boolean
}

export type WriteOptions = {Bucket: string; Key: string} & Pick<
  PutObjectCommandInput,
  | 'Metadata'
  | 'ServerSideEncryption'
  | 'SSEKMSKeyId'
  | 'StorageClass'
  | 'ObjectLockMode'
  | 'ObjectLockRetainUntilDate'
  | 'Tagging'
>

/** Objects in these have to be restored before anybody can read them. */
const archives = new Set(['GLACIER', 'DEEP_ARCHIVE'])

/** What a new object is to be, in S3's words; the same for one request and for parts. */
export function writeOptions(
  {bucket, options}: S3Bucket,
  name: string,
  {token, readOften}: CreateOptions,
): WriteOptions {
  const common = {Bucket: bucket, Key: name, Metadata: {[tokenKey]: token}, ...encryptionOf(options)}
  // Work files are read and removed a moment later: not from an archive, and not under a lock.
  if (name.split('/').includes(workFolderName)) return common
  const {storageClass, objectLock, tags} = options
  return {
    ...common,
    ...(storageClass !== undefined &&
      !(readOften && archives.has(storageClass)) && {
        StorageClass: storageClass as NonNullable<WriteOptions['StorageClass']>,
      }),
    ...(objectLock && {
      ObjectLockMode: objectLock.mode,
      ObjectLockRetainUntilDate: new Date(Date.now() + objectLock.days * dayMs),
    }),
    ...(tags && Object.keys(tags).length > 0 && {Tagging: taggingOf(tags)}),
  }
}

function encryptionOf({encryption, kmsKeyId}: S3Bucket['options']) {
  return {
    ...(encryption !== undefined && {ServerSideEncryption: encryption}),
    ...(kmsKeyId !== undefined && {SSEKMSKeyId: kmsKeyId}),
  }
}

function taggingOf(tags: Record<string, string>): string {
  const pairs = Object.entries(tags)
  return pairs.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')
}

/** Of what is sent; stores that know no other checksum compare MD5. */
export interface Digest {
  headers: {ContentMD5: string} | {ChecksumSHA256: string}
  /** Undefined where this machine has no MD5 (FIPS). */
  md5: Buffer | undefined
}

export function digestOf(bytes: Buffer): Digest {
  const md5 = md5Of([bytes])
  if (md5) return {headers: {ContentMD5: md5.toString('base64')}, md5}
  return {headers: {ChecksumSHA256: createHash('sha256').update(bytes).digest('base64')}, md5}
}

/** Undefined where this machine has no MD5 (FIPS). */
export function md5Of(pieces: Buffer[]): Buffer | undefined {
  if (!hasMd5) return undefined
  const hash = createHash('md5')
  for (const piece of pieces) hash.update(piece)
  return hash.digest()
}

export const hasMd5 = (() => {
  try {
    createHash('md5')
    return true
  } catch {
    return false
  }
})()

/** An answer to a write, as far as it says how the bytes are kept. */
interface Kept {
  ServerSideEncryption?: string | undefined
  SSECustomerAlgorithm?: string | undefined
}

/** Whether the ETag is an MD5 of the content, for all that is known. */
export function hasPlainEtag({bucket, options}: S3Bucket, answer: Kept): boolean {
  const isByKey = (algorithm: string | undefined) => algorithm?.startsWith('aws:') === true
  // Directory buckets of S3 Express have ETags that only look like one.
  if (bucket.endsWith('--x-s3') || answer.SSECustomerAlgorithm !== undefined) return false
  return !isByKey(answer.ServerSideEncryption) && !isByKey(options.encryption)
}

/** Whether the bytes with this MD5 are certainly others than those that the answer is of. */
export function isDamaged(
  s3: S3Bucket,
  answer: Kept & {ETag?: string | undefined},
  {md5}: Pick<Digest, 'md5'>,
): boolean {
  const plain = /^"?([0-9a-f]{32})"?$/i.exec(answer.ETag ?? '')?.[1]
  return (
    plain !== undefined &&
    md5 !== undefined &&
    hasPlainEtag(s3, answer) &&
    plain.toLowerCase() !== md5.toString('hex')
  )
}

/** Some stores leave the quotes out in some answers. */
export function quoted(etag: string): string {
  const bare = etag.replace(/^W\//, '').replace(/^"|"$/g, '')
  return `"${bare}"`
}

/** @throws StoreError when the answer is not that of an S3 store */
export function etagOf({ETag}: {ETag?: string | undefined}): string {
  if (ETag === undefined || ETag === '') throw notS3()
  return quoted(ETag)
}

export function notS3(): StoreError {
  return new StoreError('failed', 'the answer is not one of an S3 store', {
    suggestions: ['Check the endpoint: it is the address of the S3 interface, not of a web page.'],
  })
}

/** What is there under a name; the error is the SDK's own. @returns undefined when there is nothing */
export async function headObject(
  {client, bucket}: S3Bucket,
  name: string,
  options: {abortSignal: AbortSignal},
): Promise<HeadObjectCommandOutput | undefined> {
  try {
    return await client.send(new HeadObjectCommand({Bucket: bucket, Key: name}), options)
  } catch (error) {
    if (statusOf(error as ServiceError) === 404) return undefined
    throw error
  }
}

export function storedObject(name: string, head: HeadObjectCommandOutput): StoredObject {
  const {ContentLength: size, LastModified: modifiedAt} = head
  if (size === undefined || modifiedAt === undefined) throw notS3()
  return {name, size, modifiedAt, etag: etagOf(head)}
}

export function tokenOf({Metadata}: HeadObjectCommandOutput): string | undefined {
  return Metadata?.[tokenKey]
}

/** Stores an object with one request. @throws StoreError */
export async function putObject(
  s3: S3Bucket,
  conditions: Conditions,
  put: {name: string; bytes: Buffer; create: CreateOptions},
  signal: AbortSignal,
): Promise<StoredObject> {
  const {name, bytes, create} = put
  const digest = digestOf(bytes)
  const input = {
    ...writeOptions(s3, name, create),
    ...digest.headers,
    Body: bytes,
    ContentLength: bytes.length,
    ContentType: 'application/octet-stream',
  }
  const answer = await s3.run(name, signal, (options) =>
    conditionalPut(s3, conditions, {input, create}, options),
  )
  if (isDamaged(s3, answer, digest)) throw await damaged(s3, name, create, signal)
  return storedByPut(s3, name, bytes.length, answer, signal)
}

type Sending = {abortSignal: AbortSignal}

async function conditionalPut(
  s3: S3Bucket,
  conditions: Conditions,
  {input, create}: {input: PutObjectCommandInput & {Key: string}; create: CreateOptions},
  options: Sending,
): Promise<PutObjectCommandOutput> {
  const plain = new PutObjectCommand(input)
  if (!create.ifAbsent) return s3.client.send(plain, options)
  if (conditions.areKnown)
    try {
      return await s3.client.send(new PutObjectCommand({...input, IfNoneMatch: '*'}), options)
    } catch (error) {
      await throwUnlessConditionUnknown(s3, input.Key, error as ServiceError, options)
    }
  if (await headObject(s3, input.Key, options)) throw taken()
  const answer = await s3.client.send(plain, options)
  conditions.areKnown = false
  return answer
}

/** What a write that was to make a new object failed with; returns when only its condition was not understood. */
export async function throwUnlessConditionUnknown(
  s3: S3Bucket,
  name: string,
  error: ServiceError,
  options: Sending,
): Promise<void> {
  if (statusOf(error) === 412) throw taken()
  if (codeOf(error) === 'ConditionalRequestConflict' || codeOf(error) === 'OperationAborted') {
    // Another writer was at it at the same moment; which of the two won is not said.
    if (await headObject(s3, name, options)) throw taken()
    throw error
  }
  if (codeOf(error) !== 'NotImplemented' && statusOf(error) !== 501) throw error
}

export const taken = (): StoreError => new StoreError('exists', 'the name is taken')

/** A store that does not look at the checksum has taken damaged bytes, under our token: they may not stay. */
async function damaged(
  s3: S3Bucket,
  name: string,
  create: CreateOptions,
  signal: AbortSignal,
): Promise<StoreError> {
  if (create.ifAbsent)
    await s3.run(name, signal, async (options) => {
      const head = await headObject(s3, name, options)
      if (head && tokenOf(head) === create.token)
        await s3.client.send(new DeleteObjectCommand({Bucket: s3.bucket, Key: name}), options)
    })
  return new StoreError('transient', 'what arrived is not what was sent (the ETag differs)')
}

/** The answer to a put does not tell the time; without the right to look it is the answer's own. */
async function storedByPut(
  s3: S3Bucket,
  name: string,
  size: number,
  answer: PutObjectCommandOutput,
  signal: AbortSignal,
): Promise<StoredObject> {
  const head = await s3.run(name, signal, (options) => headObject(s3, name, options)).catch(() => undefined)
  signal.throwIfAborted()
  const etag = etagOf(answer.ETag ? answer : (head ?? {}))
  const isIt = head?.LastModified !== undefined && head.ETag !== undefined && quoted(head.ETag) === etag
  return {name, size, modifiedAt: (isIt && head.LastModified) || new Date(), etag}
}
