import type {StoredBackup} from '../engine/archive/open-archive.js'
import {readCatalog, type Catalog, type CatalogProblem} from '../engine/catalog.js'
import {brokenSinceNewest, findBackup, findWithCautions, noneOf} from '../engine/find-backup.js'
import type {Caution} from '../engine/newest-backup.js'
import {onlyOf, type Whose} from '../engine/whose.js'
import {refuseProduction} from '../engine/verify/scratch-database.js'
import type {Check, VerificationLevel, VerificationRecord} from '../engine/verify/verification-record.js'
import {verifyBackup, type Verdict, type VerifyDeps} from '../engine/verify/verify-backup.js'
import {
  openScratchServer,
  type Download,
  type ScratchKind,
  type ScratchServer,
} from '../postgres/scratch/scratch.js'
import type {StorageProvider} from '../storage/provider.js'
import {DbbakError, withExitCode} from '../support/errors.js'
import {withNotices} from './notices.js'
import {placeOf} from './places.js'
import {refuseSeveralWays, splitBackupName} from './backup-name.js'
import {catalogCache} from './catalog-cache-file.js'
import {
  databaseThatIsSet,
  factsOf,
  openContext,
  openDatabase,
  openStore,
  openTestDatabase,
  sourceOf,
  usingStores,
  whoseAreMeant,
  type Context,
  type RunOptions,
} from './context.js'

export interface VerifyOptions extends RunOptions {
  /** A backup's name, path or URL; without it `latest` or `all`. */
  backup?: string | undefined
  latest?: boolean | undefined
  /** The backup that is named was taken a moment ago: notices take it for the newest. */
  isNewest?: boolean | undefined
  all?: boolean | undefined
  /** Only backups of a database of this name; with `latest` by default DATABASE_URL's, where there are some of several. */
  of?: string | undefined
  from?: string | undefined
  level?: VerificationLevel | 'auto' | undefined
  scratch?: ScratchKind | undefined
  testDatabaseUrl?: string | undefined
  /** Asked before a server is fetched from npm; without it nothing is fetched. */
  mayDownload?: ((what: Download) => Promise<boolean>) | undefined
}

export interface VerifiedBackup {
  id: string
  verdict: Verdict
  level: VerificationLevel
  checks: Check[]
  durationMs: number
}

export interface VerifyResult {
  destination: string
  verdict: Verdict
  results: VerifiedBackup[]
}

/** Verifies one backup, the newest, or all; goes on after a failure. The verdict is the worst of all. */
export async function verifyBackups(options: VerifyOptions = {}): Promise<VerifyResult> {
  return withExitCode(11, async () => {
    const {backup, latest = false, all = false} = options
    refuseSeveralWays('verify', {'--latest': latest, '--all': all, NAME: backup !== undefined})
    const named = backup === undefined ? undefined : splitBackupName(backup)
    const context = await openContext(options, {'test-database-url': options.testDatabaseUrl})
    const from = () => named?.from ?? sourceOf(context, options.from)
    const {notifications} = context.settings
    const about = await factsOf(context, () => [placeOf(from(), context.cwd)])
    const facts = {...about, scope: scopeOf(options), failure: verificationError}
    return withNotices('verify', {...context, notifications}, facts, async () => {
      const store = await openStore(context, from())
      return usingStores([store], async () => {
        const catalog = await readCatalog(store, catalogCache(context, store))
        const whose = {of: await whoseAreMeant(options), preferring: await databaseThatIsSet(context)}
        const now = context.clock.now()
        const chosen =
          named === undefined
            ? chooseBackups(catalog, options, {...whose, now}, store)
            : chooseByName(catalog, named.name, store)
        for (const caution of chosen.cautions ?? []) context.events.warning?.(caution)
        const results = await verifyChosen(chosen, context, options)
        return {destination: store.describe(), verdict: worst(results), results}
      })
    })
  })
}

/** Which verifications are the same work: a passed one closes the incident of one that asked for as much. */
function scopeOf({backup, isNewest, latest, all, of, level = 'auto'}: VerifyOptions): string {
  const which = all ? 'all' : latest || isNewest ? 'latest' : (backup ?? '')
  return [which, ...(of === undefined ? [] : [`of ${of}`]), `level ${level}`].join(' ')
}

async function verifyChosen(
  {broken, whole}: Chosen,
  context: Context,
  options: VerifyOptions,
): Promise<VerifiedBackup[]> {
  const {dbbakVersion: version} = await import('./version.js')
  const scratch = scratchServers(context, options)
  try {
    const deps: VerifyDeps = {...context, scratchServer: scratch.get, version}
    const results = broken.map(failedAlready)
    for (const backup of whole)
      results.push(summary(await verifyBackup(backup, {level: options.level ?? 'auto'}, deps)))
    return results
  } finally {
    await scratch.stop()
  }
}

/**
 * The error that a verdict other than `passed` ends a command with, if it does.
 * @param document what the command found out, printed with the error
 */
export function verificationError(result: VerifyResult, document: object = result): DbbakError | undefined {
  if (result.verdict === 'passed') return undefined
  const bad = result.results.filter(({verdict}) => verdict === result.verdict)
  const reasons = bad.map(
    ({id, checks}) =>
      `${id}: ${checks.find(({status}) => status === result.verdict)?.reason ?? 'see the checks'}`,
  )
  const failed = result.verdict === 'failed'
  return new DbbakError(
    failed ? 'VERIFICATION_FAILED' : 'VERIFICATION_COULD_NOT_RUN',
    `${failed ? 'Verification failed' : 'The verification asked for could not run'}. ${reasons.join(' ')}`,
    {
      suggestions: failed
        ? ['Take a new backup now: dbbak backup', 'See the other backups: dbbak list']
        : ['See what is missing: dbbak doctor', 'Verify as far as possible: dbbak verify --level auto'],
      details: {document},
    },
  )
}

/** What is to be verified, and what can be said of already without reading an archive. */
interface Chosen {
  whole: StoredBackup[]
  broken: CatalogProblem[]
  /** What is to be said of the choice. */
  cautions?: Caution[]
}

function chooseBackups(
  everything: Catalog,
  {all, latest}: VerifyOptions,
  {of, preferring, now}: {of: Whose | undefined; preferring: Whose | undefined; now: Date},
  store: StorageProvider,
): Chosen {
  const catalog = of === undefined ? everything : onlyOf(everything, of)
  if (of !== undefined && catalog.backups.length + catalog.problems.length === 0)
    return noneOf(of, store.describe())
  const newest = () => findWithCautions(catalog, {latest: true, of, preferring, now}, store.describe())
  if (latest) {
    if (catalog.backups.length === 0) {
      const broken = brokenSinceNewest(catalog)
      return {broken, whole: broken.length > 0 ? [] : [{store, ...newest()}]} // says that there is none
    }
    const {entry, cautions} = newest()
    return {broken: brokenSinceNewest(catalog, entry), whole: [{store, entry}], cautions}
  }
  if (all) {
    const {problems: broken, backups} = catalog
    if (broken.length + backups.length === 0) return {broken, whole: [{store, ...newest()}]} // says that there is none
    return {broken, whole: backups.map((entry) => ({store, entry}))}
  }
  throw new DbbakError('OPTION_INVALID', 'Which backup is meant?', {
    suggestions: [
      'dbbak verify --latest',
      'dbbak verify --all',
      'dbbak verify NAME, with a name from: dbbak list',
    ],
  })
}

function chooseByName(catalog: Catalog, name: string, store: StorageProvider): Chosen {
  try {
    return {broken: [], whole: [{store, entry: findBackup(catalog, {name}, store.describe())}]}
  } catch (error) {
    const key = error instanceof DbbakError ? error.details?.key : undefined
    const broken = catalog.problems.filter((problem) => problem.key === key)
    if (broken.length === 0) throw error
    return {broken, whole: []}
  }
}

/** A manifest that cannot be used is a backup that failed its verification. */
function failedAlready({key, code, message}: CatalogProblem): VerifiedBackup {
  const name = code.startsWith('MANIFEST') ? 'metadata-valid' : 'file-exists'
  return {
    id: key,
    verdict: 'failed',
    level: 'checksum',
    durationMs: 0,
    checks: [{name, status: 'failed', reason: `${code}: ${message}`}],
  }
}

const summary = ({id, verdict, level, checks, durationMs}: VerificationRecord): VerifiedBackup => ({
  id,
  verdict,
  level,
  checks,
  durationMs,
})

function worst(results: VerifiedBackup[]): Verdict {
  const order: Verdict[] = ['failed', 'could-not-run', 'passed']
  return order.find((verdict) => results.some((result) => result.verdict === verdict)) ?? 'passed'
}

/** One scratch server for all backups of a run that need the same major; started when the first needs it. */
function scratchServers(
  context: Context,
  options: VerifyOptions,
): {get: VerifyDeps['scratchServer']; stop: () => Promise<void>} {
  const servers = new Map<number, Promise<ScratchServer>>()
  const start = async (major: number): Promise<ScratchServer> => {
    const testDatabaseUrl = await openTestDatabase(context)
    const kind = options.scratch ?? 'auto'
    if (testDatabaseUrl && (kind === 'auto' || kind === 'url'))
      await guardProduction(context, testDatabaseUrl)
    const {env, homeFolder, events, signal} = context
    return openScratchServer({
      kind,
      major,
      testDatabaseUrl,
      env,
      homeFolder,
      mayDownload: options.mayDownload,
      events,
      signal,
    })
  }
  return {
    get(major) {
      const server = servers.get(major) ?? start(major)
      servers.set(major, server)
      return server
    },
    async stop() {
      for (const server of servers.values()) await server.then((one) => one.stop()).catch(() => {}) // it never started, or is gone
    },
  }
}

async function guardProduction(
  context: Context,
  test: NonNullable<Awaited<ReturnType<typeof openTestDatabase>>>,
): Promise<void> {
  if (context.settings.databaseUrl.source === 'not set') return
  await refuseProduction(test, await openDatabase(context))
}
