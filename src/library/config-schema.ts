import {z} from 'zod'
import {parseDuration} from '../support/duration.js'
import {DbbakError} from '../support/errors.js'
import {nearestName} from '../support/nearest-name.js'
import {
  pieceOf,
  startsWith,
  unsetError,
  without,
  type FilledConfig,
  type UnsetVariable,
} from './config-text.js'
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

function isTimeZone(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', {timeZone})
    return true
  } catch {
    return false
  }
}

function isDuration(time: string): boolean {
  try {
    return parseDuration(time, 'it') > 0
  } catch {
    return false
  }
}

const retentionSchema = z.strictObject({
  days: rule.describe('Keep those that are newer; instead of retentionDays.'),
  last: rule.describe('Keep the newest so many.'),
  daily: rule.describe('Keep the newest of each of the last so many days that have backups.'),
  weekly: rule.describe('The same by weeks.'),
  monthly: rule.describe('The same by months.'),
  yearly: rule.describe('The same by years.'),
  verified: rule.describe('Keep the newest so many that passed a restore test.'),
  safetyDays: z.number().int().positive().optional().describe('Keep safety backups that are newer.'),
  timeZone: text
    .refine(isTimeZone, 'is no time zone')
    .optional()
    .describe('Where days begin: Europe/Berlin; by default UTC.'),
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
  globals: z
    .boolean()
    .optional()
    .describe("Backups hold the server's roles and tablespaces too, without password hashes."),
  maxAge: text
    .refine(isDuration, 'is no time, such as 26h')
    .optional()
    .describe('How old the newest backup may be, for example 26h.'),
  maxVerifiedAge: text
    .refine(isDuration, 'is no time, such as 8d')
    .optional()
    .describe('How old the newest backup that passed a restore test may be, for example 8d.'),
  maxSizeChange: z
    .string()
    .regex(/^\d+(\.\d+)?\s*%$/, 'expected a percentage, such as 50%')
    .optional()
    .describe('By how much the newest backup may differ from those before it, for example 50%.'),
  notifications: notificationsSchema.optional(),
  hooks: hooksSchema.optional(),
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
  ignore: z
    .array(text)
    .optional()
    .describe(
      'Databases that are backed up no more, for status: NAME, NAME@HOST:PORT or NAME@SYSTEM-IDENTIFIER.',
    ),
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
})

export type Config = z.infer<typeof configSchema>

/** The schema that editors use to complete and check config files. */
export function configJsonSchema(): Record<string, unknown> {
  return {...z.toJSONSchema(configSchema), title: 'dbbak config file'}
}

/**
 * Checks what a config file holds. What is to come from a variable that is not set is left out; whoever needs it finds
 * it among the unset.
 * @param file where it came from, for the message
 * @throws DbbakError CONFIG_INVALID that names every fault, and never a value
 */
export function parseConfig({value, unset}: FilledConfig, file: string): Config {
  const parsed = parseTyped(value ?? {})
  if (parsed.success) return parsed.data
  const {issues} = parsed.error
  const real = issues.filter((issue) => !isOfUnset(issue, unset))
  if (real.length === 0 && unset.length > 0)
    return parseWithout(piecesAt(issues, unset), {value, unset}, file)
  const faults = (real.length > 0 ? real : issues).flatMap((issue) => describeIssue(issue, value))
  throw new DbbakError('CONFIG_INVALID', `${file} is not a valid config file: ${faults.join('; ')}.`, {
    suggestions: [`Correct ${file}, then see what is in force: dbbak doctor`],
  })
}

/** A text that is not filled in yet is no number, and none of a few words. */
function parseWithout(places: string[][], {value, unset}: FilledConfig, file: string): Config {
  const parsed = parseTyped(without(value, places))
  if (parsed.success) return parsed.data
  throw unsetError(unset[0] as UnsetVariable, file)
}

function piecesAt(issues: z.core.$ZodIssue[], unset: UnsetVariable[]): string[][] {
  return unset.filter((one) => issues.some((issue) => isOfUnset(issue, [one]))).map(({path}) => pieceOf(path))
}

function isOfUnset(issue: z.core.$ZodIssue, unset: UnsetVariable[]): boolean {
  const path = issue.path.map(String)
  return issue.code !== 'unrecognized_keys' && unset.some((one) => startsWith(one.path, path))
}

/** What is taken from the environment arrives as text, where a number or a yes or no is meant. */
function parseTyped(value: unknown) {
  const parsed = configSchema.safeParse(value)
  if (parsed.success) return parsed
  return configSchema.safeParse(
    parsed.error.issues.reduce<unknown>(
      (changed, issue) =>
        issue.code === 'invalid_type'
          ? changedAt(changed, issue.path, (held) => typed(held, issue.expected))
          : changed,
      value,
    ),
  )
}

function typed(held: unknown, expected: string): unknown {
  if (typeof held !== 'string') return held
  if (expected === 'number' && /^\d+$/.test(held)) return Number(held)
  return expected === 'boolean' && /^(true|false)$/.test(held) ? held === 'true' : held
}

function changedAt(
  value: unknown,
  path: readonly PropertyKey[],
  change: (held: unknown) => unknown,
): unknown {
  const [key, ...rest] = path
  if (key === undefined) return change(value)
  if (Array.isArray(value))
    return value.map((item: unknown, at) => (at === key ? changedAt(item, rest, change) : item))
  if (typeof value !== 'object' || value === null) return value
  const held = value as Record<PropertyKey, unknown>
  return {...held, [key]: changedAt(held[key], rest, change)}
}

function describeIssue(issue: z.core.$ZodIssue, config: unknown): string[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => describeUnknownKey(key, issue.path.map(String), config))
  const place = issue.path.join('.') || 'the file'
  return [`${place}: ${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)}`]
}

function describeUnknownKey(key: string, path: string[], config: unknown): string {
  const nearest = nearestName(key, keysAt(path, config))
  const name = [...path, key].join('.')
  return nearest === undefined
    ? `unknown key "${name}"`
    : `unknown key "${name}" (did you mean "${nearest}"?)`
}

/** The keys that may stand at a place of the file: what one database may have of its own is as at the top. */
function keysAt(path: string[], config: unknown): string[] {
  const isOwn = path[0] === 'databases'
  const own = isOwn ? path.slice(2) : path
  const scope = isOwn ? (config as {databases?: Record<string, unknown>}).databases?.[path[1] ?? ''] : config
  const [group, ...deeper] = own
  if (group === undefined) return Object.keys((isOwn ? databaseSchema : configSchema).shape)
  const groups: Record<string, z.ZodObject> = {
    s3: s3Schema,
    gcs: gcsSchema,
    azure: azureSchema,
    retention: retentionSchema,
  }
  return notifyKeysAt(own, scope) ?? (deeper.length > 0 ? [] : Object.keys(groups[group]?.shape ?? {}))
}
