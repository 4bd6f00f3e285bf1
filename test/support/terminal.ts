import {expect} from '@jest/globals'
import {spawn} from 'node:child_process'

/** Text that appears on the screen, and what is typed then. */
export type Answer = [question: RegExp, typed: string]

export const enter = '\r'
export const down = '\u001b[B'
export const controlC = '\u0003'

export interface TerminalOptions {
  env: Record<string, string | undefined>
  cwd: string
}

/** Runs a shell command on a terminal of its own, and types an answer whenever its question has appeared. */
export async function onTerminal(
  command: string,
  answers: Answer[],
  {env, cwd}: TerminalOptions,
): Promise<{screen: string; exitCode: number | null}> {
  const open = [...answers]
  const child = spawn('script', ['-qefc', `stty cols 160; ${command}`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {PATH: process.env.PATH, TERM: 'xterm', NO_COLOR: '1', ...env},
    cwd,
  })
  let screen = ''
  let from = 0
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    screen += piece
    const [next] = open
    if (!next?.[0].test(screen.slice(from))) return
    from = screen.length
    open.shift()
    child.stdin.write(next[1])
  })
  const exitCode = await new Promise<number | null>((resolve) => child.on('close', resolve))
  expect({open: open.map(([question]) => question), screen}).toEqual({open: [], screen})
  return {screen, exitCode}
}
