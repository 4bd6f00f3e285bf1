import type {Events} from '../engine/events.js'
import {noticeEvents, type Fact} from '../notify/notice.js'
import {systemClock} from '../support/clock.js'
import {surroundingsOf, type RunOptions} from './context.js'
import {fleetError, type FleetResult} from './fleet.js'
import {isSharedPing, withNotices} from './notices.js'
import {loadSettings} from './settings.js'

export interface FleetNoticeOptions extends Pick<RunOptions, 'env' | 'cwd' | 'config'> {
  /** The command: `backup`. */
  command: string
  databases: string[]
  /** A rehearsal: nobody is told. */
  dryRun?: boolean | undefined
  events: Events
  signal: AbortSignal
}

/**
 * Tells the checks that all databases share how it went with all of them: once that it begins, and once how it ended, by
 * the worst. Of each database by itself its own channels are told, and those that have no state.
 */
export async function withFleetNotices<T>(
  options: FleetNoticeOptions,
  operation: () => Promise<FleetResult<T>>,
): Promise<FleetResult<T>> {
  const {command, databases, dryRun, config, events, signal} = options
  const event = noticeEvents.find((one) => one === command)
  if (event === undefined || dryRun) return operation()
  const {env, cwd} = surroundingsOf(options)
  const settings = await loadSettings({env, cwd, config})
  const {notifications} = settings
  const context = {env, cwd, notifications, settings, events, signal, clock: systemClock}
  const facts = {
    about: `${databases.length} ${databases.length === 1 ? 'database' : 'databases'}`,
    failure: (result: FleetResult<T>) => fleetError(result, command),
    describe: describeFleet,
    only: isSharedPing,
  }
  return withNotices(event, context, facts, operation)
}

function describeFleet(document: unknown): Fact[] {
  const {databases = []} = (document ?? {}) as Partial<FleetResult<unknown>>
  return databases.map((run) => ({
    label: run.database,
    value: run.status === 'failed' ? `failed: ${run.error.code}: ${run.error.message}` : run.status,
  }))
}
