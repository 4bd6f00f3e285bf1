import type {ToolSearch} from '../../postgres/client-tools.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import type {StorageProvider} from '../../storage/provider.js'
import type {Clock} from '../../support/clock.js'
import type {Events, StageResult} from '../events.js'
import type {Finding} from './findings.js'
import type {StrategyName} from './choose-strategy.js'
import type {Part} from './part/part.js'
import type {CriticalTable} from './table-checks.js'
import type {TargetContent} from './target.js'

export interface RestoreRequest {
  /** Compare row counts and sequences with the content record too. */
  verify: boolean
  strategy: 'auto' | StrategyName
  /** Tables and indexes restored at a time; undefined: as the backup's shape suggests. */
  jobs: number | undefined
  /** The former content stays, in a database beside the target (swap only). */
  keepOld: boolean
  /** Only these schemas and tables; undefined: everything. */
  part: Part | undefined
  /** Also into an older server than the backup's. */
  forceVersion: boolean
  /** Make the roles that the backup's globals hold and the server lacks. */
  globals: boolean
  noOwner: boolean
  noPrivileges: boolean
  terminateConnections: boolean
  criticalTables: CriticalTable[]
  safetyBackup: boolean
  analyze: boolean
  /** Waits so long for a lock that another session holds on something in the target. */
  lockTimeoutMs: number
  /** Preflight and verify only; changes nothing. */
  dryRun: boolean
}

/** Proof that somebody who may do so agreed; only a confirmation makes one. */
export interface Consent {
  readonly by: 'typed' | 'flag'
}

/** What the user is shown before agreeing. */
export interface RestorePlan {
  backup: {id: string; snapshotAt: string; database: string; tables: number; rows: number; bytes: number}
  target: {host: string; port: number; database: string; description: string}
  targetContent: TargetContent
  strategy: StrategyName
  strategyReason: string
  findings: Finding[]
  safetyBackup: boolean
}

/** What makes everything ready once it was agreed to, before anything is changed: a maintenance mode, for one. */
export interface Preparation {
  run: (plan: RestorePlan) => Promise<void>
  /** Sessions of others may be there until then; who is still there afterwards stops the restore. */
  mayEndSessions: boolean
}

export interface RestoreDeps {
  connection: ConnectionDescription
  search: ToolSearch
  /** Where the safety backup goes. */
  safetyStore: StorageProvider
  /** Opens the destination that a journal names. */
  openStore: (destination: string) => Promise<StorageProvider>
  /** @throws DbbakError CANCELLED, CONFIRMATION_REQUIRED */
  confirm: (plan: RestorePlan) => Promise<Consent>
  prepare?: Preparation | undefined
  events: Events
  clock: Clock
  version: string
  signal: AbortSignal
}

export interface RestoreResult {
  backup: {id: string}
  target: {host: string; port: number; database: string}
  /** `auto` where the restore ended before one was chosen. */
  strategy: 'auto' | StrategyName
  strategyReason: string
  stages: StageResult[]
  findings: Finding[]
  safetyBackup: {id: string; destination: string; bytes: number} | null
  targetState: TargetState
  /** The former content, under this name on the same server; null where it is gone. */
  oldDatabase: string | null
  /** For so long nobody could connect; null where it was not measured. */
  lockedOutMs: number | null
  dryRun: boolean
  /** What would be done; of a dry run only. */
  plan?: RestorePlan
}

export type TargetState = 'restored' | 'unchanged' | 'rolled-back' | 'unknown'
