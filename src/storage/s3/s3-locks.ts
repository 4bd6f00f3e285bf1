import {
  GetBucketVersioningCommand,
  GetObjectLegalHoldCommand,
  GetObjectLockConfigurationCommand,
} from '@aws-sdk/client-s3'
import type {ObjectLock} from '../provider.js'
import type {StoreProtection} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {S3Bucket} from './s3-connection.js'
import {retentionOf} from './s3-mend.js'

type Sending = {abortSignal: AbortSignal}

/**
 * Whether removals only lay a marker over an object, and what is locked: a store with versions carries out the removal of
 * a locked object all the same, which hides it.
 * @throws StoreError
 */
export async function protectionOf(s3: S3Bucket, signal: AbortSignal): Promise<StoreProtection> {
  const bucket = {Bucket: s3.bucket}
  const [versioning, locking] = await Promise.all([
    asked(s3, signal, (options) => s3.client.send(new GetBucketVersioningCommand(bucket), options)),
    asked(s3, signal, (options) => s3.client.send(new GetObjectLockConfigurationCommand(bucket), options)),
  ])
  const warnings = versioning.denied ? [versionsUnknown(s3, versioning.denied)] : []
  const isVersioned = versioning.denied ? undefined : versioning.answer?.Status !== undefined
  const canLock = locking.answer?.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled'
  // Where it could not be asked, each object is asked; without versions there is no object lock.
  const mayLock = canLock || (locking.denied !== undefined && isVersioned !== false)
  if (!mayLock) return {keepsVersions: isVersioned, warnings}
  const locks = new S3Locks(s3, warnings)
  return {
    keepsVersions: canLock || isVersioned,
    warnings,
    lockOf: (name, whileAsked) => locks.of(name, whileAsked),
  }
}

const versionsUnknown = ({bucket}: S3Bucket, {message}: StoreError): string =>
  `Whether s3://${bucket} keeps older versions of what is removed could not be asked: ${message}. It takes the permission s3:GetBucketVersioning.`

interface Asked<Answer> {
  answer?: Answer | undefined
  denied?: StoreError
}

/** Stores that have no such thing refuse the question in ways of their own. @throws StoreError */
async function asked<Answer>(
  s3: S3Bucket,
  signal: AbortSignal,
  send: (options: Sending) => Promise<Answer>,
  name?: string,
): Promise<Asked<Answer>> {
  try {
    return {answer: await s3.run(name, signal, send)}
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    if (error.trouble === 'denied') return {denied: error}
    if (error.trouble === 'missing' || error.trouble === 'failed') return {}
    throw error
  }
}

/** Two questions for an object, one where its retention goes on; none any more once they were denied. */
class S3Locks {
  private isAllowed = true

  constructor(
    private readonly s3: S3Bucket,
    private readonly warnings: string[],
  ) {}

  async of(name: string, signal: AbortSignal): Promise<ObjectLock | undefined> {
    if (!this.isAllowed) return undefined
    const {until, mode} = (await this.unlessDenied(() => retentionOf(this.s3, name, undefined, signal))) ?? {}
    if (until !== undefined && until.getTime() > Date.now())
      return {until, by: ['retention', mode].join(' ').trim()}
    const command = new GetObjectLegalHoldCommand({Bucket: this.s3.bucket, Key: name})
    const hold = await asked(this.s3, signal, (options) => this.s3.client.send(command, options), name)
    if (hold.denied) this.stopAsking(hold.denied)
    return hold.answer?.LegalHold?.Status === 'ON' ? {until: undefined, by: 'legal hold'} : undefined
  }

  private async unlessDenied<Answer>(ask: () => Promise<Answer>): Promise<Answer | undefined> {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof StoreError) || error.trouble !== 'denied') throw error
      this.stopAsking(error)
      return undefined
    }
  }

  private stopAsking({message}: StoreError): void {
    if (!this.isAllowed) return
    this.isAllowed = false
    this.warnings.push(
      `What is locked in s3://${this.s3.bucket} could not be asked: ${message}. It takes the permissions s3:GetObjectRetention and s3:GetObjectLegalHold. The store keeps what is locked, as an older version.`,
    )
  }
}
