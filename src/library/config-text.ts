import {DbbakError} from '../support/errors.js'
import type {Environment} from './config-file.js'

/** A place of a config file whose value is to come from a variable that is not set. */
export interface UnsetVariable {
  path: string[]
  variable: string
}

/** What a file holds, with the environment's values put in; where one is not set, the text stays as it is. */
export interface FilledConfig {
  value: unknown
  unset: UnsetVariable[]
}

/**
 * Puts the environment's values for `${NAME}`; `$${` stands for a plain `${`. What is not set is trouble for whoever
 * needs it: a variable of one database must not stop the others.
 * @throws DbbakError CONFIG_INVALID for a `${` that names nothing
 */
export function fillIn(value: unknown, env: Environment, file: string): FilledConfig {
  const unset: UnsetVariable[] = []
  return {value: fillInAt(value, [], {env, file, unset}), unset}
}

interface Filling {
  env: Environment
  file: string
  unset: UnsetVariable[]
}

function fillInAt(value: unknown, path: string[], filling: Filling): unknown {
  if (typeof value === 'string') return fillInText(value, path, filling)
  if (Array.isArray(value)) return value.map((item, at) => fillInAt(item, [...path, String(at)], filling))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, fillInAt(item, [...path, key], filling)]),
  )
}

function fillInText(text: string, path: string[], {env, file, unset}: Filling): string {
  return text.replace(/\$\$\{|\$\{([^}]*)\}?/g, (whole, name: string | undefined) => {
    if (name === undefined) return '${'
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || !whole.endsWith('}')) {
      throw new DbbakError(
        'CONFIG_INVALID',
        `${file} has a \${…} that is not the name of an environment variable.`,
        {suggestions: ['Write ${NAME}, or $${ for a plain ${']},
      )
    }
    if (env[name]) return env[name]
    unset.push({path, variable: name})
    return whole
  })
}

export function unsetError({path, variable}: UnsetVariable, file: string): DbbakError {
  return new DbbakError(
    'CONFIG_INVALID',
    `${file} takes ${path.join('.')} from \${${variable}}, but ${variable} is not set or empty.`,
    {suggestions: [`Set it: export ${variable}=…`, 'Write $${ for a plain ${']},
  )
}

/** What a file says in one piece: who needs a part of it needs all of it. */
export function pieceOf(path: readonly string[]): string[] {
  const [first, second, ...rest] = path
  if (first === undefined || second === undefined) return [...path]
  if (first === 'databases') return [first, second, ...pieceOf(rest)]
  if (first === 'notifications') return path.slice(0, 3)
  return first === 'hooks' ? [first, second] : [first]
}

/** A copy without some places; an element of a list stays in its place. */
export function without(value: unknown, places: readonly string[][]): unknown {
  if (places.some((place) => place.length === 0)) return undefined
  if (typeof value !== 'object' || value === null) return value
  const below = (key: string) => places.flatMap(([first, ...rest]) => (first === key ? [rest] : []))
  if (Array.isArray(value)) return value.map((item, at) => without(item, below(String(at))))
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, without(item, below(key))]))
}

export const startsWith = (path: readonly string[], beginning: readonly string[]): boolean =>
  beginning.every((key, at) => path[at] === key)
