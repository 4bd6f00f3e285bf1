import {assign, exampleUrl, unknownParameter, type Fail, type Settings} from './connection-parameters.js'

/** Reads libpq's other form: `host=db.internal port=5432 password='it''s \\' …`. */
export function parseConninfo(text: string, fail: Fail): Settings {
  const settings: Settings = {}
  let hide = false
  for (let at = skipBlanks(text, 0); at < text.length; at = skipBlanks(text, at)) {
    const {name, next} = readName(text, at, fail)
    const {value, end} = readValue(text, skipBlanks(text, next), fail)
    if (!assign(settings, name, value)) throw fail(unknownParameter(name, hide), [quoteAdvice])
    // A password with a blank in it, or quoted with a quote in it, goes on as a "name": that is not to be repeated.
    hide ||= name.endsWith('password')
    at = end
  }
  return settings
}

/** `name='value'` as libpq reads it, whatever the value holds. */
export function conninfoPair(name: string, value: string): string {
  return `${name}='${value.replace(/[\\']/g, '\\$&')}'`
}

const quoteAdvice =
  "A value with blanks in it is quoted: password='my secret'; inside the quotes write ' as \\' and \\ as \\\\"

function readName(text: string, start: number, fail: Fail): {name: string; next: number} {
  const match = /([^=\s]*)\s*=/y
  match.lastIndex = start
  const found = match.exec(text)
  if (found === null) {
    throw fail(`a word that begins at character ${start + 1} is not followed by =`, [quoteAdvice, exampleUrl])
  }
  return {name: found[1] ?? '', next: match.lastIndex}
}

function readValue(text: string, start: number, fail: Fail): {value: string; end: number} {
  const quoted = text[start] === "'"
  let value = ''
  let at = quoted ? start + 1 : start
  while (at < text.length && !(quoted ? text[at] === "'" : isBlank(text[at]))) {
    if (text[at] === '\\') at++
    value += text[at] ?? ''
    at++
  }
  if (quoted && at >= text.length) throw fail("a quoted value is not closed with a '", [quoteAdvice])
  return {value, end: quoted ? at + 1 : at}
}

function skipBlanks(text: string, start: number): number {
  let at = start
  while (at < text.length && isBlank(text[at])) at++
  return at
}

const isBlank = (character: string | undefined): boolean =>
  character !== undefined && ' \t\n\r\v\f'.includes(character)
