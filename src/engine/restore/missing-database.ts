import type {ConnectionDescription} from '../../postgres/connection.js'
import {shellWord} from '../../support/shell.js'
import type {Manifest} from '../manifest.js'
import type {Finding} from './findings.js'

/** A target that is not there is made by a command, as the backup's own database was: with its encoding and locale. */
export function withCreation(
  finding: Finding,
  connection: ConnectionDescription,
  {database}: Manifest,
): Finding {
  if (finding.code !== 'DATABASE_NOT_FOUND') return finding
  return {...finding, fix: `Make it, empty: ${createdb(connection, database)}`}
}

function createdb({host, port, user, database}: ConnectionDescription, source: Manifest['database']): string {
  const where = ['-h', host, '-p', String(port), '-U', user]
  const like = ['-T', 'template0', '-E', source.encoding, ...localeOptions(source)]
  return ['createdb', ...where, ...like, database].map(shellWord).join(' ')
}

/** A server that is older than the backup's, and would not know the provider, is refused in any case. */
function localeOptions({collate, ctype, localeProvider, locale}: Manifest['database']): string[] {
  const libc = [`--lc-collate=${collate ?? 'C'}`, `--lc-ctype=${ctype ?? 'C'}`]
  if (localeProvider === 'icu')
    return [...libc, '--locale-provider=icu', ...(locale ? [`--icu-locale=${locale}`] : [])]
  if (localeProvider === 'builtin')
    return [...libc, '--locale-provider=builtin', ...(locale ? [`--builtin-locale=${locale}`] : [])]
  return libc
}
