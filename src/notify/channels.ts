import {DbbakError} from '../support/errors.js'
import {isChosen, type Channel, type ChannelKind, type Choice, type Environment} from './channel.js'
import type {ChannelConfig, NotificationsConfig} from './config.js'
import {mailServerOf} from './mail-server.js'
import {
  noticeChoices,
  noticeEvents,
  noticeOutcomes,
  type Notice,
  type NoticeChoice,
  type NoticeEvent,
} from './notice.js'

/** Where a channel's settings stand, for messages: the variables' names, or a place in the config file. */
interface Found {
  config: ChannelConfig
  place: (key: string) => string
}

/** Somebody who cannot be told, since something that is needed for it is not set. */
export interface UnsetChannel {
  name: string
  /** What is missing, in words that name the variable. */
  reason: string
  events: readonly NoticeEvent[]
  isShared: boolean
}

/**
 * The channels of the config file and of the environment. The variables of one kind stand in for all channels of that
 * kind in the file.
 * @throws DbbakError CONFIG_INVALID for what is wrong, never with a value: most of them are secrets
 */
export function setUpChannels(
  config: NotificationsConfig | undefined,
  env: Environment,
): {channels: Channel[]; unset: UnsetChannel[]} {
  const fromEnvironment = channelsInEnvironment(env)
  const replaced = new Set(fromEnvironment.map(({config: {type}}) => type))
  const fromFile = (config ?? []).map((channel, index): Found => ({
    config: channel,
    place: (key) => `${channel.place ?? `notifications.${index}`}.${key}`,
  }))
  const found = [...fromFile.filter(({config: {type}}) => !replaced.has(type)), ...fromEnvironment]
  const defaultOn = listOf(noticeChoices, env.DBBAK_NOTIFY_ON, 'DBBAK_NOTIFY_ON')
  const channels: Channel[] = []
  const unset: UnsetChannel[] = []
  for (const [index, one] of found.entries()) {
    const name = nameOf(one, found.slice(0, index))
    const reason = missingOf(one)
    if (reason === undefined) channels.push({...open(one, name, defaultOn), isShared: isShared(one)})
    else unset.push({name, reason, events: one.config.events ?? noticeEvents, isShared: isShared(one)})
  }
  return {channels, unset}
}

export const channelsOf = (config: NotificationsConfig | undefined, env: Environment): Channel[] =>
  setUpChannels(config, env).channels

const isShared = ({config}: Found): boolean => !config.place?.startsWith('databases.')

/** What a secret that is not there (of a fork's CI, for one) leaves open must not stop a backup. */
function missingOf({config, place}: Found): string | undefined {
  if (config.unset) {
    const {key, variable} = config.unset
    return `${place(key)} comes from ${variable}, which is not set or empty`
  }
  if (config.type !== 'email') return undefined
  if (config.from === '') return `${place('from')} is not set`
  return config.to.length === 0 ? `${place('to')} is not set` : undefined
}

/** By its kind, numbered from the second on, unless it was given a name. */
function nameOf({config: {type, name}}: Found, before: Found[]): string {
  if (name !== undefined) return name
  const alike = before.filter((one) => one.config.type === type && one.config.name === undefined).length
  return alike === 0 ? type : `${type} ${alike + 1}`
}

/** The variables that make a channel. */
export const channelVariables: readonly {type: ChannelKind; variable: string}[] = [
  {type: 'slack', variable: 'DBBAK_SLACK_WEBHOOK_URL'},
  {type: 'discord', variable: 'DBBAK_DISCORD_WEBHOOK_URL'},
  {type: 'pagerduty', variable: 'DBBAK_PAGERDUTY_ROUTING_KEY'},
  {type: 'email', variable: 'DBBAK_SMTP_URL'},
  {type: 'webhook', variable: 'DBBAK_WEBHOOK_URL'},
  {type: 'ping', variable: 'DBBAK_PING_URL'},
]

function channelsInEnvironment(env: Environment): Found[] {
  const {
    DBBAK_SLACK_WEBHOOK_URL: slack,
    DBBAK_DISCORD_WEBHOOK_URL: discord,
    DBBAK_PAGERDUTY_ROUTING_KEY: routingKey,
    DBBAK_SMTP_URL: smtpUrl,
    DBBAK_WEBHOOK_URL: webhook,
    DBBAK_PING_URL: ping,
  } = env
  const events = listOf(noticeEvents, env.DBBAK_NOTIFY_EVENTS, 'DBBAK_NOTIFY_EVENTS')
  const found: Found[] = []
  const add = (config: ChannelConfig, variables: Record<string, string>) =>
    found.push({config: {...config, events}, place: (key) => variables[key] ?? key})
  if (slack) add({type: 'slack', url: slack}, {url: 'DBBAK_SLACK_WEBHOOK_URL'})
  if (discord) add({type: 'discord', url: discord}, {url: 'DBBAK_DISCORD_WEBHOOK_URL'})
  if (routingKey)
    add(
      {type: 'pagerduty', routingKey, url: env.DBBAK_PAGERDUTY_URL || undefined},
      {routingKey: 'DBBAK_PAGERDUTY_ROUTING_KEY', url: 'DBBAK_PAGERDUTY_URL'},
    )
  if (smtpUrl)
    add(
      {type: 'email', smtpUrl, from: env.DBBAK_MAIL_FROM ?? '', to: addresses(env.DBBAK_MAIL_TO)},
      {smtpUrl: 'DBBAK_SMTP_URL', from: 'DBBAK_MAIL_FROM', to: 'DBBAK_MAIL_TO'},
    )
  if (webhook)
    add(
      {type: 'webhook', url: webhook, secret: env.DBBAK_WEBHOOK_SECRET || undefined},
      {url: 'DBBAK_WEBHOOK_URL', secret: 'DBBAK_WEBHOOK_SECRET'},
    )
  if (ping) add({type: 'ping', url: ping}, {url: 'DBBAK_PING_URL'})
  return found
}

const addresses = (text = ''): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean)

function listOf<T extends string>(known: readonly T[], text: string | undefined, variable: string) {
  if (!text) return undefined
  const names = text.split(',').map((name) => name.trim())
  const all = new Set<string>(known)
  if (names.every((name) => all.has(name))) return names as T[]
  throw invalid(variable, `takes ${known.join(', ')}, with commas between`)
}

const defaults: Record<ChannelKind, Choice> = {
  slack: {on: ['failure'], events: noticeEvents},
  discord: {on: ['failure'], events: noticeEvents},
  email: {on: ['failure'], events: noticeEvents},
  webhook: {on: ['success', 'failure'], events: noticeEvents},
  // A success closes the incident that a failure opened.
  pagerduty: {on: ['success', 'failure'], events: noticeEvents},
  ping: {on: noticeOutcomes, events: noticeEvents}, // a recovery is a success
}

/**
 * A check watches over the taking of backups. Fed by every command it would stay green while none is taken any more;
 * but what went wrong beside (`backup --verify`) is for it too. A restore is another matter.
 */
function concernsBackups({outcome, event}: Notice): boolean {
  return outcome === 'failure' ? event !== 'restore' : event === 'backup'
}

/** Where DBBAK_NOTIFY_ON would break what the channel is for. */
const hasFixedOutcomes = (kind: ChannelKind) => kind === 'ping' || kind === 'pagerduty'

function open(
  {config, place}: Found,
  name: string,
  defaultOn: NoticeChoice[] | undefined,
): Omit<Channel, 'isShared'> {
  const {type: kind} = config
  const otherwise = defaults[kind]
  const on: readonly NoticeChoice[] =
    ('on' in config ? config.on : undefined) ??
    (hasFixedOutcomes(kind) ? undefined : defaultOn) ??
    otherwise.on
  const events: readonly NoticeEvent[] = config.events ?? otherwise.events
  const isOwnChoice = kind !== 'ping' || config.events !== undefined
  return {
    name,
    kind,
    remembers: on.includes('recovered'),
    wants: (notice) =>
      isChosen({on, events}, notice) && (isOwnChoice || notice.isTest === true || concernsBackups(notice)),
    send: senderOf(config, place),
  }
}

/** Settings are checked now, before anything is done; the code that sends is loaded when there is something to send. */
function senderOf(config: ChannelConfig, place: Found['place']): Channel['send'] {
  switch (config.type) {
    case 'slack': {
      const url = httpUrl(config.url, place('url'))
      return async (...what) => (await import('./slack.js')).sendToSlack(url, ...what)
    }
    case 'discord': {
      const url = httpUrl(config.url, place('url'))
      return async (...what) => (await import('./discord.js')).sendToDiscord(url, ...what)
    }
    case 'pagerduty': {
      const access = {
        routingKey: routingKeyOf(config.routingKey, place('routingKey')),
        severity: config.severity,
        url: httpUrl(config.url ?? pagerdutyUrl, place('url')),
      }
      return async (...what) => (await import('./pagerduty.js')).sendToPagerduty(access, ...what)
    }
    case 'email': {
      const server = mailServerOf(config.smtpUrl)
      if (typeof server === 'string') throw invalid(place('smtpUrl'), server)
      const access = {
        server,
        from: address(config.from, place('from')),
        to: config.to.map((to) => address(to, place('to'))),
      }
      return async (...what) => (await import('./email.js')).sendMail(access, ...what)
    }
    case 'webhook': {
      const access = {
        url: httpUrl(config.url, place('url')),
        secret: secretOf(config.secret, place('secret')),
        headers: headersOf(config.headers, place('headers')),
      }
      return async (...what) => (await import('./webhook.js')).sendToWebhook(access, ...what)
    }
    case 'ping': {
      const url = httpUrl(config.url, place('url'))
      return async (...what) => (await import('./ping.js')).sendPing(url, ...what)
    }
  }
}

/** For the EU it is https://events.eu.pagerduty.com/v2/enqueue. */
const pagerdutyUrl = 'https://events.pagerduty.com/v2/enqueue'

function httpUrl(text: string, place: string): string {
  const url = URL.parse(text.trim())
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url.href
  throw invalid(place, 'is not a URL that begins with https:// or http://')
}

function routingKeyOf(text: string, place: string): string {
  if (/^[\w-]{20,64}$/.test(text.trim())) return text.trim()
  throw invalid(place, 'is not an integration key of the Events API v2, which has 32 letters and digits')
}

function secretOf(secret: string | undefined, place: string): string | undefined {
  if (secret?.startsWith('whsec_') && !/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(secret))
    throw invalid(place, 'begins with whsec_, so the rest must be base64')
  return secret
}

function headersOf(headers: Record<string, string> | undefined, place: string) {
  for (const [name, value] of Object.entries(headers ?? {}))
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name) || !/^[\t\x20-\x7e]*$/.test(value))
      throw invalid(place, 'holds a name or a value that no HTTP header can have')
  return (
    headers && Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  )
}

/** `backup@example.com` or `Backups <backup@example.com>`. */
function address(text: string, place: string): string {
  if (/^(?:[^<>@\r\n]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s,]+@[^<>@\s,]+)$/.test(text.trim())) return text.trim()
  throw invalid(place, 'is not a mail address')
}

function invalid(place: string, what: string): DbbakError {
  return new DbbakError('CONFIG_INVALID', `The notifications cannot be set up: ${place} ${what}.`, {
    suggestions: [`Correct ${place}, then try it: dbbak doctor --notify`],
    details: {place},
  })
}
