import {fileURLToPath} from 'node:url'
import {Config, run} from '@oclif/core'
import {failureJson, failureOf, requestedExitCode, usageError} from './failure.js'
import {flushed, ignoreBrokenPipes, printBug, printFailure, writeJson} from './output.js'
import {unknownCommandError} from './usage.js'

/** Runs the program and ends the process with its exit code. */
export async function main(importMetaUrl: string, argv: string[] = process.argv.slice(2)): Promise<void> {
  ignoreBrokenPipes()
  process.once('uncaughtException', (error) => void end(error, argv))
  if (optionsOf(argv).includes('--no-color')) turnColorsOff()
  try {
    await runProgram(importMetaUrl, withHelpCommand(argv))
    await end(undefined, argv)
  } catch (error) {
    await end(error, argv)
  }
}

async function runProgram(importMetaUrl: string, argv: string[]): Promise<void> {
  const config = await Config.load({root: fileURLToPath(importMetaUrl)})
  checkCommand(argv, config)
  await run(argv, config)
}

/** oclif would look for a command of the name "--json", or "list:surplus". */
function checkCommand(argv: string[], config: Config): void {
  const [first, second] = argv
  if (first === undefined) return
  const command = config.findCommand(first)
  if (command !== undefined) {
    const isSurplus =
      second !== undefined && !second.startsWith('-') && Object.keys(command.args).length === 0
    if (isSurplus) throw usageError(`Unexpected argument: ${second}`, [`${config.bin} ${first} --help`])
    return
  }
  if (!first.startsWith('-')) throw unknownCommandError(first, config.commandIDs, config.bin)
  const asksForHelp = argv.some((option) => ['--help', '-h', '--version', '-V'].includes(option))
  if (!asksForHelp) throw usageError('The command comes first, then its options.', [`${config.bin} --help`])
}

/** `dbbak help backup` is `dbbak backup --help`. */
function withHelpCommand(argv: string[]): string[] {
  return argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
}

/** The one way out: what is to be said is said, and taken, before the process ends. */
async function end(error: unknown, argv: string[]): Promise<void> {
  if (error !== undefined) report(error, argv)
  await Promise.all([flushed(process.stdout), flushed(process.stderr)])
  process.exit(process.exitCode ?? 0)
}

function report(error: unknown, argv: string[]): void {
  const exitCode = requestedExitCode(error)
  if (exitCode !== undefined) {
    process.exitCode = exitCode
    return
  }
  const failure = failureOf(error, process.env)
  process.exitCode = failure.exitCode
  if (!optionsOf(argv).includes('--json')) return printFailure(failure)
  printBug(failure)
  writeJson(failureJson(failure))
}

/** Everything after a lone `--` is an argument. */
function optionsOf(argv: string[]): string[] {
  const end = argv.indexOf('--')
  return end < 0 ? argv : argv.slice(0, end)
}

function turnColorsOff(): void {
  process.env.NO_COLOR = '1'
  delete process.env.FORCE_COLOR
}
