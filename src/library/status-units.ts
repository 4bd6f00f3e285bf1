import {silent} from '../engine/events.js'
import type {KnownDatabase, Question} from '../engine/status/question.js'
import {DbbakError} from '../support/errors.js'
import {loadConfigFile} from './config-file.js'
import {isDatabaseOf, openContext, openDatabase, type Context, type RunOptions} from './context.js'
import {chosenDatabases, whoseBackups, type FleetChoice} from './fleet.js'
import {eachOnce, placeOf} from './places.js'
import {policyOf} from './retention-options.js'
import {namedConfig} from './settings.js'
import {limitsOf, type LimitOptions} from './status-limits.js'

export interface UnitOptions extends RunOptions, LimitOptions {
  from?: string[] | undefined
  databases?: string[] | undefined
  allDatabases?: boolean | undefined
  shard?: string | undefined
  ignore?: string[] | undefined
}

/** What is told of together: one of the config file's databases, or all that there are at some destinations. */
export interface Unit {
  /** In the config file. */
  name: string | undefined
  context: Context
  destinations: string[]
  question: Question
}

/** Which of the config file's databases are told of, and whether others are. */
export interface UnitNames {
  /** In the config file. */
  known: string[]
  /** Databases by their own names, at the destinations that are set; empty for all, undefined for none. */
  others: string[] | undefined
}

/**
 * The databases that are asked for. Where nothing is said, and no database is set, they are those of the config file.
 * @throws DbbakError CONFIG_INVALID, OPTION_INVALID
 */
export async function unitNames(options: UnitOptions, base: Context): Promise<UnitNames> {
  const {allDatabases: all, shard} = options
  const ignored = ignoredIn(options, base)
  const databases = [
    ...(options.databases ?? []),
    ...(options.database === undefined ? [] : [options.database]),
  ]
  const choice: FleetChoice = {env: base.env, cwd: base.cwd, config: options.config, all, shard}
  const chosen =
    (await chosenDatabases({...choice, databases, others: true})) ??
    (isDatabaseNamed(base) ? undefined : await allOfConfig(options, base))
  if (chosen === undefined) return {known: [], others: []}
  const whose = await Promise.all(chosen.map((name) => whoseBackups(name, choice)))
  const known = whose.flatMap(({database}) => database ?? []).filter((name) => !ignored.includes(name))
  const others = whose.flatMap(({of}) => of ?? [])
  return {known, others: others.length > 0 ? others : undefined}
}

/** Those of the config file are ignored whatever is ignored besides. */
function ignoredIn({ignore = []}: UnitOptions, {settings}: Context): string[] {
  return [...ignore, ...(settings.ignore.value ?? [])]
}

/** A host, a port or a user alone is no word on a database. One that cannot be read is named all the same. */
function isDatabaseNamed({settings: {databaseUrl}, env}: Context): boolean {
  return Boolean(databaseUrl.fault ?? databaseUrl.value) || Boolean(env.PGDATABASE) || Boolean(env.PGSERVICE)
}

async function allOfConfig(options: UnitOptions, {env, cwd}: Context): Promise<string[] | undefined> {
  const file = await loadConfigFile({named: namedConfig({config: options.config, env}), cwd, env})
  const names = Object.keys(file?.config.databases ?? {})
  return names.length > 0 ? names.sort() : undefined
}

/** One of the config file's databases. @throws DbbakError where something of it is not set, or wrong */
export async function knownUnit(name: string, options: UnitOptions, base: Context): Promise<Unit> {
  const own = await openContext({...options, line: base.line, database: name})
  const context = withShortPatience(own)
  const connection = await openDatabase({...context, events: silent})
  const {destinations} = context.settings
  const databaseName = connection.database || connection.user
  const known: KnownDatabase = {name, databaseName, isAt: isDatabaseOf(connection)}
  return {
    name,
    context,
    destinations: chosenOf(destinations.value, options.from ?? [], context.cwd),
    question: {...commonQuestion(options, context), known},
  }
}

/** All databases at the destinations that are set, or those of some names. */
export async function otherUnit(names: string[], options: UnitOptions, context: Context): Promise<Unit> {
  const given = options.from ?? []
  const question: Question = {...commonQuestion(options, context), names}
  const isSet = context.settings.databaseUrl.source !== 'not set'
  const connection = isSet
    ? await openDatabase({...context, events: silent}).catch(() => undefined)
    : undefined
  if (connection) question.commands!.isDatabase = isDatabaseOf(connection)
  if (connection && names.length === 0 && given.length === 0 && isDatabaseNamed(context))
    question.set = connection.database
  const destinations = given.length > 0 ? given : context.settings.destinations.value
  return {name: undefined, context, destinations: eachOnce(destinations, context.cwd), question}
}

function commonQuestion(options: UnitOptions, context: Context): Question {
  const {destinations} = context.settings
  return {
    limits: limitsOf(options, context.settings),
    ignored: ignoredIn(options, context),
    policy: policyIfAny(context),
    commands: {destinations: destinations.value.map((destination) => placeOf(destination, context.cwd))},
  }
}

/** A policy that cannot be meant is told by prune. */
function policyIfAny(context: Context): Question['policy'] {
  try {
    return policyOf({}, context)
  } catch (error) {
    if (error instanceof DbbakError) return undefined
    throw error
  }
}

/** Those of its own that were given; where none of them was, all that were given. */
function chosenOf(own: string[], given: string[], cwd: string): string[] {
  const places = new Set(given.map((one) => placeOf(one, cwd)))
  const both = own.filter((one) => places.has(placeOf(one, cwd)))
  return eachOnce(given.length === 0 ? own : both.length > 0 ? both : given, cwd)
}

/** A monitor waits for an answer: a store that does not answer is not tried for minutes, unless somebody says so. */
export function withShortPatience(context: Context): Context {
  const {settings} = context
  if (settings.retryFor.source !== 'default') return context
  // Not spread: a setting that cannot be had is no matter of whoever does not need it.
  const retryFor = {value: {value: '20s', source: 'status'}, enumerable: true}
  return {
    ...context,
    settings: Object.defineProperties({} as Context['settings'], {
      ...Object.getOwnPropertyDescriptors(settings),
      retryFor,
    }),
  }
}
