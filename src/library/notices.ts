import {randomUUID} from 'node:crypto'
import {hostname} from 'node:os'
import {resolve} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Events} from '../engine/events.js'
import type {Channel, Environment} from '../notify/channel.js'
import {setUpChannels} from '../notify/channels.js'
import type {NotificationsConfig} from '../notify/config.js'
import type {Fact, Notice, NoticeError, NoticeEvent} from '../notify/notice.js'
import {interruptedLimitMs, notify, type Delivery} from '../notify/notify.js'
import {runUrlOf} from '../notify/run-url.js'
import {summaryOf, type Summary} from '../notify/summaries.js'
import type {Clock} from '../support/clock.js'
import {DbbakError, messageOf} from '../support/errors.js'
import {failureMemory, type FailureMemory} from './failure-memory.js'
import {hideSecretValues, redactSecrets} from './redaction.js'

/** What the sending of notices needs of a context. */
export interface NoticeContext {
  env: Environment
  /** The `notifications` of the config file. */
  notifications?: NotificationsConfig | undefined
  /** One of several databases: what is shared by all is told once for all, by {@link withFleetNotices}. */
  isOneOfSeveral?: boolean | undefined
  events: Events
  clock: Clock
  signal: AbortSignal
  cwd?: string | undefined
  /** Where it is kept that the work failed. */
  settings?: {cacheDir: {value: string}} | undefined
}

/** What is known before the work begins. Runs of the same work must give the same: incidents are told apart by it. */
export interface NoticeFacts<T> {
  database?: Notice['database']
  about?: string | undefined
  destinations?: string[] | undefined
  /** Which part of such work it is: an incident of `verify --latest` is not closed by one of an old backup. */
  scope?: string | undefined
  /** Why the work counts as failed although it came to a result. */
  failure?: ((result: T) => unknown) | undefined
  /** What there is to say of a result beside what {@link summaryOf} says. */
  describe?: ((document: unknown) => Fact[]) | undefined
  /** Only those are told. */
  only?: ((channel: Pick<Channel, 'kind' | 'isShared'>) => boolean) | undefined
  /** A rehearsal that changes nothing: nobody is told. */
  dryRun?: boolean | undefined
}

/**
 * Does some work and tells the channels how it went: that it begins (pings), then that it succeeded or failed. What
 * becomes of the notices never changes what becomes of the work; a channel that could not be told is a warning.
 * @throws DbbakError CONFIG_INVALID before the work begins; what the work throws
 */
export async function withNotices<T>(
  event: NoticeEvent,
  context: NoticeContext,
  facts: NoticeFacts<T>,
  operation: () => Promise<T>,
): Promise<T> {
  const channels = facts.dryRun ? [] : openChannels(event, context, facts.only)
  if (channels.length === 0) return operation()
  const run = new NoticedRun<T>(event, context, facts, channels)
  run.begin()
  let result: T
  try {
    result = await operation()
  } catch (error) {
    await run.failed(error)
    throw error
  }
  await run.ended(result)
  return result
}

/** A channel that cannot be told is no reason not to do the work. */
function openChannels(
  event: NoticeEvent,
  {notifications, env, events, isOneOfSeveral}: NoticeContext,
  only: NoticeFacts<never>['only'],
): Channel[] {
  const {channels, unset} = setUpChannels(notifications, env)
  for (const one of unset)
    if (one.events.includes(event) && !only && !(isOneOfSeveral && one.isShared)) {
      const message = `Nothing is told to ${one.name}: ${one.reason}.`
      events.warning?.({code: 'NOTIFICATION_FAILED', message})
    }
  // A check has one state: of several databases the last one would set it, whatever became of the others.
  return channels.filter(only ?? ((channel) => !(isOneOfSeveral && isSharedPing(channel))))
}

export const isSharedPing = ({kind, isShared}: Pick<Channel, 'kind' | 'isShared'>): boolean =>
  kind === 'ping' && isShared

/** After an interruption, so much of the time for the notice of it may be lost to the one of the beginning. */
const beginningLimitMs = 1000

class NoticedRun<T> {
  private readonly runId = randomUUID()
  private readonly startMs = performance.now()
  private readonly memory: FailureMemory
  private beginning: Promise<void> = Promise.resolve()

  constructor(
    private readonly event: NoticeEvent,
    private readonly context: NoticeContext,
    private readonly facts: NoticeFacts<T>,
    private readonly channels: Channel[],
  ) {
    const wanted = channels.some(({remembers}) => remembers)
    const folder = wanted ? cacheFolder(context) : undefined
    this.memory = failureMemory(folder, `${event}/${subjectOf(event, facts)}`)
  }

  /** Does not wait: a monitor that is slow to answer must not delay a backup. */
  begin(): void {
    this.beginning = this.deliver(this.channels, () => ({...this.common(), outcome: 'start'}))
  }

  async ended(result: T): Promise<void> {
    const failure = this.facts.failure?.(result)
    if (failure !== undefined && failure !== null) return this.failed(failure, result)
    const isRecovery = await this.memory.forget()
    await this.send(this.channels, () => ({
      ...this.common(result),
      ...this.took(),
      outcome: 'success',
      isRecovery,
    }))
  }

  async failed(thrown: unknown, result?: unknown): Promise<void> {
    const error = endingOf(thrown, this.context.signal)
    const document = result ?? (thrown instanceof DbbakError ? thrown.details?.document : undefined)
    // Whoever says no when asked knows; only a monitor that was told of the beginning waits for an end.
    const isChoice = error instanceof DbbakError && error.code === 'CANCELLED'
    const start = {...this.common(), outcome: 'start'} as const
    if (!isChoice) await this.memory.remember()
    const channels = isChoice ? this.channels.filter((channel) => channel.wants(start)) : this.channels
    await this.send(channels, () => ({
      ...this.common(document),
      ...this.took(),
      outcome: 'failure',
      error: noticeError(error, this.context.env),
    }))
  }

  private common(document?: unknown): Omit<Notice, 'outcome'> {
    const {database, destinations = []} = this.facts
    const summary = redacted(summaryOf(this.event, document))
    return {
      ...noticeBase(this.event, this.context),
      runId: this.runId,
      subject: subjectOf(this.event, this.facts),
      database: database ?? summary.database,
      about: this.facts.about,
      destinations: summary.destinations.length > 0 ? summary.destinations : destinations.map(redactSecrets),
      facts: [...summary.facts, ...(this.facts.describe?.(document) ?? []).map(redactedFact)],
      figures: summary.figures,
    }
  }

  private took(): {durationMs: number} {
    return {durationMs: Math.round(performance.now() - this.startMs)}
  }

  /** After the beginning was told: a monitor would take the order for the order of things. */
  private async send(channels: Channel[], compose: () => Notice): Promise<void> {
    if (!this.context.signal.aborted) await this.beginning
    else await Promise.race([this.beginning, sleep(beginningLimitMs, undefined, {ref: false})])
    await this.deliver(channels, compose)
  }

  private async deliver(channels: Channel[], compose: () => Notice): Promise<void> {
    try {
      const {env, signal} = this.context
      const limits = {interruptedLimitMs: interruptedLimitMs - beginningLimitMs}
      warnOf(await notify(compose(), channels, {env, signal, ...limits}), this.context.events)
    } catch {
      const message = 'The notice of how it went could not be written.'
      this.context.events.warning?.({code: 'NOTIFICATION_FAILED', message})
    }
  }
}

function cacheFolder({settings, cwd = '.'}: NoticeContext): string | undefined {
  try {
    return settings && resolve(cwd, settings.cacheDir.value)
  } catch {
    return undefined // it is not set; whoever needs it says so
  }
}

function warnOf(deliveries: Delivery[], events: Events): void {
  for (const {channel, status, reason} of deliveries) {
    if (status === 'sent') events.detail?.(`Told ${channel}.`)
    else {
      const message = `A notice did not get through to ${channel}: ${reason}.`
      events.warning?.({code: 'NOTIFICATION_FAILED', message})
    }
  }
}

function noticeBase(event: NoticeEvent, {env, clock}: Pick<NoticeContext, 'env' | 'clock'>) {
  return {
    id: randomUUID(),
    event,
    at: clock.now().toISOString(),
    machine: hostname(),
    runUrl: runUrlOf(env),
  }
}

/**
 * The database, the places and what of it all: a run that succeeds closes the incident of such a run that failed, and no
 * other. Whatever a database was restored from, it is restored.
 */
function subjectOf(
  event: NoticeEvent,
  {database, about, destinations = [], scope}: NoticeFacts<never>,
): string {
  const {host, port, name} = database ?? {}
  const place = database && `${host}${port === undefined ? '' : `:${port}`}/${name}`
  const places = event === 'restore' && place !== undefined ? [] : destinations.map(redactSecrets).sort()
  return [place ?? about, ...places, scope].filter((part) => part !== undefined).join(' ')
}

/** After an interruption almost every error is only its echo; a rollback that failed is not. */
function endingOf(thrown: unknown, signal: AbortSignal): unknown {
  if (!signal.aborted || (thrown instanceof DbbakError && thrown.code === 'ROLLBACK_FAILED')) return thrown
  return signal.reason instanceof DbbakError
    ? signal.reason
    : new DbbakError('INTERRUPTED', 'Interrupted: what was under way was stopped and cleaned up.')
}

function noticeError(error: unknown, env: Environment): NoticeError {
  if (error instanceof DbbakError) {
    const {code, message, suggestions, exitCode} = error
    return {code, message: redactSecrets(message), suggestions: suggestions.map(redactSecrets), exitCode}
  }
  // Nobody wrote this message with readers in mind: it may hold anything.
  const message = hideSecretValues(redactSecrets(messageOf(error)), env)
  return {code: 'INTERNAL', message, suggestions: ['Run it again with --verbose.'], exitCode: 1}
}

function redacted(summary: Summary): Summary {
  const {facts, destinations} = summary
  return {
    ...summary,
    destinations: destinations.map(redactSecrets),
    facts: facts.map(redactedFact),
  }
}

const redactedFact = ({label, value}: Fact): Fact => ({
  label: redactSecrets(label),
  value: redactSecrets(value),
})

/** How a channel took a test. */
export interface ChannelTest {
  channel: string
  status: 'sent' | 'failed'
  reason?: string
  durationMs: number
}

/**
 * Sends a test to every channel, whatever it listens to: pages nobody for long (an incident is opened and closed at
 * once), and leaves the state of checks alone.
 * @throws DbbakError CONFIG_INVALID
 */
export async function testNotifications(
  context: Pick<NoticeContext, 'env' | 'notifications' | 'clock' | 'signal'>,
): Promise<ChannelTest[]> {
  const {env, notifications, signal} = context
  const id = randomUUID()
  const notice: Notice = {
    ...noticeBase('backup', context),
    id,
    runId: id,
    outcome: 'success',
    subject: 'test',
    destinations: [],
    facts: [],
    figures: {},
    isTest: true,
  }
  const {channels, unset} = setUpChannels(notifications, env)
  const failed = unset.map(({name, reason}) => ({
    channel: name,
    status: 'failed' as const,
    reason,
    durationMs: 0,
  }))
  return [...failed, ...(await notify(notice, channels, {env, signal}))]
}
