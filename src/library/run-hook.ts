import {spawn, type ChildProcess} from 'node:child_process'
import type {Readable} from 'node:stream'
import {setTimeout as sleep} from 'node:timers/promises'
import {guardian} from '../support/guardian.js'
import {systemCode} from '../support/errors.js'

/** A text is run by the shell; a list is a program and its arguments. */
export type HookCommand = string | string[]

export interface HookOptions {
  /** The whole environment of the hook. */
  env: Record<string, string | undefined>
  cwd?: string | undefined
  /** What it reads from stdin; nothing where undefined. */
  input?: string | undefined
  timeoutMs: number
  signal: AbortSignal
  /** Told every line that it prints, on stdout and stderr. */
  onLine?: ((line: string) => void) | undefined
  /** How long it may take to end once it was asked to. */
  killAfterMs?: number | undefined
}

export interface HookEnding {
  how: 'succeeded' | 'failed' | 'killed' | 'not-started' | 'timed-out' | 'aborted'
  /** It could not be ended, and was left behind. */
  isLeft?: boolean | undefined
  exitCode?: number | undefined
  signal?: NodeJS.Signals | undefined
  /** Why it could not be started: a code of the system. */
  reason?: string | undefined
  /** The last that it said. */
  lastLine?: string | undefined
}

const defaultKillAfterMs = 5000
/** What a hook printed just before it ended is read for so long, where something of it still holds the pipe. */
const outputAfterEndMs = 250
/** So long after it was killed it counts as one that cannot be: somebody else's (sudo), or held up in the kernel (NFS). */
const killedAfterMs = 1000
const longestLine = 4000

/**
 * Runs a command in a process group of its own, to its end, its time limit or the signal. What it leaves running behind
 * is not waited for; at a limit it is ended with the rest. Never rejects.
 */
export async function runHook(command: HookCommand, options: HookOptions): Promise<HookEnding> {
  if (options.signal.aborted) return {how: 'aborted'}
  let child: ChildProcess
  try {
    child = start(command, options)
  } catch (error) {
    return notStarted(error) // Node tells of most faults by an event, and throws for the rest
  }
  let lastLine: string | undefined
  const tell = (line: string) => {
    if (line.trim() !== '') lastLine = line.trim()
    options.onLine?.(line)
  }
  // Where descriptors have run out, there are none.
  const finishLines = [child.stdout, child.stderr].flatMap((stream) =>
    stream ? [readLines(stream, tell)] : [],
  )
  const unregister = child.pid === undefined ? () => {} : guardian().group(child.pid)
  feed(child, options.input)
  const stopped = stopAtLimit(child, options)
  try {
    const ending = await Promise.race([endOf(child), stopped.left])
    await stopped.settle()
    return {...ending, ...(stopped.why() === undefined ? {} : {how: stopped.why()!}), lastLine}
  } finally {
    for (const finish of finishLines) finish()
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
    child.unref()
    unregister()
  }
}

function start(command: HookCommand, {env, cwd}: HookOptions): ChildProcess {
  const options = {
    env,
    cwd,
    stdio: 'pipe' as const,
    detached: process.platform !== 'win32',
    windowsHide: true,
  }
  if (typeof command === 'string') return spawn(command, {...options, shell: true})
  return spawn(command[0] ?? '', command.slice(1), options)
}

const notStarted = (error: unknown): HookEnding => ({
  how: 'not-started',
  reason: systemCode(error) ?? 'for an unknown reason',
})

/** A hook that does not read, or has ended already, is none of our concern. */
function feed({stdin}: ChildProcess, input: string | undefined): void {
  stdin?.on('error', () => {})
  stdin?.end(input ?? '')
}

/** Settles when the process has ended, even where something that it left behind holds its output open. */
function endOf(child: ChildProcess): Promise<HookEnding> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      if (child.pid === undefined) resolve(notStarted(error))
    })
    child.once('exit', (exitCode, signal) => {
      const ending: HookEnding =
        signal === null
          ? {how: exitCode === 0 ? 'succeeded' : 'failed', exitCode: exitCode ?? undefined}
          : {how: 'killed', signal}
      const timer = setTimeout(end, outputAfterEndMs)
      child.once('close', end)
      function end() {
        clearTimeout(timer)
        for (const stream of child.stdio) stream?.destroy()
        resolve(ending)
      }
    })
  })
}

/** Ends the whole group at the time limit or the signal: asked first, then killed. */
function stopAtLimit(child: ChildProcess, {timeoutMs, signal, killAfterMs}: HookOptions) {
  let why: 'timed-out' | 'aborted' | undefined
  let stopping: Promise<void> | undefined
  const {promise: left, resolve: leave} = Promise.withResolvers<HookEnding>()
  const stop = (reason: 'timed-out' | 'aborted') => {
    why ??= reason
    stopping ??= endGroup(child, killAfterMs ?? defaultKillAfterMs)
    void stopping.then(async () => {
      await sleep(killedAfterMs, undefined, {ref: false})
      leave({how: reason, isLeft: true})
    })
  }
  const abort = () => stop('aborted')
  signal.addEventListener('abort', abort, {once: true})
  const timer = setTimeout(() => stop('timed-out'), timeoutMs)
  return {
    why: () => why,
    left,
    /** Until nothing of the group is left that was to be ended. */
    async settle(): Promise<void> {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      await stopping
    },
  }
}

async function endGroup(child: ChildProcess, killAfterMs: number): Promise<void> {
  const killAtMs = performance.now() + killAfterMs
  sendToGroup(child, 'SIGTERM')
  while (sendToGroup(child, 0)) {
    if (performance.now() >= killAtMs) {
      sendToGroup(child, 'SIGKILL')
      return
    }
    await sleep(20)
  }
}

/** @returns whether there is somebody left to get it, or who may not be sent it */
function sendToGroup(child: ChildProcess, signal: NodeJS.Signals | 0): boolean {
  if (child.pid === undefined) return false
  try {
    if (process.platform === 'win32') return child.exitCode === null && child.kill(signal)
    return process.kill(-child.pid, signal)
  } catch (error) {
    return systemCode(error) === 'EPERM' // else all have ended
  }
}

/** Hands on whole lines. @returns what to call at the end, for a last line that has no end */
function readLines(stream: Readable, tell: (line: string) => void): () => void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('error', () => {})
  stream.on('data', (text: string) => {
    const lines = (rest + text).split(/\r?\n/)
    rest = lines.pop()!
    lines.forEach((line) => tell(line.slice(0, longestLine)))
    if (rest.length > longestLine) {
      tell(rest.slice(0, longestLine))
      rest = ''
    }
  })
  return () => {
    if (rest !== '') tell(rest)
    rest = ''
  }
}
