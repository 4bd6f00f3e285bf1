import {DbbakError, messageOf, systemCode, type ErrorCode} from '../support/errors.js'

/** An error that the server itself reported. */
export interface ServerError extends Error {
  /** SQLSTATE. */
  code: string
  severity: string
  hint?: string
  /** The function in the server's source: unlike the message, in no language. */
  routine?: string
}

export function isServerError(error: unknown): error is ServerError {
  const {code, severity} = (error ?? {}) as Partial<ServerError>
  return error instanceof Error && /^[0-9A-Z]{5}$/.test(code ?? '') && typeof severity === 'string'
}

/**
 * Any error of a query turned into a DbbakError: PERMISSION_DENIED, ROW_SECURITY, LOCK_TIMEOUT, LOCK_TABLE_TOO_SMALL,
 * CONNECTION_LOST, or QUERY_FAILED with what the server says. `doing` goes after "While": "counting rows".
 */
export function asQueryError(error: unknown, doing: string): DbbakError {
  if (error instanceof DbbakError) return error
  const code = isServerError(error)
    ? codeOf(error)
    : isConnectionLoss(error)
      ? 'CONNECTION_LOST'
      : 'QUERY_FAILED'
  const server = isServerError(error) ? error : undefined
  return new DbbakError(code, `While ${doing}: ${messageOf(error)}.`, {
    suggestions: suggestions[code] ?? (server?.hint ? [server.hint] : []),
    cause: error,
    ...(server === undefined ? {} : {details: {sqlState: server.code}}),
  })
}

/** What a server said, or the loss of its connection, as a DbbakError; anything else, a bug, as it is. */
export function explained(error: unknown, doing: string): unknown {
  return isServerError(error) || isConnectionLoss(error) ? asQueryError(error, doing) : error
}

function codeOf(error: ServerError): ErrorCode {
  if (isConnectionLoss(error)) return 'CONNECTION_LOST'
  if (error.code === '55P03') return 'LOCK_TIMEOUT'
  if (error.code === '42501') return isRowSecurity(error) ? 'ROW_SECURITY' : 'PERMISSION_DENIED'
  if (error.code === '53200' && isLockTable(error)) return 'LOCK_TABLE_TOO_SMALL'
  return 'QUERY_FAILED'
}

const isRowSecurity = ({message, routine}: ServerError): boolean =>
  /row-level security/.test(message) || routine === 'check_enable_rls'

/** 53200 is also said of ordinary memory. */
const isLockTable = ({message, hint = ''}: ServerError): boolean =>
  message.includes('shared memory') || hint.includes('max_locks_per_transaction')

const lostStates = /^(08...|57P0[1-5]|25P03)$/
const lostMessages = /Connection terminated|not queryable|Client was closed|hang up|Client has encountered/
const lostCodes = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED', 'ERR_STREAM_DESTROYED'])

/** The session is gone, so that nothing can be asked in it any more. */
export function isConnectionLoss(error: unknown): boolean {
  if (isServerError(error)) return lostStates.test(error.code)
  return lostCodes.has(systemCode(error) ?? '') || lostMessages.test(messageOf(error))
}

/**
 * Whether what a client tool printed says so: libpq's words (fe-connect.c, fe-secure.c, fe-misc.c) and those with which a
 * server ends a session. Only where a line begins with them, since statements are quoted too, whatever is in those.
 */
export function tellsOfConnectionLoss(printed: string): boolean {
  return lostLine.test(printed)
}

const lostLine = new RegExp(
  String.raw`^(?:(?:psql|pg_dump|pg_dumpall|pg_restore)\b.*?: |error: )?(?:FATAL: +)?(?:${[
    'server closed the connection unexpectedly',
    'terminating connection ',
    '(?:the )?connection to (?:the )?server was lost',
    'connection to server (?:at|on) .* failed: ',
    'SSL connection has been closed unexpectedly',
    'SSL SYSCALL error: ',
    'no connection to the server',
    'could not (?:receive data from|send data to) server: ',
    'the database system is (?:starting up|shutting down|in recovery mode|not yet accepting connections)',
  ].join('|')})`,
  'im',
)

const suggestions: Partial<Record<ErrorCode, string[]>> = {
  PERMISSION_DENIED: [
    'Use a role that may read everything: GRANT pg_read_all_data TO the_role (PostgreSQL 14 and newer), or the owner',
  ],
  ROW_SECURITY: [
    'Use the tables’ owner, a superuser, or a role with BYPASSRLS: ALTER ROLE the_role BYPASSRLS',
  ],
  LOCK_TABLE_TOO_SMALL: [
    'Raise max_locks_per_transaction and restart the server: ALTER SYSTEM SET max_locks_per_transaction = 1024',
  ],
  LOCK_TIMEOUT: [
    'Wait for the session that holds the lock (pg_stat_activity shows it), or allow more time: --lock-timeout',
  ],
  CONNECTION_LOST: ['Look at the server’s log for why the session ended, then try again'],
}
