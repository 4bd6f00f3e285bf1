import {Flags, type Interfaces} from '@oclif/core'
import type {DbbakCommand} from '../cli/command.js'
import {FleetCommand} from '../cli/fleet-command.js'
import {backupFacts} from '../cli/fleet-facts.js'
import {
  bandwidthLimitFlag,
  databasesFlags,
  databaseUrlFlag,
  levelFlag,
  patterns,
  scratchFlag,
} from '../cli/flags.js'
import {backupPlan, backupSummary} from '../cli/show-backup.js'
import {pruneSummary} from '../cli/show-prune.js'
import {verifySummary} from '../cli/show-verify.js'
import type {BackupResult} from '../index.js'
import type {BackupOptions} from '../library/take-backup.js'
import type {VerifyOptions} from '../library/verify-backups.js'

const databasesAtATime = 2

type BackupFlags = Interfaces.InferredFlags<(typeof Backup)['flags'] & (typeof DbbakCommand)['baseFlags']>

export default class Backup extends FleetCommand {
  static override summary = 'Take a backup of a database.'
  static override description =
    'Dumps the database in one snapshot, with the exact row counts of that snapshot, and stores it at one or more destinations. ' +
    'A backup exists only once it is complete: a failed or killed run leaves nothing that list shows.'
  static override examples = [
    'DATABASE_URL=postgresql://app@db.internal/shop <%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --format directory --jobs 4 --to /mnt/backups',
    '<%= config.bin %> <%= command.id %> --exclude-table-data audit_log --label "before migration 42"',
    '<%= config.bin %> <%= command.id %> --to ./backups --to s3://backups/shop --bandwidth-limit 20MB',
    '<%= config.bin %> <%= command.id %> --verify restore --prune --json',
  ]
  static override exitCodes = [3, 4, 5, 8, 9, 11] as const
  static override flags = {
    'database-url': databaseUrlFlag,
    format: Flags.string({
      char: 'F',
      description: 'custom (default), plain or directory.',
      options: ['custom', 'plain', 'directory'],
      helpValue: 'FORMAT',
    }),
    compress: Flags.string({
      description: 'zstd (default), gzip, lz4 or none, with an optional level: zstd:9.',
      helpValue: 'METHOD[:LEVEL]',
    }),
    jobs: Flags.integer({
      char: 'j',
      description: 'Tables dumped at a time (directory format; default 2).',
      min: 1,
      max: 1000,
      helpValue: 'N',
    }),
    to: Flags.string({
      description: 'A destination: a folder or URL; may be repeated. Default: BACKUP_DIR or ./backups.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'DEST',
    }),
    upload: Flags.boolean({
      description: 'Also to the buckets that AWS_S3_BUCKET, GCS_BUCKET and AZURE_STORAGE_CONTAINER name.',
    }),
    'bandwidth-limit': bandwidthLimitFlag,
    schema: patterns('n', 'Only these schemas.'),
    'exclude-schema': patterns('N', 'All but these schemas.'),
    table: patterns('t', 'Only these tables.'),
    'exclude-table': patterns('T', 'All but these tables.'),
    'exclude-table-data': patterns(undefined, 'These tables without their rows.'),
    globals: Flags.boolean({
      description: "The server's roles and tablespaces too, without password hashes.",
      allowNo: true,
    }),
    content: Flags.string({
      description: 'What is recorded of the content: counts (default, exact row counts) or none.',
      options: ['counts', 'none'],
      helpValue: 'LEVEL',
    }),
    label: Flags.string({description: 'A remark, kept in the manifest.', helpValue: 'TEXT'}),
    name: Flags.string({
      description: "What the backup's name begins with, instead of the database's name.",
      helpValue: 'PREFIX',
    }),
    verify: levelFlag,
    scratch: scratchFlag,
    prune: Flags.boolean({
      description:
        'Once it is stored at every destination (and verified, with --verify): apply retention there, to the backups of this database.',
    }),
    'lock-timeout': Flags.string({
      description: 'How long to wait for a locked table (default 5min).',
      helpValue: 'TIME',
    }),
    'dry-run': Flags.boolean({description: 'Look at everything, write nothing.'}),
    ...databasesFlags(databasesAtATime),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(Backup)
    const options = this.optionsOf(flags)
    const work = {doing: 'Backing up', atATime: databasesAtATime, facts: backupFacts}
    return this.forDatabases(flags, work, (whose, log) => this.backUp({...options, ...whose}, flags, log))
  }

  private optionsOf(flags: BackupFlags): BackupOptions {
    return {
      ...this.runOptions(flags),
      databaseUrl: flags['database-url'],
      format: flags.format as BackupOptions['format'],
      compress: flags.compress,
      jobs: flags.jobs,
      to: flags.to,
      upload: flags.upload,
      bandwidthLimit: flags['bandwidth-limit'],
      schemas: flags.schema,
      excludeSchemas: flags['exclude-schema'],
      tables: flags.table,
      excludeTables: flags['exclude-table'],
      excludeTableData: flags['exclude-table-data'],
      globals: flags.globals,
      content: flags.content as BackupOptions['content'],
      label: flags.label,
      name: flags.name,
      lockTimeout: flags['lock-timeout'],
    }
  }

  private async backUp(
    options: BackupOptions,
    flags: BackupFlags,
    log: (text: string) => void,
  ): Promise<unknown> {
    const {takeBackup, planBackupOf} = await import('../library/take-backup.js')
    if (flags['dry-run']) {
      const plan = await planBackupOf(options)
      log(backupPlan(plan))
      return plan
    }
    const {checkRetention} = await import('../library/retention-options.js')
    const result = await takeBackup(options, flags.prune ? () => checkRetention(options) : undefined)
    log(backupSummary(result))
    const verified = flags.verify ? await this.verifyNew(result, options, flags, log) : result
    return flags.prune ? this.pruneAfter(verified, options, log) : verified
  }

  private async pruneAfter(
    taken: BackupResult,
    options: BackupOptions,
    log: (text: string) => void,
  ): Promise<BackupResult> {
    const {pruneAfterBackup} = await import('../library/prune-after-backup.js')
    const document = await pruneAfterBackup(taken, options)
    log(pruneSummary(document.prune))
    return document
  }

  private async verifyNew(
    result: BackupResult,
    options: BackupOptions,
    flags: BackupFlags,
    log: (text: string) => void,
  ): Promise<BackupResult> {
    const {verifyBackups, verificationError} = await import('../library/verify-backups.js')
    const verified = await verifyBackups({
      ...options,
      backup: result.backup.id,
      isNewest: true,
      from: options.to?.[0],
      level: flags.verify as VerifyOptions['level'],
      scratch: flags.scratch as VerifyOptions['scratch'],
      mayDownload: this.downloadConsent(flags.scratch),
    })
    log(verifySummary(verified))
    const document = {...result, verification: verified}
    const error = verificationError(verified, document)
    if (error) throw error
    return document
  }
}
