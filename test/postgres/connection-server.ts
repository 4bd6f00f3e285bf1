import {execFile} from 'node:child_process'
import {chmod, mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir, userInfo} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {findClientTools} from '../../src/postgres/client-tools.js'
import {connect} from '../../src/postgres/connect.js'
import {describeConnection, type ConnectionEnvironment} from '../../src/postgres/connection.js'
import {clientTools18} from '../support/client-tools-18.js'
import {startServer, type TestServer} from '../support/servers.js'

const run = promisify(execFile)

/** A server with TLS, a socket, and roles that are let in by different ways; each has the password `secret-of-<role>`. */
export interface ConnectionServer {
  server: TestServer
  host: string
  port: number
  /** Undefined where the server runs in a container. */
  socketFolder: string | undefined
  /** PEM files: ca.crt signed the server's certificate, for `localhost` only, and client.crt, of the role with_cert. */
  folder: string
  stop(): Promise<void>
}

const accessRules = `
local     all open       trust
local     all all        scram-sha-256
hostnossl all tls_only   all reject
hostssl   all plain_only all reject
hostssl   all with_cert  all cert
hostnossl all with_cert  all reject
host      all clear      all password
host      all open       all trust
host      all all        all scram-sha-256`

const roles = ['app', 'tls_only', 'plain_only', 'with_cert', 'clear', 'open']

export const passwordOf = (role: string): string => `secret-of-${role}`

/** Why certificates cannot be made here; undefined when they can. */
export async function missingOpenssl(): Promise<string | undefined> {
  return run('openssl', ['version']).then(
    () => undefined,
    () => 'there is no openssl here',
  )
}

export async function startConnectionServer(): Promise<ConnectionServer> {
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-con-'))
  await chmod(folder, 0o777) // the server may run as another user, and makes its socket here
  const inContainer = process.env.DBBAK_TEST_SERVERS === 'containers'
  const ownSettings = {unix_socket_directories: folder, listen_addresses: '127.0.0.1,::1'}
  const server = await startServer({overTcp: true, settings: inContainer ? {} : ownSettings})
  await server.query(
    roles.map((role) => `create role ${role} login password '${passwordOf(role)}';`).join(''),
  )
  await writeOnServer(server, 'hba_file', accessRules)
  await server.query('select pg_reload_conf()')
  const {host, port} = server.connection
  const stop = async () => {
    await server.stop()
    await rm(folder, {recursive: true})
  }
  return {server, host, port, folder, socketFolder: inContainer ? undefined : folder, stop}
}

/** Turns TLS on, with certificates made for this server. */
export async function turnTlsOn({server, folder, port, host}: ConnectionServer): Promise<void> {
  await makeCertificates(folder)
  await writeOnServer(server, 'ssl_cert_file', await readFile(join(folder, 'server.crt'), 'utf8'))
  await writeOnServer(server, 'ssl_key_file', await readFile(join(folder, 'server.key'), 'utf8'))
  await server.query(`alter system set ssl_ca_file = 'ca.crt'`)
  const [{data}] = await server.query<{data: string}>(
    `select setting as data from pg_settings where name = 'data_directory'`,
  )
  await writeFileOnServer(server, `${data}/ca.crt`, await readFile(join(folder, 'ca.crt'), 'utf8'))
  await server.query('alter system set ssl = on')
  await server.query('select pg_reload_conf()')
  const url = `postgresql://app:${passwordOf('app')}@${host}:${port}/postgres?sslmode=require`
  for (let left = 100; ; left--) {
    const error = await placeFromPg(url, plainEnvironment()).then(
      () => undefined,
      (failure: Error) => failure,
    )
    if (error === undefined) return
    if (left === 0) throw error
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function writeOnServer(server: TestServer, setting: string, text: string): Promise<void> {
  const [row] = await server.query<{file: string; data: string}>(
    `select setting as file, current_setting('data_directory') as data from pg_settings where name = '${setting}'`,
  )
  await writeFileOnServer(server, row.file.startsWith('/') ? row.file : `${row.data}/${row.file}`, text)
}

/** Through the server itself, so that the file is its own wherever it runs. */
async function writeFileOnServer(server: TestServer, file: string, text: string): Promise<void> {
  await server.query(
    `copy (select line from regexp_split_to_table('${text}', E'\\n') line) to program 'umask 077; cat > "${file}"'`,
  )
}

async function makeCertificates(folder: string): Promise<void> {
  const openssl = (...args: string[]) => run('openssl', args, {cwd: folder})
  const newKey = ['-newkey', 'rsa:2048', '-nodes']
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '3',
    '-subj',
    '/CN=test ca',
  )
  for (const [name, subject, names] of [
    ['server', '/CN=localhost', 'DNS:localhost'],
    ['client', '/CN=with_cert', 'DNS:with_cert'],
    ['other', '/CN=somebody', 'DNS:somebody'],
  ]) {
    const request = [
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      subject,
      '-addext',
      `subjectAltName=${names}`,
    ]
    await openssl('req', ...newKey, ...request)
    const signer = [
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '3',
      '-copy_extensions',
      'copy',
    ]
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...signer)
  }
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'strange.key',
    '-out',
    'strange.crt',
    '-days',
    '3',
    '-subj',
    '/CN=strange ca',
  )
}

/** No variable and no file of whoever runs the tests. */
export function plainEnvironment(
  env: Record<string, string> = {},
  homeFolder = '/nonexistent',
): ConnectionEnvironment {
  return {env, homeFolder, userName: userInfo().username}
}

/** Where a session has got to. */
export interface Place {
  user: string
  database: string
  /** Null over a socket. */
  port: number | null
  tls: boolean
  applicationName: string
  workMem: string
}

const placeQuery = `select json_build_object('user', current_user, 'database', current_database(),
  'port', inet_server_port(), 'tls', (select ssl from pg_stat_ssl where pid = pg_backend_pid()),
  'applicationName', current_setting('application_name'), 'workMem', current_setting('work_mem')) as place`

/** Where dbbak’s own session gets to. */
export async function placeFromPg(text: string | undefined, from: ConnectionEnvironment): Promise<Place> {
  const {client} = await connect(await describeConnection(text, from, 'the test'))
  try {
    const {rows} = await client.query<{place: Place}>(placeQuery)
    return rows[0].place
  } finally {
    await client.end()
  }
}

/** Where psql gets to when libpq itself reads the text: the model to follow. */
export async function placeFromLibpq(text: string | undefined, from: ConnectionEnvironment): Promise<Place> {
  const env = {PATH: process.env.PATH, HOME: from.homeFolder, ...from.env}
  return askPsql(text === undefined ? [] : ['-d', text], env)
}

/** Where psql gets to with what the description gives it: its environment, and its --dbname when asked for. */
export async function placeFromTools(
  text: string | undefined,
  from: ConnectionEnvironment,
  how: 'environment' | 'argument',
): Promise<Place> {
  const description = await describeConnection(text, from, 'the test')
  const env = description.toolEnvironment({PATH: process.env.PATH, HOME: from.homeFolder, ...from.env})
  return askPsql(how === 'argument' ? ['-d', description.databaseArgument()] : [], env)
}

async function askPsql(args: string[], env: Record<string, string | undefined>): Promise<Place> {
  const {stdout} = await run(join(await toolFolder(), 'psql'), ['-XAtqw', ...args, '-c', placeQuery], {
    env: env,
  })
  return JSON.parse(stdout) as Place
}

/** The newest client tools of this machine, or those of the tests. */
export async function toolFolder(): Promise<string> {
  const installed = (await findClientTools({env: process.env})).at(-1)
  if (installed !== undefined) return installed.folder
  const {folder, missing} = await clientTools18()
  if (folder === undefined) throw new Error(`There is no psql here, and it could not be had: ${missing}`)
  return folder
}
