import type {AzureOptions, GcsOptions, S3Options} from '../storage/objects/store-options.js'
import {DbbakError} from '../support/errors.js'
import {pathIn, type ConfigFile, type Environment} from './config-file.js'
import type {Config} from './config-schema.js'
import {unsetError} from './config-text.js'

/** How objects are kept in each cloud: a variable goes before the config file. */
export interface StoreSettings {
  s3: S3Options
  gcs: GcsOptions
  azure: AzureOptions
}

/**
 * What a variable that is not set leaves out stops only those who go to that cloud.
 * @throws DbbakError CONFIG_INVALID
 */
export function storesOf(env: Environment, file: ConfigFile | undefined): StoreSettings {
  const {gcs} = file?.config ?? {}
  const keyFile = file && gcs?.keyFile ? pathIn(file, gcs.keyFile) : undefined
  const stores = storeSettings(env, {...file?.config, ...(gcs && {gcs: {...gcs, keyFile}})})
  for (const unset of file?.unset ?? []) {
    const [cloud] = unset.path
    if (file === undefined || cloud === undefined || !Object.hasOwn(stores, cloud)) continue
    const get = () => {
      throw unsetError(unset, file.name)
    }
    Object.defineProperty(stores, cloud, {enumerable: true, get})
  }
  return stores
}

function storeSettings(env: Environment, config: Config): StoreSettings {
  return {
    s3: s3Settings(env, config.s3 ?? {}),
    gcs: gcsSettings(env, config.gcs ?? {}),
    azure: azureSettings(env, config.azure ?? {}),
  }
}

function s3Settings(env: Environment, file: NonNullable<Config['s3']>): S3Options {
  return {
    endpoint: (env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL) || file.endpoint,
    region: (env.AWS_REGION ?? env.AWS_DEFAULT_REGION) || file.region,
    pathStyle: booleanOf('AWS_S3_FORCE_PATH_STYLE', env) ?? file.pathStyle,
    credentials: s3Credentials(env),
    storageClass: env.AWS_S3_STORAGE_CLASS || file.storageClass,
    encryption: oneOf('AWS_S3_SSE', env, ['AES256', 'aws:kms', 'aws:kms:dsse'] as const) ?? file.encryption,
    kmsKeyId: env.AWS_S3_KMS_KEY_ID || file.kmsKeyId,
    objectLock: objectLock(env) ?? file.objectLock,
    tags: tagsOf(env) ?? file.tags,
    partsMax: numberOf('AWS_S3_MAX_PARTS', env, {from: 10, to: 10_000}) ?? file.maxParts,
  }
}

/** Without these two the SDK looks for credentials in all the places it knows. */
function s3Credentials(env: Environment): S3Options['credentials'] {
  const {AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey} = env
  if (!accessKeyId || !secretAccessKey) return undefined
  return {accessKeyId, secretAccessKey, sessionToken: env.AWS_SESSION_TOKEN || undefined}
}

function objectLock(env: Environment): S3Options['objectLock'] {
  const mode = oneOf('AWS_S3_OBJECT_LOCK_MODE', env, ['GOVERNANCE', 'COMPLIANCE'] as const)
  const days = numberOf('AWS_S3_OBJECT_LOCK_DAYS', env, {from: 1, to: 36_500})
  if (mode === undefined && days === undefined) return undefined
  if (mode !== undefined && days !== undefined) return {mode, days}
  throw new DbbakError(
    'CONFIG_INVALID',
    'An object lock takes both AWS_S3_OBJECT_LOCK_MODE and AWS_S3_OBJECT_LOCK_DAYS.',
    {
      suggestions: ['For example: export AWS_S3_OBJECT_LOCK_MODE=GOVERNANCE AWS_S3_OBJECT_LOCK_DAYS=30'],
    },
  )
}

/** `team=data&keep=yes` */
function tagsOf({AWS_S3_TAGS: text}: Environment): Record<string, string> | undefined {
  return text ? Object.fromEntries(new URLSearchParams(text)) : undefined
}

function gcsSettings(env: Environment, file: NonNullable<Config['gcs']>): GcsOptions {
  return {
    emulator: env.STORAGE_EMULATOR_HOST || undefined,
    endpoint: env.GCS_ENDPOINT || file.endpoint,
    keyFile: env.GOOGLE_APPLICATION_CREDENTIALS || file.keyFile,
    projectId: (env.GOOGLE_CLOUD_PROJECT ?? env.GCLOUD_PROJECT) || file.projectId,
    storageClass: env.GCS_STORAGE_CLASS || file.storageClass,
    kmsKeyName: env.GCS_KMS_KEY_NAME || file.kmsKeyName,
  }
}

function azureSettings(env: Environment, file: NonNullable<Config['azure']>): AzureOptions {
  return {
    connectionString: env.AZURE_STORAGE_CONNECTION_STRING || file.connectionString,
    account: env.AZURE_STORAGE_ACCOUNT || file.account,
    sas: env.AZURE_STORAGE_SAS_TOKEN || file.sas,
    endpoint: env.AZURE_STORAGE_BLOB_ENDPOINT || file.endpoint,
    tier: oneOf('AZURE_STORAGE_TIER', env, ['Hot', 'Cool', 'Cold', 'Archive'] as const) ?? file.tier,
  }
}

/** The destinations that `--upload` adds: every bucket and container that the environment names. */
export function uploadDestinations(env: Environment): string[] {
  const named = [
    ['s3', env.AWS_S3_BUCKET, env.AWS_S3_PREFIX],
    ['gs', env.GCS_BUCKET, env.GCS_PREFIX],
    ['azblob', env.AZURE_STORAGE_CONTAINER, env.AZURE_STORAGE_PREFIX],
  ] as const
  const found = named.flatMap(([scheme, bucket, prefix]) =>
    bucket ? [`${scheme}://${bucket}${prefix ? `/${prefix.replace(/^\/+/, '')}` : ''}`] : [],
  )
  if (found.length > 0) return found
  throw new DbbakError('CONFIG_INVALID', '--upload is set, and no bucket is named to upload to.', {
    suggestions: [
      'export AWS_S3_BUCKET=my-backups (or GCS_BUCKET, or AZURE_STORAGE_CONTAINER)',
      'Or name the destination itself: dbbak backup --to s3://my-backups/shop',
    ],
  })
}

function oneOf<T extends string>(variable: string, env: Environment, values: readonly T[]): T | undefined {
  const value = env[variable]
  if (!value) return undefined
  const found = values.find((one) => one.toLowerCase() === value.toLowerCase())
  if (found !== undefined) return found
  throw new DbbakError(
    'CONFIG_INVALID',
    `${variable} must be ${values.join(', ')}, and "${value}" is none.`,
    {
      suggestions: [`export ${variable}=${values[0] ?? ''}`],
    },
  )
}

function booleanOf(variable: string, env: Environment): boolean | undefined {
  const found = oneOf(variable, env, ['true', 'false', '1', '0'])
  return found === undefined ? undefined : found === 'true' || found === '1'
}

function numberOf(variable: string, env: Environment, range: {from: number; to: number}): number | undefined {
  const value = env[variable]
  if (!value) return undefined
  const number = Number(value)
  if (Number.isInteger(number) && number >= range.from && number <= range.to) return number
  throw new DbbakError(
    'CONFIG_INVALID',
    `${variable} must be a whole number from ${range.from} to ${range.to}.`,
    {
      suggestions: [`export ${variable}=${range.to}`],
    },
  )
}
