import {lstat, mkdir, open, readlink, rmdir, stat} from 'node:fs/promises'
import {basename, dirname, join, relative, resolve, sep} from 'node:path'
import {DbbakError} from '../support/errors.js'
import {hasCode} from './local-errors.js'

/** Makes the destination's own folder and those above it, durably; it may be a symbolic link to a folder. */
export async function makeRoot(root: string): Promise<void> {
  const missing: string[] = []
  for (let path = root; (await stat(path).catch(ifMissing)) === undefined; path = dirname(path)) {
    missing.unshift(path)
    if (dirname(path) === path) break
  }
  // One by one: where a system says of a folder that it is not there and cannot be made (/proc), mkdir's own
  // `recursive` tries for ever.
  for (const path of missing) await makeOne(path)
}

async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, {mode: 0o700})
  } catch (error) {
    if (!hasCode(error, 'EEXIST') || !(await stat(path)).isDirectory()) throw error // else another run was faster
  }
  await syncFolder(dirname(path))
}

function ifMissing(error: unknown): undefined {
  if (!hasCode(error, 'ENOENT')) throw error
}

/**
 * Makes one folder, durably, unless it is there. A symbolic link in its place is refused, not followed.
 * @returns whether it was made
 */
export async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, {mode: 0o700})
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    await checkFolder(path)
    return false
  }
  await syncFolder(dirname(path))
  return true
}

/** Makes the folders between the root and a key's file. */
export async function makeFoldersOf(root: string, key: string): Promise<void> {
  let path = root
  for (const part of key.split('/').slice(0, -1)) {
    path = join(path, part)
    await makeFolder(path)
  }
}

/** Whether the folders of a key are real folders below the root; what lies behind a symbolic link is no object. */
export async function foldersExist(root: string, key: string): Promise<boolean> {
  let path = root
  for (const part of key.split('/').slice(0, -1)) {
    path = join(path, part)
    const found = await lstat(path).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    })
    if (found?.isDirectory() !== true) return false
  }
  return true
}

/** Object names know no folders: one that its last object left empty goes too. */
export async function removeEmptyFoldersOf(root: string, key: string): Promise<void> {
  let path = dirname(join(root, key))
  while (isBelow(root, path)) {
    try {
      await rmdir(path)
    } catch {
      return // not empty, or somebody else was faster
    }
    path = dirname(path)
  }
}

/** Makes changes of names in a folder durable, where the system can do that. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return // a folder cannot be opened there; NTFS journals names itself
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } catch (error) {
    // Some network and user-space file systems know no fsync for folders.
    if (!hasCode(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error
  } finally {
    await handle.close()
  }
}

/** Refuses, before anything is read or written, a key whose folders are something else than folders. */
export async function checkFoldersOf(root: string, key: string): Promise<void> {
  let path = root
  for (const part of key.split('/').slice(0, -1)) {
    path = join(path, part)
    try {
      await checkFolder(path)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return
      throw error
    }
  }
}

async function checkFolder(path: string): Promise<void> {
  const found = await lstat(path)
  if (found.isDirectory()) return
  if (found.isSymbolicLink()) {
    throw new DbbakError(
      'OBJECT_NAME_INVALID',
      `${path} is a symbolic link; nothing is written through it.`,
      {
        suggestions: [
          'Replace the link by a folder, or name the place it leads to as the destination with --to.',
        ],
      },
    )
  }
  throw new DbbakError('OBJECT_EXISTS', `${path} is a file, so nothing can be stored below it.`, {
    suggestions: ['Choose another name: dbbak backup --name PREFIX'],
  })
}

function isBelow(root: string, path: string): boolean {
  const way = relative(root, path)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`)
}

/** As many as the kernel follows: path_resolution(7). */
const mostLinks = 40

/** The same text for every path to a folder, through symbolic links or mounts, also where it has yet to be made. */
export async function identityOfFolder(path: string, links = mostLinks): Promise<string> {
  const folder = await stat(path, {bigint: true}).catch(() => undefined) // whatever is wrong is told when it is used
  if (folder) return `${folder.dev}:${folder.ino}`
  const aim = links > 0 ? await readlink(path).catch(() => undefined) : undefined
  const parent = dirname(path)
  if (aim !== undefined) return identityOfFolder(resolve(parent, aim), links - 1)
  return parent === path ? path : `${await identityOfFolder(parent, links)}/${basename(path)}`
}
