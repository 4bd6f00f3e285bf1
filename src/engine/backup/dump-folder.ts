import {readdir, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {systemCode} from '../../support/errors.js'
import {parseContents} from '../archive/archive-contents.js'
import {NotAnArchive} from '../archive/archive-toc.js'
import {noDump, stoppedEarly, wroteNothing} from './dump-stream.js'

const contentsFile = 'toc.dat'
const compressedEndings = ['', '.gz', '.lz4', '.zst']

/**
 * The names of the files of a directory-format dump.
 * @throws DbbakError DUMP_EMPTY, DUMP_FAILED where the table of contents or a file that it names is missing
 */
export async function dumpFiles(folder: string): Promise<string[]> {
  const names = await namesIn(folder)
  if (names.length === 0) throw wroteNothing()
  if (!names.includes(contentsFile)) throw stoppedEarly()
  const contents = contentsOf(await readFile(join(folder, contentsFile)))
  if (contents === undefined) throw stoppedEarly()
  const present = new Set(names)
  const isMissing = (name: string) => !compressedEndings.some((ending) => present.has(name + ending))
  if (contents !== 'unknown' && contents.fileNames.some(isMissing)) throw stoppedEarly()
  return names.sort()
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

function contentsOf(bytes: Buffer): ReturnType<typeof parseContents> {
  try {
    return parseContents(bytes)
  } catch (error) {
    throw error instanceof NotAnArchive ? noDump() : error
  }
}
