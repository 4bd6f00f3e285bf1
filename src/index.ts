/**
 * The library: what `import … from 'dbbak'` gives. The command line is built on nothing else.
 *
 *     import {DatabaseBackup} from 'dbbak'
 *     const backup = new DatabaseBackup({format: 'custom', compress: true, retention: 30, upload: false})
 *     const result = await backup.createBackup()
 */
export {DatabaseBackup, type DatabaseBackupOptions} from './library/database-backup.js'
export {takeBackup, planBackupOf, type BackupOptions} from './library/take-backup.js'
export {listBackups, type ListOptions} from './library/list-backups.js'
export {
  verifyBackups,
  verificationError,
  type VerifyOptions,
  type VerifyResult,
  type VerifiedBackup,
} from './library/verify-backups.js'
export {
  pruneBackups,
  pruneError,
  type LockedObject,
  type PrunedBackup,
  type PrunedLeftover,
  type PruneFailure,
  type PruneOptions,
  type PruneProblem,
  type PruneResult,
  type PruneWarning,
  type RetentionOptions,
} from './library/prune-backups.js'
export {
  copyBackups,
  copyError,
  type BackupCopy,
  type CopyOptions,
  type CopyResult,
} from './library/copy-backups.js'
export {restoreBackup, type RestoreOptions} from './library/restore-backup.js'
export {
  initialise,
  type Artefact,
  type InitOptions,
  type InitResult,
  type Variable,
  type WrittenFile,
} from './library/init/index.js'
export {
  chosenDatabases,
  fleetError,
  forEachDatabase,
  type FleetChoice,
  type FleetResult,
  type FleetRun,
} from './library/fleet.js'
export {
  status,
  statusError,
  type BackupFacts,
  type DatabaseStatus,
  type DrillRecord,
  type HistoryEntry,
  type Severity,
  type StatusCode,
  type StatusFinding,
  type StatusOptions,
  type StatusResult,
  type VerifiedFacts,
} from './library/status.js'
export {testNotifications, type ChannelTest} from './library/notices.js'
export type {NotificationsConfig} from './notify/config.js'
export type {HooksConfig} from './library/hooks.js'
export {runDemo, type DemoOptions} from './library/demo.js'
export type {
  DemoDatabase,
  DemoMeasures,
  DemoResult,
  DemoServer,
  DemoStep,
  DemoStepName,
  DemoStory,
} from './library/demo-steps.js'
export type {DemoScratch} from './library/demo-server.js'
export {diagnose, diagnosisError, type DoctorOptions, type Diagnosis} from './library/diagnose.js'
export type {RunOptions} from './library/context.js'

export type {BackupResult, DestinationResult} from './engine/backup/take-backup.js'
export type {BackupPlan} from './engine/backup/plan-backup.js'
export type {ListResult, ListedBackup} from './engine/list-backups.js'
export type {RestorePlan, RestoreResult} from './engine/restore/restore-backup.js'
export type {Finding} from './engine/restore/findings.js'
export type {
  Check,
  CheckName,
  VerificationLevel,
  VerificationRecord,
} from './engine/verify/verification-record.js'
export type {Verdict} from './engine/verify/verify-backup.js'
export type {ContentRecord, Manifest, SequenceRecord, TableRecord} from './engine/manifest.js'
export type {Difference} from './engine/content/compare-content.js'
export type {AccidentStatement} from './engine/demo/accident.js'
export type {ShopDifference, ShopState, TableState} from './engine/demo/shop-state.js'
export type {DoctorCheck} from './engine/doctor/diagnosis.js'
export type {ByteProgress, Events, StageName, StageResult, StageStatus} from './engine/events.js'
export type {Download, ScratchKind} from './postgres/scratch/scratch.js'
export {DbbakError, errorCodes, exitStatus, type ErrorCode, type ExitCode} from './support/errors.js'
