import type {StandIn} from './lent-session.js'

/**
 * Statements of a newer pg_restore or pg_dump that an older server does not know, or that a role may not run although
 * they change nothing. They are answered in the server's place and listed; everything else must succeed.
 */
export function harmlessStatements(
  target: {major: number; isSuperuser: boolean},
  report: (warning: {code: string; message: string}) => void,
): (sql: string) => StandIn {
  return (sql) => {
    const statement = sql.trim()
    // pg_dump and pg_restore 17 and newer set it in every session; 16 and older do not have it.
    if (target.major < 17 && /^SET transaction_timeout = 0;?$/i.test(statement)) return 'SET'
    // The comment comes with the extension; only its owner may set it again.
    if (!target.isSuperuser && /^(--[^\n]*\n|\s)*COMMENT ON EXTENSION /i.test(statement)) {
      report({
        code: 'EXTENSION_COMMENT',
        message: `Left out, since it needs the extension's owner and changes nothing: ${statement.split('\n').at(-1)}`,
      })
      return 'COMMENT'
    }
    return undefined
  }
}
