import type {BackupResult} from '../engine/backup/take-backup.js'
import type {Manifest} from '../engine/manifest.js'
import type {PruneResult} from '../engine/prune/prune-result.js'
import {databaseKey} from '../engine/whose.js'
import {DbbakError} from '../support/errors.js'
import type {RunOptions} from './context.js'
import {prune, pruneError} from './prune-backups.js'
import type {RetentionOptions} from './retention-options.js'

/**
 * Applies retention after a backup: where that was stored, to the backups of its database, unasked.
 * @param options of the backup
 * @throws DbbakError that says that the backup is safe, with the backup's document
 */
export async function pruneAfterBackup<Taken extends BackupResult>(
  taken: Taken,
  options: RunOptions & RetentionOptions,
): Promise<Taken & {prune: PruneResult}> {
  const key = databaseKey(taken.backup.database)
  const isSame = (other: Manifest['database']) => databaseKey(other) === key
  const stored = taken.destinations.filter(({status}) => status === 'stored')
  let result: PruneResult
  try {
    result = await prune({...options, from: stored.map(({destination}) => destination), force: true}, () => ({
      only: isSame,
    }))
  } catch (error) {
    throw isSafe(error, taken)
  }
  const document = {...taken, prune: result}
  const error = pruneError(result)
  if (error) throw isSafe(error, document)
  return document
}

/** Whatever became of the retention, the backup is there. */
function isSafe(error: unknown, document: BackupResult): unknown {
  if (!(error instanceof DbbakError)) return error
  const prune = error.details?.document
  const {code, message, suggestions, exitCode, cause} = error
  const isEnding = exitCode >= 130
  return new DbbakError(
    isEnding || exitCode === 8 ? code : 'DESTINATION_FAILED',
    `The backup is complete and safe; retention was not applied to the end: ${message}`,
    {
      cause,
      suggestions: [...suggestions, 'Apply it by itself: dbbak prune --dry-run'],
      details: {document: {...(prune === undefined ? {} : {prune}), ...document}},
    },
  ).during(8)
}
