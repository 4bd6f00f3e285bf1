import type {Events} from '../engine/events.js'
import {summaryOf} from '../notify/summaries.js'
import {longestTimeoutMs, parseDuration} from '../support/duration.js'
import {DbbakError, messageOf} from '../support/errors.js'
import {hideSecretValues, redactSecrets} from './redaction.js'
import {runHook, type HookCommand, type HookEnding} from './run-hook.js'

/** A text is run by the shell; a list is a program and its arguments. */
export type Hook = HookCommand | {run: HookCommand; timeout?: string | undefined}

/** The `hooks` of a config file. */
export interface HooksConfig {
  beforeBackup?: Hook | undefined
  afterBackup?: Hook | undefined
  beforeRestore?: Hook | undefined
  afterRestore?: Hook | undefined
}

export const hookNames = ['beforeBackup', 'afterBackup', 'beforeRestore', 'afterRestore'] as const

export interface HookContext {
  env: Record<string, string | undefined>
  /** Where hooks run; the process's own folder by default. */
  cwd?: string | undefined
  hooks?: HooksConfig | undefined
  events: Events
  signal: AbortSignal
  /** Hides what is secret in what a hook prints, beside what the environment holds. */
  hide?: ((text: string) => string) | undefined
}

export interface HookFacts<T> {
  database?: {host: string; name: string} | undefined
  backupId?: string | undefined
  destinations?: string[] | undefined
  /** Why the work counts as failed although it came to a result. */
  failure?: ((result: T) => unknown) | undefined
  /** A rehearsal that changes nothing: no hook runs. */
  dryRun?: boolean | undefined
}

export type HookedKind = 'backup' | 'restore'

const names = {
  backup: {before: 'beforeBackup', after: 'afterBackup'},
  restore: {before: 'beforeRestore', after: 'afterRestore'},
} as const

/** What a failed hook before it makes of the command: nothing was done yet. */
const exitCodes = {backup: 4, restore: 3} as const

const defaultTimeout = '10min'
/** So long a hook may take that runs after an interruption: somebody waits. */
const interruptedLimitMs = 10_000

/** Runs the hook before the work, where there is one; called once, by the work itself. */
export interface Beginning {
  (more?: Pick<HookFacts<never>, 'backupId'>): Promise<void>
  hasHook: boolean
}

/**
 * Does some work between its hooks. The work says when it begins: a hook before it that fails stops it there, before
 * anything is done. The hook after it runs once the work began, whatever became of it and of the hook before it, with the
 * result on its stdin; when it fails, that is a warning.
 * @throws DbbakError HOOK_FAILED; what the work throws; the signal's reason
 */
export async function withHooks<T>(
  kind: HookedKind,
  context: HookContext,
  facts: HookFacts<T>,
  operation: (begin: Beginning) => Promise<T>,
): Promise<T> {
  const {before, after} = names[kind]
  const [beforeHook, afterHook] = [before, after].map((name) => parseHook(name, context.hooks?.[name]))
  const about = {...facts}
  let began = false
  const begin = async (more: Pick<HookFacts<never>, 'backupId'> = {}) => {
    if (facts.dryRun) return
    Object.assign(about, more)
    context.signal.throwIfAborted()
    began = true
    if (beforeHook) await runBefore(beforeHook, kind, context, about)
  }
  const afterwards = async (became: {result?: T; error?: unknown}) => {
    if (began && afterHook) await runAfter(afterHook, kind, context, about, became)
  }
  let result: T
  try {
    result = await operation(Object.assign(begin, {hasHook: beforeHook !== undefined}))
  } catch (error) {
    await afterwards({error: context.signal.aborted ? echoed(error, context) : error})
    throw error
  }
  await afterwards({result, error: facts.failure?.(result)})
  return result
}

/** After an interruption almost every error is only its echo; a rollback that failed is not. */
function echoed(error: unknown, {signal}: HookContext): unknown {
  if (error instanceof DbbakError && error.code === 'ROLLBACK_FAILED') return error
  return signal.reason instanceof DbbakError ? signal.reason : error
}

interface ParsedHook {
  name: keyof HooksConfig
  command: HookCommand
  timeoutMs: number
}

/** @throws DbbakError CONFIG_INVALID for one that cannot be run */
export function parseHooks(hooks: HooksConfig | undefined): void {
  for (const name of hookNames) parseHook(name, hooks?.[name])
}

/** Read before anything is done, the hook that runs last too. */
function parseHook(name: keyof HooksConfig, hook: Hook | undefined): ParsedHook | undefined {
  if (hook === undefined) return undefined
  const {run, timeout = defaultTimeout} = typeof hook === 'string' || Array.isArray(hook) ? {run: hook} : hook
  return {name, command: run, timeoutMs: parseTimeout(timeout, `hooks.${name}.timeout`)}
}

function parseTimeout(timeout: string, place: string): number {
  try {
    return parseDuration(timeout, place, longestTimeoutMs)
  } catch (error) {
    throw new DbbakError('CONFIG_INVALID', messageOf(error), {suggestions: [`For example: ${place}: 30s`]})
  }
}

async function runBefore<T>(
  hook: ParsedHook,
  kind: HookedKind,
  context: HookContext,
  facts: HookFacts<T>,
): Promise<void> {
  const variables = variablesOf(hook.name, kind, facts)
  const ending = await run(hook, context, variables, undefined, context.signal)
  if (ending.how === 'succeeded') return
  context.signal.throwIfAborted()
  throw new DbbakError(
    'HOOK_FAILED',
    `The ${kind} was not begun: the hook ${hook.name} ${words(ending, hook, context)}.`,
    {
      suggestions: [
        `See what it says: dbbak ${kind} --verbose`,
        `Mend the command at hooks.${hook.name} in the config file, or remove it`,
      ],
      details: {hook: hook.name},
    },
  ).during(exitCodes[kind])
}

/** Never throws: what is done is done. */
async function runAfter<T>(
  hook: ParsedHook,
  kind: HookedKind,
  context: HookContext,
  facts: HookFacts<T>,
  became: {result?: T; error?: unknown},
): Promise<void> {
  const failed = became.error !== undefined && became.error !== null
  try {
    const wasInterrupted = context.signal.aborted
    const timeoutMs = wasInterrupted ? Math.min(hook.timeoutMs, interruptedLimitMs) : hook.timeoutMs
    const signal = wasInterrupted ? new AbortController().signal : context.signal
    const document = documentOf(became, context)
    const variables = {
      ...variablesOf(hook.name, kind, facts, document),
      DBBAK_OUTCOME: failed ? 'failure' : 'success',
      ...(failed ? {DBBAK_ERROR_CODE: errorOf(became.error, context).code} : {}),
    }
    const ending = await run({...hook, timeoutMs}, context, variables, JSON.stringify(document), signal)
    if (ending.how === 'succeeded') return
    warn(hook, context, words(ending, {...hook, timeoutMs}, context))
  } catch (error) {
    warn(hook, context, `could not be run: ${redactSecrets(messageOf(error)).replace(/\.$/, '')}`)
  }
}

function warn({name}: ParsedHook, {events}: HookContext, what: string): void {
  events.warning?.({code: 'HOOK_FAILED', message: `The hook ${name} ${what}.`})
}

function run(
  {name, command, timeoutMs}: ParsedHook,
  context: HookContext,
  variables: Record<string, string>,
  input: string | undefined,
  signal: AbortSignal,
): Promise<HookEnding> {
  const {env, cwd, events} = context
  events.detail?.(`${name}: begins`)
  return runHook(command, {
    env: {...env, ...variables},
    cwd,
    input,
    timeoutMs,
    signal,
    onLine: (line) => events.detail?.(`${name}: ${hidden(line, context)}`),
  })
}

const hidden = (text: string, {env, hide = (it) => it}: HookContext): string =>
  redactSecrets(hideSecretValues(hide(text), env))

function words(ending: HookEnding, {timeoutMs}: ParsedHook, context: HookContext): string {
  const said = hidden(ending.lastLine ?? '', context)
    .slice(0, 300)
    .replace(/[.\s]+$/, '')
  const left = ', and cannot be ended: it runs on'
  const how = {
    succeeded: 'succeeded',
    failed: `ended with exit code ${ending.exitCode}`,
    killed: `was killed by ${ending.signal}`,
    'not-started': `could not be started (${ending.reason})`,
    'timed-out': ending.isLeft
      ? `has not ended in ${timeoutMs / 1000} s, its time limit${left}`
      : `was ended after ${timeoutMs / 1000} s, its time limit`,
    aborted: ending.isLeft ? `has not ended at the interruption${left}` : 'was ended by the interruption',
  }[ending.how]
  return said === '' ? how : `${how}: ${said}`
}

/** No password is among them. */
function variablesOf<T>(
  name: keyof HooksConfig,
  kind: HookedKind,
  {database, backupId, destinations}: HookFacts<T>,
  document: unknown = {},
): Record<string, string> {
  const told = summaryOf(kind, document)
  const about = database ?? told.database
  const {backup} = document as {backup?: {id?: unknown}}
  const found = {
    DBBAK_HOOK: name,
    DBBAK_EVENT: kind,
    DBBAK_DATABASE: about?.name,
    DBBAK_HOST: about?.host,
    DBBAK_BACKUP_ID: backup?.id ?? backupId,
    DBBAK_DESTINATIONS: (destinations ?? told.destinations).map(redactSecrets).join('\n') || undefined,
  }
  return Object.fromEntries(
    Object.entries(found).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

/** What --json prints. */
function documentOf({result, error}: {result?: unknown; error?: unknown}, context: HookContext): object {
  const held = error instanceof DbbakError ? error.details?.document : undefined
  const document: object = {...(result ?? held ?? {})}
  return error === undefined || error === null ? document : {...document, error: errorOf(error, context)}
}

function errorOf(error: unknown, {env}: HookContext) {
  if (error instanceof DbbakError) {
    const {code, message, suggestions, exitCode} = error
    return {code, message: redactSecrets(message), suggestions: suggestions.map(redactSecrets), exitCode}
  }
  const message = hideSecretValues(redactSecrets(messageOf(error)), env)
  return {code: 'INTERNAL', message, suggestions: [], exitCode: 1}
}
