import {dirname, basename} from 'node:path'

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
