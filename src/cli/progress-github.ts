import {appendFileSync} from 'node:fs'
import {stripVTControlCharacters} from 'node:util'
import type {Failure} from './failure.js'
import {formatDuration, printable} from './format.js'
import type {Screen} from './narrate.js'
import {heartbeats} from './progress-lines.js'
import {styleFor, symbolsFor} from './style.js'

/** A GitHub job: stages are groups that fold, warnings and the error are annotations, the summary is a table. */
export function gitHubScreen(
  stream: NodeJS.WritableStream,
  env: NodeJS.ProcessEnv,
  title: string,
  nowMs: () => number = () => performance.now(),
): Screen {
  const startedMs = nowMs()
  const told: string[] = []
  const order = (text: string) => void stream.write(`${text}\n`)
  // A line that begins like a workflow command would be taken for one.
  const write = (text: string) => order(text.replace(/^(\s*)::/, '$1: :'))
  const heartbeat = heartbeats((text) => write(`  ${text}`))
  return {
    style: styleFor(stream),
    symbols: symbolsFor(env),
    line(text) {
      told.push(stripVTControlCharacters(text))
      write(text)
    },
    underWay: (describe) => heartbeat.show(describe),
    warning({code, message}) {
      told.push(`⚠ ${message} (${code})`)
      order(annotation('warning', code, message))
    },
    fold: {
      open: (part) => order(`::group::${escapeData(part)}`),
      close: () => order('::endgroup::'),
    },
    close(failure) {
      heartbeat.show(undefined)
      if (failure !== undefined) order(annotation('error', failure.code, failure.message))
      writeSummary(env.GITHUB_STEP_SUMMARY, summary(title, told, failure, nowMs() - startedMs))
    },
  }
}

function annotation(kind: 'warning' | 'error', code: string, message: string): string {
  return `::${kind} title=${escapeProperty(`dbbak ${code}`)}::${escapeData(message)}`
}

const escapeData = (text: string): string =>
  text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A')
const escapeProperty = (text: string): string => escapeData(text).replace(/:/g, '%3A').replace(/,/g, '%2C')

function summary(title: string, told: string[], failure: Failure | undefined, durationMs: number): string {
  const outcome = failure === undefined ? 'done' : `failed (${failure.code}, exit ${failure.exitCode})`
  const rows = told
    .map((line) => line.trim().split(/\s{2,}/))
    .map(([what = '', ...facts]) => row([what, facts.join(' ')]))
  return [
    `### ${title}: ${outcome} in ${formatDuration(durationMs)}`,
    '',
    ...(rows.length > 0 ? [row(['Step', 'Result']), '| --- | --- |', ...rows, ''] : []),
    ...(failure === undefined ? [] : [escapeCell(failure.message), '']),
    ...(failure?.suggestions ?? []).map((suggestion) => `- ${escapeCell(suggestion)}`),
    '',
  ].join('\n')
}

const row = (cells: string[]): string => `| ${cells.map(escapeCell).join(' | ')} |`

function escapeCell(text: string): string {
  return printable(text).replace(/[\\|<>`*_[\]~]/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** The work is done and told; a summary that cannot be written must not make it fail. */
function writeSummary(file: string | undefined, text: string): void {
  if (!file) return
  try {
    appendFileSync(file, text)
  } catch {
    // nothing depends on it
  }
}
