import {z} from 'zod'
import {DbbakError} from '../support/errors.js'
import {nearestName} from '../support/nearest-name.js'

/** A config file's settings, as documented for people and, through {@link configJsonSchema}, for editors. */
export const configSchema = z.strictObject({
  $schema: z.string().optional().describe('Where editors find the schema of this file.'),
  databaseUrl: z.string().min(1).optional().describe('The database to back up and to restore into.'),
  testDatabaseUrl: z
    .string()
    .min(1)
    .optional()
    .describe('A server (and database) for restore tests; never production.'),
  backupDir: z
    .string()
    .min(1)
    .optional()
    .describe('The local destination; a relative path starts at this file.'),
  to: z.array(z.string().min(1)).min(1).optional().describe('The destinations of a backup: folders or URLs.'),
  retentionDays: z
    .number()
    .int()
    .positive()
    .optional()
    .describe('Age in days after which prune removes backups.'),
  pgBin: z.string().min(1).optional().describe('The folder with pg_dump, pg_restore and psql.'),
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
  name: z
    .string()
    .min(1)
    .optional()
    .describe("What backups' names begin with, instead of the database's name."),
  label: z.string().min(1).optional().describe('A remark that is kept in the manifest.'),
  lockTimeout: z.string().min(1).optional().describe('How long to wait for a locked table, for example 30s.'),
  cacheDir: z.string().min(1).optional().describe('Where downloaded server programs are kept.'),
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
  const faults = parsed.error.issues.flatMap(describeIssue)
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
      return [key, isNumber ? Number(held) : held]
    }),
  )
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map(describeUnknownKey)
  const place = issue.path.join('.') || 'the file'
  return [`${place}: ${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)}`]
}

function describeUnknownKey(key: string): string {
  const nearest = nearestName(key, Object.keys(configSchema.shape))
  return nearest === undefined ? `unknown key "${key}"` : `unknown key "${key}" (did you mean "${nearest}"?)`
}
