import {randomBytes} from 'node:crypto'
import {constants, write, type Stats} from 'node:fs'
import {open, readlink, realpath, rename, rm, stat} from 'node:fs/promises'
import {basename, dirname, join, resolve} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {promisify} from 'node:util'
import {DbbakError, systemCode} from '../support/errors.js'

/** Where a report goes. */
export interface ReportTarget {
  /** As it was given, made absolute. */
  path: string
  /** What is replaced: where the path is a link, the file that it leads to. */
  file: string
  /** A file is replaced whole; into a device or pipe the report is written. */
  way: 'replace' | 'write-into'
}

/**
 * Finds out where a report would go.
 * @throws DbbakError OPTION_INVALID where that is a folder
 */
export async function reportTarget(cwd: string, option: string, given: string): Promise<ReportTarget> {
  const path = resolve(cwd, given)
  if (descriptorOf(path) !== undefined) return {path, file: path, way: 'write-into'}
  const found = await statOf(path)
  if (found?.isDirectory() || /[/\\]$/.test(given)) {
    throw new DbbakError('OPTION_INVALID', `${option} takes a file, and ${given} is a folder.`, {
      suggestions: [
        `Name a file in it: ${option} ${join(given, option === '--html' ? 'backups.html' : 'dbbak.prom')}`,
      ],
    })
  }
  if (found && !found.isFile()) return {path, file: path, way: 'write-into'}
  return {path, file: await behindLinks(path), way: 'replace'}
}

/** The second would take the place of the first. @throws DbbakError OPTION_INVALID */
export async function refuseSameFile(targets: {option: string; target: ReportTarget}[]): Promise<void> {
  const [one, other] = targets
  if (!one || !other) return
  const [found, otherFound] = [await statOf(one.target.file), await statOf(other.target.file)]
  const isSame =
    one.target.file === other.target.file ||
    (found !== undefined && found.ino === otherFound?.ino && found.dev === otherFound.dev)
  if (!isSame) return
  throw new DbbakError('OPTION_INVALID', `${one.option} and ${other.option} name the same file.`, {
    suggestions: ['For example: --html backups.html --prometheus dbbak.prom'],
  })
}

export const writeReport = ({file, way}: ReportTarget, content: string): Promise<void> =>
  way === 'replace' ? replaceFile(file, content) : writeInto(file, Buffer.from(content))

/** What cannot be looked at cannot be written either, and that is told then. */
const statOf = (path: string): Promise<Stats | undefined> => stat(path).catch(() => undefined)

/** The file that a link leads to, also where there is none yet. */
async function behindLinks(path: string): Promise<string> {
  let at = path
  for (let links = 0; links < 40; links++) {
    const folder = await realpath(dirname(at)).catch(() => dirname(at))
    at = join(folder, basename(at))
    const target = await readlink(at).catch(() => undefined)
    if (target === undefined) return at
    at = resolve(folder, target)
  }
  return path // links that go round in a circle: writing says so
}

/**
 * Whoever reads it sees the former content or this, never half of it. The temporary name begins with a dot and does not
 * end with .prom: the collector reads it by no chance.
 */
async function replaceFile(path: string, content: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o644)
    try {
      await file.writeFile(content)
      await file.chmod(0o644) // another user's program reads it, whatever the umask is
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, {force: true}).catch(() => {}) // the first error matters more
    throw error
  }
}

/** This process's own: opened anew by its path, a file behind it would be overwritten from its beginning. */
function descriptorOf(path: string): number | undefined {
  if (path === '/dev/stdout') return 1
  if (path === '/dev/stderr') return 2
  const [, number] = /^\/(?:dev|proc\/self)\/fd\/(\d+)$/.exec(path) ?? []
  return number === undefined ? undefined : Number(number)
}

/** A reader that does not come, or does not go on, is waited for so long. */
const patienceMs = 10_000
const pauseMs = 20

async function writeInto(path: string, content: Buffer): Promise<void> {
  const descriptor = descriptorOf(path)
  if (descriptor !== undefined) return writeAll(descriptor, content)
  // Not to be held up for ever by a pipe that nobody reads: neither here nor, in a thread of its own, at the end.
  const flags = constants.O_WRONLY | (constants.O_NONBLOCK ?? 0)
  const file = await retried('ENXIO', () => open(path, flags))
  try {
    await writeAll(file.fd, content)
  } finally {
    await file.close()
  }
}

const writeSome = promisify(write)

async function writeAll(descriptor: number, content: Buffer): Promise<void> {
  for (let at = 0; at < content.length;)
    at += (await retried('EAGAIN', () => writeSome(descriptor, content, at, content.length - at, null)))
      .bytesWritten
}

async function retried<T>(code: string, attempt: () => Promise<T>): Promise<T> {
  for (const begin = performance.now(); ; await sleep(pauseMs)) {
    try {
      return await attempt()
    } catch (error) {
      if (systemCode(error) !== code || performance.now() - begin > patienceMs) throw error
    }
  }
}
