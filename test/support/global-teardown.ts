import {execFileSync} from 'node:child_process'
import {existsSync, readdirSync, readFileSync, rmSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'

/** Guardians of ended workers may need a moment: a server is given five seconds before it is killed. */
const patienceMs = 20_000

/**
 * Runs once after all tests: a server or scratch folder that they left makes the run fail, however green they were.
 */
export default async function checkNothingIsLeft(): Promise<void> {
  const folder = process.env.DBBAK_TEST_RUN_FOLDER
  if (!folder) return
  stopSharedS3Server(join(folder, 's3-server'))
  const left = await leftAfter(folder, Date.now() + patienceMs)
  for (const {pid} of left.processes) process.kill(pid, 'SIGKILL')
  rmSync(folder, {recursive: true, force: true, maxRetries: 10, retryDelay: 200})
  const names = [...left.processes.map(({pid, command}) => `process ${pid}: ${command}`), ...left.folders]
  if (names.length > 0) throw new Error(`The tests left behind:\n  ${names.join('\n  ')}`)
}

/** The server that the tests shared (s3-server.ts starts it; nothing of ours can be imported here). */
function stopSharedS3Server(folder: string): void {
  if (existsSync(join(folder, 'ceph')))
    execFileSync(join(import.meta.dirname, 'ceph', 'cluster.sh'), ['stop', join(folder, 'ceph')])
  if (!existsSync(join(folder, 'ready'))) return
  const {container} = JSON.parse(readFileSync(join(folder, 'ready'), 'utf8')) as {container?: string}
  if (container !== undefined) execFileSync('docker', ['rm', '--force', '--volumes', container])
}

interface Left {
  processes: {pid: number; command: string}[]
  folders: string[]
}

async function leftAfter(folder: string, end: number): Promise<Left> {
  const left = {processes: processesOf(folder), folders: scratchFoldersIn(folder)}
  if ((left.processes.length === 0 && left.folders.length === 0) || Date.now() > end) return left
  await delay(200)
  return leftAfter(folder, end)
}

/** Servers are started with their data folder as an argument. */
function processesOf(folder: string): {pid: number; command: string}[] {
  if (process.platform === 'win32') return []
  const lines = execFileSync('ps', ['-Ao', 'pid=,command='], {maxBuffer: 1 << 26})
    .toString()
    .split('\n')
  return lines.flatMap((line) => {
    const [, pid, command] = /^\s*(\d+)\s+(.*)$/.exec(line) ?? []
    return command?.includes(folder) ? [{pid: Number(pid), command}] : []
  })
}

function scratchFoldersIn(folder: string): string[] {
  const names = readdirSync(folder, {recursive: true, encoding: 'utf8'})
  return names
    .filter((name) => /(^|\/)dbbak-scratch-[^/]*$/.test(name))
    .map((name) => `folder ${folder}/${name}`)
}
