import {Flags} from '@oclif/core'
import {FleetCommand} from '../cli/fleet-command.js'
import {listFacts} from '../cli/fleet-facts.js'
import {fromFlag, whoseFlags} from '../cli/flags.js'
import {listTable} from '../cli/show-list.js'

export default class List extends FleetCommand {
  static override summary = 'List the backups of a destination.'
  static override description =
    'Newest first. Only complete backups are listed: those with a valid manifest whose files are all there with their sizes.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --from /mnt/backups --limit 10',
    "<%= config.bin %> <%= command.id %> --json | jq -r '.backups[0].name'",
  ]
  static override exitCodes = [8] as const
  static override flags = {
    from: fromFlag,
    limit: Flags.integer({description: 'Only the newest N.', min: 1, helpValue: 'N'}),
    'all-kinds': Flags.boolean({description: 'Safety backups too.'}),
    incomplete: Flags.boolean({description: 'What failed or killed runs left behind too.'}),
    ...whoseFlags(4),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(List)
    const {listBackups} = await import('../library/list-backups.js')
    const allKinds = flags['all-kinds']
    const work = {doing: 'Listing the backups of', atATime: 4, others: true, facts: listFacts}
    return this.forDatabases(flags, work, async (whose, log) => {
      const result = await listBackups({
        ...this.runOptions(flags),
        ...whose,
        from: flags.from,
        limit: flags.limit,
        allKinds,
        incomplete: flags.incomplete,
      })
      log(listTable(result, allKinds))
      return result
    })
  }
}
