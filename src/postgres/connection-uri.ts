import {assign, unknownParameter, type Fail, type Settings} from './connection-parameters.js'

const scheme = /^postgres(?:ql)?:\/\//

export function isUri(text: string): boolean {
  return scheme.test(text)
}

/**
 * Reads libpq's URL: `postgresql://[user[:password]@][host][:port][,…][/dbname][?parameter=value&…]`.
 *
 * Where libpq finds a meaning, this is it. Beyond libpq, two things are understood because they can mean only one
 * thing: a raw `@` in the user name or password (the last `@` before a `/` or `?` ends them), and a raw `=`
 * in a parameter's value. A raw `@` after the first `/` is refused: it could as well be the end of a password with a
 * raw `/` in it, and half a password would be taken, and shown, for a database name. A raw `%` is refused as in libpq.
 */
export function parseUri(uri: string, fail: Fail): Settings {
  const {credentials, address} = splitCredentials(uri.replace(scheme, ''))
  const settings: Settings = {}
  if (credentials !== undefined) readCredentials(credentials, settings, fail)
  const {path, query} = readHosts(address, settings, fail)
  if (path.includes('@'))
    throw fail('there is an @ after the first /, so that its parts cannot be told apart', howToEncode)
  if (path !== '') settings.dbname = decode(path, 'the database name', fail)
  readQuery(query, settings, fail)
  return settings
}

/** What to write in a URL for the characters that mean something there. */
export const howToEncode = [
  'In the user, password and database name write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F and # as %23',
  'Or leave the password out of the URL and set it in the variable PGPASSWORD, as it is',
]

function splitCredentials(rest: string): {credentials?: string; address: string} {
  const slash = rest.indexOf('/')
  const firstAt = rest.indexOf('@')
  if (firstAt === -1 || (slash !== -1 && slash < firstAt)) return {address: rest}
  const end = rest.slice(firstAt).search(/[/?]/)
  const lastAt = end === -1 ? rest.lastIndexOf('@') : rest.lastIndexOf('@', firstAt + end)
  return {credentials: rest.slice(0, lastAt), address: rest.slice(lastAt + 1)}
}

function readCredentials(credentials: string, settings: Settings, fail: Fail): void {
  const colon = credentials.indexOf(':')
  const user = colon === -1 ? credentials : credentials.slice(0, colon)
  const password = colon === -1 ? '' : credentials.slice(colon + 1)
  if (user !== '') settings.user = decode(user, 'the user name', fail)
  if (password !== '') settings.password = decode(password, 'the password', fail)
}

const ipv6Example = ['An IPv6 address is written like this: postgresql://user@[::1]:5432/database']

/**
 * One `host:port` and what ends it. A `[` opens an IPv6 address, maybe with a zone, in which `:` is no end: anything else
 * there would be what stands in a password.
 */
const hostAndPort =
  /(?:\[(?<ipv6>[\w:.%~-]+)\]|(?<name>(?!\[)[^:/?,]*))(?::(?<port>[^/?,]*))?(?<end>[,/?]|$)/y

function readHosts(address: string, settings: Settings, fail: Fail): {path: string; query: string} {
  const hosts: string[] = []
  const ports: string[] = []
  hostAndPort.lastIndex = 0
  let end = ','
  while (end === ',') {
    const groups = hostAndPort.exec(address)?.groups
    if (groups === undefined)
      throw fail('an IPv6 address is not well-formed; it is written in brackets', ipv6Example)
    hosts.push(groups.ipv6 ?? groups.name ?? '')
    ports.push(groups.port ?? '')
    end = groups.end ?? ''
    if (end === '') break
  }
  const rest = end === '' ? '' : address.slice(hostAndPort.lastIndex)
  if (hosts.join(',') !== '') settings.host = decode(hosts.join(','), 'the host', fail)
  if (ports.join(',') !== '') settings.port = decode(ports.join(','), 'the port', fail)
  return end === '?' ? {path: '', query: rest} : splitPath(rest)
}

function splitPath(rest: string): {path: string; query: string} {
  const mark = rest.indexOf('?')
  return mark === -1 ? {path: rest, query: ''} : {path: rest.slice(0, mark), query: rest.slice(mark + 1)}
}

function readQuery(query: string, settings: Settings, fail: Fail): void {
  const pairs = query.split('&')
  if (pairs.at(-1) === '') pairs.pop()
  // What follows a raw @ or a password may itself be a part of the password, so it is not repeated.
  let hide = query.includes('@')
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    if (equals === -1) throw fail('a parameter after the ? has no =', howToEncode)
    const name = decode(pair.slice(0, equals), 'the name of a parameter', fail)
    const value = decode(pair.slice(equals + 1), 'the value of a parameter', fail)
    if (!assign(settings, name, value)) throw fail(unknownParameter(name, hide), [parametersAre])
    hide ||= name.endsWith('password')
  }
}

const parametersAre =
  'The parameters are listed under "Parameter Key Words" in PostgreSQL\'s manual, chapter libpq'

/** Undoes percent-encoding; `+` stands for itself. */
function decode(text: string, what: string, fail: Fail): string {
  if (/%(?![0-9a-f]{2})/i.test(text)) {
    throw fail(`${what} has a % that is not followed by two hexadecimal digits`, howToEncode)
  }
  if (text.includes('%00') || text.includes('\0')) throw fail(`${what} has a zero character`, howToEncode)
  try {
    return decodeURIComponent(text)
  } catch {
    throw fail(`${what} has percent-encoded bytes that are not UTF-8`, howToEncode)
  }
}
