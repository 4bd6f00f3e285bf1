import {spawn, type ChildProcess} from 'node:child_process'
import {basename} from 'node:path'
import type {Socket} from 'node:net'
import type {Readable, Writable} from 'node:stream'
import {guardian} from '../support/guardian.js'
import {DbbakError, systemCode} from '../support/errors.js'

export interface ToolOptions {
  /** The whole environment of the tool; nothing is inherited. */
  env: Record<string, string>
  /** Ends the tool and everything it started. */
  signal?: AbortSignal | undefined
  /** `pipe` gives a `stdin` to write to; by default the tool reads nothing. */
  stdin?: 'pipe' | 'ignore'
  /** `ignore` for tools whose output nobody reads; a socket for those whose output is read by its other end. */
  stdout?: 'pipe' | 'ignore' | Socket
  /** Told what the tool says on stderr as it says it. */
  onStderr?: ((text: string) => void) | undefined
}

export interface RunningTool {
  /** Must be read to its end, or destroyed. */
  stdout: Readable
  stdin: Writable
  /**
   * Settles once the tool has ended and its output is closed.
   * @throws DbbakError TOOL_FAILED with the tool's own words; the signal's reason when it was aborted
   */
  finished: Promise<{stderr: string}>
}

/** A tool's last words are enough: the first and last parts of a long stderr are kept. */
const stderrLimitBytes = 64 * 1024
const killAfterMs = 10_000

/**
 * Starts a program in a process group of its own and hands out its streams.
 * `spawn` and not zx, which keeps all output in memory and starts a shell.
 */
export function startTool(program: string, args: string[], options: ToolOptions): RunningTool {
  options.signal?.throwIfAborted()
  const child = spawn(program, args, {
    env: options.env,
    stdio: [options.stdin ?? 'ignore', options.stdout ?? 'pipe', 'pipe'],
    detached: process.platform !== 'win32',
    windowsHide: true,
  })
  const unregister = child.pid === undefined ? () => {} : guardian().group(child.pid)
  const stopListening = killOnAbort(child, options.signal)
  const finished = ended(child, program, options).finally(() => {
    stopListening()
    unregister()
  })
  finished.catch(() => {}) // whoever started the tool awaits it; an early failure must not count as unhandled
  child.stdin?.on('error', () => {}) // a tool that ends early closes its input; its exit code tells why
  return {stdout: child.stdout as Readable, stdin: child.stdin as Writable, finished}
}

/** A tool that somebody ended (the kernel, short of memory, does) has said nothing of what it was reading. */
export function wasKilled(error: DbbakError): boolean {
  return error.details?.killedBy !== undefined
}

/** Runs a program to its end and returns what it printed; for small outputs. */
export async function runTool(
  program: string,
  args: string[],
  options: ToolOptions,
): Promise<{stdout: string; stderr: string}> {
  const {stdout, finished} = startTool(program, args, options)
  const chunks: Buffer[] = []
  if (options.stdout !== 'ignore') for await (const chunk of stdout) chunks.push(chunk as Buffer)
  const {stderr} = await finished
  return {stdout: Buffer.concat(chunks).toString(), stderr}
}

function killOnAbort(child: ChildProcess, signal: AbortSignal | undefined): () => void {
  let timer: NodeJS.Timeout | undefined
  const kill = () => {
    killGroup(child, 'SIGTERM')
    child.stdout?.destroy()
    child.stdin?.destroy()
    timer = setTimeout(() => killGroup(child, 'SIGKILL'), killAfterMs)
    timer.unref()
  }
  signal?.addEventListener('abort', kill, {once: true})
  return () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', kill)
  }
}

function killGroup(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    if (process.platform === 'win32') child.kill(name)
    else process.kill(-child.pid, name)
  } catch {
    // It has ended by itself.
  }
}

function ended(
  child: ChildProcess,
  program: string,
  {signal, env, onStderr}: ToolOptions,
): Promise<{stderr: string}> {
  const stderr = keepEnds(child.stderr as Readable, (text) => onStderr?.(redact(text, env.PGPASSWORD)))
  return new Promise((resolve, reject) => {
    const fail = (how: string, particulars: Omit<Failing, 'how' | 'stderr'> = {}) => {
      const text = redact(stderr(), env.PGPASSWORD)
      reject(
        signal?.aborted ? (signal.reason as Error) : toolFailed(program, {...particulars, how, stderr: text}),
      )
    }
    child.on('error', (error) =>
      fail(systemCode(error) === 'ENOENT' ? 'was not found' : 'could not be started', {cause: error}),
    )
    child.on('close', (exitCode, killedBy) => {
      if (exitCode === 0 && !signal?.aborted) resolve({stderr: redact(stderr(), env.PGPASSWORD)})
      else if (killedBy) fail(`was killed by ${killedBy}`, {killedBy})
      else fail(`ended with exit code ${exitCode}`)
    })
  })
}

interface Failing {
  how: string
  stderr: string
  killedBy?: NodeJS.Signals
  cause?: unknown
}

function toolFailed(program: string, {how, stderr, killedBy, cause}: Failing): DbbakError {
  const name = basename(program)
  const words = lastWords(stderr)
  return new DbbakError(
    'TOOL_FAILED',
    `${name} ${how}${words ? `: ${words}` : ' and said nothing'}`.replace(/\.?$/, '.'),
    {
      cause,
      details: {tool: name, stderr, ...(killedBy ? {killedBy} : {})},
    },
  )
}

/** The line that says what went wrong: the last error, else the last line. */
function lastWords(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '')
  const errors = lines.filter((line) => /error:|fatal:|FATAL|ERROR/.test(line))
  // What a parallel pg_dump ends with says nothing of why.
  const why = errors.findLast((line) => !line.includes('worker process died')) ?? errors.at(-1)
  return (why ?? lines.at(-1) ?? '').replace(/^\w+: (error: )?/, '').trim()
}

function keepEnds(stream: Readable, onText: (text: string) => void): () => string {
  let head = ''
  let tail = ''
  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    onText(text)
    const room = stderrLimitBytes / 2 - head.length
    if (room > 0) head += text.slice(0, room)
    const rest = room > 0 ? text.slice(room) : text
    tail = (tail + rest).slice(-stderrLimitBytes / 2)
  })
  stream.on('error', () => {}) // destroyed with the process
  return () => (tail ? `${head}\n…\n${tail}` : head)
}

function redact(text: string, password: string | undefined): string {
  return password ? text.replaceAll(password, '********') : text
}
