import type {Ora} from 'ora'
import {printable, truncate} from './format.js'
import type {Screen} from './narrate.js'
import {hasColors, styleFor, symbolsFor} from './style.js'

const refreshMs = 100

/** A terminal: finished things stay as lines, and below them one line moves. */
export function liveScreen(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Screen {
  const style = styleFor(stream)
  const symbols = symbolsFor(env)
  const spinner = lazySpinner(stream)
  return {
    style,
    symbols,
    line: (text) => spinner.above(text),
    underWay: (describe) => spinner.show(describe),
    warning: ({code, message}) =>
      spinner.above(`${style.caution(symbols.caution)} ${printable(message)} ${style.dim(`(${code})`)}`),
    close: () => spinner.show(undefined),
  }
}

/** ora costs a tenth of a second to load, so it comes in the background; what ends before it came needed no spinner. */
function lazySpinner(stream: NodeJS.WriteStream) {
  let ora: Ora | undefined
  let describe: (() => string) | undefined
  let timer: NodeJS.Timeout | undefined

  const refresh = () => {
    if (ora === undefined || describe === undefined) return
    ora.text = truncateStyled(describe(), (stream.columns ?? 80) - 3)
    if (!ora.isSpinning) ora.start()
  }
  const load = async () => {
    const {default: createOra} = await import('ora')
    const color = hasColors(stream) ? 'cyan' : false
    // Without reading stdin, Ctrl-C stays what it is: a signal from the terminal.
    ora ??= createOra({stream, isEnabled: true, discardStdin: false, color: color as 'cyan'})
    refresh()
  }
  let loading: Promise<void> | undefined

  return {
    show(next: (() => string) | undefined): void {
      describe = next
      if (next === undefined) return stop()
      loading ??= load().catch(() => {}) // no spinner is no reason to fail
      timer ??= setInterval(refresh, refreshMs).unref()
      refresh()
    },
    above(text: string): void {
      ora?.clear()
      stream.write(`${text}\n`)
    },
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
    ora?.stop()
  }
}

/** The moving line must stay one line. Only its end is styled, so a cut text is shown plain. */
function truncateStyled(text: string, columns: number): string {
  const plain = stripStyle(text)
  const cut = truncate(plain, columns)
  return cut === plain ? text : cut
}

// eslint-disable-next-line no-control-regex
const stripStyle = (text: string): string => text.replace(/\u001b\[[0-9;]*m/g, '')
