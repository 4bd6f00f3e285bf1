import type {Artefact, InitOptions} from '../library/init/index.js'
import type {AnswerChecks} from '../library/init/checks.js'
import {artefactChoices, formatChoices, placeChoices, serverChoices} from '../library/init/choices.js'
import type {DoctorCheck} from '../index.js'
import {DbbakError} from '../support/errors.js'
import {answered, canAsk, cancelled, type Context} from './confirm.js'
import {printable} from './format.js'
import {checkLines} from './show-init.js'

/** What is asked with, and what ends the asking. */
interface Asking {
  signal: AbortSignal
  given: InitOptions
}

type Prompts = typeof import('@inquirer/prompts')

/** @throws DbbakError CONFIRMATION_REQUIRED where nobody can be asked */
export function refuseWithoutTerminal(): void {
  if (canAsk()) return
  throw new DbbakError('CONFIRMATION_REQUIRED', 'init asks questions, and there is no terminal to ask at.', {
    suggestions: [
      'Take the defaults, and say by options what is to be otherwise: dbbak init --yes --to ./backups --keep-days 30',
      'See the options: dbbak init --help',
    ],
  })
}

/**
 * Asks what the options did not say, and tests each answer as it is given.
 * @throws DbbakError CANCELLED for Ctrl-C; the signal's reason when it was aborted
 */
export async function askInit(given: InitOptions, signal: AbortSignal): Promise<InitOptions> {
  const asking = {given, signal}
  tell(
    'dbbak writes a config file and, if you like, a schedule. Nothing is written before the last question.\n',
  )
  const database = await askDatabase(asking)
  const destinations = await askDestinations(asking, database.databaseUrl)
  const format = given.format ?? (await askFormat(asking))
  const keepDays = given.keepDays ?? (await askKeepDays(asking))
  const test = await askTestServer(asking, database.databaseUrl)
  const artefacts = given.artefacts?.length ? given.artefacts : await askArtefacts(asking, destinations.to)
  const schedule = given.schedule ?? (await askSchedule(asking, artefacts))
  return {
    ...given,
    databaseUrl: database.databaseUrl,
    testDatabaseUrl: test.testDatabaseUrl,
    to: destinations.to,
    format,
    keepDays,
    artefacts,
    schedule,
    found: {
      checks: [...database.checks, ...test.checks, ...destinations.checks],
      serverMajor: database.serverMajor,
    },
    mayReplace: (path) =>
      ask(asking, ({confirm}, context) =>
        confirm(
          {message: `${path} is there already, with other content. Replace it?`, default: false},
          context,
        ),
      ),
    confirm: (paths) => confirmInit(asking, paths),
  }
}

/** The last question; before it nothing was written. @throws DbbakError CANCELLED for a no */
async function confirmInit({signal}: Asking, paths: string[]): Promise<void> {
  if (paths.length === 0) return
  tell(`\n${paths.map((path) => `  ${printable(path)}`).join('\n')}`)
  const message = paths.length === 1 ? 'Write this file?' : 'Write these files?'
  const go = await ask({signal}, ({confirm}, context) => confirm({message, default: true}, context))
  if (!go) throw cancelled()
}

interface Found {
  checks: DoctorCheck[]
}

async function askDatabase(
  asking: Asking,
): Promise<Found & {databaseUrl: string | undefined; serverMajor?: number | undefined}> {
  const {checkDatabaseAnswer} = await import('../library/init/checks.js')
  tell(
    'The database. Its URL is tried now and written nowhere: at each run it comes from the variable DATABASE_URL.',
  )
  let {databaseUrl} = asking.given
  let isKnown = databaseUrl !== undefined || namesADatabase()
  for (;;) {
    if (!isKnown)
      databaseUrl = await ask(asking, ({password}, context) =>
        password(
          {
            message: 'Database URL (postgresql://user:password@host:5432/database):',
            mask: true,
            validate: (text) => text.trim() !== '' || 'A URL is needed.',
          },
          context,
        ),
      )
    const answer = await checkDatabaseAnswer({...asking.given, databaseUrl, signal: asking.signal})
    if (await accept(asking, answer)) return {databaseUrl, ...answer}
    isKnown = false
  }
}

/** DATABASE_URL, or libpq's own variables. */
function namesADatabase(): boolean {
  const {DATABASE_URL, PGHOST, PGDATABASE, PGSERVICE} = process.env
  return Boolean(DATABASE_URL ?? PGHOST ?? PGDATABASE ?? PGSERVICE)
}

async function askDestinations(
  asking: Asking,
  databaseUrl: string | undefined,
): Promise<Found & {to: string[]}> {
  const {checkDestinationAnswer} = await import('../library/init/checks.js')
  const {folderOf} = await import('../library/init/index.js')
  const options = {...asking.given, databaseUrl, signal: asking.signal}
  const folder = folderOf(asking.given)
  const to: string[] = []
  const checks: DoctorCheck[] = []
  const given = [...(asking.given.to ?? [])]
  const isGiven = given.length > 0
  tell(
    '\nWhere backups go. One dump can feed several places; keep one of them on another machine than the database.',
  )
  for (;;) {
    const destination = given.shift() ?? (await askDestination(asking))
    const answer = await checkDestinationAnswer(destination, folder, options)
    if (await accept(asking, answer)) {
      to.push(destination)
      checks.push(...answer.checks)
    }
    if (given.length > 0 || to.length === 0) continue
    if (isGiven || !(await askMore(asking))) return {to, checks}
  }
}

const askMore = (asking: Asking): Promise<boolean> =>
  ask(asking, ({confirm}, context) =>
    confirm({message: 'Another place besides it?', default: false}, context),
  )

async function askDestination(asking: Asking): Promise<string> {
  const kind = await ask(asking, ({select}, context) =>
    select(
      {
        message: 'Kind of place:',
        choices: placeChoices,
      },
      context,
    ),
  )
  const isFolder = kind.startsWith('.')
  return ask(asking, ({input}, context) =>
    input(
      {
        message: isFolder ? 'Folder:' : `Written like ${kind}:`,
        ...(isFolder ? {default: kind} : {}),
        validate: (text) => text.trim() !== '' || `For example ${kind}`,
      },
      context,
    ),
  )
}

const askFormat = (asking: Asking): Promise<NonNullable<InitOptions['format']>> => {
  tell('')
  return ask(asking, ({select}, context) =>
    select(
      {
        message: 'Format of the archive:',
        choices: formatChoices,
      },
      context,
    ),
  )
}

async function askKeepDays(asking: Asking): Promise<number> {
  tell('\nHow long backups are kept. dbbak prune removes older ones, and never the newest.')
  const answer = await ask(asking, ({input}, context) =>
    input(
      {
        message: 'Days:',
        default: '30',
        validate: (text) => /^[1-9]\d{0,4}$/.test(text.trim()) || 'A whole number of at least 1.',
      },
      context,
    ),
  )
  return Number(answer)
}

async function askTestServer(
  asking: Asking,
  databaseUrl: string | undefined,
): Promise<Found & {testDatabaseUrl: string | undefined}> {
  const {checkTestServerAnswer} = await import('../library/init/checks.js')
  tell('\nA backup is proven by restoring it. That needs a server that is not production.')
  let {testDatabaseUrl} = asking.given
  let wantsUrl = testDatabaseUrl !== undefined || Boolean(process.env.TEST_DATABASE_URL)
  let isKnown = wantsUrl
  for (;;) {
    if (!isKnown) wantsUrl = await askWhichServer(asking)
    if (!wantsUrl) return {testDatabaseUrl: undefined, checks: []}
    if (!isKnown)
      testDatabaseUrl = await ask(asking, ({password}, context) =>
        password({message: 'URL of the test server (later: TEST_DATABASE_URL):', mask: true}, context),
      )
    const answer = await checkTestServerAnswer({
      ...asking.given,
      databaseUrl,
      testDatabaseUrl,
      signal: asking.signal,
    })
    if (await accept(asking, answer)) return {testDatabaseUrl, checks: answer.checks}
    isKnown = false
  }
}

const askWhichServer = (asking: Asking): Promise<boolean> =>
  ask(asking, ({select}, context) =>
    select(
      {
        message: 'Where restore tests run:',
        choices: serverChoices,
      },
      context,
    ),
  )

async function askArtefacts(asking: Asking, to: string[]): Promise<Artefact[]> {
  const {checkInit} = await import('../library/init/index.js')
  tell('\nWhat is to run the backups. A backup that nobody starts is the one that is missing.')
  return ask(asking, ({checkbox}, context) =>
    checkbox(
      {
        message: 'Write files for (space chooses, Enter goes on):',
        choices: artefactChoices,
        // What cannot be written for this folder is told here, and not at the end.
        validate: (chosen) =>
          checkInit({...asking.given, to, artefacts: chosen.map(({value}) => value)}).then(
            () => true,
            (error: Error) => error.message,
          ),
      },
      context,
    ),
  )
}

async function askSchedule(asking: Asking, artefacts: Artefact[]): Promise<string | undefined> {
  if (artefacts.every((artefact) => artefact === 'docker')) return undefined
  const {parseSchedule} = await import('../library/init/cron.js')
  return ask(asking, ({input}, context) =>
    input(
      {
        message: 'When, as five fields of cron (minute hour day month weekday):',
        default: '0 2 * * *',
        validate(text) {
          try {
            parseSchedule(text)
            return true
          } catch (error) {
            return (error as Error).message.replace('--schedule', 'The schedule')
          }
        },
      },
      context,
    ),
  )
}

/** Shows what was found; what does not work is asked for again, unless it is to be taken all the same. */
async function accept(asking: Asking, {checks, works}: AnswerChecks): Promise<boolean> {
  for (const check of checks) tell(checkLines(check, process.stderr))
  if (works) return true
  return ask(asking, ({confirm}, context) =>
    confirm({message: 'This does not work yet. Take it all the same?', default: false}, context),
  )
}

/** Questions and what belongs to them go to stderr: stdout is the result's. */
const tell = (text: string): void => void process.stderr.write(`${text}\n`)

async function ask<T>(
  {signal}: Pick<Asking, 'signal'>,
  question: (prompts: Prompts, context: Context) => Promise<T>,
): Promise<T> {
  const prompts = await import('@inquirer/prompts')
  return answered({signal}, (context) => question(prompts, context))
}
