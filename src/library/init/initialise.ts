import {readdir, readFile} from 'node:fs/promises'
import {userInfo} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import type {DoctorCheck} from '../../engine/doctor/diagnosis.js'
import {parseDestination} from '../../storage/open-provider.js'
import {DbbakError} from '../../support/errors.js'
import type {RunOptions} from '../context.js'
import {checkDatabaseAnswer, checkDestinationAnswer, checkTestServerAnswer, contextOf} from './checks.js'
import {configName, configText} from './config-text.js'
import {parseSchedule} from './cron.js'
import {filesOf} from './files.js'
import {nextSteps} from './next-steps.js'
import {imagePlaceholder, type Artefact, type InitPlan, type Variable} from './plan.js'
import {variablesFor} from './variables.js'
import {writeFiles, type WriteOptions, type WrittenFile} from './write-files.js'

export interface InitOptions extends RunOptions {
  /** Tested, and never written: files refer to DATABASE_URL. */
  databaseUrl?: string | undefined
  testDatabaseUrl?: string | undefined
  /** By default `./backups`. */
  to?: string[] | undefined
  format?: InitPlan['format'] | undefined
  keepDays?: number | undefined
  /** What to write beside the config file. */
  artefacts?: Artefact[] | undefined
  /** Five fields of cron; by default every day at 02:00. */
  schedule?: string | undefined
  /** For Kubernetes. */
  image?: string | undefined
  /** Where to write; by default the working folder. */
  dir?: string | undefined
  force?: boolean | undefined
  /** Asked before a file with other content is replaced; without it that is refused. */
  mayReplace?: WriteOptions['mayReplace']
  /** What was found out while the questions were asked; without it everything is tested now. */
  found?: {checks: DoctorCheck[]; serverMajor?: number | undefined} | undefined
}

export interface InitResult {
  files: WrittenFile[]
  variables: Variable[]
  checks: DoctorCheck[]
  /** What to run next, each a sentence or a command. */
  next: string[]
}

export const defaultSchedule = '0 2 * * *'
export const defaultDestination = './backups'
export const defaultKeepDays = 30

/**
 * Writes a config file, and what else was asked for, after testing what was chosen. What a test finds is reported and
 * does not stop it: the database of a schedule is not always reachable from where its files are written.
 */
export async function initialise(options: InitOptions = {}): Promise<InitResult> {
  const {dbbakVersion: version} = await import('../version.js')
  const folder = folderOf(options)
  const {env, settings} = await contextOf(options)
  const chosen = {...choices(options), usesTestServer: settings.testDatabaseUrl.value !== undefined}
  for (const destination of chosen.destinations) parseDestination(destination) // refused before anything is tested
  await refuseOtherConfig(folder)
  const {checks, serverMajor} = options.found ?? (await testAll(options, chosen.destinations, folder))
  options.signal?.throwIfAborted()
  const variables = variablesFor(chosen, env)
  const plan: InitPlan = {
    ...chosen,
    ...whoRuns(),
    folder,
    serverMajor,
    version,
    nodeFolder: dirname(process.execPath),
  }
  const wanted = [
    {path: configName, text: configText(plan), mode: 0o600},
    ...filesOf(plan, options.artefacts ?? [], variables),
  ]
  const {force = false, mayReplace} = options
  const files = await writeFiles(folder, wanted, {force, mayReplace})
  return {files, variables, checks, next: nextSteps(plan, options.artefacts ?? [], variables)}
}

/** Where the files go. */
export function folderOf({dir, cwd}: Pick<InitOptions, 'dir' | 'cwd'>): string {
  return resolve(cwd ?? process.cwd(), dir ?? '.')
}

type Choices = Pick<InitPlan, 'destinations' | 'format' | 'keepDays' | 'schedule' | 'image'>

function choices(options: InitOptions): Choices {
  const {to = [], keepDays = defaultKeepDays} = options
  if (!Number.isInteger(keepDays) || keepDays < 1)
    throw new DbbakError('OPTION_INVALID', '--keep-days is a whole number of at least 1.', {
      suggestions: ['For example: dbbak init --keep-days 30'],
    })
  return {
    destinations: to.length > 0 ? [...new Set(to)] : [defaultDestination],
    format: options.format ?? 'custom',
    keepDays,
    schedule: parseSchedule(options.schedule ?? defaultSchedule),
    image: options.image ?? imagePlaceholder,
  }
}

async function testAll(
  options: InitOptions,
  destinations: string[],
  folder: string,
): Promise<{checks: DoctorCheck[]; serverMajor?: number | undefined}> {
  const {settings} = await contextOf(options)
  const checks: DoctorCheck[] = []
  let serverMajor: number | undefined
  if (settings.databaseUrl.source !== 'not set') {
    const database = await checkDatabaseAnswer(options)
    checks.push(...database.checks)
    serverMajor = database.serverMajor
  } else checks.push(databaseNotSet)
  if (settings.testDatabaseUrl.value !== undefined)
    checks.push(...(await checkTestServerAnswer(options)).checks)
  for (const destination of destinations)
    checks.push(...(await checkDestinationAnswer(destination, folder, options)).checks)
  return {checks, serverMajor}
}

const databaseNotSet: DoctorCheck = {
  name: 'database',
  status: 'not-set',
  message: 'DATABASE_URL is not set, so the database was not tried',
  fix: 'export DATABASE_URL=postgresql://user@host:5432/database, then: dbbak doctor',
}

/** Two config files in one folder are refused by every command, so a second is not made. */
async function refuseOtherConfig(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [] as string[])
  const others = names.filter((name) => /^dbbak\.config\.(yml|json|js|mjs)$/.test(name))
  if (names.includes('package.json') && (await hasConfigKey(join(folder, 'package.json'))))
    others.push('package.json ("dbbak")')
  if (others.length === 0) return
  throw new DbbakError(
    'CONFIG_INVALID',
    `${folder} has a config file already (${others.join(', ')}), and two in one folder are refused; nothing was written.`,
    {
      suggestions: [
        `Remove it, or write elsewhere: dbbak init --dir FOLDER`,
        'See what is in force: dbbak doctor',
      ],
    },
  )
}

async function hasConfigKey(path: string): Promise<boolean> {
  try {
    return (JSON.parse(await readFile(path, 'utf8')) as {dbbak?: unknown} | null)?.dbbak !== undefined
  } catch {
    return false // broken or unreadable: somebody else's matter
  }
}

function whoRuns(): {user: string; isRoot: boolean} {
  const isRoot = process.getuid?.() === 0
  try {
    return {user: isRoot ? 'dbbak' : userInfo().username, isRoot}
  } catch {
    return {user: 'dbbak', isRoot} // a container's user without an entry in /etc/passwd
  }
}
