import type {PrunedBackup, PruneResult} from '../library/prune-backups.js'
import {displayWidth, formatAge, formatBytes, formatCountOf, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable, type Column} from './table.js'
import {besideLabel, columnsOf} from './wrap.js'

/** More than these are counted, not listed: what goes is worth more lines than what stays. */
const shownRemoved = 20
const shownKept = 10

/**
 * What is removed and what is kept at each destination, and why, for people.
 * @param stream where it is printed
 */
export function pruneTable(result: PruneResult, stream: NodeJS.WriteStream = process.stdout): string {
  const places = result.from.flatMap((destination) => {
    const removed = result.removed.filter((one) => one.destination === destination)
    const kept = result.kept.filter((one) => one.destination === destination)
    if (removed.length + kept.length === 0) return []
    const lines = [backupTable(removed, kept, stream), ...more(removed, kept)]
    return [result.from.length > 1 ? [styleFor(stream).bold(printable(destination)), ...lines] : lines]
  })
  return [...places.flatMap((lines) => [...lines, '']), ...leftoverLines(result, stream)].join('\n').trimEnd()
}

function backupTable(removed: PrunedBackup[], kept: PrunedBackup[], stream: NodeJS.WriteStream): string {
  const style = styleFor(stream)
  const shown = [...removed.slice(0, shownRemoved), ...kept.slice(0, shownKept)]
  const goes = Math.min(removed.length, shownRemoved)
  const databases = new Set([...removed, ...kept].map(({database}) => database))
  const styleVerb = (text: string, row: number) => (row < goes ? style.caution(text) : style.good(text))
  const columns: Column[] = [
    {header: '', style: styleVerb},
    {header: 'NAME'},
    ...(databases.size > 1 ? [{header: 'DATABASE'}] : []),
    {header: 'AGE', align: 'right'},
    {header: 'SIZE', align: 'right'},
    {header: 'WHY'},
  ]
  const rows = shown.map(({name, database, snapshotAt, bytes, reasons}, row) => [
    row < goes ? 'remove' : 'keep',
    name,
    ...(databases.size > 1 ? [database] : []),
    formatAge((Date.now() - Date.parse(snapshotAt)) / 1000),
    formatBytes(bytes),
    reasons.join('; '),
  ])
  const told = shown.map(({name, database, snapshotAt, bytes, reasons}, row) => ({
    label: styleVerb((row < goes ? 'remove' : 'keep').padEnd(6), row),
    name,
    facts: `${[
      ...(databases.size > 1 ? [database] : []),
      `${formatAge((Date.now() - Date.parse(snapshotAt)) / 1000)} old`,
      formatBytes(bytes),
    ].join(', ')}: ${reasons.join('; ')}`,
  }))
  return fitting(renderTable(columns, rows, {styleHeader: style.dim}), told, stream)
}

/** A table, where there is room for it; else each thing by itself, for neither a name nor a reason may be cut. */
function fitting(
  table: string,
  things: {label: string; name: string; facts: string}[],
  stream: NodeJS.WriteStream,
): string {
  const columns = columnsOf(stream)
  if (columns === undefined || table.split('\n').every((line) => displayWidth(line) <= columns)) return table
  const {dim} = styleFor(stream)
  return things
    .flatMap(({label, name, facts}) => {
      const indent = ' '.repeat(displayWidth(label))
      const lines = besideLabel(`${indent}  `, printable(facts), columns).split('\n')
      return [`${label}  ${printable(name)}`.trimStart(), ...lines.map((line) => dim(line))]
    })
    .join('\n')
}

function more(removed: PrunedBackup[], kept: PrunedBackup[]): string[] {
  const texts = [
    ...(removed.length > shownRemoved ? [`${removed.length - shownRemoved} more to remove`] : []),
    ...(kept.length > shownKept ? [`${kept.length - shownKept} more to keep`] : []),
  ]
  return texts.length > 0 ? [`… and ${texts.join(', ')}; --dry-run --json lists them all.`] : []
}

function leftoverLines({leftovers}: PruneResult, stream: NodeJS.WriteStream): string[] {
  if (leftovers.length === 0) return []
  const shown = leftovers.slice(0, shownRemoved)
  const table = renderTable(
    [{header: 'LEFTOVER'}, {header: 'SIZE', align: 'right'}, {header: 'WHY'}],
    shown.map(({name, bytes, reason}) => [name, formatBytes(bytes), reason]),
    {styleHeader: styleFor(stream).dim},
  )
  const told = shown.map(({name, bytes, reason}) => ({
    label: 'leftover',
    name,
    facts: `${formatBytes(bytes)}: ${reason}`,
  }))
  const rest = leftovers.length - shownRemoved
  return [fitting(table, told, stream), ...(rest > 0 ? [`… and ${rest} more.`] : [])]
}

/**
 * "12 backups and 2 leftovers, 1.1 GB, will be gone for good."; where that is not so, what becomes of them.
 */
export function pruneQuestion({removed, leftovers, bytesFreed, keepsVersions}: PruneResult): string {
  const what = [
    ...(removed.length > 0 ? [formatCountOf(removed.length, 'backup')] : []),
    ...(leftovers.length > 0 ? [formatCountOf(leftovers.length, 'leftover')] : []),
  ]
  const text = `${what.join(' and ')}, ${formatBytes(bytesFreed)}, will be `
  return keepsVersions.length === 0
    ? `${text}gone for good.`
    : `${text}removed. ${versionsStay(keepsVersions)}`
}

const versionsStay = (places: string[]): string =>
  `${printable(places.join(' and '))} keeps older versions: what is removed stays there, hidden, and takes its room until a lifecycle rule or somebody removes it.`

/** What was done, or would be, in a few lines: the sum, and what did not go as planned. */
export function pruneSummary(result: PruneResult): string {
  const style = styleFor(process.stdout)
  const columns = columnsOf(process.stdout)
  const beside = (label: string, text: string) =>
    besideLabel(`${style.caution(label)} `, printable(text), columns)
  return [
    ...result.problems.map(({name, code, message}) =>
      beside('!', `${name} is left alone, and counts for nothing: ${code}: ${message}`),
    ),
    ...result.locked.slice(0, shownRemoved).map(({name, reason}) => beside('!', `${name} stays: ${reason}`)),
    ...(result.locked.length > shownRemoved
      ? [`… and ${result.locked.length - shownRemoved} more that are locked.`]
      : []),
    ...result.warnings.map(({message}) => beside('!', message)),
    ...(result.keepsVersions.length > 0 && result.removed.length + result.leftovers.length > 0
      ? [beside('!', versionsStay(result.keepsVersions))]
      : []),
    sumLine(result),
  ].join('\n')
}

/** "✔ 12 backups removed from ./backups: 1.1 GB freed. 34 kept. 2 leftovers removed." */
function sumLine({from, kept, removed, leftovers, locked, failed, bytesFreed, dryRun}: PruneResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const would = dryRun ? 'would be ' : ''
  const place = from.length === 0 ? '' : ` from ${from.join(' and ')}`
  const isNothing = removed.length + leftovers.length === 0
  const sentences = [
    isNothing
      ? `Nothing ${dryRun ? 'would be' : 'was'} removed${place}.`
      : `${formatCountOf(removed.length, 'backup')} ${would}removed${place}: ${formatBytes(bytesFreed)} ${would}freed.`,
    `${formatCountOf(kept.length, 'backup')} ${would === '' ? 'kept' : 'would be kept'}.`,
    ...(leftovers.length > 0 ? [`${formatCountOf(leftovers.length, 'leftover')} ${would}removed.`] : []),
    ...(locked.length > 0 ? [`${formatCountOf(locked.length, 'removal')} kept back by a lock.`] : []),
    ...(failed.length > 0 ? [`${formatCountOf(failed.length, 'removal')} failed.`] : []),
  ]
  const symbol = failed.length > 0 ? style.bad(symbols.failed) : style.good(symbols.done)
  const text = `${dryRun ? 'A dry run: ' : ''}${sentences.join(' ')}`
  return besideLabel(`${symbol} `, printable(text), columnsOf(process.stdout))
}
