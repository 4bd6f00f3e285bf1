import {connect} from '../connect.js'
import type {ConnectionDescription} from '../connection.js'

/** The major version of a server that somebody else runs. @throws DbbakError of the connection */
export async function majorOfServer(
  connection: ConnectionDescription,
  signal: AbortSignal | undefined,
): Promise<number> {
  const {client} = await connect(connection, {signal})
  try {
    const {rows} = await client.query<{number: string}>(
      `select current_setting('server_version_num') as number`,
    )
    return Math.floor(Number(rows[0]?.number) / 10_000)
  } finally {
    await client.end()
  }
}
