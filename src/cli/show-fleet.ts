import type {FleetResult, FleetRun} from '../library/fleet.js'
import {formatBytes, formatCountOf, formatDuration, pad, displayWidth, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {besideLabel, columnsOf} from './wrap.js'

/** What became of several databases: a line each, and one for all. */
export function fleetSummary({databases, succeeded, failed, durationMs}: FleetResult<unknown>): string {
  const style = styleFor(process.stdout)
  if (databases.length === 0) return style.dim('No database belongs to this part.')
  const width = Math.max(...databases.map(({database}) => displayWidth(printable(database))))
  const notRun = databases.length - succeeded - failed
  const counts = [
    `${succeeded} done`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(notRun > 0 ? [`${notRun} not run`] : []),
  ]
  return [
    ...databases.map((run) => fleetLine(run, width)),
    style.bold(
      `${formatCountOf(databases.length, 'database')}: ${counts.join(', ')}, ${formatDuration(durationMs)}`,
    ),
  ].join('\n')
}

function fleetLine(run: FleetRun<unknown>, width: number): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const name = pad(printable(run.database), width)
  if (run.status === 'not-run') return `${style.dim(symbols.skipped)} ${name}  ${style.dim('not run')}`
  if (run.status === 'done') return `${style.good(symbols.done)} ${name}  ${facts(run.result)}`
  const text = `${run.error.code}: ${run.error.message}`
  return besideLabel(`${style.bad(symbols.failed)} ${name}  `, printable(text), columnsOf(process.stdout))
}

/** Of a backup, or a plan of one. */
function facts(result: unknown): string {
  const {backup, bytes, durationMs} = (result ?? {}) as {
    backup?: {id: string; content?: {rowCount: number; level: string}}
    bytes?: number
    durationMs?: number
  }
  if (!backup) return 'planned'
  const rows =
    backup.content && backup.content.level !== 'none' ? [formatCountOf(backup.content.rowCount, 'row')] : []
  return [backup.id, formatBytes(bytes ?? 0), ...rows, formatDuration(durationMs ?? 0)].join(', ')
}
