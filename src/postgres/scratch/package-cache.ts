import {lstat, mkdir, readdir, readFile, rename, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {removeFolder, ownerFile} from './scratch-folder.js'
import {thisProcess} from './owner.js'

type Env = Record<string, string | undefined>

/** What stands in a package's folder once it is whole. */
export interface CachedPackage {
  package: string
  version: string
  /** As npm checked it. */
  integrity: string
  /** Every file with its size. */
  files: Record<string, number>
}

const record = 'dbbak-package.json'
/** Packages that are just being brought, or whose bringing was cut off. */
export const workPrefix = 'work-'

/** Where dbbak keeps what it brought: DBBAK_CACHE_DIR, else the user's cache folder. */
export function cacheFolder(env: Env, homeFolder: string): string {
  if (env.DBBAK_CACHE_DIR) return env.DBBAK_CACHE_DIR
  const local = process.platform === 'win32' ? env.LOCALAPPDATA : undefined
  const xdg = env.XDG_CACHE_HOME?.startsWith('/') ? env.XDG_CACHE_HOME : undefined
  return join(local ?? xdg ?? join(homeFolder, '.cache'), 'dbbak')
}

/** The folder of server packages in the cache. */
export function packagesFolder(env: Env, homeFolder: string): string {
  return join(cacheFolder(env, homeFolder), 'servers')
}

/** Makes a folder to bring a package into, with a note of its owner for the sweep. */
export async function makeWorkFolder(packages: string, id: string): Promise<string> {
  const folder = join(packages, workPrefix + id)
  await mkdir(packages, {recursive: true})
  await mkdir(folder)
  await writeFile(join(folder, ownerFile), JSON.stringify(await thisProcess()))
  return folder
}

/** Writes the record of a package that lies whole in a folder. */
export async function seal(folder: string, what: Omit<CachedPackage, 'files'>): Promise<void> {
  await writeFile(join(folder, record), JSON.stringify({...what, files: await sizes(folder)}))
}

/** Puts a sealed package in its place, in one step. A damaged one gives way; a whole one, by somebody faster, stays. */
export async function publish(work: string, place: string): Promise<void> {
  try {
    await rename(work, place)
  } catch (error) {
    if (await isWhole(place)) return
    const aside = `${work}-damaged`
    await rename(place, aside).catch(() => {}) // somebody else may have mended it in the meantime
    await removeFolder(aside)
    if (!(await isWhole(place))) await rename(work, place).catch(() => Promise.reject(error as Error))
  }
}

/** Whether everything that was sealed is still there, and belongs to us: programs in it will be run. */
export async function isWhole(folder: string): Promise<boolean> {
  try {
    const {uid} = await lstat(folder)
    const ours = process.getuid === undefined || uid === 0 || uid === process.getuid()
    const {files} = JSON.parse(await readFile(join(folder, record), 'utf8')) as CachedPackage
    const there = await sizes(folder)
    return ours && Object.entries(files).every(([path, bytes]) => there[path] === bytes)
  } catch {
    return false
  }
}

async function sizes(folder: string): Promise<Record<string, number>> {
  const entries = await readdir(folder, {recursive: true, withFileTypes: true})
  const files = entries.filter((entry) => !entry.isDirectory() && entry.name !== record)
  const pairs = await Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      return [path.slice(folder.length + 1), (await lstat(path)).size] as const
    }),
  )
  return Object.fromEntries(pairs)
}
