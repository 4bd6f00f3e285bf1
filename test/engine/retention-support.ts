import type {RetentionBackup} from '../../src/engine/retention/plan.js'
import {defaultPolicy, type RetentionPolicy} from '../../src/engine/retention/policy.js'

export const dayMs = 86_400_000

export type Verified = 'passed' | 'failed' | 'checksum' | null

export interface SampleBackup {
  at: string | number
  name?: string
  kind?: 'backup' | 'safety'
  verified?: Verified
  series?: string | null
}

const records = {
  passed: {level: 'restore', verdict: 'passed'},
  failed: {level: 'archive', verdict: 'failed'},
  checksum: {level: 'checksum', verdict: 'passed'},
} as const

export function backupAt({
  at,
  name,
  kind = 'backup',
  verified = null,
  series = null,
}: SampleBackup): RetentionBackup {
  const snapshotMs = typeof at === 'number' ? at : Date.parse(at)
  const id = new Date(snapshotMs).toISOString()
  const verification = verified === null ? null : records[verified]
  return {id, name: name ?? id, kind, snapshotMs, verification, series}
}

/** No rule but those that are given. */
export const policyOf = (rules: Partial<RetentionPolicy>): RetentionPolicy => ({
  ...defaultPolicy,
  keepDays: 0,
  keepVerified: 0,
  ...rules,
})
