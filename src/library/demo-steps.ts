import type {BackupResult} from '../engine/backup/take-backup.js'
import type {AccidentStatement} from '../engine/demo/accident.js'
import type {ShopDifference, ShopState} from '../engine/demo/shop-state.js'
import type {ListResult} from '../engine/list-backups.js'
import type {RestorePlan, RestoreResult} from '../engine/restore/restore-backup.js'
import type {ScratchServer} from '../postgres/scratch/scratch.js'
import type {VerifyResult} from './verify-backups.js'

/** What each step of the demo found out. */
export interface DemoFacts {
  server: {server: DemoServer; backupFolder: string}
  shop: {database: DemoDatabase; state: ShopState}
  backup: {result: BackupResult}
  list: {result: ListResult}
  verify: {result: VerifyResult}
  accident: {statements: AccidentStatement[]}
  damage: {differences: ShopDifference[]}
  restore: {result: RestoreResult}
  proof: {before: ShopState; after: ShopState; differences: ShopDifference[]}
}

export type DemoStepName = keyof DemoFacts

/** The steps in their order, and what a user types for them; null where dbbak has no part in it. */
export const demoCommands: Record<DemoStepName, string | null> = {
  server: null,
  shop: null,
  backup: 'dbbak backup',
  list: 'dbbak list',
  verify: 'dbbak verify --latest',
  accident: null,
  damage: null,
  restore: 'dbbak restore --latest --verify',
  proof: null,
}

export interface DemoServer {
  kind: ScratchServer['kind']
  major: number
  /** "PostgreSQL 15.18 on this machine (/usr/lib/postgresql/15/bin)" */
  description: string
}

export interface DemoDatabase {
  name: string
  tables: number
  rows: number
  bytes: number
}

/** A step that went well: its name, what a user types for it, how long it took, what it found out. */
export type DemoStep = {
  [Name in DemoStepName]: {name: Name; command: string | null; durationMs: number} & DemoFacts[Name]
}[DemoStepName]

/** Told of the steps while they happen; all members are optional. */
export interface DemoStory {
  stepStarted?(step: {name: DemoStepName; command: string | null}): void
  stepEnded?(step: DemoStep): void
  /** The restore shows what it is about to replace; the demo agrees to it as a user would by typing RESTORE. */
  restoreConfirmed?(plan: RestorePlan): void
}

/** What the demo measured. */
export interface DemoMeasures {
  rows: number
  databaseBytes: number
  backupBytes: number
  backupMs: number
  verifyMs: number
  restoreMs: number
  /** From the command to a checked database, its safety backup included. */
  rtoSeconds: number
  totalMs: number
}

export interface DemoResult {
  steps: DemoStep[]
  server: DemoServer
  database: DemoDatabase
  measured: DemoMeasures
  /** The database is what it was before the accident, down to every row and definition; else the demo fails. */
  recovered: boolean
}
