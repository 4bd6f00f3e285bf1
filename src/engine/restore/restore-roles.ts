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

/** @returns undefined where the backup holds no globals (it was taken without --globals) */
export async function readGlobals({store, entry}: StoredBackup): Promise<string | undefined> {
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
