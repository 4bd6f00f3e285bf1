import {setTimeout as delay} from 'node:timers/promises'
import type {Client} from 'pg'
import {asQueryError, connect} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {prepareSession} from '../../postgres/server.js'
import {destroySession} from '../../postgres/session-guard.js'

/** The session in which a restore is done, and which process of the server serves it. */
export interface TargetSession {
  client: Client
  /** Names the one host that was reached. */
  connection: ConnectionDescription
  backend: Backend
}

/** A process of the server; its number alone is given to others after it. */
interface Backend {
  pid: number
  startedAt: string
}

export const applicationName = 'dbbak restore'

/** A peer that is gone without a word is noticed after about a minute, on either side, and not after hours. */
const keepAliveMs = 60_000
const serverKeepAlive =
  'set tcp_keepalives_idle = 60; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 6; set tcp_user_timeout = 120000'

/**
 * Opens the session for a restore. An abort of the signal ends it at once, whatever it waits for: the server rolls
 * back, and what is asked of the session fails.
 * @throws DbbakError as `connect` does; the signal's reason
 */
export async function openTargetSession(
  description: ConnectionDescription,
  lockTimeoutMs: number,
  signal: AbortSignal,
): Promise<TargetSession> {
  const {client, description: connection} = await connect(description, {applicationName, signal})
  const cut = () => destroySession(client)
  signal.addEventListener('abort', cut, {once: true})
  client.once('end', () => signal.removeEventListener('abort', cut))
  if (signal.aborted) cut()
  if (!connection.setting('keepalives_idle') && connection.setting('keepalives') !== '0')
    socketOf(client).setKeepAlive(true, keepAliveMs)
  try {
    await prepareSession(client, lockTimeoutMs)
    await client.query(serverKeepAlive)
    await settleSession(client, lockTimeoutMs)
    return {client, connection, backend: await backendOf(client)}
  } catch (error) {
    destroySession(client)
    signal.throwIfAborted()
    throw asQueryError(error, 'preparing the session')
  }
}

/** The settings under which our own statements run, whatever a role's settings or a dump's SET have made of them. */
export async function settleSession(client: Client, lockTimeoutMs: number): Promise<void> {
  await client.query(
    `reset session authorization; reset role; set client_encoding = 'UTF8'; set standard_conforming_strings = on;
     set search_path = pg_catalog; set row_security = off; set lock_timeout = ${Math.round(lockTimeoutMs)}`,
  )
}

async function backendOf(client: Client): Promise<Backend> {
  const {rows} = await client.query<Backend>(
    `select pid, backend_start::text as "startedAt" from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()`,
  )
  return rows[0] as Backend
}

const socketOf = (client: Client) =>
  (client as unknown as {connection: {stream: {setKeepAlive(on: boolean, delayMs: number): void}}}).connection
    .stream

const farewellMs = 5000

/** Rolls back, and ends the session. @returns whether the server said that it did, within a few seconds */
export function rollBackSession(session: TargetSession): Promise<boolean> {
  return inTime(session, async ({client}) => {
    await client.query('rollback')
    await client.end()
  })
}

/** Ends the session in good order; never throws. */
export async function leaveSession(session: TargetSession): Promise<void> {
  await inTime(session, ({client}) => client.end())
}

async function inTime(
  session: TargetSession,
  work: (session: TargetSession) => Promise<void>,
): Promise<boolean> {
  const {client} = session
  const timer = setTimeout(() => destroySession(client), farewellMs)
  try {
    await work(session)
    return true
  } catch {
    destroySession(client)
    return false
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Ends the server's side of a session that is lost or was cut off: it may be in the middle of a long statement, hold
 * every lock, and not notice for a while. Asked in a session of its own. @returns whether it is known to be gone
 */
export async function endBackend(
  {connection, backend}: Omit<TargetSession, 'client'>,
  timeoutMs = 10_000,
): Promise<boolean> {
  try {
    return await inShortSession(connection, timeoutMs, (client) => backendGone(client, backend, timeoutMs))
  } catch {
    return false
  }
}

/** Runs queries in a session of their own that lasts so long at the most. @throws whatever goes wrong */
export async function inShortSession<T>(
  connection: ConnectionDescription,
  timeoutMs: number,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(timeoutMs)
  const {client} = await connect(connection, {applicationName, signal, connectTimeoutMs: timeoutMs})
  const cut = () => destroySession(client)
  signal.addEventListener('abort', cut, {once: true})
  try {
    return await work(client)
  } finally {
    signal.removeEventListener('abort', cut)
    destroySession(client)
  }
}

/** Ends a process of the server and waits until it has let go of everything. */
export async function backendGone(
  client: Client,
  {pid, startedAt}: Backend,
  timeoutMs: number,
): Promise<boolean> {
  for (const end = performance.now() + timeoutMs; performance.now() < end; await delay(50)) {
    const {rows} = await client.query(
      `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
        where pid operator(pg_catalog.=) $1 and backend_start operator(pg_catalog.=) $2`,
      [pid, startedAt],
    )
    if (rows.length === 0) return true
  }
  return false
}
