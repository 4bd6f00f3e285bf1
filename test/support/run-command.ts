import {spawn} from 'node:child_process'

/** How a command ended, and what it wrote. */
export interface CommandResult {
  exitCode: number | null
  stdout: string
  stderr: string
}

/** Runs a command to its end, whatever that is. */
export async function runCommand(
  command: string,
  args: string[],
  options: {cwd?: string; env?: Record<string, string | undefined>} = {},
): Promise<CommandResult> {
  const child = spawn(command, args, {stdio: ['ignore', 'pipe', 'pipe'], ...options})
  const written = {stdout: '', stderr: ''}
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => (written[name] += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (exitCode) => resolve({exitCode, ...written}))
  })
}

/** Runs a command that must succeed. @returns what it wrote to stdout */
export async function outputOf(...call: Parameters<typeof runCommand>): Promise<string> {
  const {exitCode, stdout, stderr} = await runCommand(...call)
  if (exitCode === 0) return stdout
  throw new Error(`${call[0]} ${call[1].join(' ')} ended with ${exitCode}:\n${stdout}\n${stderr}`)
}
