import {existsSync} from 'node:fs'
import {delimiter, dirname, join, resolve} from 'node:path'
import type {InitPlan} from './plan.js'

export interface Started {
  /** The Node.js that runs now. */
  node: string
  /** What it was started with: the name by which dbbak was called. */
  script: string | undefined
  path: string | undefined
}

/**
 * The programs of schedules on this machine, by absolute paths. What npx fetched is gone some day, so where it runs now
 * the installed one is named, and where there is none that which `npm install --global` will make.
 */
export function findPrograms({
  node,
  script,
  path = '',
}: Started): Pick<InitPlan, 'nodeFolder' | 'program' | 'isInstalled'> {
  const nodeFolder = isPassing(node) ? '/usr/local/bin' : dirname(node)
  const called = script !== undefined && !isPassing(script) && isDbbak(script) ? resolve(script) : undefined
  const candidates = path.split(delimiter).filter((folder) => folder !== '' && !isPassing(folder))
  const found =
    called ?? candidates.map((folder) => resolve(folder, 'dbbak')).find((file) => existsSync(file))
  return {nodeFolder, program: found ?? join(nodeFolder, 'dbbak'), isInstalled: found !== undefined}
}

/** Whether it lies where npx keeps what it fetched. */
const isPassing = (path: string): boolean => /[\\/]_npx[\\/]/.test(`${path}/`)

/** A program that uses the library is not dbbak. */
const isDbbak = (script: string): boolean => /(^|[\\/])(dbbak|bin[\\/]run\.js)$/.test(script)
