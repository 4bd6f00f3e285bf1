import {stripVTControlCharacters} from 'node:util'
import {printable} from './format.js'
import type {Screen} from './narrate.js'
import {styleFor, symbolsFor} from './style.js'

const everyMs = 5000
const laterEveryMs = 30_000
const laterAfterLines = 12

/** A log: a line when something ends, and every few seconds one that says how far a long thing is. */
export function linesScreen(stream: NodeJS.WritableStream, env: NodeJS.ProcessEnv): Screen {
  const style = styleFor(stream)
  const symbols = symbolsFor(env)
  const write = (text: string) => void stream.write(`${text}\n`)
  const heartbeat = heartbeats((text) => write(`  ${text}`))
  return {
    style,
    symbols,
    line: write,
    underWay: (describe) => heartbeat.show(describe),
    warning: ({code, message}) =>
      write(`${style.caution(symbols.caution)} ${printable(message)} ${style.dim(`(${code})`)}`),
    close: () => heartbeat.show(undefined),
  }
}

/** Says what is under way every five seconds, and after a minute of the same thing every half minute. */
export function heartbeats(say: (text: string) => void) {
  let timer: NodeJS.Timeout | undefined
  const next = (describe: () => string, lines: number) => {
    timer = setTimeout(
      () => {
        say(stripVTControlCharacters(describe()))
        next(describe, lines + 1)
      },
      lines < laterAfterLines ? everyMs : laterEveryMs,
    ).unref()
  }
  return {
    show(describe: (() => string) | undefined): void {
      clearTimeout(timer)
      if (describe !== undefined) next(describe, 0)
    },
  }
}
