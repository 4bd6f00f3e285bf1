import {parse, resolve} from 'node:path'
import {checkDatabase, problem} from '../../engine/doctor/check-database.js'
import {checkDestination, checkFolderToCome} from '../../engine/doctor/check-destination.js'
import type {DoctorCheck} from '../../engine/doctor/diagnosis.js'
import {refuseProduction} from '../../engine/verify/scratch-database.js'
import {connect} from '../../postgres/connect.js'
import {describeServer, prepareSession} from '../../postgres/server.js'
import {parseDestination} from '../../storage/open-provider.js'
import {
  openContext,
  openDatabase,
  openStore,
  openTestDatabase,
  usingStores,
  type Context,
  type RunOptions,
} from '../context.js'

/** What was found out about an answer. */
export interface AnswerChecks {
  checks: DoctorCheck[]
  /** Whether it can be used as it is. */
  works: boolean
  /** Of a database that was reached. */
  serverMajor?: number
}

export interface CheckOptions extends RunOptions {
  databaseUrl?: string | undefined
  testDatabaseUrl?: string | undefined
}

/** Reaches the database: version, size, whether client tools that fit are here. */
export async function checkDatabaseAnswer(options: CheckOptions): Promise<AnswerChecks> {
  const context = await contextOf(options)
  try {
    const connection = await openDatabase(context)
    const checks = await checkDatabase(connection, context.search, context.signal)
    const reached = checks[0]?.status === 'ok'
    if (!reached) return checksOf(checks)
    const {major, sizeBytes} = await sizeOf(connection, context)
    const size: DoctorCheck = {name: 'size', status: 'ok', message: sizeText(sizeBytes)}
    return {...checksOf([checks[0]!, size, ...checks.slice(1)]), serverMajor: major}
  } catch (error) {
    context.signal.throwIfAborted()
    return checksOf([problem('database', error)])
  }
}

async function sizeOf(
  connection: Parameters<typeof connect>[0],
  {signal}: Context,
): Promise<{major: number; sizeBytes: number}> {
  const {client} = await connect(connection, {applicationName: 'dbbak init', signal})
  try {
    await prepareSession(client, 5000)
    const {major, database} = await describeServer(client)
    return {major, sizeBytes: database.sizeBytes}
  } finally {
    await client.end()
  }
}

/** Decimal units, as disks and clouds count them. */
function sizeText(bytes: number): string {
  const size = bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`
  return `${size} in the database; a backup is usually a fifth to a half of it`
}

/** The light check: a small object is written, read back and removed; a folder that is not there yet is not made. */
export async function checkDestinationAnswer(
  destination: string,
  folder: string,
  options: CheckOptions,
): Promise<AnswerChecks> {
  const context = {...(await contextOf(options)), cwd: folder}
  try {
    const parsed = parseDestination(destination)
    const toCome = parsed.kind === 'local' ? await checkFolderToCome(resolve(folder, parsed.path)) : undefined
    if (toCome) return checksOf([toCome])
    const store = await openStore(context, destination)
    return checksOf(await usingStores([store], () => checkDestination(store)))
  } catch (error) {
    context.signal.throwIfAborted()
    return checksOf([problem('destination', error)])
  }
}

/** The server for restore tests: reached, and not production. */
export async function checkTestServerAnswer(options: CheckOptions): Promise<AnswerChecks> {
  const context = await contextOf(options)
  const name = 'test database'
  try {
    const connection = await openTestDatabase(context)
    if (!connection) return checksOf([])
    const [first] = await checkDatabase(connection, context.search, context.signal)
    if (first?.status === 'ok' && context.settings.databaseUrl.source !== 'not set')
      await refuseProduction(connection, await openDatabase(context))
    return checksOf(first ? [{...first, name}] : [])
  } catch (error) {
    context.signal.throwIfAborted()
    return checksOf([problem(name, error)])
  }
}

const checksOf = (checks: DoctorCheck[]): AnswerChecks => ({
  checks,
  works: checks.every(({status}) => status !== 'error'),
})

/**
 * Without the config file that is here: it is about to be replaced, and may be broken. A store that does not answer is
 * not waited for as long as a backup would.
 */
export async function contextOf(options: CheckOptions): Promise<Context> {
  const cwd = options.cwd ?? process.cwd()
  const elsewhere = {...options, cwd: parse(cwd).root, config: undefined}
  const {env} = await openContext(elsewhere)
  const hastyEnv = {...env, DBBAK_CONFIG: undefined, DBBAK_RETRY_FOR: env.DBBAK_RETRY_FOR ?? '15s'}
  const context = await openContext(
    {...elsewhere, env: hastyEnv},
    {'database-url': options.databaseUrl, 'test-database-url': options.testDatabaseUrl},
  )
  return {...context, cwd}
}
