import type {StandIn} from '../../postgres/lent-session.js'

const words = (text: string) => new RegExp(`^(?:--[^\\n]*\\n|\\s)*(?:${text})\\b`, 'i')

/**
 * What a scratch copy leaves out of a plain dump, as pg_restore's --no-owner, --no-privileges, --no-publications,
 * --no-subscriptions and --no-tablespaces do for the other formats, and the answer that psql is given instead.
 */
const leftOut: [RegExp, string][] = [
  [/^(?:--[^\n]*\n|\s)*alter .* owner to (?:"(?:[^"]|"")+"|[\w$]+);?\s*$/is, 'ALTER'],
  [words('grant'), 'GRANT'],
  [words('revoke'), 'REVOKE'],
  [words('alter default privileges'), 'ALTER DEFAULT PRIVILEGES'],
  [words('(?:re)?set session authorization'), 'SET'],
  [words('set default_tablespace'), 'SET'],
  [words('create (?:publication|subscription)'), 'CREATE'],
  [words('alter (?:publication|subscription)'), 'ALTER'],
  [words('comment on (?:publication|subscription)'), 'COMMENT'],
  // PostgreSQL 16 and older do not have it, and nothing depends on it.
  [words('set transaction_timeout'), 'SET'],
]

/** What names a role: left out where that role is not on the test server. */
const forRoles: [RegExp, string][] = [
  [words('create policy'), 'CREATE POLICY'],
  [words('create user mapping'), 'CREATE USER MAPPING'],
]
const onPolicy = words('comment on policy')

/** @param missingRoles roles of the dump that the test server does not have */
export function scratchStatements(missingRoles: string[]): (sql: string) => StandIn {
  const named = missingRoles.map(
    (role) => new RegExp(`\\b(?:TO|FOR) (?:[^;(]*, )?(?:${spellings(role)})(?:[ ,;\\n]|$)`),
  )
  const namesMissingRole = (sql: string) => named.some((role) => role.test(sql))
  return (sql) => {
    if (onPolicy.test(sql) && named.length > 0) return 'COMMENT'
    const [, answer] =
      leftOut.find(([statement]) => statement.test(sql)) ??
      forRoles.find(([statement]) => statement.test(sql) && namesMissingRole(sql)) ??
      []
    return answer
  }
}

/** As pg_dump may write it: bare only where nothing in it asks for quotes. */
function spellings(name: string): string {
  const quoted = `"${name.replaceAll('"', '""')}"`.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return /^[a-z_][a-z0-9_]*$/.test(name) ? `${name}|${quoted}` : quoted
}
