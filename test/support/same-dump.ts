import {execFile} from 'node:child_process'
import {promisify} from 'node:util'
import type {ClientTools} from '../../src/postgres/client-tools.js'
import type {ConnectionDescription} from '../../src/postgres/connection.js'
import {withServerSettings} from '../../src/postgres/tool-settings.js'

/** A plain pg_dump, without what differs between two dumps of the same database. */
export interface ComparableDump {
  /** Everything but rows, in order. */
  statements: string[]
  /** The rows of each COPY, in order of the text, by what stands at its head. */
  rows: Map<string, string[]>
}

/** Dumps a database with pg_dump alone: nothing of ours has a part in it. */
export async function comparableDump(
  tools: ClientTools,
  connection: ConnectionDescription,
): Promise<ComparableDump> {
  const {stdout} = await promisify(execFile)(
    tools.dump,
    [`--dbname=${connection.databaseArgument()}`, '--no-password'],
    {
      env: unhurried(connection.toolEnvironment(process.env)),
      maxBuffer: 1 << 30,
    },
  )
  return parseDump(stdout)
}

/** Without the limit on statements that a test's database may have: pg_dump lifts it by its second statement only. */
export const unhurried = (env: Record<string, string>): Record<string, string> =>
  withServerSettings(env, {statement_timeout: '0'})

/**
 * Only two things are taken out: the random key of \restrict, and the order of a table's rows. What is copied through
 * a partitioned table's root is one table's rows, since an enum's hash puts them elsewhere in every database.
 */
function parseDump(text: string): ComparableDump {
  const dump: ComparableDump = {statements: [], rows: new Map()}
  let copied: string[] | undefined
  for (const line of text.split('\n')) {
    if (copied) {
      if (line === '\\.') copied = undefined
      else copied.push(line)
      continue
    }
    dump.statements.push(line.replace(/^(\\(?:un)?restrict) \w+$/, '$1'))
    if (/ FROM stdin;$/.test(line)) {
      copied = dump.rows.get(line) ?? []
      dump.rows.set(line, copied)
    }
  }
  for (const rows of dump.rows.values()) rows.sort()
  return dump
}

/** How two dumps differ: a few lines each, short enough to read. Empty where they do not. */
export function dumpDifferences(source: ComparableDump, copy: ComparableDump): string[] {
  const heads = new Set([...source.rows.keys(), ...copy.rows.keys()])
  return [
    ...lineDifferences('statements', source.statements, copy.statements),
    ...[...heads].flatMap((head) =>
      lineDifferences(head, source.rows.get(head) ?? [], copy.rows.get(head) ?? []),
    ),
  ]
}

const shownLines = 30
const shownCharacters = 300

function lineDifferences(title: string, a: string[], b: string[]): string[] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++
  const part = (sign: string, lines: string[]) =>
    lines
      .slice(start, lines.length - end)
      .slice(0, shownLines)
      .map((line) => `${sign} ${line.slice(0, shownCharacters)}`)
  const shown = [...part('-', a), ...part('+', b)]
  return shown.length === 0 ? [] : [`${title}, from line ${start + 1}:`, ...shown]
}
