import {Args, Flags} from '@oclif/core'
import {DbbakCommand} from '../cli/command.js'
import {askToType} from '../cli/confirm.js'
import {bandwidthLimitFlag, databaseUrlFlag, fromFlag, oneDatabaseFlag} from '../cli/flags.js'
import {planText, restoreSummary} from '../cli/show-restore.js'
import type {RestoreOptions} from '../library/restore-backup.js'

export default class Restore extends DbbakCommand {
  static override summary = 'Restore a backup in stages, each reported.'
  static override description =
    'preflight, verify, confirm (type RESTORE), safety dump, restore, table checks, rollback. ' +
    'Everything in the target is replaced, by a copy that is restored and checked beside it, or in one transaction: whatever fails, at whatever moment, the target is what it was before, or what the backup holds.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --latest',
    '<%= config.bin %> <%= command.id %> --latest --dry-run',
    '<%= config.bin %> <%= command.id %> --at 2025-01-15T12:00:00Z --verify --critical-table orders:1000',
    '<%= config.bin %> <%= command.id %> /mnt/backups/shop_2025-01-15T14-30-00-000Z.dump.zst --database-url postgresql://app@db.internal/shop --force',
  ]
  static override exitCodes = [3, 6, 7, 8, 9] as const
  static override args = {
    backup: Args.string({description: 'A backup: its name or the beginning of it, a path, or a URL.'}),
  }
  static override flags = {
    latest: Flags.boolean({description: 'The newest backup.', exclusive: ['at']}),
    at: Flags.string({description: 'The newest backup that is not newer than this time.', helpValue: 'TIME'}),
    database: oneDatabaseFlag,
    from: fromFlag,
    'bandwidth-limit': bandwidthLimitFlag,
    'database-url': databaseUrlFlag,
    strategy: Flags.string({
      description:
        'How the content is replaced: swap restores a copy and swaps names, in-place replaces everything in one transaction; auto (default) swaps where the server allows it.',
      options: ['auto', 'swap', 'in-place'],
      helpValue: 'NAME',
    }),
    jobs: Flags.integer({
      char: 'j',
      description: 'Tables and indexes restored at a time (swap); by default as the backup is best restored.',
      min: 1,
      max: 1000,
      helpValue: 'N',
    }),
    'keep-old': Flags.boolean({
      description: 'Keep the former content in a database beside the target (swap).',
    }),
    verify: Flags.boolean({
      description: 'Compare row counts and sequences with the backup too, before it becomes true.',
    }),
    force: Flags.boolean({description: 'Go ahead without asking.'}),
    schema: Flags.string({
      char: 'n',
      description: 'Only this schema, with everything in it, in place; may be repeated.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME',
    }),
    table: Flags.string({
      char: 't',
      description: 'Only this table, with what belongs to it, in place; may be repeated.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME',
    }),
    'critical-table': Flags.string({
      description: 'A table that must be there and not empty, or hold so many rows; may be repeated.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME[:MIN_ROWS]',
    }),
    'safety-backup': Flags.boolean({
      description: 'Back up the target first (default); --no-safety-backup needs --force.',
      allowNo: true,
      default: true,
    }),
    'safety-to': Flags.string({
      description: 'Where the safety backup goes; by default the local destination.',
      helpValue: 'DEST',
    }),
    'terminate-connections': Flags.boolean({description: 'End the sessions of others on the target.'}),
    globals: Flags.boolean({
      description:
        'Make the roles that the server lacks, from a backup taken with --globals; without passwords.',
    }),
    'force-version': Flags.boolean({
      description:
        "Try it also into an older server than the backup's; it fails unharmed where that is too old.",
    }),
    'no-owner': Flags.boolean({description: 'Everything belongs to the role that restores.'}),
    'no-privileges': Flags.boolean({description: 'Leave grants out.'}),
    analyze: Flags.boolean({
      description: 'Collect fresh statistics afterwards (default).',
      allowNo: true,
      default: true,
    }),
    'lock-timeout': Flags.string({
      description: 'How long to wait for what another session has locked (default 30s).',
      helpValue: 'TIME',
    }),
    'dry-run': Flags.boolean({description: 'Run preflight and verify, print the plan, change nothing.'}),
  }

  async run(): Promise<unknown> {
    const {flags, args} = await this.parse(Restore)
    const {restoreBackup} = await import('../library/restore-backup.js')
    const {whoseBackups} = await import('../library/fleet.js')
    const result = await restoreBackup({
      ...this.runOptions(flags),
      ...(await whoseBackups(flags.database, flags)),
      backup: args.backup,
      latest: flags.latest,
      at: flags.at,
      from: flags.from,
      bandwidthLimit: flags['bandwidth-limit'],
      databaseUrl: flags['database-url'],
      strategy: flags.strategy as RestoreOptions['strategy'],
      jobs: flags.jobs,
      schemas: flags.schema,
      tables: flags.table,
      keepOld: flags['keep-old'],
      verify: flags.verify,
      force: flags.force,
      confirm: (plan) => askToType('RESTORE', `${planText(plan)}\n `, {signal: this.signal}),
      criticalTables: flags['critical-table'],
      safetyBackup: flags['safety-backup'],
      safetyTo: flags['safety-to'],
      terminateConnections: flags['terminate-connections'],
      globals: flags.globals,
      forceVersion: flags['force-version'],
      noOwner: flags['no-owner'],
      noPrivileges: flags['no-privileges'],
      analyze: flags.analyze,
      lockTimeout: flags['lock-timeout'],
      dryRun: flags['dry-run'],
    })
    this.log(restoreSummary(result))
    return result
  }
}
