import {parseConninfo} from './conninfo.js'
import type {ConnectionEnvironment} from './connection-environment.js'
import {
  assign,
  exampleUrl,
  nearest,
  variableOf,
  type Fail,
  type Parameter,
  type Settings,
} from './connection-parameters.js'
import {isUri, parseUri} from './connection-uri.js'
import {readService} from './service-file.js'

/**
 * All settings in libpq's order: the text, then the service file, then the PG* variables, then defaults.
 * @throws DbbakError DATABASE_URL_INVALID
 */
export async function resolveSettings(
  text: string,
  from: ConnectionEnvironment,
  fail: Fail,
): Promise<Settings> {
  const given = parseText(text.trim(), fail)
  const service = given.service || from.env.PGSERVICE
  const shared = service ? await readService(service, from, fail) : {}
  const settings = {...fromVariables(from.env), ...shared, ...given}
  settings.sslmode ??= settings.sslrootcert === 'system' ? 'verify-full' : 'prefer'
  settings.user ||= from.userName
  settings.dbname ||= settings.user
  check(settings, fail)
  return settings
}

function parseText(text: string, fail: Fail): Settings {
  if (text === '') return {}
  if (isUri(text)) return parseUri(text, fail)
  if (/^["'`]/.test(text))
    throw fail('it begins with a quotation mark', ['Remove the quotation marks around it'])
  const scheme = /^([a-z][a-z0-9+.:-]{0,30}):\/\//i.exec(text)?.[1]
  if (scheme !== undefined) throw foreignScheme(scheme, fail)
  if (!text.includes('=')) throw fail('it is neither a URL nor made of keyword=value pairs')
  return parseConninfo(text, fail)
}

/** `postgresql+psycopg2`, `jdbc:postgresql`, `postgis`: other tools' names for the same thing, or another thing. */
function foreignScheme(scheme: string, fail: Fail): Error {
  const related = /postg|pgsql/i.test(scheme)
  return fail(`it begins with ${scheme}://, which is not how a PostgreSQL URL begins`, [
    related ? `Write postgresql:// in place of ${scheme}://` : exampleUrl,
  ])
}

/** An empty variable counts as one that is not set. */
function fromVariables(env: ConnectionEnvironment['env']): Settings {
  const settings: Settings = env.PGREQUIRESSL?.startsWith('1') ? {sslmode: 'require'} : {}
  for (const [name, variable] of Object.entries(variableOf)) {
    const value = variable === null ? undefined : env[variable]
    if (value) assign(settings, name, value)
  }
  return settings
}

/** True where the environment says which database is meant, so that no URL is needed. */
export function variablesNameADatabase(env: ConnectionEnvironment['env']): boolean {
  return ['PGSERVICE', 'PGHOST', 'PGHOSTADDR', 'PGDATABASE'].some((name) => Boolean(env[name]))
}

const choices: Partial<Record<Parameter, readonly string[]>> = {
  sslmode: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
  sslnegotiation: ['postgres', 'direct'],
  sslcertmode: ['disable', 'allow', 'require'],
  channel_binding: ['disable', 'prefer', 'require'],
  gssencmode: ['disable', 'prefer', 'require'],
  target_session_attrs: ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'],
  load_balance_hosts: ['disable', 'random'],
  ssl_min_protocol_version: ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'],
  ssl_max_protocol_version: ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'],
}

const numbers: readonly Parameter[] = [
  ...(['connect_timeout', 'keepalives', 'keepalives_idle', 'keepalives_interval'] as const),
  ...(['keepalives_count', 'tcp_user_timeout'] as const),
]

/** What libpq refuses, refused before anything is started; values are not repeated, they may be a password's rest. */
function check(settings: Settings, fail: Fail): void {
  for (const [name, allowed] of Object.entries(choices)) {
    const value = settings[name as Parameter]
    const known =
      value === undefined ||
      value === '' ||
      allowed.some((word) => word.toLowerCase() === value.toLowerCase())
    if (!known)
      throw fail(`${name} must be one of ${allowed.join(', ')}`, nearestChoice(name, value, allowed))
  }
  for (const name of numbers) {
    if (!/^\s*-?\d*\s*$/.test(settings[name] ?? '')) throw fail(`${name} must be a whole number`)
  }
  checkTogether(settings, fail)
}

function nearestChoice(name: string, value: string, allowed: readonly string[]): string[] {
  const near = nearest(value, allowed)
  return near === undefined ? [] : [`Write ${name}=${near}`]
}

function checkTogether({sslmode, sslrootcert, sslnegotiation}: Settings, fail: Fail): void {
  const weak = sslmode === 'disable' || sslmode === 'allow' || sslmode === 'prefer'
  if (sslrootcert === 'system' && sslmode !== 'verify-full') {
    throw fail('sslrootcert=system goes with sslmode=verify-full only', ['Write sslmode=verify-full'])
  }
  if (sslnegotiation === 'direct' && weak) {
    throw fail('sslnegotiation=direct needs sslmode=require, verify-ca or verify-full', [
      'Write sslmode=require',
    ])
  }
}
