import type {Check, VerifiedBackup, VerifyResult} from '../index.js'
import {formatDuration, pad, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {besideLabel, columnsOf} from './wrap.js'

const titles: Record<Check['name'], string> = {
  'file-exists': 'File exists',
  'metadata-valid': 'Metadata valid',
  'checksum-valid': 'Checksum valid',
  'archive-readable': 'Archive readable',
  'restore-test': 'Restore test',
  'data-integrity': 'Data integrity',
}

/** The checks of each backup, for people. */
export function verifySummary({results}: VerifyResult): string {
  return results.map(oneBackup).join('\n\n')
}

function oneBackup({id, verdict, level, checks, durationMs}: VerifiedBackup): string {
  const style = styleFor(process.stdout)
  const tested =
    level === 'restore'
      ? 'restored and compared'
      : level === 'archive'
        ? 'read to its end; no restore was tested'
        : 'checksum only'
  const words =
    verdict === 'passed' ? style.good(`passed (${tested})`) : style.bad(verdict.replaceAll('-', ' '))
  return [
    `${style.bold(printable(id))}  ${words}, ${formatDuration(durationMs)}`,
    ...checks.map((check, index) => line(check, checks[index - 1])),
  ].join('\n')
}

function line({name, status, reason, differences}: Check, before: Check | undefined): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const columns = columnsOf(process.stdout)
  const symbol = {
    passed: style.good(symbols.done),
    failed: style.bad(symbols.failed),
    'could-not-run': style.caution(symbols.caution),
    'not-asked': style.dim(symbols.skipped),
  }[status]
  const why = reason !== undefined && reason === before?.reason ? 'for the same reason' : reason
  const words = [status === 'passed' ? '' : status.replaceAll('-', ' '), printable(why ?? '')]
  const text = words.filter(Boolean).join(': ')
  const shown = (differences ?? []).slice(0, shownDifferences)
  const more = (differences?.length ?? 0) - shown.length
  return [
    besideLabel(`  ${symbol} ${pad(titles[name], 18)}`, text, columns).trimEnd(),
    ...shown.map(({object, expected, found}) =>
      besideLabel('      ', printable(`${object}: expected ${expected}, found ${found}`), columns),
    ),
    ...(more > 0 ? [`      and ${more} more: --json has them all`] : []),
  ].join('\n')
}

const shownDifferences = 20
