import {randomBytes} from 'node:crypto'
import {chmod, link, mkdir, open, readFile, rename, rm} from 'node:fs/promises'
import {basename, dirname, join} from 'node:path'
import {DbbakError, messageOf, systemCode} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import type {PlannedFile} from './plan.js'

export interface WrittenFile {
  /** Absolute. */
  path: string
  /** `kept`: it has other content, and stays as it is. */
  status: 'written' | 'unchanged' | 'kept'
}

export interface WriteOptions {
  /** Replaces files that have other content, but for those that the user fills in. */
  force: boolean
  /** Asked for each file with other content; without it all of them are refused before anything is written. */
  mayReplace?: ((path: string) => Promise<boolean>) | undefined
}

/**
 * Writes files, each in one step: whatever happens, a file is as it was or whole.
 * @throws DbbakError CONFIRMATION_REQUIRED before anything is written, where a file is in the way
 */
export async function writeFiles(
  folder: string,
  files: PlannedFile[],
  options: WriteOptions,
): Promise<WrittenFile[]> {
  const plans = await Promise.all(files.map((file) => plan(folder, file)))
  if (!options.force && !options.mayReplace) refuseOthers(plans)
  const written: WrittenFile[] = []
  for (const {file, path, state} of plans) {
    const keep = state === 'other' && !(await mayReplace(file, path, options))
    if (state === 'same') await hold(path, file)
    if (state === 'new' || (state === 'other' && !keep)) await write(path, file, state === 'other')
    written.push({path, status: keep ? 'kept' : state === 'same' ? 'unchanged' : 'written'})
  }
  return written
}

interface Plan {
  file: PlannedFile
  path: string
  state: 'new' | 'same' | 'other'
}

async function plan(folder: string, file: PlannedFile): Promise<Plan> {
  const path = join(folder, file.path)
  try {
    return {file, path, state: (await readFile(path, 'utf8')) === file.text ? 'same' : 'other'}
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return {file, path, state: 'new'}
    throw cannotWrite(path, error)
  }
}

function refuseOthers(plans: Plan[]): void {
  const others = plans.filter(({file, state}) => state === 'other' && !file.isTheUsers)
  if (others.length === 0) return
  const paths = others.map(({path}) => path)
  throw new DbbakError(
    'CONFIRMATION_REQUIRED',
    `${paths.join(' and ')} ${paths.length === 1 ? 'is' : 'are'} there already, with other content; nothing was written.`,
    {
      suggestions: [
        `See what is there: cat ${shellWord(paths[0]!)}`,
        'Add --force to replace what is there.',
      ],
    },
  )
}

async function mayReplace(file: PlannedFile, path: string, options: WriteOptions): Promise<boolean> {
  if (file.isTheUsers) return false
  return options.force || (await options.mayReplace?.(path)) === true
}

/** A file of secrets that others could read is closed to them, whoever wrote it. */
async function hold(path: string, {mode}: PlannedFile): Promise<void> {
  if (mode === 0o600) await chmod(path, mode).catch(() => undefined) // somebody else's: what it says is no secret
}

/** A file that appeared in the meantime is not replaced unless it was to be. */
async function write(path: string, {text, mode}: PlannedFile, replace: boolean): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`)
  try {
    await mkdir(dirname(path), {recursive: true})
    await writeSynced(temporary, text, mode)
    if (replace) await rename(temporary, path)
    else await publish(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    throw cannotWrite(path, error)
  } finally {
    await rm(temporary, {force: true}).catch(() => undefined) // an unused file is all that would be left
  }
}

async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Not every file system has links; where there are none, the moment between looking and naming is short. */
async function publish(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path)
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error
    await rename(temporary, path)
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => undefined) // not every system syncs folders
  await handle?.close()
}

function cannotWrite(path: string, cause: unknown): DbbakError {
  if (systemCode(cause) === 'EEXIST')
    return new DbbakError(
      'CONFIRMATION_REQUIRED',
      `${path} appeared in the meantime, and was not replaced.`,
      {
        cause,
        suggestions: [`See what is there: cat ${shellWord(path)}`],
      },
    )
  return new DbbakError('OPTION_INVALID', `${path} cannot be written: ${messageOf(cause)}.`, {
    cause,
    suggestions: [`ls -ld ${shellWord(dirname(path))}`, 'Write elsewhere: dbbak init --dir FOLDER'],
  })
}
