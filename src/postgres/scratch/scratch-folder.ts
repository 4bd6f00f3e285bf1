import {randomBytes} from 'node:crypto'
import {access, chmod, chown, constants, mkdir, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {DbbakError} from '../../support/errors.js'
import {guardian} from '../../support/guardian.js'
import {thisProcess} from './owner.js'
import {canReach, type RunAs} from './run-as.js'

type Env = Record<string, string | undefined>

/** Scratch folders are known by their names. */
export const scratchPrefix = 'dbbak-scratch-'
export const ownerFile = 'owner.json'

/** The folder of one throw-away server. */
export interface ScratchFolder {
  path: string
  /** Makes a private folder in it that belongs to the server's user. */
  makeFor(runAs: RunAs | undefined, name: string): Promise<string>
  remove(): Promise<void>
}

/** Where scratch folders are looked for and made, best first: what the user chose, then a place that is on a disk. */
export function scratchRoots(env: Env): string[] {
  if (process.platform === 'win32') return [env.TEMP ?? env.TMP ?? 'C:\\Windows\\Temp']
  const chosen = env.TMPDIR?.replace(/\/+$/, '')
  return [...new Set([...(chosen?.startsWith('/') ? [chosen] : []), '/var/tmp', '/tmp'])]
}

/** Makes a new private folder with a note of its owner; the guardian removes it should we be killed. */
export async function makeScratchFolder(env: Env, runAs: RunAs | undefined): Promise<ScratchFolder> {
  const path = join(await usableRoot(env, runAs), scratchPrefix + randomBytes(5).toString('hex'))
  const unwatch = guardian().folder(path)
  const remove = async () => {
    await removeFolder(path)
    unwatch()
  }
  try {
    await mkdir(path, {mode: 0o700})
    await writeFile(join(path, ownerFile), JSON.stringify(await thisProcess()), {mode: 0o600})
    if (runAs) await letPass(path, runAs)
  } catch (cause) {
    await remove().catch(() => {}) // could not even be made; the cause matters more
    throw new DbbakError('SCRATCH_FAILED', `The folder for a scratch server could not be made: ${path}.`, {
      cause,
    })
  }
  return {path, remove, makeFor: (user, name) => makeFor(user, join(path, name))}
}

/** A server that was just ended may still write a last file: tries again for a while. */
export async function removeFolder(path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await rm(path, {recursive: true, force: true})
    } catch (error) {
      if (attempt === 20) throw error
      await delay(100)
    }
  }
}

/** The server's user may pass through, and neither list nor write. */
async function letPass(path: string, {gid}: RunAs): Promise<void> {
  await chown(path, -1, gid)
  await chmod(path, 0o710)
}

async function makeFor(runAs: RunAs | undefined, path: string): Promise<string> {
  await mkdir(path, {mode: 0o700})
  if (runAs) await chown(path, runAs.uid, runAs.gid)
  return path
}

async function usableRoot(env: Env, runAs: RunAs | undefined): Promise<string> {
  const roots = scratchRoots(env)
  for (const root of roots) {
    const writable = await access(root, constants.W_OK | constants.X_OK).then(
      () => true,
      () => false,
    )
    if (writable && (!runAs || (await canReach(root, runAs)))) return root
  }
  const who = runAs ? ` that the user ${runAs.name} can reach` : ''
  throw new DbbakError(
    'SCRATCH_FAILED',
    `There is no folder for a scratch server${who}: tried ${roots.join(', ')}.`,
    {
      suggestions: ['Name one that can be written to: TMPDIR=/path/to/folder'],
    },
  )
}
