import type {Check, VerifiedBackup, VerifyResult} from '../index.js'
import {formatDuration, pad} from './format.js'
import {styleFor, symbolsFor} from './style.js'

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
  const words = verdict === 'passed' ? style.good(`passed (${tested})`) : style.bad(verdict)
  return [`${style.bold(id)}  ${words}, ${formatDuration(durationMs)}`, ...checks.map(line)].join('\n')
}

function line({name, status, reason, differences}: Check): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const symbol = {
    passed: style.good(symbols.done),
    failed: style.bad(symbols.failed),
    'could-not-run': style.caution(symbols.caution),
    'not-asked': style.dim(symbols.skipped),
  }[status]
  const text =
    `  ${symbol} ${pad(titles[name], 17)} ${status === 'passed' ? '' : status.replaceAll('-', ' ')}${reason ? `${status === 'passed' ? '' : ': '}${reason}` : ''}`.trimEnd()
  return [
    text,
    ...(differences ?? [])
      .slice(0, 20)
      .map(({object, expected, found}) => `      ${object}: expected ${expected}, found ${found}`),
  ].join('\n')
}
