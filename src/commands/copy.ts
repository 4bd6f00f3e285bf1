import {Args, Flags} from '@oclif/core'
import {DbbakCommand} from '../cli/command.js'
import {downloadConsent} from '../cli/download-question.js'
import {bandwidthLimitFlag, fromFlag, levelFlag, scratchFlag} from '../cli/flags.js'
import {copySummary} from '../cli/show-copy.js'
import {verifySummary} from '../cli/show-verify.js'
import type {CopyOptions} from '../library/copy-backups.js'

export default class Copy extends DbbakCommand {
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
  }

  async run(): Promise<unknown> {
    const {flags, args} = await this.parse(Copy)
    const {copyBackups, copyError} = await import('../library/copy-backups.js')
    const result = await copyBackups({
      ...this.runOptions(flags),
      backup: args.backup,
      latest: flags.latest,
      all: flags.all,
      since: flags.since,
      allKinds: flags['all-kinds'],
      from: flags.from,
      bandwidthLimit: flags['bandwidth-limit'],
      to: flags.to,
      verify: flags.verify as CopyOptions['verify'],
      scratch: flags.scratch as CopyOptions['scratch'],
      mayDownload: downloadConsent(flags.scratch, this.signal),
      dryRun: flags['dry-run'],
    })
    this.log(copySummary(result))
    for (const verification of result.verification ?? []) this.log(`\n${verifySummary(verification)}`)
    const error = copyError(result)
    if (error) throw error
    return result
  }
}
