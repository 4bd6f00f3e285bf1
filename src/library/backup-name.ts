import {dirname, basename} from 'node:path'
import {DbbakError} from '../support/errors.js'

/**
 * A backup named by path or URL names its destination too.
 * @returns what to look for, and where, if the text says so
 */
export function splitBackupName(text: string): {name: string; from: string | undefined} {
  const url = /^([a-z][a-z0-9+.-]*:\/\/.*)\/([^/]+)\/?$/i.exec(text)
  if (url?.[1] && url[2]) return {name: url[2], from: url[1]}
  const isPath = text.includes('/') || (process.platform === 'win32' && text.includes('\\'))
  return isPath ? {name: basename(text), from: dirname(text)} : {name: text, from: undefined}
}

/**
 * Refuses two ways of saying which backup is meant: one of them would be ignored.
 * @param ways how each is written on the command line, and whether it was
 * @throws DbbakError OPTION_INVALID
 */
export function refuseSeveralWays(command: 'verify' | 'restore', ways: Record<string, boolean>): void {
  const given = Object.keys(ways).filter((way) => ways[way])
  if (given.length < 2) return
  throw new DbbakError('OPTION_INVALID', `${given.join(' and ')} were given; which backup is meant?`, {
    suggestions: [`dbbak ${command} --latest`, `dbbak ${command} NAME, with a name from: dbbak list`],
  })
}
