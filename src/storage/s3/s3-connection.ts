import {S3Client} from '@aws-sdk/client-s3'
import {storeAgents} from '../objects/agents.js'
import {StoreError} from '../objects/store-error.js'
import type {RequestOptions, S3Options} from '../objects/store-options.js'
import {S3Errors} from './s3-errors.js'

/** One bucket, and how it is asked. */
export interface S3Bucket {
  client: S3Client
  bucket: string
  options: S3Options
  errors: S3Errors
  /** Sends one request. @param name the object it is about. @throws StoreError, or the signal's reason */
  run<Answer>(
    name: string | undefined,
    signal: AbortSignal,
    send: (options: {abortSignal: AbortSignal}) => Promise<Answer>,
  ): Promise<Answer>
  bytesMoved: () => number
  close(): void
}

/** Contacts nobody, but reads the configuration files of the AWS tools. @throws StoreError */
export async function connect(
  bucket: string,
  options: S3Options,
  request: RequestOptions,
): Promise<S3Bucket> {
  const {env} = request
  const endpoint = checkedEndpoint(options.endpoint ?? configuredEndpoint(env))
  const credentials = options.credentials ?? keysOf(env)
  const region = options.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION
  const agents = storeAgents({stallMs: request.stallMs, env})
  const client = new S3Client({
    maxAttempts: 1,
    retryMode: 'standard',
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // The SDK does not wait for the answer to it with agents of ours; it only makes stores hang up on what is sent.
    expectContinueHeader: false,
    requestHandler: {httpAgent: agents.http, httpsAgent: agents.https},
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    ...(endpoint !== undefined && {endpoint, region: 'us-east-1'}),
    ...(region && {region}),
    ...(credentials && {credentials: given(credentials)}),
    ...(env.AWS_PROFILE && {profile: env.AWS_PROFILE}),
  })
  const secrets = [credentials?.accessKeyId, credentials?.secretAccessKey, credentials?.sessionToken]
  const errors = new S3Errors({
    bucket,
    endpoint,
    secrets: secrets.filter((text) => text !== undefined),
  })
  const close = () => {
    client.destroy()
    agents.destroy()
  }
  try {
    await client.config.region()
  } catch {
    close()
    throw noRegion()
  }
  return {
    client,
    bucket,
    options,
    errors,
    bytesMoved: agents.bytesMoved,
    close,
    async run(name, signal, send) {
      signal.throwIfAborted()
      try {
        return await send({abortSignal: signal})
      } catch (error) {
        throw signal.aborted ? signal.reason : errors.explain(error, name)
      }
    },
  }
}

function noRegion(): StoreError {
  return new StoreError('failed', 'no region is set', {
    suggestions: [
      'Set the region of the bucket: export AWS_REGION=eu-central-1',
      'Or once for all tools: aws configure set region eu-central-1',
    ],
  })
}

function configuredEndpoint(env: RequestOptions['env']): string | undefined {
  if (env.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS === 'true') return undefined
  return env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined
}

function checkedEndpoint(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined
  const url = /^https?:\/\//i.test(endpoint) && URL.canParse(endpoint) ? new URL(endpoint) : undefined
  // It is not repeated: it may hold a password.
  if (!url) throw wrongEndpoint('the endpoint is not an http or https URL')
  if (url.username || url.password) throw wrongEndpoint('the endpoint holds credentials')
  return endpoint
}

function wrongEndpoint(message: string): StoreError {
  return new StoreError('failed', message, {
    suggestions: ['Write it as https://HOST or http://HOST:PORT, without credentials.'],
  })
}

type Keys = NonNullable<S3Options['credentials']>

/** The SDK looks for them in the process's own environment, and lets a profile come first, too. */
function keysOf(env: RequestOptions['env']): Keys | undefined {
  const {AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN} = env
  if (env.AWS_PROFILE || !accessKeyId || !secretAccessKey) return undefined
  return {accessKeyId, secretAccessKey, sessionToken: AWS_SESSION_TOKEN || undefined}
}

function given({accessKeyId, secretAccessKey, sessionToken}: Keys) {
  return {accessKeyId, secretAccessKey, ...(sessionToken !== undefined && {sessionToken})}
}
