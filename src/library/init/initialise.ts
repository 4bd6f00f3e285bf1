import {userInfo} from 'node:os'
import {resolve} from 'node:path'
import type {DoctorCheck} from '../../engine/doctor/diagnosis.js'
import {parseDestination} from '../../storage/open-provider.js'
import {DbbakError} from '../../support/errors.js'
import type {Environment} from '../config-file.js'
import type {RunOptions} from '../context.js'
import {checkDatabaseAnswer, checkDestinationAnswer, checkTestServerAnswer, contextOf} from './checks.js'
import {configName, configText} from './config-text.js'
import {parseSchedule} from './cron.js'
import {filesOf} from './files.js'
import {nextSteps} from './next-steps.js'
import {imagePlaceholder, type Artefact, type InitPlan, type Variable} from './plan.js'
import {findPrograms, type Started} from './programs.js'
import {refuseEarly, refuseForGitHub, refuseForSchedules, repositoryOf} from './refusals.js'
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
  /** The last question, once it is known what will be written; throws for a no. */
  confirm?: WriteOptions['confirm']
  /** How dbbak was started, for schedules of this machine; by default this process. */
  started?: Started | undefined
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
 * What would be refused whatever is answered, before anything is asked or tested.
 * @throws DbbakError OPTION_INVALID, DESTINATION_INVALID, CONFIG_INVALID
 */
export async function checkInit(options: InitOptions): Promise<void> {
  const folder = folderOf(options)
  const {destinations} = choices(options)
  const {env} = await contextOf(options)
  await refuseEarly({folder, destinations})
  if (options.artefacts?.includes('github')) refuseForGitHub({folder, repository: await repositoryOf(folder)})
  const onThisMachine = {folder, destinations, ...whoRuns(), ...programsOf(options, env)}
  await refuseForSchedules(onThisMachine, options.artefacts ?? [])
}

/**
 * Writes a config file, and what else was asked for, after testing what was chosen. What a test finds is reported and
 * does not stop it: the database of a schedule is not always reachable from where its files are written.
 */
export async function initialise(options: InitOptions = {}): Promise<InitResult> {
  await checkInit(options)
  const {dbbakVersion: version} = await import('../version.js')
  const folder = folderOf(options)
  const repository = await repositoryOf(folder)
  const {env, settings} = await contextOf(options)
  const chosen = {...choices(options), usesTestServer: settings.testDatabaseUrl.value !== undefined}
  const {checks, serverMajor} = options.found ?? (await testAll(options, chosen.destinations, folder))
  options.signal?.throwIfAborted()
  const variables = variablesFor(chosen, env)
  const plan: InitPlan = {
    ...chosen,
    ...whoRuns(),
    ...programsOf(options, env),
    folder,
    repository,
    serverMajor,
    version,
  }
  const wanted = [
    {path: configName, text: configText(plan), mode: 0o600},
    ...filesOf(plan, options.artefacts ?? [], variables),
  ]
  const {force = false, mayReplace, confirm} = options
  const files = await writeFiles(folder, wanted, {force, mayReplace, confirm})
  const next = await nextSteps(plan, options.artefacts ?? [], variables)
  return {files, variables, checks, next}
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
  for (const destination of to) parseDestination(destination)
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

const programsOf = ({started}: InitOptions, {PATH}: Environment) =>
  findPrograms(started ?? {node: process.execPath, script: process.argv[1], path: PATH})

function whoRuns(): {user: string; isRoot: boolean} {
  const isRoot = process.getuid?.() === 0
  try {
    return {user: isRoot ? 'dbbak' : userInfo().username, isRoot}
  } catch {
    return {user: 'dbbak', isRoot} // a container's user without an entry in /etc/passwd
  }
}
