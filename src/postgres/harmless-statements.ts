import type {Kept} from './empty-database.js'
import type {StandIn} from './lent-session.js'

/** What a restore goes into. */
export interface HarmlessFor {
  major: number
  isSuperuser: boolean
  /** What emptying it left there. */
  kept: Kept
}

/**
 * Statements of a newer pg_restore or pg_dump that an older server does not know, or that a role may not run although
 * they change nothing. They are answered in the server's place and listed; everything else must succeed.
 */
export function harmlessStatements(
  target: HarmlessFor,
  report: (warning: {code: string; message: string}) => void,
): (sql: string) => StandIn {
  const {major, isSuperuser, kept} = target
  return (sql) => {
    const statement = sql.trim()
    // pg_dump and pg_restore 17 and newer set it in every session; 16 and older do not have it.
    if (major < 17 && /^SET transaction_timeout = 0;?$/i.test(statement)) return 'SET'
    // A dump waits for locks for ever; a restore holds to the limit that it was given.
    if (/^SET lock_timeout = 0;?$/i.test(statement)) return 'SET'
    // The comment comes with the extension; only its owner may set it again.
    const commented = nameAfter('COMMENT ON EXTENSION', statement)
    if (
      commented !== undefined &&
      (kept.extensions.includes(commented) || (!isSuperuser && commented === 'plpgsql'))
    ) {
      report({
        code: 'EXTENSION_COMMENT',
        message: `Left out, since it needs the extension's owner and changes nothing: COMMENT ON EXTENSION ${commented}`,
      })
      return 'COMMENT'
    }
    // An extension that had to stay lives in it, so it is there already, and empty of everything else.
    const created = nameAfter('CREATE SCHEMA', statement)
    if (created !== undefined && kept.schemas.includes(created)) return 'CREATE SCHEMA'
    return undefined
  }
}

/** The identifier after some words at the start of a statement; comments may stand before it. */
function nameAfter(words: string, statement: string): string | undefined {
  const match = new RegExp(`^(?:--[^\\n]*\\n|\\s)*${words} (?:"((?:[^"]|"")+)"|([^\\s";]+))`, 'i').exec(
    statement,
  )
  return match?.[1]?.replaceAll('""', '"') ?? match?.[2]
}
