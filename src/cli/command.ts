import {Command, Flags, type Interfaces} from '@oclif/core'
import {loadSettings, type Settings} from '../library/settings.js'
import type {ExitCode} from '../support/errors.js'
import {type Failure, failureJson, failureOf, requestedExitCode} from './failure.js'
import {Interruption} from './interruption.js'
import {printBug, writeJson} from './output.js'
import {parseError} from './usage.js'
import type {Watcher} from './narrate.js'
import {watch} from './watch.js'

/** Flags that every command has; the settings find theirs among a command's own. */
export interface SharedFlags {
  quiet?: boolean
  verbose?: boolean
  config?: string | undefined
}

/** What all commands have in common: shared flags, Ctrl-C, settings, progress, and how errors are told. */
export abstract class DbbakCommand extends Command {
  static override enableJsonFlag = true

  static override baseFlags = {
    config: Flags.string({
      description: 'Use this config file, instead of DBBAK_CONFIG or the one that is found.',
      helpGroup: 'GLOBAL',
      helpValue: 'FILE',
    }),
    quiet: Flags.boolean({description: 'Print the result and errors only.', helpGroup: 'GLOBAL'}),
    verbose: Flags.boolean({
      description: 'Tell more of what is done.',
      helpGroup: 'GLOBAL',
      exclusive: ['quiet'],
    }),
    'no-color': Flags.boolean({description: 'Print without colours, as with NO_COLOR.', helpGroup: 'GLOBAL'}),
  }

  /** The exit codes that --help explains, beyond those that every command has. */
  static exitCodes: readonly ExitCode[] = []

  private readonly interruption = new Interruption((note) => this.note(note))
  private watcher: Watcher | undefined
  private isQuiet = false

  /** Aborted by Ctrl-C and SIGTERM; its reason is the error to end with. */
  protected get signal(): AbortSignal {
    return this.interruption.signal
  }

  /** What is set, by flag, environment, config file or default. */
  protected settings(flags: SharedFlags): Promise<Settings> {
    return loadSettings({env: process.env, cwd: process.cwd(), config: flags.config, flags: {...flags}})
  }

  /** The watcher of this run; it is closed when the command ends. */
  protected events(flags: SharedFlags): Watcher {
    this.isQuiet = flags.quiet ?? false
    this.watcher ??= watch({
      isQuiet: this.isQuiet,
      isVerbose: flags.verbose ?? false,
      title: `${this.config.bin} ${this.id}`,
      env: process.env,
      stream: process.stderr,
    })
    return this.watcher
  }

  /** What every operation of the library takes from the command line. */
  protected runOptions(flags: SharedFlags): {
    config?: string | undefined
    events: Watcher
    signal: AbortSignal
  } {
    return {events: this.events(flags), signal: this.signal, config: flags.config}
  }

  protected override async init(): Promise<void> {
    this.interruption.listen()
    await super.init()
  }

  protected override async parse<
    F extends Record<string, unknown>,
    B extends Record<string, unknown>,
    A extends Record<string, unknown>,
  >(options?: Interfaces.Input<F, B, A>, argv?: string[]): Promise<Interfaces.ParserOutput<F, B, A>> {
    try {
      return await super.parse<F, B, A>(options, argv)
    } catch (error) {
      throw parseError(error, this.ctor, process.env)
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws must become a rejection
  protected override async catch(error: unknown): Promise<unknown> {
    const exitCode = requestedExitCode(error)
    if (exitCode !== undefined) {
      process.exitCode = exitCode
      return undefined
    }
    const explained = this.interruption.explain(error)
    const failure = failureOf(explained, process.env)
    process.exitCode = failure.exitCode
    this.closeWatcher(failure)
    if (!this.jsonEnabled()) throw explained
    printBug(failure)
    return this.logJson(this.toErrorJson(explained))
  }

  protected override async finally(_: Error | undefined): Promise<void> {
    this.closeWatcher(undefined)
    this.interruption.stopListening()
    await super.finally(_)
  }

  /** oclif's own version prints argv, flags fed from the environment and the whole config: passwords would show. */
  protected override toErrorJson(error: unknown): Record<string, unknown> {
    return failureJson(failureOf(error, process.env))
  }

  protected override toSuccessJson(result: unknown): unknown {
    return result
  }

  override logJson(json: unknown): void {
    writeJson(json)
  }

  private note(text: string): void {
    if (this.isQuiet) return
    if (this.watcher !== undefined) this.watcher.note(text)
    else process.stderr.write(`${text}\n`)
  }

  private closeWatcher(failure: Failure | undefined): void {
    this.watcher?.close(failure)
    this.watcher = undefined
  }
}
