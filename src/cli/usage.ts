import type {Command} from '@oclif/core'
import {nearestName} from '../support/nearest-name.js'
import {redactSecrets} from '../library/redaction.js'
import {DbbakError} from '../support/errors.js'
import {hideValues, usageError} from './failure.js'

/**
 * What oclif's parser threw, as an error of ours. Its own carries the whole parse context, and its messages quote
 * values: what came from the environment is named, never shown.
 */
export function parseError(error: unknown, command: Command.Class, env: NodeJS.ProcessEnv): unknown {
  if (error instanceof DbbakError || !(error instanceof Error)) return error
  const help = `dbbak ${command.id} --help`
  const unknown = unknownFlags(error)
  if (unknown.length > 0) return unknownFlagError(unknown, Object.keys(knownFlags(command)), help)
  if (!isParserError(error)) return error
  let message = redactSecrets(error.message)
  for (const name of variablesOf(command)) message = hideValues(message, [env[name] ?? ''], `$${name}`)
  return usageError(message.replace(/^Parsing (--\S+)\s+/, '$1: '), [help])
}

/** A command that does not exist. */
export function unknownCommandError(typed: string, known: string[], bin: string): DbbakError {
  const nearest = nearestName(typed, known)
  return usageError(`There is no command "${redactSecrets(typed)}".`, [
    ...(nearest === undefined ? [] : [`${bin} ${nearest}`]),
    `${bin} --help`,
  ])
}

function unknownFlagError(unknown: string[], known: string[], help: string): DbbakError {
  const nearest = nearestName(unknown[0]!.replace(/^-+/, ''), known)
  return usageError(`There is no option ${unknown.join(', ')}.`, [
    ...(nearest === undefined ? [] : [`Did you mean --${nearest}?`]),
    help,
  ])
}

/** Their names alone: a value that was typed after them may be a secret. */
function unknownFlags(error: Error): string[] {
  const {flags} = error as {flags?: unknown}
  if (!Array.isArray(flags)) return []
  return flags.filter((flag) => typeof flag === 'string').map((flag) => flag.split('=', 1)[0]!)
}

/** oclif marks its own errors; anything else that was thrown while parsing is a bug. */
const isParserError = (error: Error): boolean => 'oclif' in error || 'parse' in error

const knownFlags = (command: Command.Class) => ({json: {}, ...command.baseFlags, ...command.flags})

function variablesOf(command: Command.Class): string[] {
  const flags: {env?: string | undefined}[] = Object.values({...command.baseFlags, ...command.flags})
  return flags.flatMap(({env}) => (env === undefined ? [] : [env]))
}
