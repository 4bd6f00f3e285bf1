import type {BackupResult} from '../engine/backup/take-backup.js'
import type {ListResult} from '../engine/list-backups.js'
import {DbbakError} from '../support/errors.js'
import type {RunOptions} from './context.js'
import {listBackups} from './list-backups.js'
import {takeBackup, type BackupOptions} from './take-backup.js'
import {verifyBackups, type VerifyOptions, type VerifyResult} from './verify-backups.js'

export interface DatabaseBackupOptions extends Omit<BackupOptions, 'compress'> {
  /** true: zstd; false: none; or as on the command line (`gzip:9`). */
  compress?: boolean | string
  /** Days after which `prune` removes backups. */
  retention?: number
}

/**
 * Backups of one database with one set of options.
 *
 *     const backup = new DatabaseBackup({format: 'custom', compress: true, retention: 30, upload: false})
 *     const result = await backup.createBackup()
 */
export class DatabaseBackup {
  readonly retentionDays: number | undefined

  constructor(private readonly options: DatabaseBackupOptions = {}) {
    const {retention} = options
    if (retention !== undefined && !(Number.isInteger(retention) && retention > 0)) {
      throw new DbbakError('OPTION_INVALID', 'retention is a whole number of days, at least 1.')
    }
    this.retentionDays = retention
  }

  /** Takes a backup. */
  async createBackup(run: Pick<RunOptions, 'events' | 'signal'> = {}): Promise<BackupResult> {
    return takeBackup({...this.backupOptions(), ...run})
  }

  /** The backups at the first destination, newest first. */
  async listBackups(): Promise<ListResult> {
    const {to, ...options} = this.backupOptions()
    return listBackups({...options, from: to?.[0]})
  }

  /** Verifies the newest backup, by a restore where a scratch server can be had. */
  async verifyLatest(options: Omit<VerifyOptions, 'backup' | 'latest' | 'all'> = {}): Promise<VerifyResult> {
    const {to, ...own} = this.backupOptions()
    return verifyBackups({...own, from: to?.[0], ...options, latest: true})
  }

  private backupOptions(): BackupOptions {
    const {compress, retention: _, ...options} = this.options
    if (compress === undefined || compress === true) return options
    return {...options, compress: compress === false ? 'none' : compress}
  }
}
