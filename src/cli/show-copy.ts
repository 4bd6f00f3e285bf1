import type {BackupCopy, CopyResult} from '../library/copy-backups.js'
import {displayWidth, formatBytes, formatCountOf, formatDuration, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable, type Column} from './table.js'
import {besideLabel, columnsOf} from './wrap.js'

/** What became of each backup at each target, and the sum, for people. */
export function copySummary(result: CopyResult): string {
  return [...(result.copies.length > 0 ? [copyTable(result), ''] : []), sumLine(result)].join('\n')
}

/** On a terminal too narrow for the table each name gets a line of its own: a name that is cut cannot be typed. */
function copyTable({copies, to}: CopyResult): string {
  const style = styleFor(process.stdout)
  const columns = columnsOf(process.stdout)
  const state: Column = {
    header: 'STATE',
    style: (text, row) =>
      copies[row]?.status === 'failed'
        ? style.bad(text)
        : copies[row]?.status === 'not-run'
          ? style.caution(text)
          : text,
  }
  const facts: Column[] = [
    ...(to.length > 1 ? [{header: 'TO'}] : []),
    {header: 'SIZE', align: 'right'},
    state,
  ]
  const rows = copies.map((copy) => [
    ...(to.length > 1 ? [copy.to] : []),
    hasBytes(copy) ? formatBytes(copy.bytes) : '-',
    stateOf(copy),
  ])
  const whole = renderTable(
    [{header: 'NAME'}, ...facts],
    rows.map((row, index) => [copies[index]!.name, ...row]),
    {styleHeader: style.dim},
  )
  if (columns === undefined || whole.split('\n').every((line) => displayWidth(line) <= columns)) return whole
  const [header = '', ...lines] = renderTable(facts, rows, {styleHeader: style.dim}).split('\n')
  return [style.dim('NAME'), `  ${header}`]
    .concat(lines.flatMap((line, row) => [printable(copies[row]!.name), `  ${line}`]))
    .join('\n')
}

const hasBytes = ({status}: BackupCopy): boolean => status === 'copied' || status === 'would-copy'

function stateOf({status, reason, error, durationMs}: BackupCopy): string {
  switch (status) {
    case 'copied':
      return `copied in ${formatDuration(durationMs)}`
    case 'would-copy':
      return 'would be copied'
    case 'failed':
      return `failed: ${error?.code ?? 'unknown'}`
    case 'skipped':
    case 'not-run':
      return `${status === 'skipped' ? 'skipped' : 'not run'}${reason === undefined ? '' : `: ${reason}`}`
  }
}

/** "✔ 3 backups copied from ./backups to /mnt/offsite: 1.1 GB in 9.8 s, 112 MB/s. 2 skipped." */
function sumLine({copies, from, to, bytes, durationMs, dryRun}: CopyResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const count = (status: BackupCopy['status']) => copies.filter((copy) => copy.status === status).length
  const done = count(dryRun ? 'would-copy' : 'copied')
  const bad = count('failed') + count('not-run')
  const places = `from ${from} to ${to.join(' and ')}`
  const speed = durationMs >= 1000 && bytes > 0 ? `, ${formatBytes((bytes / durationMs) * 1000)}/s` : ''
  const made = `${formatCountOf(done, 'copy', 'copies')} made ${places}: ${formatBytes(bytes)} in ${formatDuration(durationMs)}${speed}.`
  const what = dryRun
    ? `A dry run: ${formatCountOf(done, 'copy', 'copies')} would be made ${places}, ${formatBytes(bytes)}.`
    : done + bad > 0
      ? made
      : `Nothing was to be copied ${places}.`
  const others = [
    ['skipped', count('skipped')],
    ['failed', count('failed')],
    ['not run', count('not-run')],
  ] as const
  const rest = others.flatMap(([word, number]) => (number > 0 ? [`${number} ${word}`] : [])).join(', ')
  const symbol = bad > 0 ? style.bad(symbols.failed) : style.good(symbols.done)
  const text = `${what}${rest === '' ? '' : ` ${rest}.`}`
  return besideLabel(`${symbol} `, printable(text), columnsOf(process.stdout))
}
