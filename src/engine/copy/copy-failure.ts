import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError, messageOf, type ErrorCode} from '../../support/errors.js'

/** Where a copy failed: a damaged backup at the source stops itself alone, a full target all that was to go there. */
export type Side = 'source' | 'target'

/** Ends the copy of one backup; never leaves this folder. */
export class CopyFailure extends Error {
  constructor(
    readonly side: Side,
    readonly error: DbbakError,
  ) {
    super(error.message, {cause: error})
  }
}

/** Runs a step at one of the two places, so that its failure is that place's. */
export async function at<T>(side: Side, store: StorageProvider, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw failureAt(side, store, error)
  }
}

export function failureAt(side: Side, store: StorageProvider, error: unknown): CopyFailure {
  if (error instanceof CopyFailure) return error
  if (error instanceof DbbakError) return new CopyFailure(side, error)
  const told = new DbbakError('DESTINATION_FAILED', `${store.describe()}: ${messageOf(error)}`, {
    cause: error,
    suggestions: ['Check the disk or the connection, then run the command again: what was copied stays.'],
  })
  return new CopyFailure(side, told)
}

export const hasErrorCode = (error: unknown, code: ErrorCode): error is CopyFailure =>
  error instanceof CopyFailure && error.error.code === code
