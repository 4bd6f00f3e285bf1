import {execFile} from 'node:child_process'
import {lstat, readdir, readFile, readlink, realpath} from 'node:fs/promises'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {promisify} from 'node:util'
import {isGone, parseOwner, type Owner} from './owner.js'
import {packagesFolder, workPrefix} from './package-cache.js'
import {ownerFile, removeFolder, scratchPrefix, scratchRoots} from './scratch-folder.js'

export interface SweepOptions {
  env: Record<string, string | undefined>
  homeFolder: string
}

/** A folder without a note of its owner is one that is just being made, or whose maker was killed at once. */
const namelessAfterMs = 3_600_000

/**
 * Ends the servers and removes the folders of runs that were killed together with their guardian. Folders of other
 * users, of processes that run and of other machines are left alone.
 * @returns the folders that were removed
 */
export async function sweepScratch({env, homeFolder}: SweepOptions): Promise<string[]> {
  const scratch = await Promise.all(scratchRoots(env).map((root) => foldersIn(root, scratchPrefix)))
  const work = await foldersIn(packagesFolder(env, homeFolder), workPrefix)
  const removed = await Promise.all([...scratch.flat(), ...work].map(sweepFolder))
  return removed.flat().sort()
}

async function foldersIn(parent: string, prefix: string): Promise<string[]> {
  const folder = await realpath(parent).catch(() => parent)
  const entries = await readdir(folder, {withFileTypes: true}).catch(() => [])
  return entries
    .filter((entry) => entry.isDirectory() && entry.name.startsWith(prefix))
    .map(({name}) => join(folder, name))
}

async function sweepFolder(folder: string): Promise<string[]> {
  try {
    if (!(await isAbandoned(folder))) return []
    await endServerOf(join(folder, 'data'))
    await removeFolder(folder)
    return [folder]
  } catch {
    return [] // another sweep may be at it; what stays is tried again by the next one
  }
}

async function isAbandoned(folder: string): Promise<boolean> {
  const info = await lstat(folder)
  if (process.getuid !== undefined && info.uid !== process.getuid()) return false
  const owner = await ownerOf(folder)
  return owner ? isGone(owner) : Date.now() - info.mtimeMs > namelessAfterMs
}

async function ownerOf(folder: string): Promise<Owner | undefined> {
  return parseOwner(await readFile(join(folder, ownerFile), 'utf8').catch(() => ''))
}

/** Ends the server whose pid file lies in the folder, if that process really is the server of this folder. */
async function endServerOf(dataFolder: string): Promise<void> {
  const pid = Number(
    (await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0],
  )
  if (!Number.isSafeInteger(pid) || pid <= 1 || !(await servesFolder(pid, dataFolder))) return
  signalServer(pid, 'SIGQUIT')
  for (let tenths = 0; tenths < 100; tenths++) {
    if (!(await servesFolder(pid, dataFolder))) return
    await delay(100)
  }
  signalServer(pid, 'SIGKILL')
}

function signalServer(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

/** PostgreSQL works in its data folder, and was started with it as its argument. */
async function servesFolder(pid: number, dataFolder: string): Promise<boolean> {
  if (process.platform === 'linux') {
    const [folder, program] = await Promise.all([
      readlink(`/proc/${pid}/cwd`),
      readFile(`/proc/${pid}/comm`, 'utf8'),
    ]).catch(() => ['', ''])
    return folder === dataFolder && program.trim() === 'postgres'
  }
  const ps = promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)])
  const command = await ps.then(({stdout}) => stdout).catch(() => '')
  return command.includes('postgres') && command.includes(dataFolder)
}
