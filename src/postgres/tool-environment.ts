import {variableOf, type Parameter, type Settings} from './connection-parameters.js'
import type {HostAddress} from './host-address.js'
import {tlsVariables, type TlsFiles} from './tls.js'

interface ToolConnection {
  settings: Settings
  files: TlsFiles
  hosts: readonly HostAddress[]
  /** PGPASSWORD, or the PGPASSFILE to look for it. */
  secret: Record<string, string>
  /** Seconds; 0 for ever. */
  connectTimeout: number
}

/** What is set below in another way, or must not reach the tools at all. */
const notPassedOn: ReadonlySet<Parameter> = new Set<Parameter>([
  ...([
    'service',
    'passfile',
    'password',
    'host',
    'hostaddr',
    'port',
    'client_encoding',
    'connect_timeout',
  ] as const),
  ...(['sslrootcert', 'sslcert', 'sslkey', 'sslcrl'] as const),
])

/** The environment of a client tool: inherited, without its PG* variables, plus the connection; messages in English. */
export function toolVariables(
  inherited: Record<string, string | undefined>,
  connection: ToolConnection,
): Record<string, string> {
  return {
    ...inEnglish(withoutPostgres(inherited)),
    ...settingVariables(connection.settings),
    ...hostVariables(connection.hosts),
    ...tlsVariables(connection.settings, connection.files),
    ...connection.secret,
    PGCONNECT_TIMEOUT: String(connection.connectTimeout),
  }
}

/** For a tool that is told by other means where to connect, or does not connect: no PG* variable leads it anywhere. */
export function unconnectedVariables(inherited: Record<string, string | undefined>): Record<string, string> {
  return inEnglish(withoutPostgres(inherited))
}

function withoutPostgres(inherited: Record<string, string | undefined>): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(inherited)) {
    if (value !== undefined && !/^PG/i.test(name)) kept[name] = value
  }
  return kept
}

/** LC_ALL would overrule LC_MESSAGES, so its say over the encoding moves to LC_CTYPE. */
function inEnglish({LC_ALL: all, LANGUAGE: _, ...rest}: Record<string, string>): Record<string, string> {
  return {...rest, ...(all ? {LC_CTYPE: all} : {}), LC_MESSAGES: 'C'}
}

function settingVariables(settings: Settings): Record<string, string> {
  const variables: Record<string, string> = {}
  for (const [name, variable] of Object.entries(variableOf) as [Parameter, string | null][]) {
    const value = settings[name]
    if (variable !== null && value && !notPassedOn.has(name)) variables[variable] = value
  }
  return variables
}

function hostVariables(hosts: readonly HostAddress[]): Record<string, string> {
  const addresses = hosts.map(({address}) => address ?? '')
  return {
    PGHOST: hosts.map(({host}) => host).join(','),
    PGPORT: hosts.map(({port}) => port).join(','),
    ...(addresses.some((address) => address !== '') ? {PGHOSTADDR: addresses.join(',')} : {}),
  }
}
