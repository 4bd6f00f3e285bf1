import {DbbakError} from '../support/errors.js'
import {timed} from '../support/clock.js'
import {
  demoCommands,
  type DemoFacts,
  type DemoResult,
  type DemoStep,
  type DemoStepName,
  type DemoStory,
} from './demo-steps.js'

/** Runs the steps of the demo, tells the story of them and keeps what they found out. */
export interface DemoRecorder {
  /** @param command what a user types, where it is not the usual one */
  run<Name extends DemoStepName>(
    name: Name,
    work: () => Promise<DemoFacts[Name]>,
    command?: string,
  ): Promise<DemoFacts[Name]>
  /** Once every step has run. */
  result(): DemoResult
  /** An error with the steps that went well before it. */
  withDocument(error: unknown): unknown
}

export function demoRecorder(story: DemoStory = {}): DemoRecorder {
  const startMs = performance.now()
  const steps: DemoStep[] = []
  return {
    async run(name, work, command) {
      const heading = {name, command: command ?? demoCommands[name]}
      story.stepStarted?.(heading)
      const {value, durationMs} = await timed(work)
      const step = {...heading, durationMs, ...value} as unknown as DemoStep
      steps.push(step)
      story.stepEnded?.(step)
      return value
    },
    result: () => resultOf(steps, Math.round(performance.now() - startMs)),
    withDocument(error) {
      if (!(error instanceof DbbakError)) return error
      return new DbbakError(error.code, error.message, {
        suggestions: error.suggestions,
        cause: error.cause,
        details: {...error.details, document: {steps, ...known(error), recovered: false}},
      }).during(error.exitCode)
    },
  }
}

/** What the step that failed has to show for it. */
const known = ({details}: DbbakError): object => details?.document ?? {}

function resultOf(steps: DemoStep[], totalMs: number): DemoResult {
  const step = <Name extends DemoStepName>(wanted: Name) => {
    const found = steps.find(({name}) => name === wanted)
    if (found) return found as Extract<DemoStep, {name: Name}>
    throw new DbbakError('INTERNAL', `The step ${wanted} of the demo was not run.`)
  }
  const [{database}, backup, restore] = [step('shop'), step('backup'), step('restore')]
  return {
    steps,
    server: step('server').server,
    database,
    measured: {
      rows: database.rows,
      databaseBytes: database.bytes,
      backupBytes: backup.result.bytes,
      backupMs: backup.durationMs,
      verifyMs: step('verify').durationMs,
      restoreMs: restore.durationMs,
      rtoSeconds: restore.durationMs / 1000,
      totalMs,
    },
    recovered: step('proof').differences.length === 0,
  }
}
