import {explained} from '../../postgres/query-errors.js'
import {DbbakError, messageOf, systemCode, type ErrorCode} from '../../support/errors.js'
import type {RestoreResult, TargetState} from './restore-request.js'
import type {StageRecorder} from './stages.js'
import type {Replacement} from './strategies/replacement.js'

/**
 * What was restored has not become true: taking it back leaves the target as it was. Only where nobody can tell
 * whether it did is there nothing that this could do.
 */
export async function rollBack(
  error: unknown,
  replacement: Replacement,
  stages: StageRecorder,
): Promise<TargetState> {
  if (error instanceof DbbakError && error.code === 'ROLLBACK_FAILED') {
    stages.fail('rollback', error.message)
    return 'unknown'
  }
  try {
    await stages.run('rollback', () => replacement.undo())
  } catch (failure) {
    throw afterFirst(failure, error)
  }
  return 'rolled-back'
}

/** A rollback that failed is the news; why it was needed is said too. */
function afterFirst(failure: unknown, first: unknown): unknown {
  if (!(failure instanceof DbbakError)) return failure
  const {code, message, suggestions, cause, details} = failure
  return new DbbakError(code, `${message} It was needed because the restore failed: ${messageOf(first)}`, {
    suggestions,
    cause,
    ...(details ? {details} : {}),
  })
}

/** What a failed or interrupted restore ends with: why, and what the target is now. */
export function failureOf(
  error: unknown,
  state: TargetState,
  safety: RestoreResult['safetyBackup'],
  signal: AbortSignal,
): unknown {
  const thrown = explained(error, 'restoring')
  if (signal.aborted && state !== 'unknown') return interrupted(thrown, state, signal)
  // What is not ours and not the system's is a bug, and shown as one.
  if (!(thrown instanceof Error) || (!(thrown instanceof DbbakError) && !systemCode(thrown))) return thrown
  if (state === 'rolled-back') return failed(thrown, state)
  if (!(thrown instanceof DbbakError)) return thrown
  if (state === 'unknown') return actNow(thrown, safety)
  return thrown.code === 'RESTORE_FAILED' ? failed(thrown, state) : thrown
}

const stateSentence: Record<TargetState, string> = {
  unchanged: 'Nothing was changed.',
  'rolled-back': 'The target is as it was before.',
  restored: 'The target holds the backup.',
  unknown: '',
}

function interrupted(thrown: unknown, state: TargetState, {reason}: AbortSignal): DbbakError {
  const code: ErrorCode = reason instanceof DbbakError ? reason.code : 'INTERRUPTED'
  const how = code === 'TERMINATED' ? 'Terminated' : 'Interrupted'
  const details = thrown instanceof DbbakError ? thrown.details : undefined
  return new DbbakError(code, `${how}. ${stateSentence[state]}`, {
    cause: reason,
    ...(details ? {details} : {}),
  })
}

/** Whatever it was that failed, after a rollback it is the restore that failed, and nothing else. */
function failed(error: Error, state: TargetState): DbbakError {
  const message = `${error.message.replace(/[.\s]*$/, '.')} ${stateSentence[state]}`
  if (!(error instanceof DbbakError)) return new DbbakError('RESTORE_FAILED', message, {cause: error})
  const code = error.during(6).exitCode === 6 ? error.code : 'RESTORE_FAILED'
  const {suggestions, details, cause} = error
  return new DbbakError(code, message, {
    suggestions,
    cause: code === error.code ? cause : error,
    ...(details ? {details} : {}),
  }).during(6)
}

function actNow(error: DbbakError, safety: RestoreResult['safetyBackup']): DbbakError {
  const back = safety
    ? [
        `Or put back what was there before: dbbak restore ${safety.id} --from ${safety.destination} --force --no-safety-backup`,
      ]
    : []
  return new DbbakError(error.code, error.message, {
    suggestions: [...error.suggestions, 'Restore the backup again, by the same command.', ...back],
    cause: error.cause,
    ...(error.details ? {details: error.details} : {}),
  })
}
