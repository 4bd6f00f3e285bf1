import type {Diagnosis, DoctorCheck} from '../index.js'
import {displayWidth, pad, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable} from './table.js'
import {besideLabel, columnsOf} from './wrap.js'

const nameColumns = 23

/** What doctor found, for people. */
export function doctorReport({checks, settings}: Diagnosis): string {
  const style = styleFor(process.stdout)
  // The value comes last: a long one may go over the edge without disturbing the columns.
  const table = renderTable(
    [{header: 'SETTING'}, {header: 'FROM'}, {header: 'VALUE'}],
    settings.map(({name, value, source}) => [name, source, value]),
    {styleHeader: style.dim},
  )
  return [...checks.map(oneCheck), '', table].join('\n')
}

function oneCheck({name, status, message, fix}: DoctorCheck): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const symbol = {
    ok: style.good(symbols.done),
    warning: style.caution(symbols.caution),
    error: style.bad(symbols.failed),
    'not-set': style.dim(symbols.skipped),
  }[status]
  const columns = columnsOf(process.stdout)
  const found = besideLabel(`${symbol} ${pad(name, nameColumns)}`, printable(message), columns)
  return fix === undefined ? found : `${found}\n${fixLine(printable(fix), columns)}`
}

/** In one piece, so that a command in it can be copied. */
function fixLine(fix: string, columns: number | undefined): string {
  const beside = nameColumns + 2
  const fits = columns === undefined || beside + displayWidth(fix) <= columns
  return `${' '.repeat(fits ? beside : 4)}${styleFor(process.stdout).bold(fix)}`
}
