import {Flags, type Interfaces} from '@oclif/core'
import {askToType, canAsk} from '../cli/confirm.js'
import type {DbbakCommand} from '../cli/command.js'
import {FleetCommand, type ForDatabase} from '../cli/fleet-command.js'
import {pruneFacts} from '../cli/fleet-facts.js'
import {whoseFlags} from '../cli/flags.js'
import {pruneQuestion, pruneSummary, pruneTable} from '../cli/show-prune.js'
import type {PruneResult} from '../library/prune-backups.js'

type PruneFlags = Interfaces.InferredFlags<(typeof Prune)['flags'] & (typeof DbbakCommand)['baseFlags']>

const rule = (description: string) =>
  Flags.integer({description, min: 0, max: 100_000, helpValue: 'N', helpGroup: 'RETENTION'})

export default class Prune extends FleetCommand {
  static override summary = 'Remove the backups that no rule of the retention policy keeps.'
  static override description =
    'A backup is kept if any rule keeps it; 0 takes a rule out. Each database has the rules to itself, and so has each selection of tables. ' +
    'Of each of these the newest, the newest that did not fail its verification, and the newest that passed a restore test always stay. ' +
    'Removes as well what failed runs left more than a day ago; never other files, damaged backups, or what lies in folders below. ' +
    'Shows what goes and why, and asks.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --dry-run',
    '<%= config.bin %> <%= command.id %> --keep-days 30 --force',
    '<%= config.bin %> <%= command.id %> --keep-days 0 --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --keep-yearly 5',
    '<%= config.bin %> <%= command.id %> --from /mnt/offsite --database shop --keep-last 10 --force --json',
  ]
  static override exitCodes = [8] as const
  static override flags = {
    from: Flags.string({
      description: 'A destination; may be repeated. By default all where backups go.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'DEST',
    }),
    'keep-days': rule('Keep those newer than N days (default: RETENTION_DAYS, else 30).'),
    'keep-last': rule('Keep the newest N.'),
    'keep-daily': rule('Keep the newest of each of the last N days that have backups.'),
    'keep-weekly': rule('The same by weeks, from Monday on.'),
    'keep-monthly': rule('The same by months.'),
    'keep-yearly': rule('The same by years.'),
    'keep-verified': rule('Keep the newest N that passed a restore test (default 1).'),
    'safety-keep-days': Flags.integer({
      description: 'Keep safety backups that are newer than N days (default 7).',
      min: 1,
      max: 100_000,
      helpValue: 'N',
      helpGroup: 'RETENTION',
    }),
    'dry-run': Flags.boolean({description: 'Tell what would be removed, remove nothing.'}),
    force: Flags.boolean({description: 'Go ahead without asking.'}),
    ...whoseFlags(2),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(Prune)
    const {needsConfirmation} = await import('../library/prune-backups.js')
    const isAgreed = flags.force || flags['dry-run']
    const work = {
      doing: 'Pruning the backups of',
      atATime: 2,
      others: true,
      refuse: () => {
        if (!isAgreed) throw needsConfirmation()
      },
      facts: pruneFacts,
    }
    return this.forDatabases(flags, work, (whose, log) => this.prune(flags, whose, log))
  }

  private async prune(
    flags: PruneFlags,
    whose: ForDatabase,
    log: (text: string) => void,
  ): Promise<PruneResult> {
    let isShown = false
    const {pruneBackups, pruneError} = await import('../library/prune-backups.js')
    const result = await pruneBackups({
      ...this.runOptions(flags),
      ...whose,
      from: flags.from,
      keepDays: flags['keep-days'],
      keepLast: flags['keep-last'],
      keepDaily: flags['keep-daily'],
      keepWeekly: flags['keep-weekly'],
      keepMonthly: flags['keep-monthly'],
      keepYearly: flags['keep-yearly'],
      keepVerified: flags['keep-verified'],
      safetyKeepDays: flags['safety-keep-days'],
      dryRun: flags['dry-run'],
      force: flags.force,
      // Without a terminal it is refused, not only on the day on which there is something to remove.
      ...(canAsk() ? {confirm: (plan: PruneResult) => ((isShown = true), this.consent(plan))} : {}),
    })
    const table = pruneTable(result)
    if (!isShown && table !== '') log(`${table}\n`)
    log(pruneSummary(result))
    const error = pruneError(result)
    if (error) throw error
    return result
  }

  /** What goes is shown above the question, which is drawn anew at every key. */
  private async consent(plan: PruneResult): Promise<void> {
    process.stderr.write(`${pruneTable(plan, process.stderr)}\n\n`)
    await askToType('PRUNE', pruneQuestion(plan), {signal: this.signal})
  }
}
