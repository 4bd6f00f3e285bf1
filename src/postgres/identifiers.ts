/** A name as an SQL identifier, always quoted. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function qualified(schema: string, name: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`
}

/** A text as an SQL literal, whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return text.includes('\\') ? ` E${quoted}` : quoted
}

/** The parts of a pg_dump object pattern, each a regular expression as the server's `~` takes it. */
export interface NamePattern {
  schema: string | undefined
  name: string
}

const wildcards: Record<string, string> = {'*': '.*', '?': '.', $: '\\$'}
const literal = (character: string) => ('|*+?()[]{}.^$\\'.includes(character) ? `\\${character}` : character)

/**
 * Translates a `-n`/`-t` pattern the way pg_dump does (psql's rules: `*` and `?` are wildcards, names fold to lower
 * case outside double quotes, a dot separates schema and name). After patternToSQLRegex in PostgreSQL's
 * src/fe_utils/string_utils.c.
 */
export function parsePattern(pattern: string): NamePattern {
  const parts: string[] = ['']
  let quoted = false
  const add = (text: string) => (parts[parts.length - 1] += text)
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i] as string
    if (character === '"') {
      if (quoted && pattern[i + 1] === '"') add(pattern[i++] as string)
      else quoted = !quoted
    } else if (character === '.' && !quoted) parts.push('')
    else if (character === '[' && pattern[i + 1] === ']' && !quoted) add('\\[')
    else add(quoted ? literal(character) : (wildcards[character] ?? inLowerCase(character)))
  }
  const anchored = parts.map((part) => `^(${part})$`)
  return {schema: anchored.at(-2), name: anchored.at(-1) as string}
}

/** As pg_dump folds: plain Latin letters alone. */
const inLowerCase = (character: string) => (/[A-Z]/.test(character) ? character.toLowerCase() : character)
