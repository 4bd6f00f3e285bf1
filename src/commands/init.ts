import {Flags} from '@oclif/core'
import {askInit, refuseWithoutTerminal} from '../cli/ask-init.js'
import {DbbakCommand} from '../cli/command.js'
import {databaseUrlFlag} from '../cli/flags.js'
import {initSummary} from '../cli/show-init.js'
import type {Artefact, InitOptions} from '../library/init/index.js'

const artefact = (description: string) => Flags.boolean({description, helpGroup: 'SCHEDULE'})

export default class Init extends DbbakCommand {
  static override summary = 'Write a config file and a schedule, after a few questions.'
  static override description =
    'Asks where backups go, how long they are kept and what starts them, tries each answer as it is given, and writes a commented config file ' +
    'and what was asked for beside it. No secret is written: files refer to variables, and it is said which to set. Nothing is replaced without a question.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --yes --to s3://my-backups/shop --keep-days 90 --github',
    "<%= config.bin %> <%= command.id %> --yes --systemd --schedule '30 1 * * *' --dir /etc/dbbak",
    '<%= config.bin %> <%= command.id %> --yes --docker --kubernetes --image registry.internal/dbbak:1 --json',
  ]
  static override flags = {
    'database-url': databaseUrlFlag,
    'test-database-url': Flags.string({
      description: 'The server for restore tests; instead of TEST_DATABASE_URL.',
      helpValue: 'URL',
    }),
    to: Flags.string({
      description: 'Where backups go: a folder or URL; may be repeated. Default: ./backups.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'DEST',
    }),
    format: Flags.string({
      char: 'F',
      description: 'custom (default), plain or directory.',
      options: ['custom', 'plain', 'directory'],
      helpValue: 'FORMAT',
    }),
    'keep-days': Flags.integer({
      description: 'Age in days after which prune removes backups (default 30).',
      min: 1,
      helpValue: 'N',
    }),
    github: artefact('A workflow for GitHub Actions.'),
    cron: artefact("A crontab's line, for this machine."),
    systemd: artefact('A systemd service and its timer, for this machine.'),
    kubernetes: artefact('A Kubernetes CronJob.'),
    docker: artefact('A Dockerfile with dbbak and the client tools.'),
    railway: artefact('A service of Railway.'),
    schedule: Flags.string({
      description: "When: five fields of cron (default '0 2 * * *'); UTC, but for cron itself.",
      helpValue: 'CRON',
      helpGroup: 'SCHEDULE',
    }),
    image: Flags.string({
      description: 'The image for Kubernetes.',
      helpValue: 'NAME',
      helpGroup: 'SCHEDULE',
    }),
    dir: Flags.string({description: 'Where to write; default the current folder.', helpValue: 'FOLDER'}),
    yes: Flags.boolean({char: 'y', description: 'Ask nothing: options, and defaults for the rest.'}),
    force: Flags.boolean({description: 'Replace files that have other content.'}),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(Init)
    if (!flags.yes) refuseWithoutTerminal()
    const {artefacts, checkInit, initialise} = await import('../library/init/index.js')
    const given: InitOptions = {
      ...this.runOptions(flags),
      databaseUrl: flags['database-url'],
      testDatabaseUrl: flags['test-database-url'],
      to: flags.to,
      format: flags.format as InitOptions['format'],
      keepDays: flags['keep-days'],
      artefacts: artefacts.filter((name: Artefact) => flags[name]),
      schedule: flags.schedule,
      image: flags.image,
      dir: flags.dir,
      force: flags.force,
    }
    await checkInit(given)
    const result = await initialise(flags.yes ? given : await askInit(given, this.signal))
    this.log(initSummary(flags.yes ? result : {...result, checks: []})) // told when they were asked for
    return result
  }
}
