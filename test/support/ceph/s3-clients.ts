import type {ObjectClient} from '../../../src/storage/objects/object-client.js'
import {StoreError} from '../../../src/storage/objects/store-error.js'
import type {S3Options} from '../../../src/storage/objects/store-options.js'
import {openS3Client} from '../../../src/storage/s3/s3-client.js'
import type {S3Address} from '../s3-server.js'

export const request = {retryForMs: 30_000, stallMs: 60_000, env: {}}

/** A client of a test's server; close it. */
export async function s3Client(
  {endpoint, region, accessKeyId, secretAccessKey}: S3Address,
  bucket: string,
  options: S3Options = {},
): Promise<ObjectClient> {
  const credentials = {accessKeyId, secretAccessKey}
  return openS3Client(bucket, {endpoint, region, credentials, ...options}, request)
}

/** What a promise fails with, which has to be a StoreError. */
export async function storeErrorOf(promise: Promise<unknown>): Promise<StoreError> {
  const error = await promise.then(
    () => new Error('It did not fail.'),
    (reason: unknown) => reason,
  )
  if (error instanceof StoreError) return error
  throw error
}
