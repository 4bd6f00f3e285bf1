import type {ChannelConfig} from '../notify/config.js'
import type {ConfigFile} from './config-file.js'

/** Shorter ones would be found everywhere. */
const shortest = 4

/** What a config file holds of secrets, most of it from the environment; the longest first. */
export function secretsIn(file: ConfigFile | undefined): string[] {
  if (file === undefined) return []
  const {databases = {}, databaseUrl, testDatabaseUrl, notifications, azure} = file.config
  const own = Object.values(databases)
  const urls = [databaseUrl, testDatabaseUrl, ...own.flatMap((one) => [one.url, one.testDatabaseUrl])]
  const channels = [notifications, ...own.map((one) => one.notifications)].flatMap((some) => some ?? [])
  const found = [
    ...urls.flatMap(passwordsIn),
    ...channels.flatMap(secretsOf),
    azure?.connectionString,
    azure?.sas,
  ]
  return [...new Set(found)]
    .filter((one): one is string => one !== undefined && one.length >= shortest)
    .sort((one, other) => other.length - one.length)
}

function passwordsIn(url: string | undefined): string[] {
  const written = URL.parse(url ?? '')?.password ?? ''
  try {
    return [written, decodeURIComponent(written)]
  } catch {
    return [written]
  }
}

function secretsOf(channel: ChannelConfig): (string | undefined)[] {
  if (channel.type === 'pagerduty') return [channel.routingKey]
  if (channel.type === 'email') return [channel.smtpUrl, ...passwordsIn(channel.smtpUrl)]
  if (channel.type !== 'webhook') return [channel.url]
  return [channel.url, channel.secret, ...Object.values(channel.headers ?? {})]
}
