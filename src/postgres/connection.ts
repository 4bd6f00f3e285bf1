import type {ClientConfig} from 'pg'
import {DbbakError} from '../support/errors.js'
import {defaultPassFile, type ConnectionEnvironment} from './connection-environment.js'
import {failFor, type Parameter, type Settings} from './connection-parameters.js'
import {resolveSettings} from './connection-settings.js'
import {conninfoPair} from './conninfo.js'
import {
  hostAddresses,
  isSocketFolder,
  passFileHost,
  printedAddress,
  socketTo,
  type HostAddress,
} from './host-address.js'
import {readPassFile, type PassFile} from './pass-file.js'
import {tlsFiles, tlsOptions, transports, type TlsFiles, type Transport} from './tls.js'
import {toolVariables} from './tool-environment.js'
import {serverOptions} from './tool-settings.js'

export type {ConnectionEnvironment} from './connection-environment.js'
export {variablesNameADatabase} from './connection-settings.js'
export type {HostAddress} from './host-address.js'

interface Parts {
  settings: Settings
  hosts: readonly HostAddress[]
  source: string
  files: TlsFiles
  passFile: PassFile
  warnings: readonly string[]
  /** The way that is known to work, of those that the sslmode allows. */
  transport?: Transport
}

/** How long to wait for a server that does not answer, where connect_timeout does not say; libpq waits for ever. */
const defaultConnectTimeoutSeconds = 30

/** One description of how to reach a database: feeds `pg` and the client tools alike. Immutable. */
export class ConnectionDescription {
  readonly hosts: readonly HostAddress[]
  /** The first host. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** Where it came from, for messages: 'DATABASE_URL', '--database-url', 'the PG* variables'. */
  readonly source: string
  /** What the user should know: a password file that was not used, a setting that only the client tools heed. */
  readonly warnings: readonly string[]
  // Private to the language, so that no log, JSON or inspection shows the password.
  readonly #parts: Parts

  constructor(parts: Parts) {
    const [first] = parts.hosts
    if (first === undefined) throw new DbbakError('INTERNAL', 'A connection description without a host.')
    this.#parts = parts
    this.hosts = Object.freeze(parts.hosts.map((host) => Object.freeze({...host})))
    this.host = first.host
    this.port = first.port
    this.user = parts.settings.user ?? ''
    this.database = parts.settings.dbname ?? ''
    this.source = parts.source
    this.warnings = parts.warnings
    Object.freeze(this)
  }

  /** `app@db.internal:5432/shop`: fit to print, never the password. */
  redacted(): string {
    return printable(`${this.user}@${this.hosts.map(printedAddress).join(',')}/${this.database}`)
  }

  /** The same server and user, another database; its password is looked up anew where it comes from a password file. */
  withDatabase(database: string): ConnectionDescription {
    return new ConnectionDescription({...this.#parts, settings: {...this.#parts.settings, dbname: database}})
  }

  /** The same, at this one host. */
  withHost(address: HostAddress): ConnectionDescription {
    const known = this.hosts.find(({host, port}) => host === address.host && port === address.port)
    return new ConnectionDescription({...this.#parts, hosts: [known ?? address]})
  }

  /** The same, once it is known whether TLS or the plain way works. */
  withTransport(transport: Transport): ConnectionDescription {
    return new ConnectionDescription({...this.#parts, transport})
  }

  /** The same, with settings of the server in force from the start; a pooler such as PgBouncer may refuse them. */
  withServerSettings(wanted: Record<string, string>): ConnectionDescription {
    const {settings} = this.#parts
    return new ConnectionDescription({
      ...this.#parts,
      settings: {...settings, options: serverOptions(settings.options, wanted)},
    })
  }

  /** How a session may be carried, in the order in which to try. */
  transports(): readonly [Transport, ...Transport[]] {
    return transports(this.#parts.settings.sslmode, isSocketFolder(this.host))
  }

  /** A setting by libpq's name. Passwords are not among them. */
  setting(name: Exclude<Parameter, 'password' | 'sslpassword'>): string | undefined {
    return this.#parts.settings[name]
  }

  /** Puts a mask wherever a text holds a password that is known for one of the hosts. */
  hidePasswords(text: string, mask: string): string {
    const passwords = this.hosts.flatMap((host) => this.#password(host) ?? [])
    const written = passwords.flatMap((password) => [password, encodeURIComponent(password)])
    return written.reduce((hidden, one) => (one.length < 4 ? hidden : hidden.replaceAll(one, mask)), text)
  }

  /** Whether a password is known for the first host. */
  get hasPassword(): boolean {
    return this.#password(this.#parts.hosts[0]!) !== undefined
  }

  /** 0: for ever. */
  get connectTimeoutMs(): number {
    return 1000 * connectTimeoutSeconds(this.#parts.settings.connect_timeout)
  }

  /**
   * The whole environment for pg_dump and its like: what was inherited without any PG* variable, plus this connection.
   * Everything is in it, so that the tools read no service file, and no password file unless hosts differ in it.
   *
   * psql, pg_dump and pg_restore take PGDATABASE literally. vacuumdb, clusterdb and reindexdb take a name that
   * contains `=` or begins like a URL for a connection string: give those `databaseArgument()`.
   * The client encoding is left out on purpose: pg_dump then writes the database's own, and nothing is converted.
   */
  toolEnvironment(inherited: Record<string, string | undefined>): Record<string, string> {
    const {settings, files, hosts, passFile} = this.#parts
    const passwords = new Set(hosts.map((host) => this.#password(host)))
    const [password] = passwords
    const secret: Record<string, string> =
      passwords.size === 1 && password !== undefined ? {PGPASSWORD: password} : {PGPASSFILE: passFile.path}
    const connectTimeout = connectTimeoutSeconds(settings.connect_timeout)
    return toolVariables(inherited, {settings, files, hosts, secret, connectTimeout})
  }

  /** For a tool's `--dbname`: exactly this database whatever its name, and what has no variable; no password. */
  databaseArgument(): string {
    const {settings} = this.#parts
    const pairs = withoutVariable.flatMap((name) =>
      settings[name] ? [conninfoPair(name, settings[name])] : [],
    )
    return [conninfoPair('dbname', this.database), ...pairs].join(' ')
  }

  /**
   * For `new pg.Client(config)`: the first host, by TLS as libpq would do it. Where the sslmode allows two ways
   * (prefer, allow) it is the first of them, unless connect() has found out which works.
   * @throws DbbakError TLS_FAILED when a certificate file is missing or unusable
   */
  clientConfig(transport: Transport = this.#parts.transport ?? this.transports()[0]): ClientConfig {
    const {settings, files, hosts} = this.#parts
    const address = hosts[0]!
    const overTls = transport === 'tls'
    return {
      host: address.host,
      port: address.port,
      user: this.user,
      database: this.database,
      password: () => this.#password(address) ?? noPassword(this),
      application_name: settings.application_name || settings.fallback_application_name || 'dbbak',
      ...(settings.options ? {options: settings.options} : {}),
      ssl: overTls ? tlsOptions(settings, files) : false,
      sslnegotiation: overTls && settings.sslnegotiation === 'direct' ? 'direct' : 'postgres',
      enableChannelBinding: overTls && settings.channel_binding !== 'disable',
      keepAlive: Number(settings.keepalives || 1) !== 0,
      keepAliveInitialDelayMillis: 1000 * Math.max(0, Number(settings.keepalives_idle || 0)),
      connectionTimeoutMillis: this.connectTimeoutMs,
      stream: () => socketTo(address),
    }
  }

  #password(address: HostAddress): string | undefined {
    const {settings, passFile} = this.#parts
    const {user, database} = this
    return (
      settings.password ||
      passFile.passwordFor({host: passFileHost(address), port: address.port, database, user})
    )
  }

  toString(): string {
    return this.redacted()
  }

  toJSON(): unknown {
    return {hosts: this.hosts, user: this.user, database: this.database, source: this.source}
  }
}

/**
 * Reads libpq's URL forms or a keyword/value conninfo string; what it leaves open comes from the service file, the
 * PG* variables, the password file and defaults, in libpq's order.
 * @throws DbbakError DATABASE_URL_INVALID, which says what is wrong and repeats neither password nor URL
 */
export async function describeConnection(
  text: string | undefined,
  from: ConnectionEnvironment,
  source: string,
): Promise<ConnectionDescription> {
  const fail = failFor(source)
  const settings = await resolveSettings(text ?? '', from, fail)
  const hosts = hostAddresses(settings, fail)
  const path = settings.passfile || defaultPassFile(from)
  const passFile = await readPassFile(path)
  const warnings = [
    ...(passFile.warning && !settings.password ? [passFile.warning] : []),
    ...halfHeeded(settings),
  ]
  return new ConnectionDescription({
    settings,
    hosts,
    source,
    files: tlsFiles(settings, from),
    passFile,
    warnings,
  })
}

/** Parameters that reach the client tools only through their --dbname. */
const withoutVariable = [
  ...([
    'keepalives',
    'keepalives_idle',
    'keepalives_interval',
    'keepalives_count',
    'tcp_user_timeout',
  ] as const),
]

function halfHeeded(settings: Settings): string[] {
  const toolsOnly = (['requirepeer', 'sslcrldir'] as const).filter((name) => settings[name])
  return [
    ...toolsOnly.map((name) => `The client tools heed ${name}; dbbak's own sessions do not.`),
    ...(settings.sslpassword ? [keyPasswordWarning] : []),
  ]
}

const keyPasswordWarning =
  'The client tools cannot be given sslpassword safely, and will fail where the server asks for the certificate: ' +
  'use a private key without a password, in a file that only you can read.'

/** Nothing or nonsense: the default. Zero or less: for ever. libpq rounds 1 up to 2. */
function connectTimeoutSeconds(text: string | undefined): number {
  const seconds = text?.trim() ? Number(text) : defaultConnectTimeoutSeconds
  return seconds <= 0 ? 0 : Math.max(2, seconds)
}

function noPassword(description: ConnectionDescription): never {
  throw new DbbakError(
    'AUTHENTICATION_FAILED',
    `${description.redacted()} asks for a password, and none was given.`,
    {
      suggestions: [
        `Put it into ${description.source}, or set the variable PGPASSWORD`,
        `Or add a line to ~/.pgpass (chmod 600): ${description.host}:${description.port}:${description.database}:${description.user}:PASSWORD`,
      ],
    },
  )
}

/** Names may hold anything; a terminal must not be steered by them. */
const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
