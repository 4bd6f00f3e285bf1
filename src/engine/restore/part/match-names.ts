import {parsePattern} from '../../../postgres/identifiers.js'
import {DbbakError} from '../../../support/errors.js'
import {nearestName} from '../../../support/nearest-name.js'
import {patternOf, shown, type RelationName} from './part.js'

/** @throws DbbakError NOTHING_SELECTED for a pattern that matches none */
export function matchSchemas(pattern: string, known: string[]): string[] {
  const {name} = parsePattern(pattern)
  const isMeant = matcher(name, pattern)
  const found = known.filter(isMeant)
  if (found.length > 0) return found
  throw notThere('schema', pattern, known.map(patternOf))
}

/**
 * The relations that a pattern means. One without a schema may match in one schema only: an archive knows no search
 * path, and what was not meant is not to be replaced.
 * @throws DbbakError NOTHING_SELECTED, OPTION_INVALID
 */
export function matchRelations<Relation extends RelationName>(
  pattern: string,
  known: Relation[],
): Relation[] {
  const {schema, name} = parsePattern(pattern)
  const isName = matcher(name, pattern)
  const isSchema = schema === undefined ? () => true : matcher(schema, pattern)
  const found = known.filter((relation) => isName(relation.name) && isSchema(relation.schema))
  if (found.length === 0) {
    const names = schema === undefined ? known.map((relation) => patternOf(relation.name)) : []
    throw notThere('table', pattern, [...known.map(shown), ...names])
  }
  const schemas = [...new Set(found.map((relation) => relation.schema))]
  if (schema !== undefined || schemas.length === 1) return found
  throw new DbbakError(
    'OPTION_INVALID',
    `--table ${pattern} could mean ${found.slice(0, 5).map(shown).join(' or ')}.`,
    {suggestions: [`Name the schema too: --table '${patternOf(schemas[0] ?? '')}.${pattern}'`]},
  )
}

/** The server's `~` and JavaScript agree on what a pattern can hold. */
function matcher(regex: string, pattern: string): (name: string) => boolean {
  try {
    const compiled = new RegExp(regex, 's')
    return (name) => compiled.test(name)
  } catch (cause) {
    throw new DbbakError('OPTION_INVALID', `${pattern} is not a name and not a pattern.`, {
      cause,
      suggestions: [`Put an unusual name into double quotes: '"${pattern.replaceAll('"', '')}"'`],
    })
  }
}

const mostListed = 10

function notThere(kind: 'schema' | 'table', pattern: string, known: string[]): DbbakError {
  const nearest = nearestName(pattern, known)
  const listed = known.filter((name) => kind === 'schema' || name.includes('.')).slice(0, mostListed)
  return new DbbakError('NOTHING_SELECTED', `The backup has no ${kind} ${pattern}.`, {
    suggestions: [
      ...(nearest === undefined ? [] : [`Did you mean: --${kind} '${nearest}'`]),
      ...(listed.length > 0
        ? [`It has: ${listed.join(', ')}${known.length > listed.length ? ', …' : ''}`]
        : []),
      `Names fold to lower case unless in double quotes: --${kind} '"Odd Name"'`,
    ],
  })
}
