import {DbbakError, messageOf} from '../../support/errors.js'
import type {Events, StageName, StageResult} from '../events.js'

/** In this order, always; each is reported, whatever became of it. */
export const stageNames: StageName[] = [
  'preflight',
  'verify',
  'confirm',
  'safety-dump',
  'restore',
  'table-checks',
  'rollback',
]

export interface StageRecorder {
  /** Runs a stage and records how it went; its error goes on. */
  run<T>(name: StageName, work: () => Promise<T>): Promise<T>
  skip(name: StageName, reason: string): void
  /** Records a stage that cannot do what it is there for. */
  fail(name: StageName, reason: string): void
  /** All seven, those that were not reached as `not-run`. */
  results(): StageResult[]
}

/** @param signal once it is aborted, its reason is why a stage failed, and not what followed from that */
export function stageRecorder(events: Events, signal: AbortSignal): StageRecorder {
  const done = new Map<StageName, StageResult>()
  const record = (result: StageResult) => {
    done.set(result.name, result)
    events.stageEnded?.(result)
  }
  return {
    async run(name, work) {
      const start = performance.now()
      const durationMs = () => Math.round(performance.now() - start)
      events.stageStarted?.(name)
      try {
        const value = await work()
        record({name, status: 'done', durationMs: durationMs()})
        return value
      } catch (error) {
        record({name, status: 'failed', reason: reasonOf(error, signal), durationMs: durationMs()})
        throw error
      }
    },
    skip(name, reason) {
      record({name, status: 'skipped', reason, durationMs: 0})
    },
    fail(name, reason) {
      record({name, status: 'failed', reason, durationMs: 0})
    },
    results: () => stageNames.map((name) => done.get(name) ?? {name, status: 'not-run', durationMs: 0}),
  }
}

function reasonOf(error: unknown, signal: AbortSignal): string {
  const isOutcome = error instanceof DbbakError && error.code === 'ROLLBACK_FAILED'
  const cause: unknown = signal.aborted && !isOutcome ? signal.reason : error
  return (cause instanceof DbbakError ? `${cause.code}: ` : '') + messageOf(cause)
}
