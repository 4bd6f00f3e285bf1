import {constants, type Dirent} from 'node:fs'
import {copyFile, link, mkdir, readdir, readlink, symlink} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {canReach, type RunAs} from './run-as.js'
import type {ServerPrograms} from './server-programs.js'

/**
 * The programs where the server's user can run them. Root's cache folder is closed to everybody else, so for a server
 * that root starts as another user they are linked (or copied, from another file system) into the scratch folder.
 */
export async function reachablePrograms(
  programs: ServerPrograms,
  scratchFolder: string,
  runAs: RunAs | undefined,
): Promise<ServerPrograms> {
  if (!runAs || (await canReach(programs.binFolder, runAs))) return programs
  const copy = join(scratchFolder, 'program')
  await linkTree(dirname(programs.binFolder), copy)
  return {...programs, binFolder: join(copy, 'bin')}
}

/** Hard links take no room; the copies have the same owner and mode. */
async function linkTree(from: string, to: string): Promise<void> {
  await mkdir(to, {mode: 0o755})
  for (const entry of await readdir(from, {withFileTypes: true}))
    await linkEntry(entry, join(from, entry.name), join(to, entry.name))
}

async function linkEntry(entry: Dirent, from: string, to: string): Promise<void> {
  if (entry.isDirectory()) await linkTree(from, to)
  else if (entry.isSymbolicLink()) await symlink(await readlink(from), to)
  else await link(from, to).catch(() => copyFile(from, to, constants.COPYFILE_FICLONE))
}
