import type {DoctorCheck} from '../index.js'
import type {InitResult} from '../library/init/initialise.js'
import {displayWidth, pad, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {besideLabel, columnsOf} from './wrap.js'

const nameColumns = 23

const accessTold = {
  closed: 'others could read it, and cannot any more: mode 0600',
  open: 'others can read it, and it is not yours to close: chmod 600',
}

/** What init found, what it wrote, and what to run next, for people. */
export function initSummary({files, checks, variables, next}: InitResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const symbol = {
    written: style.good(symbols.done),
    unchanged: style.dim(symbols.skipped),
    kept: style.caution(symbols.caution),
  }
  const told = {
    written: 'written',
    unchanged: 'unchanged',
    kept: 'kept as it is, with other content',
  }
  const missing = variables.filter(({isSet, isOptional}) => !isSet && !isOptional).map(({name}) => name)
  return [
    ...checks.map((check) => checkLines(check, process.stdout)),
    ...(checks.length > 0 ? [''] : []),
    ...files.map(
      ({path, status, access}) =>
        `${access === 'open' ? symbol.kept : symbol[status]} ${printable(path)} ${style.dim(`(${told[status]}${access ? `; ${accessTold[access]}` : ''})`)}`,
    ),
    '',
    missing.length > 0
      ? `No secret is in these files. Not set yet: ${missing.join(', ')}.`
      : 'No secret is in these files; the variables that they need are set here.',
    '',
    style.bold('Next:'),
    ...next.map((step) => `  ${printable(step)}`),
  ].join('\n')
}

/** One finding; what mends it stands in one piece, so that a command in it can be copied. */
export function checkLines({name, status, message, fix}: DoctorCheck, stream: NodeJS.WriteStream): string {
  const style = styleFor(stream)
  const symbols = symbolsFor(process.env)
  const symbol = {
    ok: style.good(symbols.done),
    warning: style.caution(symbols.caution),
    error: style.bad(symbols.failed),
    'not-set': style.dim(symbols.skipped),
  }[status]
  const columns = columnsOf(stream)
  const found = besideLabel(`${symbol} ${pad(name, nameColumns)}`, printable(message), columns)
  if (fix === undefined) return found
  const beside = nameColumns + 2
  const fits = columns === undefined || beside + displayWidth(fix) <= columns
  return `${found}\n${' '.repeat(fits ? beside : 4)}${style.bold(printable(fix))}`
}
