import {DbbakError} from '../support/errors.js'

/** npm and npx pass a Ctrl-C on to a program that has it from the terminal already: so soon after is the same one. */
const sameKeyPressMs = 400

const endings = {
  SIGINT: {
    code: 'INTERRUPTED',
    exitCode: 130,
    message: 'Interrupted: what was under way was stopped and cleaned up.',
    note: 'Interrupted: stopping and cleaning up. Press Ctrl-C again to stop at once.',
  },
  /** The terminal was closed, or the connection to it lost. */
  SIGHUP: {
    code: 'TERMINATED',
    exitCode: 143,
    message: 'The terminal was closed: what was under way was stopped and cleaned up.',
    note: 'The terminal was closed: stopping and cleaning up.',
  },
  SIGTERM: {
    code: 'TERMINATED',
    exitCode: 143,
    message: 'Terminated: what was under way was stopped and cleaned up.',
    note: 'Terminated: stopping and cleaning up. A second signal stops at once.',
  },
} as const

type SignalName = keyof typeof endings

/** The first Ctrl-C, SIGTERM or SIGHUP asks the command to stop and clean up; the second one ends the process. */
export class Interruption {
  private readonly controller = new AbortController()
  private readonly listeners: [SignalName, () => void][] = [
    ['SIGINT', () => this.receive('SIGINT')],
    ['SIGTERM', () => this.receive('SIGTERM')],
    ['SIGHUP', () => this.receive('SIGHUP')],
  ]
  private firstAtMs: number | undefined

  constructor(private readonly say: (note: string) => void) {}

  /** Aborted with the error to throw. */
  get signal(): AbortSignal {
    return this.controller.signal
  }

  listen(): void {
    for (const [name, listener] of this.listeners) process.on(name, listener)
  }

  stopListening(): void {
    for (const [name, listener] of this.listeners) process.off(name, listener)
  }

  /**
   * After an interruption almost every error is only its echo. What was found out until then is kept, and so is a
   * rollback that failed: that one needs somebody's attention.
   */
  explain(error: unknown): unknown {
    if (!this.signal.aborted || error === this.signal.reason) return error
    if (error instanceof DbbakError && (error.code === 'ROLLBACK_FAILED' || error.exitCode >= 130))
      return error
    const {code, message} = this.signal.reason as DbbakError
    const details = error instanceof DbbakError ? error.details : undefined
    return new DbbakError(code, message, {cause: error, ...(details === undefined ? {} : {details})})
  }

  private receive(name: SignalName): void {
    const {code, exitCode, message, note} = endings[name]
    if (this.firstAtMs === undefined) {
      this.firstAtMs = performance.now()
      this.say(note)
      this.controller.abort(new DbbakError(code, message))
    } else if (performance.now() - this.firstAtMs > sameKeyPressMs) {
      process.exit(exitCode)
    }
  }
}
