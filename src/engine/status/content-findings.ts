import {snapshotMs, type CatalogEntry} from '../catalog.js'
import type {Manifest} from '../manifest.js'
import {packingKey, seriesKey} from '../series.js'
import type {Commands} from './commands.js'
import {deviationOf, type Deviation, type Sample} from './deviation.js'
import type {StatusFinding} from './finding.js'
import {bytesOf, rowsOf, type BackupSeries} from './status-of-database.js'
import {tableChanges, type TableChange} from './table-changes.js'
import {formatBytes} from '../../support/figures.js'
import {changeText, countOf, countText, someOf} from './wording.js'

type Found = Omit<StatusFinding, 'database' | 'destination'>

/** Growth below this is never worth a word. */
const leastGrowth = {bytes: 100_000, rows: 1000}
/** The loss of a table with fewer rows than this is a warning: it may be a job queue or a lock. */
const fewRows = 100

/**
 * What is unusual about the newest backup's size and content.
 * @param maxChange 0.5 is 50 %
 */
export function contentFindings(
  {counting, database, destination}: BackupSeries,
  maxChange: number,
  commands: Commands,
): Found[] {
  const [newest, ...others] = counting
  if (!newest) return []
  const before = others.filter(({manifest}) => seriesKey(manifest) === seriesKey(newest.manifest)).reverse()
  const counted = before.filter(({manifest}) => rowsOf(manifest) !== null)
  const look = `Look at what it holds: ${commands.list(destination, database.name, '--limit 5')}`
  const empty = emptyFindings(newest, counted)
  const found = [
    ...sizeFindings(
      newest,
      before.filter(({manifest}) => packingKey(manifest) === packingKey(newest.manifest)),
      maxChange,
    ),
    ...(empty.length > 0 ? empty : rowFindings(newest, counted, maxChange)),
  ]
  return found.map((finding) => ({...finding, suggestion: look}))
}

function sizeFindings(newest: CatalogEntry, before: CatalogEntry[], maxChange: number): Found[] {
  const deviation = deviationOf(
    sampleOf(newest, bytesOf),
    before.map((entry) => sampleOf(entry, bytesOf)),
    maxChange,
  )
  const bytes = bytesOf(newest.manifest)
  if (!deviation || (deviation.direction === 'grew' && bytes - deviation.usual < leastGrowth.bytes)) return []
  const {direction, usual, ratio} = deviation
  const change = `${changeText(ratio)} ${direction === 'fell' ? 'smaller' : 'larger'} than usual`
  return [
    {
      code: direction === 'fell' ? 'SIZE_DROPPED' : 'SIZE_GREW',
      severity: severityOf(deviation),
      message: `${newest.manifest.id} has ${formatBytes(bytes)}, ${change} (${formatBytes(usual)})${sinceText(deviation)}.`,
    },
  ]
}

/** None for growth: nothing is lost by it. What was told for days already is an info from then on. */
function severityOf({direction, isGross, isSettled, isSmall}: Deviation): StatusFinding['severity'] {
  if (isSettled || isSmall) return 'info'
  return direction === 'fell' && isGross ? 'error' : 'warning'
}

const sinceText = ({isSettled}: Deviation): string => (isSettled ? ', as in several backups before it' : '')

function sampleOf(entry: CatalogEntry, measure: (manifest: Manifest) => number | null): Sample {
  return {value: measure(entry.manifest) ?? 0, atMs: snapshotMs(entry)}
}

/** @param before those whose rows were counted, oldest first */
function emptyFindings({manifest}: CatalogEntry, before: CatalogEntry[]): Found[] {
  const rows = rowsOf(manifest)
  if (rows === null || rows > 0) return []
  const last = before.findLast((entry) => rowsOf(entry.manifest)! > 0)
  const what = manifest.content.tableCount === 0 ? 'no tables' : 'no rows'
  if (last === undefined) {
    const message = `${manifest.id} holds ${what}, nor does any backup before it: is it the right database?`
    return [{code: 'EMPTY_BACKUP', severity: 'warning', message}]
  }
  const message = `${manifest.id} holds ${what}; ${last.manifest.id} held ${countOf(rowsOf(last.manifest)!, 'row')}.`
  return [{code: 'EMPTY_BACKUP', severity: 'error', message}]
}

function rowFindings(newest: CatalogEntry, before: CatalogEntry[], maxChange: number): Found[] {
  const rows = rowsOf(newest.manifest)
  if (rows === null) return []
  return [
    ...totalFindings(newest, rows, before, maxChange),
    ...tableFindings(
      newest,
      before.filter(({manifest}) => rowsOf(manifest) !== 0),
    ),
  ]
}

function totalFindings(
  newest: CatalogEntry,
  rows: number,
  before: CatalogEntry[],
  maxChange: number,
): Found[] {
  const deviation = deviationOf(
    sampleOf(newest, rowsOf),
    before.map((entry) => sampleOf(entry, rowsOf)),
    maxChange,
  )
  if (!deviation || (deviation.direction === 'grew' && rows - deviation.usual < leastGrowth.rows)) return []
  const {direction, usual, ratio} = deviation
  const change = `${changeText(ratio)} ${direction === 'fell' ? 'fewer' : 'more'} than usual`
  return [
    {
      code: direction === 'fell' ? 'ROWS_DROPPED' : 'ROWS_GREW',
      severity: severityOf(deviation),
      message: `${newest.manifest.id} holds ${countOf(rows, 'row')}, ${change} (${countText(usual)})${sinceText(deviation)}.`,
    },
  ]
}

function tableFindings(newest: CatalogEntry, before: CatalogEntry[]): Found[] {
  const tablesAt = (entry: CatalogEntry) => ({atMs: snapshotMs(entry), tables: entry.manifest.content.tables})
  const changes = tableChanges(tablesAt(newest), before.map(tablesAt))
  const groups: [TableChange['kind'], StatusFinding['code'], string, string][] = [
    ['vanished', 'TABLE_VANISHED', 'is no longer there', 'are no longer there'],
    ['emptied', 'TABLE_EMPTIED', 'is empty', 'are empty'],
    [
      'shrank',
      'TABLE_SHRANK',
      'has lost more than half of its rows',
      'have lost more than half of their rows',
    ],
    ['renamed', 'TABLE_RENAMED', 'seems to have a new name', 'seem to have new names'],
  ]
  return groups.flatMap(([kind, code, one, many]) => {
    const found = changes.filter((change) => change.kind === kind)
    if (found.length === 0) return []
    found.sort((a, b) => b.rowsBefore - a.rowsBefore)
    const isGrave = found.some(({rowsBefore, isSure}) => rowsBefore >= fewRows && isSure)
    const severity = kind === 'renamed' ? 'info' : isGrave ? 'error' : 'warning'
    const message = `In ${newest.manifest.id} ${countOf(found.length, 'table')} ${found.length === 1 ? one : many}: ${someOf(found.map(changeOfTable))}.`
    return [{code, severity, message}]
  })
}

function changeOfTable({table, kind, rowsBefore, rowsNow, renamedTo}: TableChange): string {
  if (kind === 'renamed') return `${table} → ${renamedTo}`
  return `${table} (${kind === 'shrank' ? `${countText(rowsBefore)} → ${countOf(rowsNow, 'row')}` : countOf(rowsBefore, 'row')})`
}
