import type {Client} from 'pg'
import {asQueryError, connect} from '../../postgres/connect.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {destroySession} from '../../postgres/session-guard.js'

/** Works in a session of its own, which an abort ends at once: the server with everything in it goes anyway. */
export async function inSession<T>(
  connection: ConnectionDescription,
  signal: AbortSignal,
  doing: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const {client} = await connect(connection, {signal, applicationName: 'dbbak demo'})
  const abort = () => destroySession(client)
  signal.addEventListener('abort', abort, {once: true})
  try {
    signal.throwIfAborted()
    return await work(client)
  } catch (error) {
    signal.throwIfAborted()
    throw asQueryError(error, doing)
  } finally {
    signal.removeEventListener('abort', abort)
    await client.end().catch(() => {}) // the server may be gone by now
  }
}
