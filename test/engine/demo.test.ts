import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {haveAccident} from '../../src/engine/demo/accident.js'
import {inSession} from '../../src/engine/demo/session.js'
import {createShop} from '../../src/engine/demo/shop-database.js'
import {compareShops, readShop, type ShopState} from '../../src/engine/demo/shop-state.js'
import {silent} from '../../src/engine/events.js'
import {DbbakError} from '../../src/support/errors.js'
import {startServer, type TestServer} from '../support/servers.js'

let server: TestServer
let original: ShopState
const {signal} = new AbortController()

beforeAll(async () => {
  server = await startServer()
  await createShop(server.connection, silent, signal)
  original = await readShop(await server.describe('shop'), signal)
})
afterAll(() => server.stop())

/** A copy of the shop that something was done to. */
async function changesAfter(sql: string): Promise<string[]> {
  await server.createDatabase('copy', 'template shop')
  try {
    await server.query(sql, 'copy')
    const differences = compareShops(original, await readShop(await server.describe('copy'), signal))
    return differences.map(({kind, name}) => `${kind} ${name}`)
  } finally {
    await server.dropDatabase('copy')
  }
}

test('the shop has some hundred thousand rows and something of everything', () => {
  const rows = original.tables.reduce((sum, table) => sum + table.rows, 0)
  expect(rows).toBeGreaterThan(300_000)
  expect(original.tables.every((table) => table.rows > 0)).toBe(true)
  const kinds = [...original.tables, ...original.objects].map(({kind}) => kind)
  expect(new Set(kinds)).toEqual(
    new Set([
      'table',
      'materialized view',
      'column',
      'foreign key',
      'constraint',
      'index',
      'view',
      'definition',
      'type',
      'sequence',
      'comment',
    ]),
  )
  const definitions = original.objects.map(({definition}) => definition).join('\n')
  expect(definitions).toMatch(/using gin/i)
  expect(definitions).toMatch(/generated s/)
})

test('the shop is the same each time', async () => {
  await createShop(server.connection, silent, signal, 'again')
  expect(await readShop(await server.describe('again'), signal)).toEqual(original)
  await server.dropDatabase('again')
})

test.each([
  ['nothing', 'select 1', []],
  ['one value', `update customers set city = 'Atlantis' where id = 7`, ['content customers']],
  [
    'a row more',
    `insert into products (sku, name, price) overriding system value values ('X', 'Y', 1)`,
    expect.arrayContaining(['table products', 'content products']),
  ],
  ['a moved sequence', `select nextval('invoice_number')`, ['sequence invoice_number']],
  ['a missing index', 'drop index products_by_attributes', ['index products_by_attributes']],
  [
    'a missing foreign key',
    'alter table payments drop constraint payments_order',
    ['foreign key payments_order'],
  ],
  ['a missing view', 'drop view best_customers', ['view best_customers']],
  [
    'an unfilled materialized view',
    'delete from order_items; refresh materialized view monthly_revenue',
    expect.arrayContaining(['table order_items', 'materialized view monthly_revenue', 'sum Sales']),
  ],
  ['one more word of an enum', `alter type order_status add value 'lost'`, ['type order_status']],
  ['a lost default', 'alter table products alter column stock drop default', ['column products.stock']],
  ['a lost comment', 'comment on table customers is null', ['comment customers']],
  [
    'a table that came from nowhere',
    'create table strange (n int)',
    expect.arrayContaining(['table strange', 'column strange.n']),
  ],
])('a comparison sees %s', async (_, sql, differences) => {
  expect(await changesAfter(sql)).toEqual(differences)
})

test('the accident takes the customers and what hangs on them, and spoils the sales', async () => {
  await server.createDatabase('hit', 'template shop')
  const hit = await server.describe('hit')
  const [update, drop] = await haveAccident(hit, signal)
  expect(update).toMatchObject({outcome: 'UPDATE 250000', notices: []})
  expect(drop).toMatchObject({outcome: 'DROP TABLE'})
  expect(drop?.notices).toHaveLength(3)
  const differences = compareShops(original, await readShop(hit, signal))
  expect(differences.map(({kind, name, after}) => [kind, name, after === null]).sort()).toEqual([
    ['content', 'order_items', false],
    ['foreign key', 'orders_customer', true],
    ['materialized view', 'monthly_revenue', true],
    ['sum', 'Sales', false],
    ['table', 'customers', true],
    ['view', 'best_customers', true],
  ])
  await server.dropDatabase('hit')
})

test('a session ends at once when the demo is interrupted', async () => {
  const controller = new AbortController()
  const reason = new DbbakError('INTERRUPTED', 'Enough.')
  const sleeping = inSession(server.connection, controller.signal, 'sleeping', (client) => {
    setTimeout(() => controller.abort(reason), 200)
    return client.query('select pg_sleep(600)')
  })
  await expect(sleeping).rejects.toBe(reason)
})
