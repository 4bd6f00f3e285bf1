import type {Content, RetentionBackup} from '../../src/engine/retention/plan.js'
import {defaultPolicy, type RetentionPolicy} from '../../src/engine/retention/policy.js'

export const dayMs = 86_400_000

export type Verified = 'passed' | 'failed' | 'checksum' | 'unreadable' | null

export interface SampleBackup {
  at: string | number
  name?: string
  kind?: 'backup' | 'safety'
  verified?: Verified
  series?: string | null
  content?: Content
}

const records = {
  passed: {level: 'restore', verdict: 'passed'},
  failed: {level: 'archive', verdict: 'failed'},
  checksum: {level: 'checksum', verdict: 'passed'},
  unreadable: 'unreadable',
} as const

export function backupAt({
  at,
  name,
  kind = 'backup',
  verified = null,
  series = null,
  content = 'rows',
}: SampleBackup): RetentionBackup {
  const snapshotMs = typeof at === 'number' ? at : Date.parse(at)
  const id = new Date(snapshotMs).toISOString()
  const verification = verified === null ? null : records[verified]
  return {id, name: name ?? id, kind, snapshotMs, verification, series, content}
}

export const hasFailed = ({verification}: RetentionBackup): boolean =>
  verification !== null && verification !== 'unreadable' && verification.verdict === 'failed'
export const hasPassed = ({verification}: RetentionBackup): boolean =>
  verification !== null &&
  verification !== 'unreadable' &&
  verification.verdict === 'passed' &&
  verification.level === 'restore'

/** It holds less than one before it of the same series that did not fail: no rows, or no tables. */
export function isEmptied(one: RetentionBackup, all: RetentionBackup[]): boolean {
  if (one.content !== 'nothing' && one.content !== 'tables') return false
  return all.some(
    (other) =>
      (other.snapshotMs < one.snapshotMs || (other.snapshotMs === one.snapshotMs && other.name < one.name)) &&
      (other.content === 'rows' || (one.content === 'nothing' && other.content !== 'nothing')) &&
      other.kind === 'backup' &&
      other.series === one.series &&
      !hasFailed(other),
  )
}

/** No rule but those that are given. */
export const policyOf = (rules: Partial<RetentionPolicy>): RetentionPolicy => ({
  ...defaultPolicy,
  keepDays: 0,
  keepVerified: 0,
  ...rules,
})
