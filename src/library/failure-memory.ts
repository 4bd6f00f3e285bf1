import {createHash, randomBytes} from 'node:crypto'
import {mkdir, rename, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'

/** Keeps in mind that some work failed, until it succeeds. What goes wrong with it is nobody's trouble. */
export interface FailureMemory {
  remember(): Promise<void>
  /** @returns whether it had failed */
  forget(): Promise<boolean>
}

/**
 * A file for each kind of work: runs at the same time do not disturb one another.
 * @param cacheDir undefined where nobody wants to know
 */
export function failureMemory(cacheDir: string | undefined, work: string): FailureMemory {
  if (cacheDir === undefined) return {remember: () => Promise.resolve(), forget: () => Promise.resolve(false)}
  const folder = join(cacheDir, 'failures')
  const path = join(folder, createHash('sha256').update(work).digest('hex').slice(0, 32))
  return {
    async remember() {
      const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`
      try {
        await mkdir(folder, {recursive: true, mode: 0o700})
        await writeFile(temporary, '', {mode: 0o600, flag: 'wx'})
        await rename(temporary, path)
      } catch {
        await rm(temporary, {force: true}).catch(() => {})
      }
    },
    forget: () =>
      rm(path).then(
        () => true,
        () => false,
      ),
  }
}
