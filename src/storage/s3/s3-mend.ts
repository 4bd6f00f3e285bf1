import {
  GetObjectRetentionCommand,
  PutObjectRetentionCommand,
  PutObjectTaggingCommand,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3'
import {StoreError} from '../objects/store-error.js'
import type {S3Bucket} from './s3-connection.js'
import type {WriteOptions} from './s3-write.js'

/** Stores round the time to seconds. */
const toleranceMs = 2_000

/** An object, and what it was to be. */
export interface Finished {
  head: HeadObjectCommandOutput
  wanted: WriteOptions
}

/**
 * Some stores (Ceph 16 is one) drop the lock and the tags that were asked for when an upload in parts began, without a
 * word: both are looked for, and made good.
 * @throws StoreError
 */
export async function mend(s3: S3Bucket, finished: Finished, signal: AbortSignal): Promise<void> {
  if (finished.wanted.ObjectLockMode !== undefined) await mendRetention(s3, finished, signal)
  if (finished.wanted.Tagging !== undefined) await mendTags(s3, finished, signal)
}

async function mendRetention(s3: S3Bucket, {head, wanted}: Finished, signal: AbortSignal): Promise<void> {
  const {Key: name, ObjectLockMode: mode, ObjectLockRetainUntilDate: until} = wanted
  const isEnough = (found: Retention | undefined) =>
    (found?.until.getTime() ?? 0) >= (until?.getTime() ?? 0) - toleranceMs &&
    (found?.mode === mode || found?.mode === 'COMPLIANCE')
  if (isEnough(retentionIn(head.ObjectLockMode, head.ObjectLockRetainUntilDate))) return
  // Who may not look may still be allowed to set it.
  if (isEnough(await retentionOf(s3, name, head.VersionId, signal).catch(() => undefined))) return
  const retention = {Mode: mode, RetainUntilDate: until}
  await s3.run(name, signal, (options) =>
    s3.client.send(
      new PutObjectRetentionCommand({...versionOf(s3, name, head), Retention: retention}),
      options,
    ),
  )
}

async function mendTags(s3: S3Bucket, {head, wanted}: Finished, signal: AbortSignal): Promise<void> {
  const tags = Object.entries(s3.options.tags ?? {}).map(([Key, Value]) => ({Key, Value}))
  if (head.TagCount === tags.length) return
  const target = versionOf(s3, wanted.Key, head)
  await s3.run(wanted.Key, signal, (options) =>
    s3.client.send(new PutObjectTaggingCommand({...target, Tagging: {TagSet: tags}}), options),
  )
}

/** The object itself, and not one that took its place meanwhile. */
function versionOf({bucket}: S3Bucket, name: string, {VersionId}: HeadObjectCommandOutput) {
  return {Bucket: bucket, Key: name, ...(VersionId !== undefined && {VersionId})}
}

export interface Retention {
  mode: string | undefined
  until: Date
}

function retentionIn(mode: string | undefined, until: Date | undefined): Retention | undefined {
  return until && {mode, until}
}

/** @returns undefined when there is none. @throws StoreError */
export async function retentionOf(
  s3: S3Bucket,
  name: string,
  version: string | undefined,
  signal: AbortSignal,
): Promise<Retention | undefined> {
  const target = {Bucket: s3.bucket, Key: name, ...(version !== undefined && {VersionId: version})}
  try {
    const {Retention: found} = await s3.run(name, signal, (options) =>
      s3.client.send(new GetObjectRetentionCommand(target), options),
    )
    return retentionIn(found?.Mode, found?.RetainUntilDate)
  } catch (error) {
    // Every store has a code of its own for "none".
    const isNone = error instanceof StoreError && (error.trouble === 'missing' || error.trouble === 'failed')
    if (isNone) return undefined
    throw error
  }
}
