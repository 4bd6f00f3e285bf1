import {execFile} from 'node:child_process'
import {readlink, readFile} from 'node:fs/promises'
import {hostname} from 'node:os'
import {promisify} from 'node:util'

/** Who made a folder: enough to tell later whether that process still runs. */
export interface Owner {
  /** Machine and, where there are such, process namespace: elsewhere the process number means another process. */
  place: string
  pid: number
  /** When the process began, as the system writes it: a process number is used again. */
  startedAt: string | null
}

/** This process as an owner. */
export async function thisProcess(): Promise<Owner> {
  return {place: await place(), pid: process.pid, startedAt: await startOf(process.pid)}
}

/** Whether the owner's process certainly no longer runs; one on another machine may run. */
export async function isGone(owner: Owner): Promise<boolean> {
  if (owner.place !== (await place())) return false
  if (!runs(owner.pid)) return true
  const startedAt = await startOf(owner.pid)
  return startedAt !== null && owner.startedAt !== null && startedAt !== owner.startedAt
}

/** Whether there is a process of that number. */
function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Reads what `thisProcess` gave, written as JSON. @returns undefined for anything else */
export function parseOwner(text: string): Owner | undefined {
  try {
    const {place, pid, startedAt} = JSON.parse(text) as Partial<Owner>
    const valid = typeof place === 'string' && Number.isSafeInteger(pid) && (pid as number) > 0
    return valid
      ? {place, pid: pid as number, startedAt: typeof startedAt === 'string' ? startedAt : null}
      : undefined
  } catch {
    return undefined
  }
}

async function place(): Promise<string> {
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '')
  return `${hostname()} ${namespace}`.trim()
}

async function startOf(pid: number): Promise<string | null> {
  if (process.platform === 'linux') return startOnLinux(pid)
  if (process.platform === 'win32') return null
  const started = promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], {
    env: {LC_ALL: 'C', PATH: '/bin:/usr/bin'},
  })
  return started.then(({stdout}) => stdout.trim() || null).catch(() => null)
}

/** Field 22 of /proc/PID/stat: clock ticks since boot. The second field, a name in brackets, may hold anything. */
async function startOnLinux(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
}
