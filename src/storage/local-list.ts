import type {Dirent} from 'node:fs'
import {lstat, readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {hasCode, isMissing} from './local-errors.js'
import {foldersExist} from './local-folders.js'
import {isObjectName} from './object-name.js'
import type {ObjectInfo} from './provider.js'

const filesAtOnce = 64

/**
 * The regular files below a root whose key begins with the prefix, in the order of the key's UTF-8 bytes.
 * Reads one folder at a time, and only those that can hold such keys.
 */
export async function* listFiles(root: string, prefix: string): AsyncGenerator<ObjectInfo> {
  const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  if (folder !== '' && !isObjectName(folder + 'x')) return
  if (!(await foldersExist(root, folder))) return
  yield* listFolder({root, folder, beginning: prefix.slice(folder.length)})
}

interface Place {
  root: string
  /** Ends with `/` unless it is the root. */
  folder: string
  /** What names in this folder begin with. */
  beginning: string
}

async function* listFolder(place: Place): AsyncGenerator<ObjectInfo> {
  const entries = await entriesOf(place)
  for (let at = 0; at < entries.length; at += filesAtOnce) {
    const batch = entries.slice(at, at + filesAtOnce)
    const found = await Promise.all(batch.map((entry) => infoOf(place.root, entry.key)))
    for (const [index, entry] of batch.entries()) {
      const info = found[index]
      if (info !== undefined) yield info
      if (entry.isFolder) yield* listFolder({root: place.root, folder: entry.key, beginning: ''})
    }
  }
}

interface Entry {
  /** A folder's ends with `/`: that puts what is in it where the order of whole keys wants it. */
  key: string
  isFolder: boolean
}

async function entriesOf({root, folder, beginning}: Place): Promise<Entry[]> {
  const found = await readdir(join(root, folder), {withFileTypes: true}).catch((error: unknown) => {
    if (mayBeUnreadable(error, folder)) return []
    throw error
  })
  const entries = found
    .filter((entry) => entry.name.startsWith(beginning))
    .flatMap((entry) => entryOf(entry, folder))
  return inByteOrder(entries)
}

function entryOf(entry: Dirent, folder: string): Entry[] {
  const key = folder + entry.name
  // A file that get would refuse is no object: work files, and names that no provider takes.
  if (!isObjectName(key)) return []
  if (entry.isDirectory()) return [{key: key + '/', isFolder: true}]
  return entry.isFile() ? [{key, isFolder: false}] : []
}

/** What systems keep at the top of a disk, closed to its users; in none of these is anything put by us. */
const ofTheSystem = /^(lost\+found|system volume information|\$recycle\.bin|\.[^/]+)\/$/i

/** A root that was never made, a folder that vanished meanwhile, the system's own folders at the top of a disk. */
function mayBeUnreadable(error: unknown, folder: string): boolean {
  const {code} = error as NodeJS.ErrnoException
  if (ofTheSystem.test(folder) && (code === 'EACCES' || code === 'EPERM')) return true
  return folder === '' ? code === 'ENOENT' : isMissing(error)
}

function inByteOrder(entries: Entry[]): Entry[] {
  return entries
    .map((entry) => ({entry, bytes: Buffer.from(entry.key)}))
    .sort((one, other) => Buffer.compare(one.bytes, other.bytes))
    .map(({entry}) => entry)
}

/** @returns undefined where there is no regular file of that key */
export async function infoOf(root: string, key: string): Promise<ObjectInfo | undefined> {
  try {
    const found = await lstat(join(root, key))
    return found.isFile() ? {key, size: found.size, modifiedAt: found.mtime} : undefined
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
