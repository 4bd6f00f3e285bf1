import {isIP} from 'node:net'
import type {MailServer} from './email.js'

/**
 * Reads smtp://user:password@host:587 and smtps://… . A password travels encrypted or not at all; a server on this
 * machine is spoken to as it is, since its certificate is seldom one that could be checked. `?tls=required`,
 * `if-offered` or `never` says otherwise.
 * @returns what is wrong, without a value, where it cannot be used
 */
export function mailServerOf(text: string): MailServer | string {
  const url = URL.parse(text.trim())
  if (url === null || (url.protocol !== 'smtp:' && url.protocol !== 'smtps:') || url.hostname === '')
    return 'is not a URL such as smtps://user:password@host:465 (characters like @ : / in a password are written %40 %3A %2F)'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const user = decoded(url.username)
  const password = decoded(url.password)
  if (user === undefined || password === undefined)
    return 'has a % in the user or the password that begins no escape; % itself is written %25'
  const [unknown] = [...url.searchParams.keys()].filter((key) => key !== 'tls')
  if (unknown !== undefined) return 'has a parameter other than tls'
  const tls = tlsOf(url, host)
  if (tls === undefined) return 'has a tls parameter that is none of required, if-offered and never'
  const port = url.port === '' ? defaultPort(tls, user) : Number(url.port)
  return {host, port, tls, ...(user === '' ? {} : {user, password})}
}

function tlsOf(url: URL, host: string): MailServer['tls'] | undefined {
  if (url.protocol === 'smtps:') return 'from-the-start'
  const asked = url.searchParams.get('tls')
  if (asked === null) {
    if (isThisMachine(host)) return 'never'
    return url.password === '' ? 'if-offered' : 'required'
  }
  return (['required', 'if-offered', 'never'] as const).find((one) => one === asked)
}

const isThisMachine = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

/** Submission with a login, relaying without. */
function defaultPort(tls: MailServer['tls'], user: string): number {
  if (tls === 'from-the-start') return 465
  return user === '' ? 25 : 587
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
