import {statfs} from 'node:fs/promises'
import {isAbsolute} from 'node:path'
import type {Client} from 'pg'
import type {ConnectionDescription} from '../../postgres/connection.js'
import type {Manifest} from '../manifest.js'
import type {Finding} from './findings.js'

/**
 * Whether the new content fits beside the old one, which both strategies keep until their end. Known only where the
 * server's disk is this machine's and the role may ask where it is; a server that runs full stops for everybody on it.
 */
export async function checkTargetSpace(
  client: Client,
  connection: ConnectionDescription,
  {database}: Manifest,
): Promise<Finding[]> {
  if (!isThisMachine(connection.host)) return []
  const folder = await dataFolder(client)
  const freeBytes = folder === undefined ? undefined : await freeBytesOf(folder)
  if (folder === undefined || freeBytes === undefined || freeBytes >= database.sizeBytes) return []
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
  return [
    {
      code: 'TARGET_SPACE',
      severity: 'warning',
      message: `The backup's database had ${megabytes(database.sizeBytes)}, and where the server keeps the target (${folder}) ${megabytes(freeBytes)} are left: the restore may fail, and others on that disk may feel it.`,
      fix: 'Free space there, or restore into another server.',
    },
  ]
}

/** A socket or the loopback address. It may lead through a tunnel: what is found out is a warning, not an error. */
const isThisMachine = (host: string): boolean =>
  isAbsolute(host) || ['localhost', '127.0.0.1', '::1'].includes(host)

async function dataFolder(client: Client): Promise<string | undefined> {
  try {
    const {rows} = await client.query<{folder: string}>(
      `select coalesce(nullif(pg_catalog.pg_tablespace_location(dattablespace), ''), pg_catalog.current_setting('data_directory')) as folder
         from pg_catalog.pg_database where datname = pg_catalog.current_database()`,
    )
    return rows[0]?.folder
  } catch {
    return undefined // only some roles may ask
  }
}

async function freeBytesOf(folder: string): Promise<number | undefined> {
  try {
    const {bavail, bsize} = await statfs(folder)
    return bavail * bsize
  } catch {
    return undefined // not on this machine, or not for us to see
  }
}
