import {DbbakError, messageOf, systemCode, type ErrorCode} from '../support/errors.js'
import type {ConnectionDescription} from './connection.js'
import {isSocketFolder} from './host-address.js'
import {isConnectionLoss, isServerError, type ServerError} from './query-errors.js'
import {shellWord} from '../support/shell.js'

/** Any error of `pg` or of node's net turned into a DbbakError with the right code. */
export function asConnectionError(error: unknown, description: ConnectionDescription): DbbakError {
  if (error instanceof DbbakError) return error
  if (isServerError(error)) return refusedByServer(error, description)
  if (isTlsFailure(error)) return tlsFailed(error, description)
  if (/SASL|SCRAM|authentication/i.test(messageOf(error))) return authenticationBroken(error, description)
  return unreachable(error, description)
}

/** The server looked at who is calling and how, and said no: it may say yes to TLS, or to no TLS. */
export function isRefusedSession(error: unknown): boolean {
  return isServerError(error) && error.code === '28000'
}

const tlsCode =
  /^(ERR_TLS|ERR_SSL|ERR_OSSL|ERR_MISSING_PASSPHRASE|CERT_|CRL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH)/
const tlsMessage = /does not support SSL|establishing an SSL|secure TLS connection|certificate/i

export function isTlsFailure(error: unknown): boolean {
  if (error instanceof DbbakError) return error.code === 'TLS_FAILED'
  if (isServerError(error)) return false
  return tlsCode.test(systemCode(error) ?? '') || tlsMessage.test(messageOf(error))
}

const serverCodes: Record<string, ErrorCode> = {
  '28P01': 'AUTHENTICATION_FAILED',
  '28000': 'AUTHENTICATION_FAILED',
  '3D000': 'DATABASE_NOT_FOUND',
  '42501': 'PERMISSION_DENIED',
  '57P03': 'SERVER_UNREACHABLE',
  '53300': 'SERVER_UNREACHABLE',
  '55000': 'SERVER_UNREACHABLE',
}

function refusedByServer(error: ServerError, description: ConnectionDescription): DbbakError {
  const code = serverCodes[error.code] ?? (isConnectionLoss(error) ? 'CONNECTION_LOST' : 'QUERY_FAILED')
  return new DbbakError(
    code,
    `${description.redacted()}: the server refused the session: ${error.message}.`,
    {
      suggestions: suggestionsFor(error, description),
      cause: error,
      details: {sqlState: error.code},
    },
  )
}

function suggestionsFor(error: ServerError, description: ConnectionDescription): string[] {
  switch (error.code) {
    case '28P01':
      return [`Check the user and password in ${description.source}`, psql(description, "-c 'select 1'")]
    case '28000':
      return [
        'The server has no rule in pg_hba.conf that lets this user in from here, or the role may not log in',
        ...(description.setting('sslmode') === 'disable' ? ['If it wants TLS: sslmode=require'] : []),
      ]
    case '3D000':
      return [`Which databases there are: ${psql(description.withDatabase('postgres'), '-l')}`]
    case '42501':
      return [`GRANT CONNECT ON DATABASE … TO ${JSON.stringify(description.user)}, by the database's owner`]
    case '53300':
      return ['Wait until other sessions have ended, or raise max_connections; a superuser still gets in']
    case '57P03':
      return ['The server is starting, stopping or recovering: try again in a moment']
    default:
      return error.hint ? [error.hint] : []
  }
}

function tlsFailed(error: unknown, description: ConnectionDescription): DbbakError {
  const missing = /does not support SSL/.test(messageOf(error))
  const mode = description.setting('sslmode')
  const why = missing ? 'the server does not offer TLS' : messageOf(error)
  return new DbbakError(
    'TLS_FAILED',
    `${description.redacted()}: no TLS session (sslmode=${mode}): ${why}.`,
    {
      suggestions: missing
        ? ['Turn TLS on at the server (ssl = on), or if the way there is safe without it: sslmode=disable']
        : [
            'Give the certificate of the authority that signed the server’s: sslrootcert=/path/to/ca.crt, or sslrootcert=system',
            ...(mode === 'verify-full' ? ['Name the host as it stands in the certificate'] : []),
          ],
      cause: error,
    },
  )
}

function authenticationBroken(error: unknown, description: ConnectionDescription): DbbakError {
  const method = /Unknown authenticationOk message type/.test(messageOf(error))
    ? 'the server asks for a way of authentication that dbbak does not know (GSSAPI, SSPI, OAuth, …)'
    : messageOf(error)
  return new DbbakError('AUTHENTICATION_FAILED', `${description.redacted()}: ${method}.`, {
    suggestions: ['Let the user in by scram-sha-256, md5, a client certificate or trust (pg_hba.conf)'],
    cause: error,
  })
}

function unreachable(error: unknown, description: ConnectionDescription): DbbakError {
  const why = isTimeout(error) ? 'no answer in time' : (reasons[systemCode(error) ?? ''] ?? reasonOf(error))
  const {host, port} = description
  const running = isSocketFolder(host)
    ? `ls -la ${shellWord(host)}`
    : `pg_isready -h ${shellWord(host)} -p ${port}`
  return new DbbakError('SERVER_UNREACHABLE', `${description.redacted()} cannot be reached: ${why}.`, {
    suggestions: [`Check that the server runs and is reachable from here: ${running}`],
    cause: error,
    details: {host, port},
  })
}

const isTimeout = (error: unknown): boolean =>
  /timeout expired|timed out/i.test(messageOf(error)) || systemCode(error) === 'ETIMEDOUT'

const reasons: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused (ECONNREFUSED)',
  ENOENT: 'there is no server socket of that port (ENOENT)',
  EACCES: 'the socket may not be used by this user (EACCES)',
  ENOTFOUND: 'there is no host of that name (ENOTFOUND)',
  EAI_AGAIN: 'the name of the host cannot be looked up now (EAI_AGAIN)',
  EHOSTUNREACH: 'there is no way to the host (EHOSTUNREACH)',
  ENETUNREACH: 'there is no way to its network (ENETUNREACH)',
  ECONNRESET: 'the connection was closed while it was being opened (ECONNRESET)',
}

function reasonOf(error: unknown): string {
  const message = messageOf(error)
  return /terminated unexpectedly|hang up/.test(message)
    ? 'the connection was closed while it was being opened'
    : message
}

function psql(description: ConnectionDescription, rest: string): string {
  const {host, port, user, database} = description
  return `psql -h ${shellWord(host)} -p ${port} -U ${shellWord(user)} -d ${shellWord(database)} ${rest}`
}
