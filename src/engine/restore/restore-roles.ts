import type {Client} from 'pg'
import {buffer} from 'node:stream/consumers'
import {asQueryError} from '../../postgres/query-errors.js'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import type {StoredBackup} from '../archive/open-archive.js'
import {globalsName} from '../naming.js'

/** Roles that a backup names and the target's server lacks, and how to make them as they were. */
export interface MissingRoles {
  names: string[]
  statements: string[]
  /** Why the backup can make none. */
  whyNone?: string
}

/** An identifier as pg_dumpall writes it: bare, or in quotes. */
const identifier = String.raw`(?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)`
const aboutRole = new RegExp(`^(?:CREATE|ALTER) ROLE (${identifier})(?:;| WITH | SET )`)
const membership = new RegExp(`^GRANT (${identifier}) TO (${identifier})`)

const nameOf = (text: string): string =>
  text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text

/**
 * The statements of a backup's globals that make these roles: attributes and settings, without passwords, and what they
 * are members of. Nothing that changes a role which is there already.
 */
export function statementsFor(globals: string, names: string[]): string[] {
  return globals.split('\n').filter((line) => {
    const [, role] = aboutRole.exec(line) ?? []
    const [, , member] = membership.exec(line) ?? []
    const subject = role ?? member
    return subject !== undefined && names.includes(nameOf(subject)) && !/\bPASSWORD\b/.test(line)
  })
}

/** Those that the server lacks and the backup's globals hold. What is missing beyond is a finding of the preflight. */
export async function missingRoles(client: Client, backup: StoredBackup): Promise<MissingRoles> {
  const globals = await readGlobals(backup)
  if (globals === undefined) return {names: [], statements: [], whyNone: 'It was taken without --globals'}
  const {rows} = await client.query<{name: string}>(
    'select w.name from unnest($1::text[]) w(name) where not exists (select from pg_catalog.pg_roles where rolname = w.name)',
    [backup.entry.manifest.content.roles],
  )
  const names = rows.map(({name}) => name)
  const statements = statementsFor(globals, names)
  return {names: names.filter((name) => statements.some((line) => isAbout(line, name))), statements}
}

const isAbout = (statement: string, name: string) => statementsFor(statement, [name]).length > 0

async function readGlobals({store, entry}: StoredBackup): Promise<string | undefined> {
  const path = globalsName(entry.manifest.id)
  if (!entry.manifest.files.some((file) => file.path === path)) return undefined
  return (await buffer(await store.get(path))).toString('utf8')
}

/** Makes the roles, in the caller's transaction or each by itself. */
export async function createRoles(client: Client, {statements}: MissingRoles): Promise<void> {
  try {
    for (const statement of statements) await client.query(withoutGrantor(statement))
  } catch (error) {
    throw asQueryError(error, 'creating the roles that the backup names')
  }
}

/** Who granted a membership may not be here, and is not ours to say. */
const withoutGrantor = (statement: string): string => statement.replace(/ GRANTED BY .*;$/, ';')

/** Takes them back; for a restore that failed. */
export async function dropRoles(client: Client, {names}: MissingRoles): Promise<void> {
  for (const name of names) await client.query(`drop role if exists ${quoteIdentifier(name)}`)
}
