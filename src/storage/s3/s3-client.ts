import {DeleteObjectCommand, GetObjectLegalHoldCommand} from '@aws-sdk/client-s3'
import type {CreateOptions, ObjectClient} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {RequestOptions, S3Options} from '../objects/store-options.js'
import {connect, type S3Bucket} from './s3-connection.js'
import {discardUploads, listPage, unfinishedUploads} from './s3-list.js'
import {protectionOf} from './s3-locks.js'
import {getRange, head, type Range} from './s3-read.js'
import {retentionOf} from './s3-mend.js'
import {startMultipartUpload, unlessStatus} from './s3-upload.js'
import {putObject, type Conditions} from './s3-write.js'

const mebibyte = 1024 * 1024
const gibibyte = 1024 * mebibyte

/** A bucket of AWS S3 or of a store that speaks as it does. Contacts nobody yet. @throws StoreError */
export async function openS3Client(
  bucket: string,
  options: S3Options,
  request: RequestOptions,
): Promise<ObjectClient> {
  return new S3ObjectClient(await connect(bucket, options, request))
}

class S3ObjectClient implements ObjectClient {
  readonly place: string
  readonly limits
  readonly putBytesMax = 5 * gibibyte
  /** Ceph 16 does not, nor do stores that know no conditions. */
  readonly uploadsArePrivate = false
  readonly listsInOrder: boolean
  private readonly conditions: Conditions = {areKnown: true}

  constructor(private readonly s3: S3Bucket) {
    this.place = `s3://${s3.bucket}`
    // Directory buckets of S3 Express list in no order.
    this.listsInOrder = !s3.bucket.endsWith('--x-s3')
    this.limits = {
      partBytesMin: 5 * mebibyte,
      partBytesMax: 5 * gibibyte,
      partsMax: s3.options.partsMax ?? 10_000,
      sequential: false,
    }
  }

  head(name: string, signal: AbortSignal) {
    return head(this.s3, name, signal)
  }

  get(name: string, range: Range, signal: AbortSignal) {
    return getRange(this.s3, name, range, signal)
  }

  list(prefix: string, next: string | undefined, signal: AbortSignal) {
    return listPage(this.s3, prefix, next, signal)
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    const {client, bucket} = this.s3
    const command = new DeleteObjectCommand({Bucket: bucket, Key: name})
    try {
      await this.s3.run(name, signal, (options) => client.send(command, options))
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      if (error.trouble === 'missing') return
      throw (await this.isLocked(error, name, signal)) ? lockedBy(error) : error
    }
  }

  protection(signal: AbortSignal) {
    return protectionOf(this.s3, signal)
  }

  put(name: string, bytes: Buffer, create: CreateOptions, signal: AbortSignal) {
    return putObject(this.s3, this.conditions, {name, bytes, create}, signal)
  }

  startUpload(name: string, create: CreateOptions, signal: AbortSignal) {
    return startMultipartUpload({s3: this.s3, conditions: this.conditions, name, create}, signal)
  }

  unfinished(name: string, signal: AbortSignal) {
    return unfinishedUploads(this.s3, name, signal)
  }

  discardUnfinished(name: string, signal: AbortSignal) {
    return discardUploads(this.s3, name, signal)
  }

  explain(error: unknown): StoreError {
    return this.s3.errors.explain(error)
  }

  bytesMoved(): number {
    return this.s3.bytesMoved()
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async close(): Promise<void> {
    this.s3.close()
  }

  /** "Access denied" is all that most stores say of a lock; those that cannot be asked have none. */
  private async isLocked({trouble}: StoreError, name: string, signal: AbortSignal): Promise<boolean> {
    if (trouble !== 'denied') return false
    const {client, bucket} = this.s3
    const retention = await retentionOf(this.s3, name, undefined, signal).catch(() => undefined)
    if (retention && retention.until.getTime() > Date.now()) return true
    const command = new GetObjectLegalHoldCommand({Bucket: bucket, Key: name})
    const answer = await this.s3
      .run(name, signal, (options) => unlessStatus(404, client.send(command, options)))
      .catch(() => undefined)
    return answer?.LegalHold?.Status === 'ON'
  }
}

function lockedBy(error: StoreError): StoreError {
  return new StoreError('locked', `a retention forbids it (${error.message})`, {cause: error})
}
