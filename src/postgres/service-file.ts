import {existsSync} from 'node:fs'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {isParameter, unknownParameter, type Fail, type Settings} from './connection-parameters.js'
import {userFolder, type ConnectionEnvironment} from './connection-environment.js'

/** Where packages of PostgreSQL keep the service file of the whole system; libpq knows only its own. */
const systemFolders = [
  '/etc/postgresql-common',
  '/etc/sysconfig/pgsql',
  '/usr/local/pgsql/etc',
  '/usr/local/etc/postgresql',
  '/opt/homebrew/etc/postgresql',
  '/etc',
]

/**
 * The settings of a named service. The user's file comes before the system's; the first that has the service counts.
 * @throws DbbakError DATABASE_URL_INVALID
 */
export async function readService(
  service: string,
  from: ConnectionEnvironment,
  fail: Fail,
): Promise<Settings> {
  const named = from.env.PGSERVICEFILE
  const files = candidates(from).filter((file) => existsSync(file))
  if (named !== undefined && !existsSync(named)) throw fail(`the service file ${named} is not there`)
  for (const file of files) {
    const settings = readSection(await readFile(file, 'utf8'), service, file, fail)
    if (settings !== undefined) return settings
  }
  throw fail(
    `there is no service ${JSON.stringify(service)} in ${files.join(' or ') || 'any service file: none was found'}`,
    [
      `Add a section [${service}] to ${named ?? candidates(from)[0]!}, or set PGSERVICEFILE to the file that has it`,
    ],
  )
}

function candidates(from: ConnectionEnvironment): string[] {
  const {env} = from
  const own = env.PGSERVICEFILE ?? join(userFolder(from) ?? from.homeFolder, '.pg_service.conf')
  const folders = env.PGSYSCONFDIR === undefined ? systemFolders : [env.PGSYSCONFDIR]
  return [own, ...folders.map((folder) => join(folder, 'pg_service.conf'))]
}

function readSection(text: string, service: string, file: string, fail: Fail): Settings | undefined {
  let settings: Settings | undefined
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (settings !== undefined) return settings
      if (line.startsWith(`[${service}]`)) settings = {}
    } else if (settings !== undefined)
      readLine(line, settings, (what) => fail(`line ${index + 1} of ${file}: ${what}`))
  }
  return settings
}

function readLine(line: string, settings: Settings, fail: (what: string) => Error): void {
  const equals = line.indexOf('=')
  if (equals === -1) throw fail('a setting has no =')
  const name = line.slice(0, equals)
  if (name === 'service') throw fail('a service cannot refer to another service')
  if (!isParameter(name)) throw fail(unknownParameter(name, false))
  settings[name] ??= line.slice(equals + 1)
}
