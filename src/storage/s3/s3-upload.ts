import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListPartsCommand,
  UploadPartCommand,
  type CompletedPart,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3'
import {createHash} from 'node:crypto'
import type {CreateOptions, StoredObject, Upload, UploadPart} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {S3Bucket} from './s3-connection.js'
import {statusOf, type ServiceError} from './s3-errors.js'
import {mend} from './s3-mend.js'
import {
  digestOf,
  hasMd5,
  hasPlainEtag,
  headObject,
  isDamaged,
  notS3,
  storedObject,
  taken,
  throwUnlessConditionUnknown,
  tokenOf,
  writeOptions,
  type Conditions,
  type WriteOptions,
} from './s3-write.js'

export interface UploadRequest {
  s3: S3Bucket
  conditions: Conditions
  name: string
  create: CreateOptions
}

/** @throws StoreError */
export async function startMultipartUpload(request: UploadRequest, signal: AbortSignal): Promise<Upload> {
  const {s3, name, create} = request
  const input = {
    ...writeOptions(s3, name, create),
    ContentType: 'application/octet-stream',
    ...(!hasMd5 && {ChecksumAlgorithm: 'SHA256' as const}),
  }
  const answer = await s3.run(name, signal, (options) =>
    s3.client.send(new CreateMultipartUploadCommand(input), options),
  )
  if (!answer.UploadId) throw notS3()
  return new MultipartUpload(request, answer.UploadId, input)
}

interface SentPart {
  completed: CompletedPart
  size: number
  md5: Buffer | undefined
}

/** How often an upload is aborted again because parts that were under way came in after it. */
const abortsMax = 5

class MultipartUpload implements Upload {
  private readonly parts = new Map<number, SentPart>()

  constructor(
    private readonly request: UploadRequest,
    private readonly id: string,
    private readonly wanted: WriteOptions,
  ) {}

  async part({number, bytes}: UploadPart, signal: AbortSignal): Promise<void> {
    const {s3, name} = this.request
    const digest = digestOf(bytes)
    const input = {
      ...this.target(),
      ...digest.headers,
      PartNumber: number,
      Body: bytes,
      ContentLength: bytes.length,
    }
    const answer = await s3.run(name, signal, (options) =>
      s3.client.send(new UploadPartCommand(input), options),
    )
    if (!answer.ETag) throw notS3()
    if (isDamaged(s3, answer, digest))
      throw new StoreError('transient', `part ${number} is not what was sent (the ETag differs)`)
    const checksum = 'ChecksumSHA256' in digest.headers ? digest.headers : {}
    const completed = {PartNumber: number, ETag: answer.ETag, ...checksum}
    this.parts.set(number, {completed, size: bytes.length, md5: digest.md5})
  }

  async complete(signal: AbortSignal): Promise<StoredObject> {
    const {s3, name} = this.request
    const head = (await this.alreadyThere(signal)) ?? (await this.completeNow(signal))
    const stored = storedObject(name, head)
    this.check(stored, head)
    await mend(s3, {head, wanted: this.wanted}, signal)
    return stored
  }

  async abort(signal: AbortSignal): Promise<void> {
    await abortUpload(this.request.s3, this.request.name, this.id, signal)
  }

  private target() {
    return {Bucket: this.request.s3.bucket, Key: this.request.name, UploadId: this.id}
  }

  /**
   * What an earlier try completed whose answer was lost. Asked for each time, since some stores complete without a look
   * at the condition.
   */
  private async alreadyThere(signal: AbortSignal): Promise<HeadObjectCommandOutput | undefined> {
    const {s3, name, create} = this.request
    const head = await s3.run(name, signal, (options) => headObject(s3, name, options))
    if (head && tokenOf(head) === create.token) return head
    if (head && create.ifAbsent) throw taken()
    return undefined
  }

  private async completeNow(signal: AbortSignal): Promise<HeadObjectCommandOutput> {
    const {s3, name, create} = this.request
    try {
      await s3.run(name, signal, (options) => this.sendComplete(options))
    } catch (error) {
      return this.doneAllTheSame(error, signal)
    }
    // The answer has neither size nor time, and Ceph's no ETag either.
    const head = await s3.run(name, signal, (options) => headObject(s3, name, options))
    if (!head) throw new StoreError('transient', 'the object that was completed is not to be seen yet')
    if (tokenOf(head) === create.token) return head
    throw create.ifAbsent
      ? taken()
      : new StoreError('changed', 'the object was replaced as soon as it was stored')
  }

  /**
   * An upload that is not known any more was completed, and only the answer lost, or was aborted: Ceph then says 500 and
   * that it is in progress.
   * @throws StoreError
   */
  private async doneAllTheSame(error: unknown, signal: AbortSignal): Promise<HeadObjectCommandOutput> {
    if (!(error instanceof StoreError) || (error.trouble !== 'transient' && error.trouble !== 'gone'))
      throw error
    const {s3, name} = this.request
    const isThere = await isKnown(s3, name, this.id, signal).catch(() => undefined)
    if (isThere !== false) throw error
    const head = await this.alreadyThere(signal)
    if (head) return head
    throw new StoreError('gone', 'the store does not know the upload any more', {cause: error})
  }

  private async sendComplete(options: {abortSignal: AbortSignal}): Promise<void> {
    const {s3, name, create, conditions} = this.request
    const parts = this.inOrder().map(({completed}) => completed)
    const input = {...this.target(), MultipartUpload: {Parts: parts}}
    if (create.ifAbsent && conditions.areKnown)
      try {
        await s3.client.send(new CompleteMultipartUploadCommand({...input, IfNoneMatch: '*'}), options)
        return
      } catch (error) {
        await throwUnlessConditionUnknown(s3, name, error as ServiceError, options)
      }
    await s3.client.send(new CompleteMultipartUploadCommand(input), options)
    if (create.ifAbsent) conditions.areKnown = false
  }

  private check({size, etag}: StoredObject, head: HeadObjectCommandOutput): void {
    const parts = this.inOrder()
    const sent = parts.reduce((sum, part) => sum + part.size, 0)
    if (size !== sent)
      throw new StoreError('failed', `the store has ${size} bytes of the ${sent} that were sent`)
    const isComposite = /^"[0-9a-f]{32}-\d+"$/i.test(etag) && hasPlainEtag(this.request.s3, head)
    const expected = compositeEtag(parts)
    if (isComposite && expected !== undefined && etag.toLowerCase() !== expected)
      throw new StoreError('failed', `the store's ETag ${etag} is not that of what was sent, ${expected}`)
  }

  private inOrder(): SentPart[] {
    return [...this.parts].sort(([one], [other]) => one - other).map(([, part]) => part)
  }
}

function compositeEtag(parts: SentPart[]): string | undefined {
  const digests = parts.flatMap(({md5}) => md5 ?? [])
  if (digests.length < parts.length) return undefined
  return `"${createHash('md5').update(Buffer.concat(digests)).digest('hex')}-${parts.length}"`
}

/**
 * Ends an upload, if it is there at all. A part that was under way may still come in after that, and be kept: so it is
 * asked for, and the upload ended again.
 * @throws StoreError
 */
export async function abortUpload(
  s3: S3Bucket,
  name: string,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const target = {Bucket: s3.bucket, Key: name, UploadId: id}
  for (let aborts = 0; aborts < abortsMax; aborts++) {
    const isGone = await s3.run(name, signal, (options) =>
      unlessStatus(404, s3.client.send(new AbortMultipartUploadCommand(target), options)),
    )
    if (isGone === undefined) return
    if (!(await isKnown(s3, name, id, signal))) return
  }
  throw new StoreError('transient', 'the upload is still there after it was aborted')
}

/** @returns undefined where it may not be asked. @throws StoreError */
async function isKnown(
  s3: S3Bucket,
  name: string,
  id: string,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  const command = new ListPartsCommand({Bucket: s3.bucket, Key: name, UploadId: id, MaxParts: 1})
  try {
    const send = (options: {abortSignal: AbortSignal}) => unlessStatus(404, s3.client.send(command, options))
    return (await s3.run(name, signal, send)) !== undefined
  } catch (error) {
    if (error instanceof StoreError && (error.trouble === 'denied' || error.trouble === 'failed'))
      return undefined
    throw error
  }
}

/** @returns undefined for an answer with that status */
export async function unlessStatus<Answer>(
  status: number,
  answer: Promise<Answer>,
): Promise<Answer | undefined> {
  try {
    return await answer
  } catch (error) {
    if (statusOf(error as ServiceError) === status) return undefined
    throw error
  }
}
