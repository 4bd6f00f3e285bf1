import type {ConnectionDescription} from '../../postgres/connection.js'
import {quoteIdentifier} from '../../postgres/identifiers.js'
import {activity, type Events} from '../events.js'
import {inSession} from './session.js'
import {fillings, seed} from './shop-rows.js'
import {shopConstraints, shopName, shopTables} from './shop-schema.js'

/**
 * Makes the demo's database: a shop of some hundred thousand rows.
 * @param server a superuser of a throw-away server
 */
export async function createShop(
  server: ConnectionDescription,
  events: Events,
  signal: AbortSignal,
  name = shopName,
): Promise<void> {
  const doing = "making the demo's database"
  await inSession(server, signal, doing, (client) =>
    client.query(`create database ${quoteIdentifier(name)} template template0 encoding 'UTF8'`),
  )
  const shop = server.withDatabase(name)
  await inSession(shop, signal, doing, async (client) => {
    await client.query(shopTables)
    await client.query(seed)
    for (const {table, sql} of fillings) {
      const fill = () => client.query(sql)
      await activity(
        events,
        `Filling ${table}`,
        fill,
        ({rowCount}) => `${rowCount?.toLocaleString('en-US')} rows`,
      )
    }
    await activity(events, 'Adding foreign keys, indexes, views', () => client.query(shopConstraints))
  })
}

/** The size of the database on disk. */
export async function shopBytes(shop: ConnectionDescription, signal: AbortSignal): Promise<number> {
  return inSession(shop, signal, "reading the demo's database", async (client) => {
    const {rows} = await client.query<{bytes: string}>('select pg_database_size(current_database()) as bytes')
    return Number(rows[0]?.bytes)
  })
}
