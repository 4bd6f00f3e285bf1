import type {Events, StageName, StageResult} from '../engine/events.js'
import type {Failure} from './failure.js'
import {redactSecrets} from '../library/redaction.js'
import {displayWidth, formatDuration, pad, printable} from './format.js'
import {describeEnded, Meter} from './meter.js'
import type {Style, Symbols} from './style.js'

/** Where a story is told: a terminal, a log, a GitHub job. */
export interface Screen {
  style: Style
  symbols: Symbols
  /** A line that stays. */
  line(text: string): void
  /** What is under way, to be asked as often as the screen likes; undefined when nothing is. */
  underWay(describe: (() => string) | undefined): void
  warning(warning: {code: string; message: string}): void
  /** A screen that can fold: what follows belongs to this part, up to its end. Others get a heading. */
  fold?: {open(title: string): void; close(): void}
  /** The end of the command. */
  close(failure: Failure | undefined): void
}

/** A watcher that the base command closes. */
export interface Watcher extends Events {
  note(text: string): void
  close(failure: Failure | undefined): void
}

const stageNames: StageName[] = [
  'preflight',
  'verify',
  'confirm',
  'safety-dump',
  'restore',
  'table-checks',
  'rollback',
]
const factsColumn = 32

/** Tells the events of one command to a screen: a line per finished activity, the stages numbered. */
export function narrate(screen: Screen, options: {isVerbose: boolean; nowMs?: () => number}): Watcher {
  const nowMs = options.nowMs ?? (() => performance.now())
  const tell = teller(screen)
  const activities: {name: string; meter: Meter}[] = []
  let stage: {name: StageName; hasHeading: boolean} | undefined

  const isInside = () => stage?.hasHeading ?? false
  const showUnderWay = () => screen.underWay(describeUnderWay())
  const describeUnderWay = () => {
    const running = activities.at(-1)
    if (running !== undefined)
      return () => tell.underWay(running.name, running.meter.describe(nowMs()), isInside())
    // While the user is asked, nothing may move.
    return stage === undefined || stage.name === 'confirm' ? undefined : () => stageTitle(stage!.name)
  }

  return {
    activityStarted(name) {
      // A stage that has something to tell gets a heading; a silent one just its line at the end.
      if (stage !== undefined && !stage.hasHeading) {
        tell.heading(stage.name)
        stage.hasHeading = true
      }
      activities.push({name, meter: new Meter(nowMs())})
      showUnderWay()
    },
    activityProgress(progress) {
      activities.at(-1)?.meter.record(progress, nowMs())
    },
    activityEnded(name, result) {
      const index = activities.findLastIndex((running) => running.name === name)
      const [activity] = index < 0 ? [] : activities.splice(index, 1)
      tell.activity(name, result, activity?.meter.bytes ?? 0, isInside())
      showUnderWay()
    },
    stageStarted(name) {
      stage = {name, hasHeading: false}
      showUnderWay()
    },
    stageEnded(result) {
      // One that went on beside another: a line of that one's part.
      if (stage !== undefined && stage.name !== result.name) return tell.stage(result, isInside())
      const hadHeading = isInside()
      stage = undefined
      showUnderWay()
      if (hadHeading) screen.fold?.close()
      const isTold = hadHeading && screen.fold === undefined && result.status === 'done'
      if (!isTold) tell.stage(result)
    },
    warning: (warning) => screen.warning({...warning, message: redactSecrets(warning.message)}),
    detail(message) {
      if (options.isVerbose) tell.detail(message)
    },
    note: (text) => screen.line(text),
    close(failure) {
      activities.length = 0
      screen.underWay(undefined)
      screen.close(failure)
    },
  }
}

/** The sentences of the story. Names and reasons may come from a server: they are made harmless. */
function teller(screen: Screen) {
  const {style, symbols} = screen
  const line = (symbol: string, title: string, facts: string, isInside = false) =>
    screen.line(
      (isInside ? '  ' : '') +
        `${symbol} ${columns(printable(title), style.dim(printable(facts)), isInside)}`,
    )

  return {
    heading(stage: StageName): void {
      if (screen.fold !== undefined) screen.fold.open(stageTitle(stage))
      else screen.line(`${style.dim(symbols.open)} ${style.bold(stageTitle(stage))}`)
    },
    underWay(name: string, progress: string, isInside: boolean): string {
      return (isInside ? '  ' : '') + columns(printable(name), style.dim(progress), isInside)
    },
    activity(name: string, {ok, detail, durationMs}: ActivityResult, bytes: number, isInside: boolean): void {
      if (ok) line(style.good(symbols.done), name, describeEnded(detail, bytes, durationMs), isInside)
      else {
        const what = `${detail ?? 'failed'} after ${formatDuration(durationMs)}`
        line(style.bad(symbols.failed), name, what, isInside)
      }
    },
    stage({name, status, reason, durationMs}: StageResult, isInside = false): void {
      const why = reason === undefined ? '' : `: ${redactSecrets(reason)}`
      const [symbol, facts] = {
        done: [style.good(symbols.done), formatDuration(durationMs)],
        failed: [style.bad(symbols.failed), `failed after ${formatDuration(durationMs)}${why}`],
        skipped: [style.dim(symbols.skipped), `skipped${why}`],
        'not-run': [style.dim(symbols.skipped), `not run${why}`],
      }[status] as [string, string]
      line(symbol, stageTitle(name), facts, isInside)
    },
    detail(message: string): void {
      for (const text of redactSecrets(message).trimEnd().split('\n'))
        screen.line(style.dim(`    ${printable(text)}`))
    },
  }
}

type ActivityResult = Parameters<NonNullable<Events['activityEnded']>>[1]

/** "4/7 Safety dump" */
export function stageTitle(name: StageName): string {
  const words = name.replaceAll('-', ' ')
  return `${stageNames.indexOf(name) + 1}/${stageNames.length} ${words.charAt(0).toUpperCase()}${words.slice(1)}`
}

/** Two aligned columns, with at least two spaces between them. */
function columns(title: string, facts: string, isInside: boolean): string {
  return displayWidth(facts) === 0
    ? title
    : `${pad(title, isInside ? factsColumn - 2 : factsColumn)}  ${facts}`
}
