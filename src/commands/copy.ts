import {Args, Flags} from '@oclif/core'
import {FleetCommand, refuseUnclearForSeveral} from '../cli/fleet-command.js'
import {copyFacts} from '../cli/fleet-facts.js'
import {bandwidthLimitFlag, fromFlag, levelFlag, scratchFlag, whoseFlags} from '../cli/flags.js'
import {copySummary} from '../cli/show-copy.js'
import {verifySummary} from '../cli/show-verify.js'
import type {CopyOptions} from '../library/copy-backups.js'

export default class Copy extends FleetCommand {
  static override summary = 'Copy backups to other destinations.'
  static override description =
    'Streams backups from one destination to others, and holds every byte against the manifest on the way: nothing of a damaged backup is stored. ' +
    'A copy exists only once it is complete. What is there already is skipped and never overwritten; a copy that was cut off is finished by the next.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --latest --to s3://backups/shop',
    '<%= config.bin %> <%= command.id %> --all --to /mnt/offsite --to /mnt/vault --verify archive',
    '<%= config.bin %> <%= command.id %> --since 7d --from /mnt/offsite --to ./backups --dry-run',
    '<%= config.bin %> <%= command.id %> shop_2025-01-15T14-30-00-000Z --to /mnt/offsite',
  ]
  static override exitCodes = [5, 8, 11] as const
  static override args = {
    backup: Args.string({description: 'A backup: its name or the beginning of it, a path, or a URL.'}),
  }
  static override flags = {
    latest: Flags.boolean({description: 'The newest backup.'}),
    all: Flags.boolean({description: 'Every backup; goes on after a failure.'}),
    since: Flags.string({
      description: 'The backups that are not older: a time, or how long ago (7d).',
      helpValue: 'TIME',
    }),
    'all-kinds': Flags.boolean({description: 'Safety backups too, with --all and --since.'}),
    from: fromFlag,
    to: Flags.string({
      description: 'Where the copies go: a folder or URL; may be repeated.',
      multiple: true,
      multipleNonGreedy: true,
      required: true,
      helpValue: 'DEST',
    }),
    'bandwidth-limit': bandwidthLimitFlag,
    verify: levelFlag,
    scratch: scratchFlag,
    'dry-run': Flags.boolean({description: 'Tell what would be copied, copy nothing.'}),
    ...whoseFlags(2),
  }

  async run(): Promise<unknown> {
    const {flags, args} = await this.parse(Copy)
    const {copyBackups, copyError} = await import('../library/copy-backups.js')
    const {latest, all, since} = flags
    const work = {
      doing: 'Copying the backups of',
      atATime: 2,
      others: true,
      refuse: () => refuseUnclearForSeveral('copy', args.backup, latest || all || since !== undefined),
      facts: copyFacts,
    }
    return this.forDatabases(flags, work, async (whose, log) => {
      const result = await copyBackups({
        ...this.runOptions(flags),
        ...whose,
        backup: args.backup,
        latest,
        all,
        since,
        allKinds: flags['all-kinds'],
        from: flags.from,
        bandwidthLimit: flags['bandwidth-limit'],
        to: flags.to,
        verify: flags.verify as CopyOptions['verify'],
        scratch: flags.scratch as CopyOptions['scratch'],
        mayDownload: this.downloadConsent(flags.scratch),
        dryRun: flags['dry-run'],
      })
      log(copySummary(result))
      for (const verification of result.verification ?? []) log(`\n${verifySummary(verification)}`)
      const error = copyError(result)
      if (error) throw error
      return result
    })
  }
}
