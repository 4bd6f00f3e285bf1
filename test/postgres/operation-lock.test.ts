import {afterAll, afterEach, beforeAll, expect, test} from '@jest/globals'
import type {Client} from 'pg'
import {connect} from '../../src/postgres/connect.js'
import {claimDatabase, claimHolders} from '../../src/postgres/operation-lock.js'
import {destroySession} from '../../src/postgres/session-guard.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'

let server: TestServer
const open: Client[] = []

beforeAll(async () => {
  server = await startServer()
  await server.createDatabase('shop')
  await server.createDatabase('other')
})
afterAll(() => server.stop())
afterEach(async () => {
  for (const client of open.splice(0)) await client.end().catch(() => {})
})

async function session(database = 'shop', applicationName = 'dbbak test'): Promise<Client> {
  const {client} = await connect(await server.describe(database), {applicationName})
  open.push(client)
  return client
}

test.each([
  ['shared', 'shared', true],
  ['shared', 'exclusive', false],
  ['exclusive', 'shared', false],
  ['exclusive', 'exclusive', false],
] as const)('claimed %s, then %s: %s', async (first, second, both) => {
  expect(await claimDatabase(await session(), first)).toBe(true)
  expect(await claimDatabase(await session(), second)).toBe(both)
})

test('a claim is on one database, not on the server', async () => {
  expect(await claimDatabase(await session('shop'), 'exclusive')).toBe(true)
  expect(await claimDatabase(await session('other'), 'exclusive')).toBe(true)
})

test('a claim outlives transactions, and ends with its session however that ends', async () => {
  const first = await session()
  await first.query('begin')
  await claimDatabase(first, 'exclusive')
  await first.query('rollback')
  const second = await session()
  expect(await claimDatabase(second, 'exclusive')).toBe(false)
  destroySession(first)
  await until(() => claimDatabase(second, 'exclusive'), 'the claim is free')
})

test('who holds the claim can be told, here and not elsewhere', async () => {
  const holder = await session('shop', 'dbbak restore')
  await claimDatabase(holder, 'exclusive')
  await claimDatabase(await session('other', 'stranger'), 'exclusive')
  const asking = await session()
  const [{pid}] = (await holder.query('select pg_backend_pid() as pid')).rows
  expect(await claimHolders(asking)).toEqual([
    expect.stringMatching(new RegExp(`^dbbak restore, process ${pid}, since \\d{4}-\\d\\d-\\d\\d .* UTC$`)),
  ])
  expect(await claimHolders(holder)).toEqual([])
})
