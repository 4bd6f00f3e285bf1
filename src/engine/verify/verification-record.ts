import {z} from 'zod'

/** How far a verification went; each level includes those before it. */
export const verificationLevels = ['checksum', 'archive', 'restore'] as const
export type VerificationLevel = (typeof verificationLevels)[number]

export const checkNames = [
  'file-exists',
  'metadata-valid',
  'checksum-valid',
  'archive-readable',
  'restore-test',
  'data-integrity',
] as const
export type CheckName = (typeof checkNames)[number]

const difference = z.object({kind: z.string(), object: z.string(), expected: z.string(), found: z.string()})

const check = z.object({
  name: z.enum(checkNames),
  status: z.enum(['passed', 'failed', 'could-not-run', 'not-asked']),
  reason: z.string().optional(),
  differences: z.array(difference).optional(),
})

const record = z.object({
  formatVersion: z.literal(1),
  id: z.string(),
  verdict: z.enum(['passed', 'failed', 'could-not-run']),
  level: z.enum(verificationLevels),
  at: z.iso.datetime(),
  /** When the backup last passed a restore test, also where this result, a later one, did not go so far. */
  restoredAt: z.iso.datetime().optional(),
  tool: z.object({name: z.string(), version: z.string()}),
  checks: z.array(check),
  durationMs: z.number().int().nonnegative(),
})

export type Check = z.infer<typeof check>
/** The newest verification result of a backup, kept beside its archive. */
export type VerificationRecord = z.infer<typeof record>

/** Whether the backup has been restored and compared, and nothing found wrong with it since. */
export function hasPassedRestoreTest(
  record: Pick<VerificationRecord, 'verdict' | 'level' | 'restoredAt'> | null | undefined,
): boolean {
  return record?.verdict === 'passed' && (record.level === 'restore' || record.restoredAt !== undefined)
}

export function parseVerification(text: string): VerificationRecord {
  return record.parse(JSON.parse(text))
}

export function serializeVerification(value: VerificationRecord): string {
  return JSON.stringify(record.parse(value), undefined, 2) + '\n'
}
