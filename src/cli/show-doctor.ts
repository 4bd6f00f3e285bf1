import type {Diagnosis} from '../index.js'
import {pad} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {renderTable} from './table.js'

/** What doctor found, for people. */
export function doctorReport({checks, settings}: Diagnosis): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const symbol = {
    ok: style.good(symbols.done),
    warning: style.caution(symbols.caution),
    error: style.bad(symbols.failed),
    'not-set': style.dim(symbols.skipped),
  }
  const lines = checks.flatMap(({name, status, message, fix}) => [
    `${symbol[status]} ${pad(name, 21)} ${message}`,
    ...(fix ? [`  ${' '.repeat(21)} ${style.bold(fix)}`] : []),
  ])
  const table = renderTable(
    [{header: 'SETTING'}, {header: 'VALUE'}, {header: 'FROM'}],
    settings.map(({name, value, source}) => [name, value, source]),
    {styleHeader: style.dim},
  )
  return [...lines, '', table].join('\n')
}
