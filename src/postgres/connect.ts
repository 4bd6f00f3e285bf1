import pg from 'pg'
import {DbbakError} from '../support/errors.js'
import type {ConnectionDescription, HostAddress} from './connection.js'
import {asConnectionError, isRefusedSession, isTlsFailure} from './connection-errors.js'
import {isConnectionLoss} from './query-errors.js'
import {destroySession, guardSession} from './session-guard.js'
import {liftTimeLimits} from './time-limits.js'
import type {Transport} from './tls.js'

export {asConnectionError} from './connection-errors.js'
export {asQueryError} from './query-errors.js'

export interface ConnectOptions {
  /** Ends the attempt; it has no hold on the session once that is open. */
  signal?: AbortSignal | undefined
  /** What pg_stat_activity shows; default: what the description says, else `dbbak`. */
  applicationName?: string | undefined
  /** For each host; default: the description's connect_timeout. 0: for ever. */
  connectTimeoutMs?: number | undefined
}

export interface Session {
  client: pg.Client
  /** Names the one host that was reached. */
  description: ConnectionDescription
}

/**
 * Opens a session; tries several hosts in order with target_session_attrs; the description it gives back names the one
 * host it reached. As with libpq, the next host is tried where one does not answer, not where it refuses the password.
 * Sessions give int8, numeric, dates and times as text, and have no time limits. One that is lost does not end the
 * process: its next query fails.
 * @throws DbbakError SERVER_UNREACHABLE, AUTHENTICATION_FAILED, DATABASE_NOT_FOUND, TLS_FAILED, …; the signal's reason
 */
export async function connect(
  description: ConnectionDescription,
  options: ConnectOptions = {},
): Promise<Session> {
  const wanted = description.setting('target_session_attrs') || 'any'
  if (wanted !== 'prefer-standby') return firstOf(description, options, wanted)
  try {
    return await firstOf(description, options, 'standby')
  } catch (error) {
    if (!canTryElsewhere(error)) throw error
    return firstOf(description, options, 'any')
  }
}

async function firstOf(
  description: ConnectionDescription,
  options: ConnectOptions,
  wanted: string,
): Promise<Session> {
  const failures: DbbakError[] = []
  for (const host of inOrder(description)) {
    const single = description.withHost(host)
    try {
      return await sessionAt(single, options, wanted)
    } catch (error) {
      options.signal?.throwIfAborted()
      const failure = asConnectionError(error, single)
      if (!canTryElsewhere(failure)) throw failure
      failures.push(failure)
    }
  }
  throw failures.length === 1 ? failures[0]! : noneAnswered(failures)
}

function inOrder(description: ConnectionDescription): HostAddress[] {
  if (description.setting('load_balance_hosts') !== 'random') return [...description.hosts]
  return description.hosts
    .map((host) => ({host, at: Math.random()}))
    .sort((a, b) => a.at - b.at)
    .map(({host}) => host)
}

const canTryElsewhere = (error: unknown): boolean =>
  error instanceof DbbakError && error.code === 'SERVER_UNREACHABLE'

function noneAnswered(failures: DbbakError[]): DbbakError {
  const messages = failures.map(({message}) => message.replace(/\.$/, ''))
  return new DbbakError(
    'SERVER_UNREACHABLE',
    `None of the ${failures.length} hosts can be used: ${messages.join('; ')}.`,
    {
      suggestions: [...new Set(failures.flatMap(({suggestions}) => suggestions))],
      cause: failures[0],
    },
  )
}

async function sessionAt(
  description: ConnectionDescription,
  options: ConnectOptions,
  wanted: string,
): Promise<Session> {
  const session = await byEitherTransport(description, options)
  try {
    await requireAttributes(session, wanted)
    return session
  } catch (error) {
    destroySession(session.client)
    throw error
  }
}

/** `prefer` and `allow` have a second way, for when the server refuses the first. */
async function byEitherTransport(
  description: ConnectionDescription,
  options: ConnectOptions,
): Promise<Session> {
  const [first, second] = description.transports()
  try {
    return await open(description, first, options)
  } catch (error) {
    options.signal?.throwIfAborted()
    const isWorthIt = isRefusedSession(error) || (first === 'tls' && isTlsFailure(error))
    if (second === undefined || !isWorthIt) throw error
    return open(description, second, options).catch((again: unknown) => {
      // The second refusal of two says nothing new; but "no TLS here" was an answer, not a refusal.
      throw isTlsFailure(error) && first === 'tls' ? again : error
    })
  }
}

/**
 * Very short limits have to be away from the start: one on statements may still cancel what comes after it is lifted, one
 * on idle sessions ends them before we come to say a word. Not at once, since a pooler or an older server refuses that.
 */
async function open(
  description: ConnectionDescription,
  transport: Transport,
  options: ConnectOptions,
): Promise<Session> {
  const first = await openOnce(description, transport, options)
  if (first.limits === 'lifted') return first
  const unlimited = description.withServerSettings(atStart(first.limits))
  try {
    const second = await openOnce(unlimited, transport, options)
    if (!(second.limits instanceof Error)) {
      destroySession(first.client)
      return second
    }
  } catch {
    // what follows
  }
  if (options.signal?.aborted) destroySession(first.client)
  options.signal?.throwIfAborted()
  if (first.limits instanceof Error) throw first.limits
  return first
}

const atStart = (limits: 'short' | Error): Record<string, string> =>
  limits === 'short' ? {statement_timeout: '0'} : {statement_timeout: '0', idle_session_timeout: '0'}

interface Opened extends Session {
  /** `short`: lifted, too; an error: the session was lost by then. */
  limits: 'lifted' | 'short' | Error
}

async function openOnce(
  description: ConnectionDescription,
  transport: Transport,
  options: ConnectOptions,
): Promise<Opened> {
  const client = newClient(description, transport, options)
  await endedByAbort(client, options.signal, () => client.connect())
  const limits = await endedByAbort(client, options.signal, () => liftTimeLimits(client)).catch(lossOrThrow)
  return {client, description: description.withTransport(transport), limits}
}

function lossOrThrow(error: unknown): Error {
  if (isConnectionLoss(error)) return error as Error
  throw error
}

function newClient(
  description: ConnectionDescription,
  transport: Transport,
  {applicationName, connectTimeoutMs}: ConnectOptions,
): pg.Client {
  const client = new pg.Client({
    ...description.clientConfig(transport),
    ...(applicationName === undefined ? {} : {application_name: applicationName}),
    ...(connectTimeoutMs === undefined ? {} : {connectionTimeoutMillis: connectTimeoutMs}),
    types: {getTypeParser},
  })
  // A lost session is also reported here, outside any query; without a listener that would end the process.
  client.on('error', () => {})
  guardSession(client, description)
  return client
}

/** Work in a session that does not outlive the work's failure. */
async function endedByAbort<T>(
  client: pg.Client,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const abort = () => destroySession(client, new Error('The attempt was cancelled.'))
  signal?.addEventListener('abort', abort, {once: true})
  try {
    return await work()
  } catch (error) {
    destroySession(client)
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

/** date, timestamp, timestamptz, interval and their arrays: a JavaScript Date would lose microseconds and infinity. */
const asText = new Set([1082, 1114, 1184, 1186])
const asTextArray = new Set([1182, 1115, 1185, 1187])
const textArray = 1009

function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  if (format === 'binary') return pg.types.getTypeParser(oid, format)
  if (asText.has(oid)) return (value: string) => value
  return pg.types.getTypeParser(asTextArray.has(oid) ? textArray : oid, 'text')
}

async function requireAttributes({client, description}: Session, wanted: string): Promise<void> {
  if (wanted === 'any') return
  const {rows} = await client.query<{standby: boolean; readOnly: boolean}>(
    `select pg_catalog.pg_is_in_recovery() as standby,
       pg_catalog.current_setting('transaction_read_only') operator(pg_catalog.=) 'on' as "readOnly"`,
  )
  const {standby, readOnly} = rows[0]!
  const fits: Record<string, boolean> = {
    'read-write': !readOnly && !standby,
    'read-only': readOnly || standby,
    primary: !standby,
    standby,
  }
  if (fits[wanted]) return
  const is = standby ? 'a standby' : readOnly ? 'a read-only primary' : 'a primary'
  throw new DbbakError(
    'SERVER_UNREACHABLE',
    `${description.redacted()} is ${is}; target_session_attrs asks for ${wanted}.`,
    {
      suggestions: ['Name the other servers too (host1,host2), or change target_session_attrs'],
    },
  )
}
