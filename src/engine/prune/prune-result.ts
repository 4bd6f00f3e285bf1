import type {Manifest} from '../manifest.js'
import type {ErrorCode} from '../../support/errors.js'

export interface PrunedBackup {
  id: string
  /** The archive's. */
  name: string
  destination: string
  database: string
  kind: Manifest['kind']
  snapshotAt: string
  /** Of all its objects, the manifest too. */
  bytes: number
  /** Why it is kept, or removed. */
  reasons: string[]
}

/** What a failed or cut-off run left, that is or would be removed. */
export interface PrunedLeftover {
  name: string
  destination: string
  bytes: number
  modifiedAt: string
  reason: string
}

/** A manifest that does not make a backup: never removed, never counted. */
export interface PruneProblem {
  name: string
  destination: string
  code: ErrorCode
  message: string
}

/** What a retention or hold of the destination's own holds on to. */
export interface LockedObject {
  /** Of the backup it belongs to; null for a leftover. */
  id: string | null
  /** The archive of a backup that stays whole, or the object whose removal was refused. */
  name: string
  destination: string
  /** When it ends by itself; null where it does not, or the destination does not say. */
  until: string | null
  reason: string
}

/** What could not be found out, for want of permission. */
export interface PruneWarning {
  destination: string
  message: string
}

export interface PruneFailure {
  /** Of the backup; null for a leftover. */
  id: string | null
  /** The object that could not be removed, or the archive of a backup that was left alone. */
  name: string
  destination: string
  error: {code: ErrorCode; message: string; suggestions: string[]}
}

/** What was, or (with `dryRun`) would be done. */
export interface PruneResult {
  /** Where, in the order of the work. */
  from: string[]
  /** Newest first, at each destination. */
  kept: PrunedBackup[]
  /** Newest first, at each destination. */
  removed: PrunedBackup[]
  leftovers: PrunedLeftover[]
  problems: PruneProblem[]
  /** Not an error: they go when their retention ends. */
  locked: LockedObject[]
  failed: PruneFailure[]
  warnings: PruneWarning[]
  /** Destinations that keep what is removed as older versions, which take their room until a rule of the store ends them. */
  keepsVersions: string[]
  bytesFreed: number
  dryRun: boolean
}

export const emptyResult = (dryRun: boolean): PruneResult => ({
  from: [],
  kept: [],
  removed: [],
  leftovers: [],
  problems: [],
  locked: [],
  failed: [],
  warnings: [],
  keepsVersions: [],
  bytesFreed: 0,
  dryRun,
})
