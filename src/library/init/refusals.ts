import {constants} from 'node:fs'
import {access, readdir, readFile, stat} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {parseDestination} from '../../storage/open-provider.js'
import {DbbakError, messageOf, systemCode} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import {folderInRepository} from './github/workflow.js'
import type {Artefact, InitPlan} from './plan.js'

type Places = Pick<InitPlan, 'folder' | 'destinations'>

/**
 * What is refused whatever the answers will be; so it is looked at before the first question.
 * @throws DbbakError CONFIG_INVALID, OPTION_INVALID, DESTINATION_INVALID
 */
export async function refuseEarly({folder, destinations}: Places): Promise<void> {
  const folders = localFolders({folder, destinations})
  refuseNames([folder, ...folders], controls, 'no file that init writes can hold it')
  await refuseOtherConfig(folder)
  await refuseUnwritable(folder)
}

/** What a schedule of this machine cannot work with. @throws DbbakError OPTION_INVALID */
export async function refuseForSchedules(
  plan: Places & Pick<InitPlan, 'isRoot' | 'user' | 'program'>,
  artefacts: Artefact[],
): Promise<void> {
  const chosen = artefacts.filter((artefact) => artefact === 'cron' || artefact === 'systemd')
  if (chosen.length === 0) return
  const folders = localFolders(plan)
  refuseNames([plan.folder, plan.program, ...folders], patterns, `${chosen.join(' and ')} would misread it`)
  if (chosen.includes('systemd') && plan.isRoot) await refuseClosed(plan, folders)
}

/** What a workflow cannot name as it stands. @throws DbbakError OPTION_INVALID */
export function refuseForGitHub(places: Pick<InitPlan, 'folder' | 'repository'>): void {
  const folder = folderInRepository(places)
  refuseNames([folder], /[^\w@+./ -]/, 'the workflow for GitHub would misread it')
}

/** The top of the repository that a folder is in. */
export async function repositoryOf(folder: string): Promise<string | undefined> {
  const isTop = await stat(join(folder, '.git')).then(
    () => true,
    () => false,
  )
  if (isTop) return folder
  return dirname(folder) === folder ? undefined : repositoryOf(dirname(folder))
}

/** The folders that backups go to; absolute. */
export function localFolders({destinations, folder}: Places): string[] {
  return destinations.flatMap((destination) => {
    const parsed = parseDestination(destination)
    return parsed.kind === 'local' ? [resolve(folder, parsed.path)] : []
  })
}

// eslint-disable-next-line no-control-regex -- they are what is looked for
const controls = /[\u0000-\u001f\u007f]/
const patterns = /[\\*?[\]"]|\s$/

function refuseNames(paths: string[], odd: RegExp, why: string): void {
  const path = paths.find((name) => odd.test(name))
  if (path === undefined) return
  throw new DbbakError('OPTION_INVALID', `The name ${JSON.stringify(path)} is an odd one: ${why}.`, {
    suggestions: [
      'Use folders without control characters, \\ * ? [ ] " and white space at the end: dbbak init --dir FOLDER',
    ],
  })
}

/** Two config files in one folder are refused by every command, so a second is not made. */
async function refuseOtherConfig(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [] as string[])
  const others = names.filter((name) => /^dbbak\.config\.(yml|json|js|mjs)$/.test(name))
  if (names.includes('package.json') && (await hasConfigKey(join(folder, 'package.json'))))
    others.push('package.json ("dbbak")')
  if (others.length === 0) return
  throw new DbbakError(
    'CONFIG_INVALID',
    `${folder} has a config file already (${others.join(', ')}), and two in one folder are refused; nothing was written.`,
    {
      suggestions: [
        `Remove it, or write elsewhere: dbbak init --dir FOLDER`,
        'See what is in force: dbbak doctor',
      ],
    },
  )
}

async function hasConfigKey(path: string): Promise<boolean> {
  try {
    return (JSON.parse(await readFile(path, 'utf8')) as {dbbak?: unknown} | null)?.dbbak !== undefined
  } catch {
    return false // broken or unreadable: somebody else's matter
  }
}

async function refuseUnwritable(folder: string): Promise<void> {
  const there = await nearest(folder)
  try {
    await access(join(there, '.'), constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new DbbakError('OPTION_INVALID', `${folder} cannot be written to: ${messageOf(cause)}.`, {
      cause,
      suggestions: [`ls -ld ${shellWord(there)}`, 'Write elsewhere: dbbak init --dir FOLDER'],
    })
  }
}

/** The service runs as a user of its own, who has to get into the folders. */
async function refuseClosed({folder, user}: Places & {user: string}, folders: string[]): Promise<void> {
  for (const path of [folder, ...folders.map(dirname)]) {
    const closed = await closedFolder(path)
    if (closed === undefined) continue
    throw new DbbakError(
      'OPTION_INVALID',
      `The service runs as the user ${user}, and not as root; that user cannot get into ${closed}.`,
      {
        suggestions: [
          'Take folders that are open to it: dbbak init --systemd --dir /etc/dbbak --to /var/backups/dbbak',
          'Or run dbbak init as the user whose service it is to be.',
        ],
      },
    )
  }
}

/** The first folder on the way to a path that others than its owner and group cannot pass. */
export async function closedFolder(path: string): Promise<string | undefined> {
  const above = dirname(path)
  const closed = above === path ? undefined : await closedFolder(above)
  if (closed !== undefined) return closed
  const found = await stat(path).catch(() => undefined)
  return found?.isDirectory() && (found.mode & 0o001) === 0 ? path : undefined
}

/** The path, or what is there of the way to it. */
async function nearest(path: string): Promise<string> {
  const isThere = await stat(path).then(
    () => true,
    (error: unknown) => systemCode(error) !== 'ENOENT',
  )
  return isThere || dirname(path) === path ? path : nearest(dirname(path))
}
