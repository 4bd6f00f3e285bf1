import type {FleetChoice} from '../library/fleet.js'
import type {Line} from '../library/context.js'
import type {Events} from '../engine/events.js'
import type {Download} from '../index.js'
import {DbbakError} from '../support/errors.js'
import {DbbakCommand, type SharedFlags} from './command.js'
import {downloadConsent} from './download-question.js'
import {fleetSummary} from './show-fleet.js'

/** The flags of `fleetFlags`. */
export interface FleetFlags extends SharedFlags {
  database?: string[] | undefined
  'all-databases'?: boolean | undefined
  shard?: string | undefined
  concurrency?: number | undefined
  'dry-run'?: boolean | undefined
}

/** What is done for each database. */
export interface FleetWork extends Pick<FleetChoice, 'others'> {
  /** For the progress: "Backing up". */
  doing: string
  /** Databases at a time, where the user does not say. */
  atATime: number
  /** Refuses what makes no sense for several databases, before anything is done. */
  refuse?: () => void
  /** A line on what became of one of several. */
  facts: (result: unknown) => string
}

/** What the work for one database is given. */
export interface ForDatabase {
  /** One of the config file's. */
  database?: string
  /** Or one that has backups, by its own name. */
  of?: string
  events: Events
  /** Runs that share a limit on bandwidth share this. */
  line?: Line
  /** What they have in common is told once for all. */
  isOneOfSeveral?: boolean
}

/** A command that works on one database, or on several after the same pattern. */
export abstract class FleetCommand extends DbbakCommand {
  private agreed: ((what: Download) => Promise<boolean>) | undefined

  /**
   * Does the work for the databases that the flags name; without them once, for what is set.
   * @param work is given where its summary goes: of several databases there is one for all
   */
  protected async forDatabases(
    flags: FleetFlags,
    {doing, atATime, refuse, facts, others}: FleetWork,
    work: (whose: ForDatabase, log: (text: string) => void) => Promise<unknown>,
  ): Promise<unknown> {
    const {database: databases, 'all-databases': all, shard, config, concurrency = atATime} = flags
    const {events, signal} = this.runOptions(flags)
    const {chosenDatabases, fleetError, forEachDatabase, whoseBackups} = await import('../library/fleet.js')
    const names = await chosenDatabases({databases, all, shard, config, others})
    const log = (text: string) => this.log(text)
    if (names === undefined) return work({events}, log)
    const whose = (name: string) => (others ? whoseBackups(name, {config}) : {database: name})
    const isOne = databases?.length === 1 && names.length === 1
    if (isOne) return work({...(await whose(names[0]!)), events}, log)
    refuse?.()
    const line = {}
    const {withFleetNotices} = await import('../library/fleet-notices.js')
    const dryRun = flags['dry-run']
    const result = await withFleetNotices(
      {command: this.id ?? '', databases: names, dryRun, config, events, signal},
      () =>
        forEachDatabase(names, {concurrency, doing, events, signal}, async (name, toldTo) =>
          work({...(await whose(name)), events: toldTo, line, isOneOfSeveral: true}, () => {}),
        ),
    )
    this.log(fleetSummary(result, facts))
    const error = fleetError(result, this.id)
    if (error) throw error
    return result
  }

  /** Who agrees to fetching a server from npm: asked once, however many databases need one. */
  protected downloadConsent(scratch: string | undefined): (what: Download) => Promise<boolean> {
    return (this.agreed ??= downloadConsent(scratch, this.signal))
  }
}

/** @throws DbbakError OPTION_INVALID where one backup is named for several databases, or nothing says which of each */
export function refuseUnclearForSeveral(command: string, backup: string | undefined, isClear: boolean): void {
  if (backup === undefined && isClear) return
  const sentence =
    backup === undefined
      ? 'Which backups of each database are meant?'
      : `${backup} is a backup of one database.`
  throw new DbbakError('OPTION_INVALID', sentence, {
    suggestions: [`dbbak ${command} --all-databases --latest`, `dbbak ${command} --all-databases --all`],
  })
}
