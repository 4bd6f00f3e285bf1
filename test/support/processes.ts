import {readFileSync} from 'node:fs'
import {setTimeout as delay} from 'node:timers/promises'

/** Whether a process runs; one that has ended and was not yet asked for its exit code does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !isZombie(pid)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function isZombie(pid: number): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)
    return state?.startsWith('Z') ?? false
  } catch {
    return false // no /proc here
  }
}

/** Waits for something to become true. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 60_000,
): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Waited ${timeoutMs} ms in vain until ${what}.`)
    await delay(50)
  }
}
