import type {Manifest} from '../manifest.js'
import type {Finding} from './findings.js'

/** What a version brought that dumps of it may hold and older servers do not know; after the release notes. */
const broughtBy: Record<number, string> = {
  14: 'multirange types, SQL-standard function bodies, compression of single columns',
  15: 'security_invoker views, NULLS NOT DISTINCT, publications of schemas, ICU as a database’s locale',
  16: 'ICU rules, grants with INHERIT or SET',
  17: 'transaction_timeout, the MAINTAIN privilege, the builtin locale provider, JSON_TABLE',
  18: 'virtual generated columns, temporal keys (WITHOUT OVERLAPS), NOT ENFORCED and NOT NULL constraints with names',
}

/** A dump of a newer server into an older one: refused, or, with --force-version, allowed with what may not be understood. */
export function checkServerVersions(
  serverVersion: string,
  target: {version: string; major: number},
  isForced: boolean,
): Finding[] {
  const from = Number.parseInt(serverVersion, 10)
  if (from <= target.major) return []
  const news = Object.entries(broughtBy)
    .filter(([major]) => Number(major) > target.major && Number(major) <= from)
    .map(([major, what]) => `${major}: ${what}`)
  const what = `The backup is of PostgreSQL ${serverVersion}; the target is ${target.version} and does not understand what came later (${news.join('; ')}).`
  if (isForced)
    return [
      {
        code: 'TARGET_SERVER_OLDER',
        severity: 'warning',
        message: `${what} Where the backup uses any of it the restore fails, and the target stays as it is.`,
      },
    ]
  return [
    {
      code: 'TARGET_SERVER_OLDER',
      severity: 'error',
      message: what,
      fix: `Restore into a server of version ${from} or newer, or try it all the same: dbbak restore --force-version`,
    },
  ]
}

/** The first minor versions whose plain dumps have \restrict lines, and whose psql knows them (August 2025). */
const knowsRestrict: Record<number, number> = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}

function isSinceRestrict(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  return major >= 18 || minor >= (knowsRestrict[major] ?? Infinity)
}

/** A plain dump may begin with a line that an older psql takes for an unknown command. */
export function checkPsql({format, client}: Manifest, psqlVersion: string): Finding[] {
  if (format !== 'plain' || !isSinceRestrict(client.pgDumpVersion) || isSinceRestrict(psqlVersion)) return []
  return [
    {
      code: 'PSQL_TOO_OLD',
      severity: 'error',
      message: `The dump has \\restrict lines (pg_dump ${client.pgDumpVersion}), which psql ${psqlVersion} does not know.`,
      fix: newerPsql,
    },
  ]
}

export const newerPsql =
  'Update the client tools to 13.22, 14.19, 15.14, 16.10, 17.6, 18 or newer: their psql knows the \\restrict lines of plain dumps.'
