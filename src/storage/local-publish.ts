import {link, lstat, open, rename, rm} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {DbbakError} from '../support/errors.js'
import {hasCode} from './local-errors.js'
import {makeFolder, makeFoldersOf, removeEmptyFoldersOf, syncFolder} from './local-folders.js'
import {workFolderName} from './object-name.js'
import {claimName} from './work-owner.js'
import {shellWord} from '../support/shell.js'

/** A finished, synced file that is to become an object. */
export interface Publication {
  file: string
  root: string
  key: string
  overwrite: boolean
  /** Gives a file a second name unless that is taken; the system's own `link`. */
  link: typeof link
}

/** Moves a file to its key in one step, durably. When it throws, the key is as it was before. */
export async function publish(publication: Publication): Promise<void> {
  const {file, root, key, overwrite} = publication
  try {
    await placeInFolder(publication)
  } catch (error) {
    await removeEmptyFoldersOf(root, key)
    throw error
  }
  const target = join(root, key)
  try {
    await syncFolder(dirname(target))
  } catch (error) {
    if (!overwrite) await rm(target, {force: true}).catch(() => undefined) // the first error matters more
    throw error
  }
  await rm(file, {force: true}).catch(() => undefined) // the object stands; a second name of it is swept later
}

/** A folder that became empty may be removed by others between its making and its use: then once more. */
async function placeInFolder(publication: Publication): Promise<void> {
  const {root, key, file} = publication
  for (let attempt = 1; ; attempt++) {
    try {
      await makeFoldersOf(root, key)
      return await place(publication)
    } catch (error) {
      if (!hasCode(error, 'ENOENT') || attempt === 10) throw error
      await lstat(file) // if it is the file itself that is gone, that is the error
    }
  }
}

async function place(publication: Publication): Promise<void> {
  const {file, root, key} = publication
  const target = join(root, key)
  try {
    if (publication.overwrite) return await rename(file, target)
    await publication.link(file, target)
  } catch (error) {
    if (hasCode(error, 'EEXIST', 'ENOTEMPTY') || (publication.overwrite && hasCode(error, 'EISDIR'))) {
      throw objectExists(key, root, error)
    }
    if (publication.overwrite || !hasCode(error, ...withoutHardLinks)) throw error
    await placeByClaim(publication)
  }
}

/** What systems answer to link() where the file system knows no second names (FAT, exFAT, some network shares). */
const withoutHardLinks = ['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EISDIR', 'EINVAL']

/**
 * Create-if-absent without link(): whoever holds the claim to a name may look whether it is free and rename.
 * The claim of a killed process blocks this one key until it is swept, nothing else.
 */
async function placeByClaim({file, root, key}: Publication): Promise<void> {
  const claim = join(root, workFolderName, claimName(key))
  await takeClaim(claim, key, root)
  try {
    const target = join(root, key)
    const taken = await lstat(target).then(
      () => true,
      (error: unknown) => !hasCode(error, 'ENOENT'),
    )
    if (taken) throw objectExists(key, root)
    await rename(file, target)
  } finally {
    await rm(claim, {force: true}).catch(() => undefined) // the next sweep removes it
  }
}

async function takeClaim(claim: string, key: string, root: string): Promise<void> {
  await makeFolder(dirname(claim))
  try {
    await (await open(claim, 'wx', 0o600)).close()
  } catch (error) {
    throw hasCode(error, 'EEXIST') ? objectExists(key, root, error) : error
  }
}

/** The name is taken; nothing is ever rewritten in place. */
export function objectExists(key: string, root: string, cause?: unknown): DbbakError {
  return new DbbakError(
    'OBJECT_EXISTS',
    `${key} exists already at ${root}; a stored object is never overwritten.`,
    {
      cause,
      suggestions: [
        `dbbak list --from ${shellWord(root)}`,
        'Run the command again: a new backup gets a new name.',
      ],
    },
  )
}
