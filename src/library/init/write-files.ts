import {randomBytes} from 'node:crypto'
import {chmod, link, lstat, mkdir, open, readFile, realpath, rename, rm, stat} from 'node:fs/promises'
import {basename, dirname, join, resolve} from 'node:path'
import {DbbakError, messageOf, systemCode} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import type {PlannedFile} from './plan.js'

export interface WrittenFile {
  /** Absolute. */
  path: string
  /** `kept`: it has other content, and stays as it is. */
  status: 'written' | 'unchanged' | 'kept'
  /** Of a file of secrets that others could read: `closed` to them now, or `open` where that could not be done. */
  access?: 'closed' | 'open'
}

export interface WriteOptions {
  /** Replaces files that have other content, but for those that the user fills in. */
  force: boolean
  /** Asked for each file with other content; without it all of them are refused before anything is written. */
  mayReplace?: ((path: string) => Promise<boolean>) | undefined
  /** The last question, once it is known what will be written; throws for a no. */
  confirm?: ((paths: string[]) => Promise<void>) | undefined
}

/**
 * Writes files, each in one step: whatever happens, a file is as it was or whole. All is asked before anything is
 * written.
 * @throws DbbakError CONFIRMATION_REQUIRED before anything is written, where a file is in the way
 */
export async function writeFiles(
  folder: string,
  files: PlannedFile[],
  options: WriteOptions,
): Promise<WrittenFile[]> {
  const plans = await Promise.all(files.map((file) => plan(folder, file)))
  if (!options.force && !options.mayReplace) refuseOthers(plans)
  const decided: (Plan & {status: WrittenFile['status']})[] = []
  for (const each of plans) decided.push({...each, status: await statusOf(each, options)})
  const toWrite = decided.filter(({status}) => status === 'written')
  await options.confirm?.(toWrite.map(({path}) => path))
  const written: WrittenFile[] = []
  for (const {file, path, target, status, state} of decided) {
    if (status === 'written') await write(target, file, state === 'other')
    written.push({path, status, ...(status === 'written' ? {} : await closed(target, file))})
  }
  return written
}

interface Plan {
  file: PlannedFile
  path: string
  /** What a link at the path leads to, else the path. */
  target: string
  state: 'new' | 'same' | 'other'
}

async function plan(folder: string, file: PlannedFile): Promise<Plan> {
  const path = resolve(folder, file.path)
  const target = await linkTarget(path)
  try {
    const state = (await readFile(target, 'utf8')) === file.text ? 'same' : 'other'
    return {file, path, target, state}
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return {file, path, target, state: 'new'}
    throw cannotWrite(path, error)
  }
}

async function linkTarget(path: string): Promise<string> {
  const found = await lstat(path).catch(() => undefined)
  if (!found?.isSymbolicLink()) return path
  return realpath(path).catch((cause: unknown) => {
    throw new DbbakError(
      'CONFIRMATION_REQUIRED',
      `${path} is a link that leads nowhere; nothing was written.`,
      {cause, suggestions: [`See where it leads: ls -l ${shellWord(path)}`]},
    )
  })
}

async function statusOf({file, path, state}: Plan, options: WriteOptions): Promise<WrittenFile['status']> {
  if (state === 'same') return 'unchanged'
  if (state === 'new') return 'written'
  if (file.isTheUsers) return 'kept'
  return options.force || (await options.mayReplace?.(path)) === true ? 'written' : 'kept'
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

/** A file of secrets that others could read is closed to them, whoever wrote it. */
async function closed(path: string, {mode}: PlannedFile): Promise<Pick<WrittenFile, 'access'>> {
  if (mode !== 0o600 || ((await stat(path)).mode & 0o077) === 0) return {}
  return chmod(path, mode).then(
    () => ({access: 'closed' as const}),
    () => ({access: 'open' as const}), // somebody else's
  )
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
