import {DbbakError} from '../support/errors.js'
import {connect} from './connect.js'
import type {ConnectionDescription} from './connection.js'

/** Databases that a server has for such work; the last is what some hosted servers have in their place. */
const maintenanceDatabases = ['postgres', 'template1', 'defaultdb']

/**
 * Where databases are created and renamed from: a database of the same server that is not the one in question.
 * @throws DbbakError what kept us out of the last of them
 */
export async function maintenanceConnection(
  connection: ConnectionDescription,
  besides: string,
  signal?: AbortSignal,
): Promise<ConnectionDescription> {
  let problem: unknown
  for (const name of maintenanceDatabases.filter((name) => name !== besides)) {
    try {
      const {client, description} = await connect(connection.withDatabase(name), {
        applicationName: 'dbbak restore',
        ...(signal ? {signal} : {}),
      })
      await client.end()
      return description
    } catch (error) {
      signal?.throwIfAborted()
      problem = error
    }
  }
  throw problem instanceof DbbakError
    ? problem
    : new DbbakError('PERMISSION_DENIED', 'No maintenance database can be reached.', {cause: problem})
}
