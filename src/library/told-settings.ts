import {basename} from 'node:path'
import {channelVariables} from '../notify/channels.js'
import type {ChannelConfig, NotificationsConfig} from '../notify/config.js'
import type {ConfigFile, Environment} from './config-file.js'
import {startsWith, unsetError} from './config-text.js'
import type {LoadedSettings} from './settings.js'
import {hookNames, type HooksConfig} from './hooks.js'

/** The channels of one database where it has its own, else those of all. */
export function notificationsOf(
  file: ConfigFile | undefined,
  database: string | undefined,
): NotificationsConfig | undefined {
  const own = database === undefined ? undefined : file?.config.databases?.[database]?.notifications
  const at = own === undefined ? ['notifications'] : ['databases', String(database), 'notifications']
  return (own ?? file?.config.notifications)?.map((channel, index) => {
    const place = [...at, String(index)]
    const unset = file?.unset.find(({path}) => startsWith(path, place))
    return {
      ...channel,
      place: place.join('.'),
      ...(unset && {unset: {key: unset.path.slice(place.length).join('.'), variable: unset.variable}}),
    }
  })
}

/** Each hook of one database where it has its own, else that of all; reading one throws where its text has a gap. */
export function hooksOf(file: ConfigFile | undefined, database: string | undefined): HooksConfig | undefined {
  if (file === undefined) return undefined
  const hooks: HooksConfig = {}
  const own = database === undefined ? undefined : file.config.databases?.[database]?.hooks
  const places: [string[], HooksConfig | undefined][] = [
    [['databases', String(database), 'hooks'], own],
    [['hooks'], file.config.hooks],
  ]
  for (const name of hookNames) {
    const [at, held] = places.find(([, said]) => said?.[name] !== undefined) ?? []
    const unset = at && file.unset.find(({path}) => startsWith(path, [...at, name]))
    const get = () => {
      if (unset) throw unsetError(unset, file.name)
      return held?.[name]
    }
    if (held !== undefined) Object.defineProperty(hooks, name, {enumerable: true, get})
  }
  return hooks
}

interface Line {
  name: string
  value: string
  source: string
}

/** Nothing of an address and of a command: both may hold secrets. */
export function describeTold(
  {retention, notifications, hooks}: Pick<LoadedSettings, 'retention' | 'notifications' | 'hooks'>,
  {env, configFile}: {env: Environment; configFile: string | undefined},
): Line[] {
  const file = configFile === undefined ? [] : [basename(configFile)]
  const variables = channelVariables.filter(({variable}) => env[variable])
  const inFile = (notifications ?? []).filter(({type}) => !variables.some((one) => one.type === type))
  return [
    describeRetention(retention),
    lineOf(
      'notifications',
      [
        ...inFile.map(describeChannel),
        ...variables.map(({type}) =>
          named(type, type === 'webhook' ? signing(env.DBBAK_WEBHOOK_SECRET) : []),
        ),
      ],
      [...(inFile.length > 0 ? file : []), ...variables.map(({variable}) => variable)],
    ),
    lineOf('hooks', Object.keys(hooks ?? {}), file),
  ]
}

function lineOf(name: string, told: string[], sources: string[]): Line {
  if (told.length === 0) return {name, value: '-', source: 'not set'}
  return {name, value: told.join(', '), source: sources.join(', ')}
}

function describeRetention(retention: LoadedSettings['retention']): Line {
  if (retention.fault) return {name: 'retention', value: '(not set)', source: retention.source}
  const rules = Object.entries(retention.value).filter(([, value]) => value !== undefined)
  return lineOf(
    'retention',
    rules.map(([rule, value]) => `${rule}: ${value}`),
    [retention.source],
  )
}

function describeChannel(channel: ChannelConfig): string {
  const {type, name, unset, events = []} = channel
  const on = ('on' in channel ? channel.on : undefined) ?? []
  const signed = channel.type === 'webhook' && !unset ? signing(channel.secret) : []
  const chosen = [...on, ...events, ...signed, ...(unset ? [`${unset.variable} is not set`] : [])]
  return named(name ?? type, chosen)
}

const named = (name: string, more: string[]): string =>
  more.length > 0 ? `${name} (${more.join(', ')})` : name

/** How a secret is read: of one that was taken for the other no receiver accepts a signature. */
function signing(secret: string | undefined): string[] {
  if (!secret) return []
  return [secret.startsWith('whsec_') ? 'signed by the base64 after whsec_' : 'signed by the secret as text']
}
