import type {FleetResult, FleetRun} from '../library/fleet.js'
import {displayWidth, formatCountOf, formatDuration, pad, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {besideLabel, columnsOf} from './wrap.js'

/**
 * What became of several databases: a line each, and one for all.
 * @param facts what is told of one for which it was done
 */
export function fleetSummary(
  {databases, succeeded, failed, durationMs}: FleetResult<unknown>,
  facts: (result: unknown) => string,
): string {
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
    ...databases.map((run) => fleetLine(run, width, facts)),
    style.bold(
      `${formatCountOf(databases.length, 'database')}: ${counts.join(', ')}, ${formatDuration(durationMs)}`,
    ),
  ].join('\n')
}

function fleetLine(run: FleetRun<unknown>, width: number, facts: (result: unknown) => string): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const name = pad(printable(run.database), width)
  if (run.status === 'not-run') return `${style.dim(symbols.skipped)} ${name}  ${style.dim('not run')}`
  const beside = (symbol: string, text: string) =>
    besideLabel(`${symbol} ${name}  `, printable(text), columnsOf(process.stdout))
  return run.status === 'done'
    ? beside(style.good(symbols.done), facts(run.result))
    : beside(style.bad(symbols.failed), `${run.error.code}: ${run.error.message}`)
}
