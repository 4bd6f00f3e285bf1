import {z} from 'zod'
import {DbbakError} from '../support/errors.js'

/** The only format version this dbbak writes and reads. */
export const formatVersion = 1

const count = z.number().int().nonnegative()
const time = z.iso.datetime()
/** Numbers that can pass 2^53 travel as strings. */
const bigNumber = z.string().regex(/^-?\d+$/)

/** A name that stays inside the destination: relative, no empty, `.` or `..` part, no control characters. */
export const safePath = z
  .string()
  .min(1)
  .max(1024)
  .refine((path) => isSafePath(path), {message: 'leads outside the destination or is not a plain name'})

export function isSafePath(path: string): boolean {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f\\]/.test(path) || path.startsWith('/') || /^[A-Za-z]:/.test(path))
    return false
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
}

const table = z.object({
  schema: z.string(),
  name: z.string(),
  /** Exact, in the dump's snapshot; null where rows are not counted (foreign tables). */
  rows: count.nullable(),
  bytes: count,
  checksum: z.string().nullable(),
  /** The dump holds the definition only (--exclude-table-data, foreign and extension tables). */
  dataExcluded: z.boolean().optional(),
})

const sequence = z.object({
  schema: z.string(),
  name: z.string(),
  lastValue: bigNumber,
  isCalled: z.boolean(),
  /** Begins again at its other end; absent where it does not. */
  cycles: z.boolean().optional(),
  /** Sequences are not part of a snapshot: where one moved during the dump, its value before it. */
  movedFrom: z.object({lastValue: bigNumber, isCalled: z.boolean()}).optional(),
})

const contentRecord = z.object({
  level: z.enum(['counts', 'checksums', 'none']),
  tables: z.array(table),
  tableCount: count,
  rowCount: count,
  materializedViews: z
    .array(z.object({schema: z.string(), name: z.string(), populated: z.boolean()}))
    .optional(),
  sequences: z.array(sequence),
  extensions: z.array(z.object({name: z.string(), version: z.string()})),
  largeObjects: count,
  /** All roles that the dump names. */
  roles: z.array(z.string()),
  /** Those of them that own something in it. */
  owners: z.array(z.string()).optional(),
})

const selection = z.object({
  schemas: z.array(z.string()).optional(),
  excludeSchemas: z.array(z.string()).optional(),
  tables: z.array(z.string()).optional(),
  excludeTables: z.array(z.string()).optional(),
  excludeTableData: z.array(z.string()).optional(),
})

const manifestSchema = z.object({
  formatVersion: z.literal(formatVersion),
  id: z
    .string()
    .min(1)
    .max(300)
    .refine((id) => isSafePath(id) && !id.includes('/'), {message: 'is not a plain name'}),
  kind: z.enum(['backup', 'safety']),
  tool: z.object({name: z.string(), version: z.string()}),
  startedAt: time,
  snapshotAt: time,
  finishedAt: time,
  durationMs: count,
  label: z.string().nullable(),
  database: z.object({
    name: z.string(),
    host: z.string(),
    port: count,
    serverVersion: z.string(),
    systemIdentifier: z.string().nullable(),
    encoding: z.string(),
    collate: z.string().nullable(),
    ctype: z.string().nullable(),
    localeProvider: z.string(),
    /** ICU or builtin locale, where the provider is one of those. */
    locale: z.string().nullable().optional(),
    owner: z.string(),
    sizeBytes: count,
  }),
  client: z.object({pgDumpVersion: z.string()}),
  format: z.enum(['custom', 'plain', 'directory']),
  compression: z.object({
    algorithm: z.enum(['zstd', 'gzip', 'lz4', 'none']),
    level: z.number().int().nullable(),
    by: z.enum(['dbbak', 'pg_dump']),
  }),
  encryption: z
    .object({method: z.enum(['age', 'gpg']), recipients: z.array(z.string()).optional()})
    .nullable(),
  selection: selection.nullable(),
  files: z.array(z.object({path: safePath, bytes: count, sha256: z.string().regex(/^[0-9a-f]{64}$/)})).min(1),
  uncompressedBytes: count,
  content: contentRecord,
})

export type Manifest = z.infer<typeof manifestSchema>
export type ContentRecord = z.infer<typeof contentRecord>
export type TableRecord = z.infer<typeof table>
export type SequenceRecord = z.infer<typeof sequence>
export type Selection = z.infer<typeof selection>
export type BackupFormat = Manifest['format']
export type Compression = Manifest['compression']
export type ArchiveFile = Manifest['files'][number]

/** A manifest is small; one that is not is not read into memory (64 MiB is some 300,000 tables). */
export const maxManifestBytes = 64 * 1024 * 1024

/**
 * Reads a manifest, trusting nothing in it.
 * @param name where it came from, for the message
 * @throws DbbakError MANIFEST_INVALID, MANIFEST_VERSION_UNKNOWN
 */
export function parseManifest(text: string, name: string): Manifest {
  const value = parseJson(text, name)
  const version = (value as {formatVersion?: unknown} | null)?.formatVersion
  if (typeof version === 'number' && version !== formatVersion) {
    throw new DbbakError(
      'MANIFEST_VERSION_UNKNOWN',
      `${name} has manifest format ${version}; this dbbak reads format ${formatVersion}.`,
      {suggestions: ['Use a newer dbbak: npm install --global dbbak@latest']},
    )
  }
  const parsed = manifestSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const place = issue?.path.join('.') || 'the document'
  const what = issue?.message ?? 'not a manifest'
  throw invalid(name, what.endsWith('received undefined') ? `${place} is missing` : `${place}: ${what}`)
}

export function serializeManifest(manifest: Manifest): string {
  return JSON.stringify(manifestSchema.parse(manifest), undefined, 2) + '\n'
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw invalid(name, 'it is not JSON', cause)
  }
}

function invalid(name: string, what: string, cause?: unknown): DbbakError {
  return new DbbakError('MANIFEST_INVALID', `${name} is not a valid manifest: ${what}.`, {
    cause,
    suggestions: [
      'Use another backup: dbbak list',
      'The archive itself can still be restored by hand; see "Recovery without dbbak" in the README.',
    ],
  })
}
