import {Flags} from '@oclif/core'
import {DbbakCommand} from '../cli/command.js'
import {databaseUrlFlag} from '../cli/flags.js'
import {doctorReport} from '../cli/show-doctor.js'

export default class Doctor extends DbbakCommand {
  static override summary = 'Check tools, connections, destinations and settings.'
  static override description =
    'Looks at everything at once and says for each trouble what mends it. Prints every setting and where it came from, without secrets. A destination that is named by --to is tried out thoroughly: writing, reading, write-once, listing, removing, speed.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --to s3://my-bucket/backups',
    '<%= config.bin %> <%= command.id %> --to /mnt/backups --json',
  ]
  static override exitCodes = [3] as const
  static override flags = {
    'database-url': databaseUrlFlag,
    'test-database-url': Flags.string({
      description: 'The server for restore tests; instead of TEST_DATABASE_URL.',
      helpValue: 'URL',
    }),
    to: Flags.string({
      description:
        'A destination to try out: everything that dbbak relies on, with some 40 MB of objects that are removed again; may be repeated.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'DEST',
    }),
    notify: Flags.boolean({description: 'Send a test to every notification channel.'}),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(Doctor)
    const {diagnose, diagnosisError} = await import('../library/diagnose.js')
    const diagnosis = await diagnose({
      ...this.runOptions(flags),
      databaseUrl: flags['database-url'],
      testDatabaseUrl: flags['test-database-url'],
      to: flags.to,
      notify: flags.notify,
    })
    this.log(doctorReport(diagnosis))
    const error = diagnosisError(diagnosis)
    if (error) throw error
    return diagnosis
  }
}
