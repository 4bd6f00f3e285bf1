import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {verificationError, type VerifiedBackup} from '../../src/index.js'
import {clientTools18} from '../support/client-tools-18.js'
import {createFeatureRich} from '../support/feature-rich.js'
import {needs} from '../support/needs.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'
import {missingServer, startServer, type TestServer} from '../support/servers.js'

const statuses = ({checks}: VerifiedBackup) =>
  Object.fromEntries(checks.map(({name, status}) => [name, status]))
const checkOf = (result: VerifiedBackup, name: string) => result.checks.find((check) => check.name === name)
const formats = ['custom', 'plain', 'directory'] as const

describe('a verification of a good backup', () => {
  let place: RoundTrip
  beforeAll(async () => {
    place = await openRoundTrip()
    await createFeatureRich(place.server, 'rich')
  })
  afterAll(() => place.end())

  test.each(formats)('passes on the server that it came from, %s format', async (format) => {
    await place.backUp('rich', {format})
    const result = await place.verify()
    expect(result.checks.filter(({status}) => status !== 'passed')).toEqual([])
    expect(result).toMatchObject({verdict: 'passed', level: 'restore'})
    expect(await place.server.query(`select from pg_database where datname like 'dbbak%'`)).toEqual([])
  })

  test.each(formats)('leaves subscriptions and publications out, %s format', async (format) => {
    await place.server.createDatabase('subscribed')
    await place.server.query(
      `create table a (n int); create publication p for table a;
       create subscription s connection 'host=/nonexistent dbname=none' publication p with (connect = false)`,
      'subscribed',
    )
    await place.backUp('subscribed', {format})
    expect(await place.verify()).toMatchObject({verdict: 'passed', level: 'restore'})
    // A database that subscribes to something cannot be dropped.
    expect(await place.server.query(`select from pg_database where datname like 'dbbak%'`)).toEqual([])
    await place.server.query('alter subscription s set (slot_name = none)', 'subscribed')
    await place.server.query('drop subscription s', 'subscribed')
    await place.server.dropDatabase('subscribed')
  })

  test('without a scratch server passes under auto, and says that no restore was tested', async () => {
    await place.backUp('rich')
    const result = await place.verify({level: 'auto', scratch: 'none'})
    expect(result).toMatchObject({verdict: 'passed', level: 'archive'})
    expect(statuses(result)).toMatchObject({
      'archive-readable': 'passed',
      'restore-test': 'could-not-run',
      'data-integrity': 'could-not-run',
    })
    expect(checkOf(result, 'restore-test')?.reason).toMatch(/SCRATCH_NOT_AVAILABLE/)
  })

  test('without a scratch server could not run where a restore test was asked for', async () => {
    const result = await place.verify({level: 'restore', scratch: 'none'})
    expect(result.verdict).toBe('could-not-run')
    expect(verificationError({destination: '', verdict: result.verdict, results: [result]})).toMatchObject({
      code: 'VERIFICATION_COULD_NOT_RUN',
      exitCode: 11,
    })
  })

  test.each([
    [{tables: ['shop.bookings', 'shop.a_then_b']}, /btree_gist|gist_int4_ops|b_then_a/],
    [{tables: ['shop.events_2024_a', 'shop.events_rest']}, /relation "shop\.events" does not exist/],
    [{schemas: ['"ünïcode ✓"']}, undefined],
    [{excludeTables: ['shop.events_2024']}, /relation "shop\.events_2024" does not exist/],
    [{excludeTableData: ['shop.ord*', '*.*_seq', 'shop.filled', 'shop.on_filled', '*."on view"']}, undefined],
  ])('passes for the selection %j, and tells what it refers to', async (selection, outside) => {
    for (const format of ['custom', 'directory'] as const) {
      const {id: backup} = await place.backUp('rich', {...selection, format})
      const result = await place.verify({backup, latest: false})
      expect(result.checks.filter(({status}) => status !== 'passed')).toEqual([])
      if (outside) expect(checkOf(result, 'restore-test')?.reason).toMatch(outside)
      else expect(checkOf(result, 'restore-test')?.reason).toBeUndefined()
    }
  })

  test('could not run for a selection that cannot stand alone', async () => {
    for (const format of formats) {
      const {id: backup} = await place.backUp('rich', {tables: ['shop.users'], format})
      const result = await place.verify({backup, latest: false})
      expect(result.verdict).toBe('could-not-run')
      expect(checkOf(result, 'restore-test')?.reason).toMatch(/type "shop\."?e mail"?" does not exist/)
    }
  })
})

const tools18 = await clientTools18()
const missing = (await missingServer(15)) ?? (await missingServer(18))
needs(tools18.missing ? 'pg18-tools' : 'embedded-server', tools18.missing ?? missing)(
  'a verification on a newer server without the roles and tablespaces',
  () => {
    let place: RoundTrip
    let newer: TestServer
    beforeAll(async () => {
      place = await openRoundTrip({major: 15})
      newer = await startServer({major: 18})
      await createFeatureRich(place.server, 'rich')
    })
    afterAll(() => Promise.all([place.end(), newer.stop()]))

    test.each(formats)('passes, %s format', async (format) => {
      await place.backUp('rich', {format})
      const result = await place.verify({testDatabaseUrl: newer.url()})
      expect(result.checks.filter(({status}) => status !== 'passed')).toEqual([])
      expect(await newer.query(`select datname from pg_database where datname like 'dbbak%'`)).toEqual([])
    })

    test('could not run where it lacks an extension', async () => {
      await place.server.createDatabase('extended')
      await place.server.query('create extension adminpack; create table a (n int)', 'extended') // gone in 17
      for (const format of formats) {
        await place.backUp('extended', {format})
        const result = await place.verify({testDatabaseUrl: newer.url()})
        expect(result.verdict).toBe('could-not-run')
        expect(checkOf(result, 'restore-test')).toMatchObject({
          status: 'could-not-run',
          reason: expect.stringContaining('"adminpack" is not available'),
        })
        expect(await place.verify({testDatabaseUrl: newer.url(), level: 'auto'})).toMatchObject({
          verdict: 'passed',
          level: 'archive',
        })
        expect(
          verificationError({destination: '', verdict: result.verdict, results: [result]}),
        ).toMatchObject({
          exitCode: 11,
        })
      }
    })
  },
)
