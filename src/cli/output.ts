import {type Failure, failureText} from './failure.js'
import {styleFor, symbolsFor} from './style.js'

/** One JSON document on stdout, and nothing else there. */
export function writeJson(json: unknown): void {
  const text = JSON.stringify(
    json,
    (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
    2,
  )
  process.stdout.write(`${text}\n`)
}

/** What went wrong, for people, on stderr. */
export function printFailure(failure: Failure): void {
  const text = failureText(failure, styleFor(process.stderr), symbolsFor(process.env))
  process.stderr.write(`${text}\n`)
}

/** Under --json the document has no stack, but a bug needs one. */
export function printBug(failure: Failure): void {
  if (failure.stack !== undefined) printFailure(failure)
}

/** A reader that went away (`dbbak list | head -1`) is no reason to complain. */
export function ignoreBrokenPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error // EIO: the terminal was closed
    })
  }
}

/** Waits until everything was taken, however slow the reader is: ending the process earlier would cut it off. */
export async function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.destroyed || !stream.writable) return
  await new Promise<void>((resolve) => stream.write('', () => resolve()))
}
