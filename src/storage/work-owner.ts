import {createHash, randomBytes} from 'node:crypto'
import {readFileSync, readlinkSync, statSync} from 'node:fs'
import {homedir, hostname} from 'node:os'

/** What lies in the work folder: a put's unfinished object, or a folder for files that are prepared. */
export type WorkKind = 'put' | 'folder'

/** Whose a file in the work folder is, as its name tells. */
export interface WorkOwner {
  host: string
  /** Tells apart boots of one machine, and containers that share a host name: a pid means nothing across them. */
  place: string
  pid: number
  /** When the process started, so that a pid that was given to another process is not taken for it. */
  start: string
}

/** A new name in the work folder, which says that it belongs to this process. */
export function workName(kind: WorkKind): string {
  const {host, place, pid, start} = thisProcess()
  return [kind, host, place, pid, start, randomBytes(6).toString('hex')].join('_')
}

/** The name of the file that claims a key for one put; held for a moment, and by nobody in particular. */
export function claimName(key: string): string {
  return `claim_${createHash('sha256').update(key).digest('hex').slice(0, 32)}`
}

/** Whether a name in the work folder is one that dbbak gave. */
export function isWorkName(name: string): boolean {
  return ownerOf(name) !== undefined || /^claim_[0-9a-f]{32}$/.test(name)
}

/** @returns undefined for a name that tells no owner */
export function ownerOf(name: string): WorkOwner | undefined {
  const match = /^(?:put|folder)_(.+)_([0-9a-f]{8})_(\d+)_(\d+)_[0-9a-f]+$/.exec(name)
  if (match === null) return undefined
  const [, host = '', place = '', pid, start = ''] = match
  return {host, place, pid: Number(pid), start}
}

/** Whether the owner still runs; `unknown` where this process cannot tell (another host, another container). */
export function stateOf(owner: WorkOwner | undefined): 'running' | 'gone' | 'unknown' {
  if (owner === undefined) return 'unknown'
  const self = thisProcess()
  if (owner.host !== self.host || owner.place !== self.place) return 'unknown'
  if (!processExists(owner.pid)) return 'gone'
  const start = startOf(owner.pid)
  if (start === undefined) return 'running' // cannot be compared here; a live pid is left alone
  return start === owner.start ? 'running' : 'gone'
}

export function thisProcess(): WorkOwner {
  return {
    host: encodeURIComponent(hostname()).slice(0, 80),
    place: createHash('sha256').update(placeText()).digest('hex').slice(0, 8),
    pid: process.pid,
    start: startOf(process.pid) ?? String(Math.round(performance.timeOrigin)),
  }
}

function placeText(): string {
  try {
    if (process.platform !== 'linux') return machineText(homedir())
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8') + readlinkSync('/proc/self/ns/pid')
  } catch {
    // Nothing tells this machine from others of its name: then no process can tell of another whether it runs.
    return `${process.platform} ${process.pid} ${performance.timeOrigin}`
  }
}

/**
 * Many machines bear the name that they came with (MacBook-Pro.local), and share a destination: when this user's home
 * folder was made tells them apart.
 */
export function machineText(home: string): string {
  const {ino, birthtimeNs} = statSync(home, {bigint: true})
  return `${process.platform} ${ino} ${birthtimeNs}`
}

/** Start time in clock ticks since boot; a dead process that nobody has waited for yet has none. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return state === 'Z' || state === 'X' ? 'ended' : fields[18]
  } catch {
    return undefined
  }
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
