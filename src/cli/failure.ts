import {mask, redactSecrets} from '../library/redaction.js'
import {DbbakError} from '../support/errors.js'
import type {Style, Symbols} from './style.js'

/** An error as people and scripts get to see it: no secret in any part of it. */
export interface Failure {
  code: string
  message: string
  suggestions: string[]
  exitCode: number
  causes: string[]
  /** Only for a bug. */
  stack?: string
  /** What the command found out before it failed; printed with the error under --json. */
  document?: Record<string, unknown>
}

const deepestCause = 5
const reportBug = 'This is a bug in dbbak, please report it with the lines above.'

/** What ended a command, whatever was thrown. */
export function failureOf(thrown: unknown, env: NodeJS.ProcessEnv): Failure {
  if (thrown instanceof DbbakError) return foreseen(thrown)
  const error = asError(thrown)
  if (error.name === 'ExitPromptError')
    return foreseen(new DbbakError('CANCELLED', 'Cancelled; nothing was changed.'))
  if (isOclifError(error)) return foreseen(usageError(error.message))
  return bug(error, env)
}

/** oclif's way of saying that the command asked for an exit code and has nothing more to tell. */
export function requestedExitCode(error: unknown): number | undefined {
  const {code, oclif} = error as {code?: unknown; oclif?: {exit?: number}}
  return code === 'EEXIT' ? (oclif?.exit ?? 0) : undefined
}

/** A wrong call, told without oclif's trailer. */
export function usageError(message: string, suggestions: string[] = ['dbbak --help']): DbbakError {
  const text = message
    .replaceAll('See more help with --help', '')
    .replace(/^The following errors? occurred:\s*/, '')
    .trim()
  const sentence = /[.?!:]$/.test(text) ? text : `${text}.` // oclif's own end without one
  return new DbbakError('OPTION_INVALID', sentence, {suggestions})
}

/** The document that --json prints instead of, or added to, the result. */
export function failureJson(failure: Failure): Record<string, unknown> {
  const {code, message, suggestions, exitCode, causes} = failure
  const error = {code, message, suggestions, exitCode, ...(causes.length > 0 ? {causes} : {})}
  return {...failure.document, error}
}

/** The same for people. */
export function failureText(failure: Failure, style: Style, symbols: Symbols): string {
  const [first = '', ...rest] = failure.message.split('\n')
  const isEnding = failure.exitCode >= 130 // the user knows who ended it
  return [
    `${style.bad(symbols.failed)} ${style.bold(first)}`,
    ...rest.map((line) => `  ${line}`),
    ...(isEnding ? [] : failure.causes.map((cause) => `  Caused by: ${indented(cause)}`)),
    `  ${style.dim(`Code: ${failure.code} (exit ${failure.exitCode})`)}`,
    ...(failure.stack === undefined ? [] : ['', failure.stack]),
    ...(failure.suggestions.length > 0 ? ['', '  Try this:'] : []),
    ...failure.suggestions.map((suggestion) => `    ${indented(suggestion, '    ')}`),
  ].join('\n')
}

const indented = (text: string, indent = '    '): string => text.trim().replaceAll('\n', `\n${indent}`)

function foreseen(error: DbbakError): Failure {
  const document = error.details?.document
  return {
    code: error.code,
    message: redactSecrets(error.message),
    suggestions: error.suggestions.map(redactSecrets),
    exitCode: error.exitCode,
    causes: causesOf(error).map(redactSecrets),
    ...(isRecord(document) ? {document} : {}),
  }
}

function bug(error: Error, env: NodeJS.ProcessEnv): Failure {
  const hide = (text: string) => hideValues(redactSecrets(text), secretValues(env))
  return {
    code: 'INTERNAL',
    message: hide(nameOf(error)),
    suggestions: [reportBug],
    exitCode: 1,
    causes: causesOf(error).map(hide),
    stack: hide(error.stack ?? String(error)),
  }
}

/** Messages of the causes, outermost first, without those that only repeat what was said. */
function causesOf(error: Error): string[] {
  const causes: string[] = []
  let said = error.message
  for (let at = error.cause; at !== undefined && at !== null && causes.length < deepestCause;) {
    const cause = asError(at)
    const message = nameOf(cause)
    if (!said.includes(message)) causes.push(message)
    said += message
    at = cause.cause
  }
  return causes
}

/** Some of Node's errors have no message of their own (a refused connection to several addresses). */
function nameOf(error: Error): string {
  if (error.message !== '') return error.message
  const inner =
    error instanceof AggregateError ? error.errors.map((each) => nameOf(asError(each))).join('; ') : ''
  return inner || ((error as NodeJS.ErrnoException).code ?? error.name)
}

/** Values that may stand in a stack or in an argument that was mistyped. */
function secretValues(env: NodeJS.ProcessEnv): string[] {
  const isSecret = /PASS|SECRET|TOKEN|_KEY|CREDENTIAL|CONNECTION_STRING|DATABASE_URL/
  return Object.entries(env).flatMap(([name, value]) => (isSecret.test(name) && value ? [value] : []))
}

/** Replaces whole values; very short ones stand in too many words to be replaced. */
export function hideValues(text: string, values: string[], replacement = mask): string {
  return values.reduce(
    (hidden, value) => (value.length < 4 ? hidden : hidden.replaceAll(value, replacement)),
    text,
  )
}

const isOclifError = (error: Error): boolean => 'oclif' in error

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)))
