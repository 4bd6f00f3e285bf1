import {stat, statfs} from 'node:fs/promises'
import {dirname} from 'node:path'
import {DbbakError, messageOf, type ErrorCode} from '../support/errors.js'
import {shellWord} from '../support/shell.js'

/** What was being done at a local destination when an error came. */
export interface Attempt {
  root: string
  doing: 'write' | 'read'
}

/**
 * Says what a file system error means for the destination. Anything else (a DbbakError, the error of a source
 * stream, a bug) is given back as it is.
 */
export async function destinationError(error: unknown, attempt: Attempt): Promise<unknown> {
  if (!isFileError(error)) return error
  const {root} = attempt
  switch (error.code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return full(error, root)
    case 'EROFS':
      return readOnly(error, root, 'its file system is mounted read-only')
    case 'EACCES':
    case 'EPERM':
      return attempt.doing === 'write'
        ? readOnly(error, root, `${whoAmI()} may not write there`)
        : unreadable(error, root)
    case 'ENAMETOOLONG':
      return failure('OBJECT_NAME_INVALID', `A name is too long for the file system of ${root}.`, error, [
        'Choose a shorter name: dbbak backup --name PREFIX',
      ])
    case 'ENOTDIR':
    case 'EEXIST':
      if (await leadsThroughAFile(root)) return notAFolder(error, root)
  }
  return failed(error, root, messageOf(error))
}

/** @param free bytes left, read when the write failed */
async function full(error: NodeJS.ErrnoException, root: string): Promise<DbbakError> {
  const free = await freeBytesAt(root)
  const left = free === undefined ? '' : ` (${free} bytes free)`
  const why =
    error.code === 'EDQUOT'
      ? 'The disk quota is used up at the destination'
      : 'No space is left at the destination'
  const details = {path: root, ...(free === undefined ? {} : {freeBytes: free})}
  const advice = 'Free space there, or name another destination with --to.'
  const look = process.platform === 'win32' ? [] : [`df -h ${shellWord(root)}`]
  return new DbbakError('DESTINATION_FULL', `${why} ${root}${left}.`, {
    cause: error,
    details,
    suggestions: [...look, advice],
  })
}

function readOnly(error: Error, root: string, why: string): DbbakError {
  return failure('DESTINATION_READ_ONLY', `Cannot write to the destination ${root}: ${why}.`, error, [
    ...lookAt(root),
    `Give ${whoAmI()} write access to it, or name another destination with --to.`,
  ])
}

function unreadable(error: Error, root: string): DbbakError {
  const sentence = `Cannot read the destination ${root}: ${whoAmI()} may not read there (${messageOf(error)}).`
  return failure('DESTINATION_FAILED', sentence, error, [
    ...lookAt(root),
    `Give ${whoAmI()} read access to it.`,
  ])
}

function notAFolder(error: Error, root: string): DbbakError {
  return failure('DESTINATION_NOT_A_FOLDER', `The destination ${root} is not a folder.`, error, [
    ...lookAt(root),
    'Name a folder, or a path where one can be made, with --to or BACKUP_DIR.',
  ])
}

function failed(error: Error, root: string, what: string): DbbakError {
  return failure('DESTINATION_FAILED', `The destination ${root} failed: ${what}.`, error, [
    ...lookAt(root),
    'Check the disk or the mount, then run the command again.',
  ])
}

function failure(code: ErrorCode, sentence: string, cause: Error, suggestions: string[]): DbbakError {
  return new DbbakError(code, sentence, {cause, suggestions})
}

function lookAt(root: string): string[] {
  return process.platform === 'win32' ? [] : [`ls -ld ${shellWord(root)}`]
}

/** Bytes that an ordinary user can still write, asked of the nearest folder that exists. */
export async function freeBytesAt(path: string): Promise<number | undefined> {
  for (let at = path; ; at = dirname(at)) {
    try {
      const {bavail, bsize} = await statfs(at)
      return bavail * bsize
    } catch (error) {
      if (!isMissing(error) || dirname(at) === at) return undefined
    }
  }
}

async function leadsThroughAFile(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined)
    if (found !== undefined) return !found.isDirectory()
    if (dirname(at) === at) return false
  }
}

/** There is no such file (any more), nor can there be. */
export function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT', 'ENOTDIR')
}

/** Whether a system error has one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return isFileError(error) && codes.includes(error.code ?? '')
}

function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string'
}

function whoAmI(): string {
  const id = process.getuid?.()
  return id === undefined ? 'this user' : id === 0 ? 'root' : `the user with id ${id}`
}
