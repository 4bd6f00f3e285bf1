import {readFile, stat} from 'node:fs/promises'
import {dirname} from 'node:path'
import {DbbakError} from '../../support/errors.js'

/** The ordinary user as whom a server runs that root starts: PostgreSQL refuses to run as root. */
export interface RunAs {
  name: string
  uid: number
  gid: number
}

/** In this order: the user that was made for it, then the one that owns nothing. */
const wanted = ['postgres', 'nobody']

/**
 * Whom to become. @returns undefined when this process is not root: it stays who it is.
 * @throws DbbakError SCRATCH_NOT_AVAILABLE when there is nobody to become (initdb needs a user with a name)
 */
export async function findRunAs(): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const users = parsePasswd(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  const found = wanted
    .map((name) => users.find((user) => user.name === name))
    .find((user) => user !== undefined)
  if (found) return found
  throw new DbbakError(
    'SCRATCH_NOT_AVAILABLE',
    'A PostgreSQL server cannot run as root, and there is no user postgres or nobody here.',
    {
      suggestions: ['Run dbbak as an ordinary user.', 'useradd --system postgres'],
    },
  )
}

/** The users of an /etc/passwd that are not root. */
export function parsePasswd(text: string): RunAs[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid] = line.split(':')
    const user = {name: name ?? '', uid: Number(uid), gid: Number(gid)}
    return user.name && uid && gid && user.uid > 0 && Number.isInteger(user.gid) ? [user] : []
  })
}

/** Whether that user may pass through all folders down to this one, and enter it. */
export async function canReach(folder: string, {uid, gid}: RunAs): Promise<boolean> {
  for (let at = folder; ; at = dirname(at)) {
    const info = await stat(at).catch(() => undefined)
    if (!info) return false
    const execute = info.uid === uid ? 0o100 : info.gid === gid ? 0o010 : 0o001
    if ((info.mode & execute) === 0) return false
    if (at === dirname(at)) return true
  }
}
