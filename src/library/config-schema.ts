import {z} from 'zod'
import {DbbakError} from '../support/errors.js'
import {nearestName} from '../support/nearest-name.js'
import {hooksSchema, notificationsSchema, notifyKeysAt} from './notify-schema.js'

const text = z.string().min(1)

const s3Schema = z.strictObject({
  endpoint: text.optional().describe('Of an S3-compatible store; without it AWS.'),
  region: text.optional(),
  pathStyle: z
    .boolean()
    .optional()
    .describe('The bucket in the path; the default where an endpoint is given.'),
  storageClass: text.optional().describe('For example STANDARD_IA.'),
  encryption: z
    .enum(['AES256', 'aws:kms', 'aws:kms:dsse'])
    .optional()
    .describe("The store's own encryption."),
  kmsKeyId: text.optional(),
  objectLock: z
    .strictObject({mode: z.enum(['GOVERNANCE', 'COMPLIANCE']), days: z.number().int().positive()})
    .optional()
    .describe('How long nobody may remove a backup; the bucket needs object lock.'),
  tags: z.record(text, z.string()).optional(),
  maxParts: z
    .number()
    .int()
    .min(10)
    .max(10_000)
    .optional()
    .describe('For stores that take fewer than 10,000.'),
})

const gcsSchema = z.strictObject({
  endpoint: text.optional().describe('Instead of https://storage.googleapis.com.'),
  keyFile: text.optional().describe('A service account key, instead of the application default credentials.'),
  projectId: text.optional(),
  storageClass: text.optional().describe('For example NEARLINE.'),
  kmsKeyName: text.optional(),
})

const azureSchema = z.strictObject({
  connectionString: text.optional().describe('From the environment: ${AZURE_STORAGE_CONNECTION_STRING}.'),
  account: text.optional().describe('With the default credential chain, or with `sas`.'),
  sas: text.optional().describe('From the environment: ${AZURE_STORAGE_SAS_TOKEN}.'),
  endpoint: text.optional(),
  tier: z.enum(['Hot', 'Cool', 'Cold', 'Archive']).optional(),
})

const databaseName = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/

const rule = z.number().int().nonnegative().optional()

const retentionSchema = z.strictObject({
  days: rule.describe('Keep those that are newer; instead of retentionDays.'),
  last: rule.describe('Keep the newest so many.'),
  daily: rule.describe('Keep the newest of each of the last so many days that have backups.'),
  weekly: rule.describe('The same by weeks.'),
  monthly: rule.describe('The same by months.'),
  yearly: rule.describe('The same by years.'),
  verified: rule.describe('Keep the newest so many that passed a restore test.'),
  safetyDays: z.number().int().positive().optional().describe('Keep safety backups that are newer.'),
  timeZone: text.optional().describe('Where days begin: Europe/Berlin; by default UTC.'),
})

/** What may be set for one database, and for all of them at the top. */
const perDatabase = {
  testDatabaseUrl: text.optional().describe('A server (and database) for restore tests; never production.'),
  backupDir: text.optional().describe('The local destination; a relative path starts at this file.'),
  retentionDays: z
    .number()
    .int()
    .positive()
    .optional()
    .describe('Age in days after which prune removes backups.'),
  format: z.enum(['custom', 'plain', 'directory']).optional().describe("The archive's format."),
  compress: z
    .string()
    .regex(/^(zstd|gzip|lz4|none)(:\d+)?$/, 'expected zstd, gzip, lz4 or none, with an optional :LEVEL')
    .optional()
    .describe('How archives are compressed: zstd, gzip, lz4 or none, with an optional :LEVEL.'),
  content: z.enum(['counts', 'checksums', 'none']).optional().describe('What the content record holds.'),
  jobs: z
    .number()
    .int()
    .positive()
    .max(1000)
    .optional()
    .describe('How many tables to dump or restore at a time.'),
  name: text.optional().describe("What backups' names begin with, instead of the database's name."),
  label: text.optional().describe('A remark that is kept in the manifest.'),
  retention: retentionSchema.optional().describe('Which backups prune keeps: each that any rule keeps.'),
  lockTimeout: text.optional().describe('How long to wait for a locked table, for example 30s.'),
}

const databaseSchema = z.strictObject({
  url: text.describe('The database; from the environment: ${SHOP_DATABASE_URL}.'),
  destinations: z.array(text).min(1).optional().describe('Where its backups go, instead of `to`.'),
  ...perDatabase,
})

/** A config file's settings, as documented for people and, through {@link configJsonSchema}, for editors. */
export const configSchema = z.strictObject({
  $schema: z.string().optional().describe('Where editors find the schema of this file.'),
  databaseUrl: text.optional().describe('The database to back up and to restore into.'),
  databases: z
    .record(z.string().regex(databaseName, 'a name is letters, digits, - _ and .'), databaseSchema)
    .optional()
    .describe('Several databases, by names of your own: --database NAME, --all-databases.'),
  ...perDatabase,
  to: z.array(text).min(1).optional().describe('The destinations of a backup: folders or URLs.'),
  pgBin: text.optional().describe('The folder with pg_dump, pg_restore and psql.'),
  cacheDir: text.optional().describe('Where downloaded server programs and read manifests are kept.'),
  upload: z
    .boolean()
    .optional()
    .describe('Also to the buckets that AWS_S3_BUCKET, GCS_BUCKET and AZURE_STORAGE_CONTAINER name.'),
  bandwidthLimit: text.optional().describe('Bytes a second to and from destinations, for example 20MB.'),
  retryFor: text
    .optional()
    .describe('How long a store that does not answer is tried again, for example 5min.'),
  stallTimeout: text.optional().describe('When a silent connection is given up, for example 30s.'),
  s3: s3Schema.optional().describe('How objects are kept at s3:// destinations.'),
  gcs: gcsSchema.optional().describe('How objects are kept at gs:// destinations.'),
  azure: azureSchema.optional().describe('How objects are kept at azblob:// destinations.'),
  notifications: notificationsSchema.optional(),
  hooks: hooksSchema.optional(),
})

export type Config = z.infer<typeof configSchema>

/** The schema that editors use to complete and check config files. */
export function configJsonSchema(): Record<string, unknown> {
  return {...z.toJSONSchema(configSchema), title: 'dbbak config file'}
}

/**
 * Checks what a config file holds.
 * @param file where it came from, for the message
 * @throws DbbakError CONFIG_INVALID that names every fault, and never a value
 */
export function parseConfig(value: unknown, file: string): Config {
  const parsed = configSchema.safeParse(withNumbers(value ?? {}))
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.flatMap((issue) => describeIssue(issue, value))
  throw new DbbakError('CONFIG_INVALID', `${file} is not a valid config file: ${faults.join('; ')}.`, {
    suggestions: [`Correct ${file}, then see what is in force: dbbak doctor`],
  })
}

/** A number taken from the environment arrives as text. */
function withNumbers(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, held]: [string, unknown]) => {
      const isNumber =
        (key === 'retentionDays' || key === 'jobs') && typeof held === 'string' && /^\d+$/.test(held)
      if (key === 'databases' && typeof held === 'object' && held !== null)
        return [key, Object.fromEntries(Object.entries(held).map(([name, one]) => [name, withNumbers(one)]))]
      return [key, isNumber ? Number(held) : held]
    }),
  )
}

function describeIssue(issue: z.core.$ZodIssue, config: unknown): string[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => describeUnknownKey(key, issue.path.map(String), config))
  const place = issue.path.join('.') || 'the file'
  return [`${place}: ${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)}`]
}

function describeUnknownKey(key: string, path: string[], config: unknown): string {
  const nearest = nearestName(key, notifyKeysAt(path, config) ?? keysAt(path))
  const name = [...path, key].join('.')
  return nearest === undefined
    ? `unknown key "${name}"`
    : `unknown key "${name}" (did you mean "${nearest}"?)`
}

/** The keys that may stand at a place of the file. */
function keysAt(path: string[]): string[] {
  const groups: Record<string, z.ZodObject> = {
    s3: s3Schema,
    gcs: gcsSchema,
    azure: azureSchema,
    retention: retentionSchema,
  }
  if (path[0] === 'databases' && path.length === 2) return Object.keys(databaseSchema.shape)
  const group = path.length === 0 ? configSchema : groups[path[0] ?? '']
  return path.length > 1 || !group ? [] : Object.keys(group.shape)
}
