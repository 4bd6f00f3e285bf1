import {planPrune, type PrunePlan, type PruneRequest} from '../engine/prune/plan-prune.js'
import {carryOut, describePlan} from '../engine/prune/prune-backups.js'
import {emptyResult, type PruneResult} from '../engine/prune/prune-result.js'
import {identityOf, type StorageProvider} from '../storage/provider.js'
import {DbbakError, withExitCode} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import {catalogCache} from './catalog-cache-file.js'
import {
  factsOf,
  isDatabaseOf,
  openContext,
  openDatabase,
  openStores,
  usingStores,
  type Context,
  type RunOptions,
} from './context.js'
import {withNotices} from './notices.js'
import {policyOf, refuseOthersRules, type RetentionOptions} from './retention-options.js'

export {checkRetention, type RetentionOptions} from './retention-options.js'

export type {
  LockedObject,
  PrunedBackup,
  PrunedLeftover,
  PruneFailure,
  PruneProblem,
  PruneResult,
  PruneWarning,
} from '../engine/prune/prune-result.js'

export interface PruneOptions extends RunOptions, RetentionOptions {
  /** Destinations; by default all where backups go. */
  from?: string | string[] | undefined
  /** Only backups of a database of this name; with `database` those of that one. */
  of?: string | undefined
  /** Tells what would be removed, removes nothing. */
  dryRun?: boolean | undefined
  /** Goes ahead without a confirmation. */
  force?: boolean | undefined
  /** Asked before anything is removed, unless `force`; told what a dry run tells; rejects to cancel. */
  confirm?: ((plan: PruneResult) => Promise<void>) | undefined
}

/**
 * Removes the backups that no rule keeps, and what failed runs left. Goes on after a failure: `pruneError` tells
 * whether there was one.
 * @throws DbbakError what stops it before the first removal; the signal's reason, with what was done until then
 */
export async function pruneBackups(options: PruneOptions = {}): Promise<PruneResult> {
  return prune(options, (context) => chosenOnes(options, context))
}

/** The backups that are meant. */
interface Whose {
  only?: PruneRequest['only']
  /** Where there have to be some: a name that is wrong would prune nothing for ever. */
  called?: string
}

interface Request extends PruneRequest, Whose {
  /** The destinations were named by the user, who may have mistyped one. Where backups are to go, the first makes the folder. */
  isNamed: boolean
}

/** The same for the backups that are found to be meant. */
export async function prune(
  options: PruneOptions,
  findWhose: (context: Context) => Promise<Whose> | Whose,
): Promise<PruneResult> {
  return withExitCode(8, async () => {
    const context = await openContext(options)
    const policy = policyOf(options, context)
    const whose = await findWhose(context)
    if (!options.force && !options.dryRun && !options.confirm) throw needsConfirmation()
    const from = typeof options.from === 'string' ? [options.from] : (options.from ?? [])
    const placesOf = () => (from.length > 0 ? from : context.settings.destinations.value)
    const {notifications} = context.settings
    const about = {...(await factsOf(context, placesOf)), scope: options.of && `of ${options.of}`}
    const facts = {...about, failure: pruneError, dryRun: options.dryRun}
    return withNotices('prune', {...context, notifications}, facts, async () => {
      const opened = await openStores(context, placesOf())
      return usingStores(opened, async () => {
        const each = await Promise.all(opened.map(async (store) => [await identityOf(store), store] as const))
        const stores = [...new Map(each).values()]
        const isNamed = from.length > 0
        return pruneAt(stores, {policy, isNamed, ...whose}, options, context)
      })
    })
  })
}

/** One of the config file's databases is told by its name and where it lay last; others by the name alone. */
async function chosenOnes(options: PruneOptions, context: Context): Promise<Whose> {
  const {database, of} = options
  if (database !== undefined) {
    const connection = await openDatabase(context)
    return {called: connection.database, only: isDatabaseOf(connection)}
  }
  await refuseOthersRules(options, context)
  return of === undefined ? {} : {called: of, only: ({name}) => name === of}
}

async function pruneAt(
  stores: StorageProvider[],
  request: Request,
  options: PruneOptions,
  context: Context,
): Promise<PruneResult> {
  const result = emptyResult(options.dryRun ?? false)
  const plans = await planAll(stores, request, context, result)
  if (request.called !== undefined) refuseUnknown(request.called, plans)
  if (options.dryRun) {
    for (const [store, plan] of plans) await describePlan(store, plan, result)
    return result
  }
  const isWork = [...plans.values()].some(({removals, leftovers}) => removals.length + leftovers.length > 0)
  const asks = isWork && !options.force
  if (asks) await ask(options, plans)
  try {
    for (const [store, plan] of plans) {
      // Whoever was asked may have taken an hour to answer: what was planned for then goes only if it would go now.
      const current = asks ? await stillPlanned(store, plan, request, context) : plan
      await carryOut(store, current, result, context)
    }
    return result
  } catch (error) {
    throw withDocument(error, result)
  }
}

type Plans = Map<StorageProvider, PrunePlan>

/** A destination that cannot be read does not keep the others from being pruned. @throws DbbakError where it is the only one */
async function planAll(
  stores: StorageProvider[],
  request: Request,
  context: Context,
  result: PruneResult,
): Promise<Plans> {
  const plans: Plans = new Map()
  for (const store of stores) {
    try {
      context.signal.throwIfAborted()
      if (request.isNamed) await refuseMissing(store)
      const cache = catalogCache(context, store)
      plans.set(store, await planPrune(store, request, context.clock.now(), cache, context.signal))
    } catch (error) {
      if (stores.length === 1 || context.signal.aborted || !(error instanceof DbbakError)) throw error
      const {code, message, suggestions} = error
      const destination = store.describe()
      result.failed.push({id: null, name: destination, destination, error: {code, message, suggestions}})
    }
  }
  return plans
}

async function refuseMissing(store: StorageProvider): Promise<void> {
  if ((await store.isThere?.()) !== false) return
  throw new DbbakError('DESTINATION_NOT_FOUND', `There is no folder ${store.describe()}.`, {
    suggestions: ['Check the path given with --from.', 'See where backups go: dbbak doctor'],
  })
}

function refuseUnknown(name: string, plans: Plans): void {
  const places = [...plans.values()]
  if (places.some(({kept, removals}) => kept.length + removals.length > 0)) return
  const [first] = places
  if (first === undefined) return
  throw new DbbakError(
    'BACKUP_NOT_FOUND',
    `There is no backup of a database ${name} at ${places.map(({destination}) => destination).join(' or ')}.`,
    {suggestions: [`See what there is: dbbak list --from ${shellWord(first.destination)}`]},
  )
}

/** Nobody was asked, and nobody can be. */
export const needsConfirmation = (): DbbakError =>
  new DbbakError('CONFIRMATION_REQUIRED', 'Removing backups needs a confirmation.', {
    suggestions: [
      'See what would be removed: dbbak prune --dry-run',
      'Go ahead unasked: dbbak prune --force',
    ],
  })

async function ask({confirm}: PruneOptions, plans: Plans): Promise<void> {
  const plan = emptyResult(true)
  for (const [store, one] of plans) await describePlan(store, one, plan)
  await confirm?.(plan)
}

async function stillPlanned(
  store: StorageProvider,
  before: PrunePlan,
  request: PruneRequest,
  context: Context,
): Promise<PrunePlan> {
  const cache = catalogCache(context, store)
  const now = await planPrune(store, request, context.clock.now(), cache, context.signal)
  const agreed = new Set(before.removals.map(({told}) => told.name))
  const [removals, others] = [true, false].map((is) =>
    now.removals.filter(({told}) => agreed.has(told.name) === is),
  )
  const leftovers = new Set(before.leftovers.map(({prefix}) => prefix))
  return {
    ...now,
    kept: [...now.kept, ...others!.map(({told}) => ({...told, reasons: ['it was not asked about']}))],
    removals: removals!,
    leftovers: now.leftovers.filter(({prefix}) => leftovers.has(prefix)),
  }
}

/** What was done until it ended is told with it. */
function withDocument(error: unknown, document: PruneResult): unknown {
  if (!(error instanceof DbbakError)) return error
  const {code, message, exitCode, cause} = error
  const suggestions = [...error.suggestions, 'See what is still to be removed: dbbak prune --dry-run']
  return new DbbakError(code, `${message} ${goneUntilThen(document)}`, {
    cause,
    suggestions,
    details: {...error.details, document},
  }).during(exitCode)
}

const shownGone = 10

/** "3 backups had been removed by then: a, b, c." */
function goneUntilThen({removed, leftovers}: PruneResult): string {
  const names = [...removed, ...leftovers].map(({name}) => name)
  if (names.length === 0) return 'Nothing had been removed by then.'
  const more = names.length > shownGone ? `, and ${names.length - shownGone} more` : ''
  const what = [
    ...(removed.length > 0 ? [countOf(removed.length, 'backup')] : []),
    ...(leftovers.length > 0 ? [countOf(leftovers.length, 'leftover')] : []),
  ]
  return `${what.join(' and ')} had been removed by then: ${names.slice(0, shownGone).join(', ')}${more}.`
}

const countOf = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

const shownFailures = 3

/** The error that ends a command when something could not be removed. What is locked is none. */
export function pruneError(result: PruneResult): DbbakError | undefined {
  const [first] = result.failed
  if (first === undefined) return undefined
  const messages = [...new Set(result.failed.map(({error}) => error.message))]
  const more = messages.length - shownFailures
  const {length} = result.failed
  return new DbbakError(
    first.error.code,
    [
      `${length} ${length === 1 ? 'removal' : 'removals'} failed.`,
      ...messages.slice(0, shownFailures),
      ...(more > 0 ? [`And ${more} more.`] : []),
    ].join(' '),
    {
      suggestions: [
        ...new Set([...first.error.suggestions, 'Run it again when that is mended: dbbak prune --dry-run']),
      ],
      details: {document: result},
    },
  ).during(8)
}
