import type {BackupResult, ListResult, VerifyResult} from '../index.js'
import type {CopyResult} from '../library/copy-backups.js'
import type {PruneResult} from '../library/prune-backups.js'
import {formatAge, formatBytes, formatCountOf, formatDuration} from './format.js'

/** A backup, or a plan of one, with what followed it. */
export function backupFacts(result: unknown): string {
  const {backup, bytes, durationMs, prune} = result as Partial<BackupResult> & {prune?: PruneResult}
  if (!backup) return 'planned'
  const rows = backup.content.level === 'none' ? [] : [formatCountOf(backup.content.rowCount, 'row')]
  const pruned = prune === undefined ? [] : [`${prune.removed.length} removed`]
  return [backup.id, formatBytes(bytes ?? 0), ...rows, formatDuration(durationMs ?? 0), ...pruned].join(', ')
}

export function verifyFacts(result: unknown): string {
  const {results} = result as VerifyResult
  const tested = results.filter(({level}) => level === 'restore').length
  return `${formatCountOf(results.length, 'backup')} passed, ${tested === 0 ? 'none' : tested} by a restore test`
}

export function pruneFacts(result: unknown): string {
  const {removed, kept, leftovers, bytesFreed, dryRun} = result as PruneResult
  const would = dryRun ? 'would be ' : ''
  return [
    `${removed.length} ${would}removed`,
    `${kept.length} kept`,
    ...(leftovers.length > 0 ? [formatCountOf(leftovers.length, 'leftover')] : []),
    `${formatBytes(bytesFreed)} ${would}freed`,
  ].join(', ')
}

export function listFacts(result: unknown): string {
  const {backups, problems} = result as ListResult
  const [newest] = backups
  return [
    formatCountOf(backups.length, 'backup'),
    ...(newest ? [`the newest ${formatAge(newest.ageSeconds)} old: ${newest.name}`] : []),
    ...(problems.length > 0 ? [`${problems.length} damaged or incomplete`] : []),
  ].join(', ')
}

export function copyFacts(result: unknown): string {
  const {copies, bytes, dryRun} = result as CopyResult
  const done = copies.filter(({status}) => status === (dryRun ? 'would-copy' : 'copied')).length
  const skipped = copies.filter(({status}) => status === 'skipped').length
  return [
    `${formatCountOf(done, 'copy', 'copies')} ${dryRun ? 'would be made' : 'made'}`,
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
    formatBytes(bytes),
  ].join(', ')
}
