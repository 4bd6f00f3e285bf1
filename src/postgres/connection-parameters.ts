import {nearestName} from '../support/nearest-name.js'
import {DbbakError} from '../support/errors.js'

/** libpq's connection parameters, each with the environment variable that stands in for it where there is one. */
export const variableOf = {
  service: 'PGSERVICE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  dbname: 'PGDATABASE',
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  channel_binding: 'PGCHANNELBINDING',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  client_encoding: 'PGCLIENTENCODING',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  fallback_application_name: null,
  keepalives: null,
  keepalives_idle: null,
  keepalives_interval: null,
  keepalives_count: null,
  tcp_user_timeout: null,
  sslmode: 'PGSSLMODE',
  sslnegotiation: 'PGSSLNEGOTIATION',
  sslcompression: 'PGSSLCOMPRESSION',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslpassword: null,
  sslcertmode: 'PGSSLCERTMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcrl: 'PGSSLCRL',
  sslcrldir: 'PGSSLCRLDIR',
  sslsni: 'PGSSLSNI',
  requirepeer: 'PGREQUIREPEER',
  require_auth: 'PGREQUIREAUTH',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  ssl_max_protocol_version: 'PGSSLMAXPROTOCOLVERSION',
  min_protocol_version: 'PGMINPROTOCOLVERSION',
  max_protocol_version: 'PGMAXPROTOCOLVERSION',
  gssencmode: 'PGGSSENCMODE',
  krbsrvname: 'PGKRBSRVNAME',
  gsslib: 'PGGSSLIB',
  gssdelegation: 'PGGSSDELEGATION',
  replication: null,
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  load_balance_hosts: 'PGLOADBALANCEHOSTS',
} as const satisfies Record<string, string | null>

export type Parameter = keyof typeof variableOf
export type Settings = Partial<Record<Parameter, string>>

/** What frameworks and drivers add to a database URL for themselves: no concern of libpq's, and ignored here. */
export const frameworkParameters: ReadonlySet<string> = new Set([
  // Prisma
  ...[
    'schema',
    'pgbouncer',
    'connection_limit',
    'pool_timeout',
    'socket_timeout',
    'sslaccept',
    'sslidentity',
  ],
  ...['statement_cache_size', 'single_use_connections'],
  // node-postgres and what is built on it
  ...['uselibpqcompat', 'statement_timeout', 'lock_timeout', 'query_timeout', 'encoding', 'max', 'binary'],
  ...['idle_in_transaction_session_timeout', 'idleTimeoutMillis', 'connectionTimeoutMillis', 'parseInt8'],
  // Rails, Django, Doctrine, SQLAlchemy, Ecto
  ...[
    'adapter',
    'pool',
    'pool_size',
    'max_overflow',
    'prepared_statements',
    'reaping_frequency',
    'idle_timeout',
  ],
  ...[
    'checkout_timeout',
    'min_messages',
    'schema_search_path',
    'serverVersion',
    'charset',
    'conn_max_age',
    'timeout',
  ],
  ...['prepared_statement_cache_size', 'async_fallback'],
  // JDBC
  ...[
    'currentSchema',
    'ApplicationName',
    'loggerLevel',
    'prepareThreshold',
    'reWriteBatchedInserts',
    'stringtype',
  ],
  // pgx and its pool
  ...['pool_max_conns', 'pool_min_conns', 'pool_max_conn_lifetime', 'pool_max_conn_idle_time'],
  ...[
    'pool_health_check_period',
    'default_query_exec_mode',
    'statement_cache_capacity',
    'statement_cache_mode',
  ],
  // session settings that some drivers take from a URL; `options=-c search_path=…` is libpq's way
  ...['search_path', 'timezone', 'TimeZone', 'DateStyle', 'supa'],
])

/** Makes the error for an unusable connection description; `what` must hold nothing that could be a password. */
export type Fail = (what: string, suggestions?: string[]) => DbbakError

export function failFor(source: string): Fail {
  return (what, suggestions = []) =>
    new DbbakError('DATABASE_URL_INVALID', `${source} cannot be used: ${what}.`, {
      suggestions: suggestions.length > 0 ? suggestions : [exampleUrl],
      details: {source},
    })
}

export const exampleUrl =
  'It looks like this: postgresql://user@host:5432/database, with the password in PGPASSWORD or ~/.pgpass, or like this: host=… port=5432 user=… dbname=…'

export function isParameter(name: string): name is Parameter {
  return Object.hasOwn(variableOf, name)
}

/** Puts one parameter into the settings; false when nobody knows its name. */
export function assign(settings: Settings, name: string, value: string): boolean {
  const tls =
    name === 'ssl' || name === 'requiressl' || name === 'sslmode' ? sslModeFor(name, value) : undefined
  if (tls !== undefined) settings.sslmode = tls
  else if (isParameter(name)) settings[name] = value
  else return frameworkParameters.has(name)
  return true
}

/** JDBC's and node-postgres' spellings in libpq's words. */
function sslModeFor(name: string, value: string): string | undefined {
  if (name === 'requiressl') return value.startsWith('1') ? 'require' : 'prefer'
  if (name === 'sslmode') return value === 'no-verify' ? 'require' : value
  const known: Record<string, string> = {
    true: 'require',
    '1': 'require',
    'no-verify': 'require',
    false: 'disable',
    '0': 'disable',
  }
  return known[value]
}

/** What to say of an unknown parameter; `hide` where its name may be part of a password. */
export function unknownParameter(name: string, hide: boolean): string {
  if (hide || !/^[a-z][a-z0-9_]{0,39}$/i.test(name)) return 'it has a parameter that libpq does not know'
  const near = nearest(name, Object.keys(variableOf))
  return `there is no connection parameter ${name}` + (near === undefined ? '' : ` (did you mean ${near}?)`)
}

const nicknames: Record<string, Parameter> = {
  database: 'dbname',
  db: 'dbname',
  username: 'user',
  hostname: 'host',
  server: 'host',
  pass: 'password',
  passwd: 'password',
  pwd: 'password',
}

/** The known name that a mistyped one most likely meant. */
export function nearest(typed: string, known: readonly string[]): string | undefined {
  const nickname = nicknames[typed.toLowerCase()]
  return nickname !== undefined && known.includes(nickname) ? nickname : nearestName(typed, known)
}
