import {hasPassedRestoreTest, type VerificationRecord} from '../verify/verification-record.js'

/** What the rules look at in a backup. */
export interface RetentionBackup {
  /** In the result; two archives of one moment in different formats share it. */
  id: string
  /** The archive's name, which nothing else at the destination has. */
  name: string
  kind: 'backup' | 'safety'
  /** Of the snapshot, in milliseconds since 1970. */
  snapshotMs: number
  /** Its newest result, if it was ever verified. */
  verification: Pick<VerificationRecord, 'level' | 'verdict' | 'restoredAt'> | 'unreadable' | null
  /** What was selected, in any words that are the same for the same selection; null for all of the database. */
  series: string | null
  content: Content
}

/** The most that a backup holds: rows, or tables without any; `uncounted` are tables of whose rows nobody knows. */
export type Content = 'rows' | 'tables' | 'nothing' | 'uncounted'

/** @param backups newest first, as everywhere below */
export type Series<B> = B[]

/**
 * Of one series, which take no place from the others, and why.
 *
 * - Those that failed their verification: they are broken.
 * - Those whose result cannot be read: they may be.
 * - Those that hold nothing where an older one, which is not known to be broken, holds something: somebody has emptied
 *   the database, or what is dumped is another. If it is meant to be empty, nothing is lost by keeping more.
 */
export function faultsOf<B extends RetentionBackup>(backups: Series<B>): Map<B, string> {
  const faults = new Map<B, string>()
  let most = 0
  for (const backup of backups.toReversed()) {
    const {verification, content} = backup
    if (isFailed(backup)) faults.set(backup, 'its verification failed')
    else if (verification === 'unreadable') faults.set(backup, 'its verification result cannot be read')
    else if (atMost[content] < most) faults.set(backup, 'it is empty, and one before it is not')
    if (!isFailed(backup)) most = Math.max(most, atLeast[content])
  }
  return faults
}

const atLeast = {nothing: 0, tables: 1, uncounted: 1, rows: 2}
const atMost = {nothing: 0, tables: 1, uncounted: 2, rows: 2}

const isFailed = ({verification}: RetentionBackup): boolean =>
  verification !== 'unreadable' && verification?.verdict === 'failed'

export const hasPassed = ({verification}: RetentionBackup): boolean =>
  verification !== 'unreadable' && hasPassedRestoreTest(verification)

/**
 * Of one series what always stays, and why.
 * @param hasNewestOfAll no other series has a newer one
 */
export function newestOf<B extends RetentionBackup>(
  backups: Series<B>,
  faults: Map<B, string>,
  hasNewestOfAll: boolean,
): Map<B, string> {
  const what = `the newest ${backups[0]?.series === null ? 'of the whole database' : 'of its selection'}`
  const isGood = (backup: B) => !faults.has(backup)
  const isSound = (backup: B) => !isFailed(backup) && backup.verification !== 'unreadable'
  const candidates: [B | undefined, string][] = [
    [backups[0], hasNewestOfAll ? 'the newest, which always stays' : what],
    [backups.find(isSound), `${hasNewestOfAll ? 'the newest' : what} that did not fail its verification`],
    [backups.find(isGood), 'the newest that is not empty'],
    [backups.find((backup) => isGood(backup) && hasPassed(backup)), 'the newest that passed a restore test'],
    // Where all that held anything have failed, or nobody counts any more.
    [backups.find(({content}) => content === 'rows'), 'the newest that is known to hold rows'],
  ]
  const anchors = new Map<B, string>()
  for (const [backup, reason] of candidates)
    if (backup !== undefined && !anchors.has(backup)) anchors.set(backup, reason)
  return anchors
}
