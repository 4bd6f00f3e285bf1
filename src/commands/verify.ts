import {Args, Flags} from '@oclif/core'
import {FleetCommand, refuseUnclearForSeveral} from '../cli/fleet-command.js'
import {verifyFacts} from '../cli/fleet-facts.js'
import {bandwidthLimitFlag, fromFlag, levelFlag, scratchFlag, whoseFlags} from '../cli/flags.js'
import {verifySummary} from '../cli/show-verify.js'
import type {VerifyOptions} from '../library/verify-backups.js'

export default class Verify extends FleetCommand {
  static override summary = 'Prove that a backup can be restored.'
  static override description =
    'Checks the files, their checksums, reads the archive to its last byte, restores it into a scratch database and compares the copy, ' +
    'table by table, with what the server reported in the very snapshot that was dumped. A check that could not run is never reported as passed.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --latest',
    '<%= config.bin %> <%= command.id %> --all --level checksum',
    '<%= config.bin %> <%= command.id %> shop_2025-01-15T14-30-00-000Z --level restore --scratch embedded',
    'TEST_DATABASE_URL=postgresql://tester@db.test/postgres <%= config.bin %> <%= command.id %> --latest --level restore',
  ]
  static override exitCodes = [5, 8, 11] as const
  static override args = {
    backup: Args.string({description: 'A backup: its name or the beginning of it, a path, or a URL.'}),
  }
  static override flags = {
    latest: Flags.boolean({description: 'The newest backup.', exclusive: ['all']}),
    all: Flags.boolean({description: 'Every backup; goes on after a failure.'}),
    from: fromFlag,
    'bandwidth-limit': bandwidthLimitFlag,
    level: levelFlag,
    scratch: scratchFlag,
    'test-database-url': Flags.string({
      description: 'The server for restore tests; instead of TEST_DATABASE_URL.',
      helpValue: 'URL',
    }),
    ...whoseFlags(1),
  }

  async run(): Promise<unknown> {
    const {flags, args} = await this.parse(Verify)
    const {verifyBackups, verificationError} = await import('../library/verify-backups.js')
    const work = {
      doing: 'Verifying the backups of',
      atATime: 1, // the restore tests of two at a time take as long, and twice the room
      others: true,
      refuse: () => refuseUnclearForSeveral('verify', args.backup, flags.latest || flags.all),
      facts: verifyFacts,
    }
    return this.forDatabases(flags, work, async (whose, log) => {
      const result = await verifyBackups({
        ...this.runOptions(flags),
        ...whose,
        backup: args.backup,
        latest: flags.latest,
        all: flags.all,
        from: flags.from,
        bandwidthLimit: flags['bandwidth-limit'],
        level: flags.level as VerifyOptions['level'],
        scratch: flags.scratch as VerifyOptions['scratch'],
        testDatabaseUrl: flags['test-database-url'],
        mayDownload: this.downloadConsent(flags.scratch),
      })
      log(verifySummary(result))
      const error = verificationError(result)
      if (error) throw error
      return result
    })
  }
}
