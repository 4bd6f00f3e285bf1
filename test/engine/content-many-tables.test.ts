import {readdir} from 'node:fs/promises'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {DbbakError} from '../../src/index.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'

const manyTables = 10_000
/** A commit now and then, since the server's own lock table would be too small for all at once. */
const create = (count: number, statement: string) => `do $$
  begin
    for i in 1..${count} loop
      execute format('${statement}', i);
      if i % 250 = 0 then commit; end if;
    end loop;
  end
$$`

describe('a database with very many tables, on a server with the usual settings', () => {
  let place: RoundTrip
  beforeAll(async () => {
    place = await openRoundTrip({
      settings: {max_locks_per_transaction: '64', max_connections: '100', max_worker_processes: '8'},
    })
    await place.server.createDatabase('many')
    await place.server.query(create(manyTables, 'create table t_%s (id serial, n int)'), 'many')
    await place.server.createDatabase('some')
    await place.server.query(create(3000, 'create table t_%s (n int)'), 'some')
    await place.server.createDatabase('sequences')
    await place.server.query(create(manyTables, 'create sequence s_%s'), 'sequences')
    await place.server.createDatabase('views')
    await place.server.query(create(manyTables, 'create view v_%s as select 1 as one'), 'views')
  })
  afterAll(() => place.end())

  test.each(['many', 'sequences', 'views'])(
    '%s: no dump is begun, and the setting is named',
    async (name) => {
      const activities: string[] = []
      const failure: unknown = await place
        .backUp(name, {events: {activityStarted: (activity: string) => activities.push(activity)}})
        .catch((error: unknown) => error)

      expect(failure).toMatchObject({
        code: 'LOCK_TABLE_TOO_SMALL',
        exitCode: 4,
        message: expect.stringContaining('max_locks_per_transaction'),
      })
      expect(activities).toEqual([])
      expect(await readdir(place.backups).catch(() => [])).toEqual([])
    },
  )

  test('3,000 tables are dumped, verified and restored', async () => {
    const {content} = await place.backUp('some')
    expect(content.tableCount).toBe(3000)
    expect(await place.verify()).toMatchObject({verdict: 'passed', level: 'restore'})
  })

  test('with the value that was named, 10,000 tables are dumped and verified', async () => {
    const failure = (await place.backUp('many').catch((error: unknown) => error)) as DbbakError
    const [, value] = /SET max_locks_per_transaction = (\d+)/.exec(failure.suggestions[0]) ?? []
    await place.server.query(`alter system set max_locks_per_transaction = ${value}`)
    await place.server.kill('SIGINT')
    await place.server.start()
    expect(await place.server.query('show max_locks_per_transaction')).toEqual([
      {max_locks_per_transaction: value},
    ])

    const {content} = await place.backUp('many')

    expect(content.tableCount).toBe(manyTables)
    expect(content.sequences).toHaveLength(manyTables)
    expect(await place.verify()).toMatchObject({verdict: 'passed', level: 'restore'})
  })
})
