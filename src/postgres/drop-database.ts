import type {Client} from 'pg'
import {connect} from './connect.js'
import type {ConnectionDescription} from './connection.js'
import {quoteIdentifier} from './identifiers.js'

const applicationName = 'dbbak restore'

/**
 * Drops a database, its sessions and its subscriptions; the publisher's slots stay, since they are not ours.
 * @param maintenance another database of the same server
 */
export async function dropDatabase(maintenance: ConnectionDescription, name: string): Promise<void> {
  const {client} = await connect(maintenance, {applicationName})
  try {
    if (await hasSubscriptions(client, name)) await dropSubscriptions(maintenance.withDatabase(name))
    await client.query(`drop database if exists ${quoteIdentifier(name)} with (force)`)
  } finally {
    await client.end()
  }
}

async function hasSubscriptions(client: Client, database: string): Promise<boolean> {
  const {rows} = await client.query(
    `select from pg_catalog.pg_subscription s join pg_catalog.pg_database d on d.oid = s.subdbid where d.datname = $1`,
    [database],
  )
  return rows.length > 0
}

async function dropSubscriptions(database: ConnectionDescription): Promise<void> {
  const {client} = await connect(database, {applicationName})
  try {
    const {rows} = await client.query<{name: string}>(
      `select subname as name from pg_catalog.pg_subscription
        where subdbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())`,
    )
    for (const name of rows.map(({name}) => quoteIdentifier(name))) {
      await client.query(`alter subscription ${name} disable`)
      await client.query(`alter subscription ${name} set (slot_name = none)`)
      await client.query(`drop subscription ${name}`)
    }
  } finally {
    await client.end()
  }
}
