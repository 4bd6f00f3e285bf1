import {Flags} from '@oclif/core'
import {DbbakCommand} from '../cli/command.js'
import {DbbakError} from '../support/errors.js'
import {whoseFlags} from '../cli/flags.js'
import {statusReport} from '../cli/show-status.js'

export default class Status extends DbbakCommand {
  static override summary = 'Tell whether the backups are healthy.'
  static override description =
    'Looks at what the destinations hold: how old the newest backup is, and the newest that passed a restore test; whether size, rows and tables are as in the backups before; damaged backups, missed runs and leftovers; and whether a restore was cut off. ' +
    'Where the config file names several databases and no database is set, each of them is told of, by its own settings. ' +
    'Changes nothing. For monitors: the exit code is 10 where something needs attention.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --from s3://backups/shop --max-age 2h --fail-on warning',
    '<%= config.bin %> <%= command.id %> --prometheus /var/lib/node_exporter/dbbak.prom --quiet',
    '<%= config.bin %> <%= command.id %> --html backups.html',
    '<%= config.bin %> <%= command.id %> --all-databases --ignore old_shop',
    "<%= config.bin %> <%= command.id %> --json | jq -r '.findings[].code'",
  ]
  static override exitCodes = [10] as const
  static override flags = {
    from: Flags.string({
      description: 'A destination to look at; may be repeated. By default all that backups go to.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'DEST',
    }),
    ignore: Flags.string({
      description:
        'A database that is backed up no more: NAME, or NAME@HOST:PORT, or NAME@SYSTEM-IDENTIFIER; may be repeated.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME',
    }),
    'max-age': Flags.string({
      description: 'How old the newest backup may be (default: 26h).',
      helpValue: 'AGE',
    }),
    'max-verified-age': Flags.string({
      description: 'How old the newest backup that passed a restore test may be (default: 8d).',
      helpValue: 'AGE',
    }),
    'max-size-change': Flags.string({
      description: 'By how much the newest backup may differ from those before it (default: 50%).',
      helpValue: 'PERCENT',
    }),
    'fail-on': Flags.string({
      description: 'What counts as unhealthy: error, or warnings too (default: error).',
      options: ['error', 'warning'],
      helpValue: 'SEVERITY',
    }),
    prometheus: Flags.string({
      description: "Write metrics for the node exporter's textfile collector (a file that ends with .prom).",
      helpValue: 'FILE',
      helpGroup: 'REPORT',
    }),
    html: Flags.string({
      description: 'Write a page for people: one file that needs nothing else.',
      helpValue: 'FILE',
      helpGroup: 'REPORT',
    }),
    ...whoseFlags(4),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(Status)
    const {status, statusError} = await import('../library/status.js')
    const result = await status({
      ...this.runOptions(flags),
      from: flags.from,
      databases: flags.database,
      allDatabases: flags['all-databases'],
      shard: flags.shard,
      concurrency: flags.concurrency,
      ignore: flags.ignore,
      maxAge: flags['max-age'],
      maxVerifiedAge: flags['max-verified-age'],
      maxSizeChange: flags['max-size-change'],
      failOn: flags['fail-on'] as 'error' | 'warning' | undefined,
      prometheus: flags.prometheus,
      html: flags.html,
    })
    this.log(statusReport(result))
    const error = statusError(result)
    if (error) throw this.jsonEnabled() ? error : new DbbakError(error.code, error.message) // what to do stands above
    return result
  }
}
