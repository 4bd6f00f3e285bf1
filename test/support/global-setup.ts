import {chmodSync, mkdtempSync, readdirSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {delimiter, dirname, join} from 'node:path'

const prefix = 'dbbak-test-'

/**
 * Runs once before all tests. Every `node` that they start is the one that runs them, not an older one of the system;
 * and their temporary folders lie in one of this run, so that at its end one can see what was left.
 */
export default function prepareTests(): void {
  process.env.PATH = [dirname(process.execPath), process.env.PATH ?? ''].join(delimiter)
  const parent = tmpdir()
  removeDead(parent)
  const folder = mkdtempSync(join(parent, `${prefix}${process.pid}-`))
  chmodSync(folder, 0o711) // servers that root starts run as another user, who has to pass through
  process.env.TMPDIR = process.env.TEMP = process.env.TMP = process.env.DBBAK_TEST_RUN_FOLDER = folder
}

/** What runs left that were killed. */
function removeDead(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = Number(/^dbbak-test-(\d+)-/.exec(name)?.[1])
    if (pid > 0 && !isAlive(pid)) rmSync(join(parent, name), {recursive: true, force: true})
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
