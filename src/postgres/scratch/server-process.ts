import {spawn, type ChildProcess} from 'node:child_process'
import {setTimeout as delay} from 'node:timers/promises'
import {guardian, type GroupKind} from '../../support/guardian.js'
import type {RunAs} from './run-as.js'

export interface StartOptions {
  /** The whole environment; nothing is inherited. */
  env: Record<string, string>
  /** The folder to start in; ours may be closed to the server's user. */
  folder: string
  runAs: RunAs | undefined
  kind: GroupKind
  /** Descriptor that output goes to; without it the output can be read from the child. */
  output?: number
}

/** A server program in a session of its own: a Ctrl-C does not reach it, our end does, through the guardian. */
export interface ServerProcess {
  child: ChildProcess
  pid: number | undefined
  hasEnded(): boolean
  /** How it ended, in words; settles also when it could not be started. */
  ended: Promise<string>
}

/** Starts a server program, as another user where that is asked for. */
export function startServerProgram(program: string, args: string[], options: StartOptions): ServerProcess {
  const output = options.output ?? 'pipe'
  const child = spawn(program, args, {
    env: options.env,
    cwd: options.folder,
    stdio: ['ignore', output, output],
    detached: process.platform !== 'win32',
    windowsHide: true,
    ...(options.runAs ? {uid: options.runAs.uid, gid: options.runAs.gid} : {}),
  })
  const unwatch = child.pid === undefined ? () => {} : guardian().group(child.pid, options.kind)
  let over = false
  const ended = new Promise<string>((resolve) => {
    const end = (how: string) => {
      over = true
      unwatch()
      resolve(how)
    }
    child.once('error', (error) => end(`could not be started (${error.message})`))
    child.once('exit', (code, signal) =>
      end(signal ? `was ended by ${signal}` : `ended with exit code ${code}`),
    )
  })
  return {child, pid: child.pid, hasEnded: () => over, ended}
}

/** Asks a server process to end with a signal, and kills it if it does not within ten seconds. */
export async function endServerProcess(server: ServerProcess, signal: NodeJS.Signals): Promise<void> {
  if (server.hasEnded() || server.pid === undefined) return
  server.child.ref()
  signalGroup(server.pid, signal)
  if (!(await endsWithin(server, 10_000))) {
    signalGroup(server.pid, 'SIGKILL')
    await server.ended
  }
}

/** Sends a signal to a process group that we started; one that has gone is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal)
  } catch {
    // It has ended by itself.
  }
}

async function endsWithin(server: ServerProcess, timeoutMs: number): Promise<boolean> {
  const timer = new AbortController()
  const late = delay(timeoutMs, false, {signal: timer.signal}).catch(() => false)
  const inTime = await Promise.race([server.ended.then(() => true), late])
  timer.abort()
  return inTime
}
