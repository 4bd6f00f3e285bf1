import {randomBytes} from 'node:crypto'
import {afterAll, beforeAll, beforeEach, expect, test} from '@jest/globals'
import {verifyBackups, type Manifest, type VerifyOptions, type VerifyResult} from '../../src/index.js'
import {clientTools18} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {until} from '../support/processes.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {missingServer} from '../support/servers.js'

const tools18 = await clientTools18()
const password = randomBytes(9).toString('hex')

for (const major of [undefined, 14]) {
  const missing = major === undefined ? undefined : (tools18.missing ?? (await missingServer(major)))
  const need = tools18.missing ? 'pg18-tools' : 'embedded-server'
  needs(need, missing)(`a restore test by a role that may make no databases (${major ?? 'any'})`, () => {
    let place: RestorePlace
    let backup: Manifest

    beforeAll(async () => {
      // So many rows that a restore takes a while.
      place = await openRestorePlace({rows: 30_000, ...(major ? {major, pgBin: tools18.folder} : {})})
      backup = await place.backUp()
      await place.server.query(`create role tester login password '${password}'`)
    })
    afterAll(() => place.end())
    beforeEach(async () => {
      await place.server.dropDatabase('borrowed')
      await place.server.createDatabase('borrowed', 'owner tester')
    })

    const verify = (more: VerifyOptions = {}): Promise<VerifyResult> =>
      verifyBackups({
        env: place.env,
        cwd: place.folder,
        backup: backup.id,
        level: 'restore',
        testDatabaseUrl: place.server.url('borrowed', 'tester', password),
        ...more,
      })
    const outcome = ({results}: VerifyResult) =>
      results.map(({verdict, checks}) =>
        verdict === 'passed' ? 'passed' : checks.find(({status}) => status === verdict)?.reason,
      )

    test('borrows the empty database that is named, time and again, and leaves it empty', async () => {
      const before = await place.dump('borrowed')
      for (let time = 0; time < 3; time++) expect(outcome(await verify())).toEqual(['passed'])
      expect(await place.dump('borrowed')).toEqual(before)
    })

    test('waits while another one has it', async () => {
      const several = await Promise.all([verify(), verify(), verify()])
      expect(several.map(outcome)).toEqual([['passed'], ['passed'], ['passed']])
    })

    test('empties it also when it is stopped in the middle', async () => {
      const before = await place.dump('borrowed')
      const stop = new AbortController()
      const reason = new Error('enough')
      const verifying = verify({signal: stop.signal})
      const stopped = expect(verifying).rejects.toBe(reason)
      const isBeingFilled = async () =>
        (await place.server.query(`select from pg_tables where tablename = 'orders'`, 'borrowed')).length > 0
      await until(isBeingFilled, 'the restore has begun')
      stop.abort(reason)
      await stopped
      expect(await place.dump('borrowed')).toEqual(before)
      expect(outcome(await verify())).toEqual(['passed'])
    })

    test('empties it also when the session that has claimed it is lost', async () => {
      const before = await place.dump('borrowed')
      const verifying = verify()
      const isClaimed = async () =>
        (
          await place.server.query(
            `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
               and database = (select oid from pg_database where datname = 'borrowed')
               and exists (select from pg_stat_activity a where a.datname = 'borrowed' and a.application_name like 'pg_restore%')`,
          )
        ).length > 0
      await until(isClaimed, 'the restore has begun, and its claim is taken away')
      expect(outcome(await verifying)).toEqual(['passed'])
      expect(await place.dump('borrowed')).toEqual(before)
    })

    test.each([
      ['a function', 'create function kept() returns int language sql as $$ select 1 $$'],
      ['a type', `create type kept as enum ('a')`],
      ['a large object', `select lo_from_bytea(4712, 'kept')`],
      ['a table', 'create table kept ()'],
    ])('refuses one that holds %s, and leaves it alone', async (_, sql) => {
      await place.server.query(`set role tester; ${sql}`, 'borrowed')
      const before = await place.dump('borrowed')
      expect(outcome(await verify())).toEqual([
        expect.stringMatching(/^SCRATCH_NOT_AVAILABLE: .* is not empty/),
      ])
      expect(await place.dump('borrowed')).toEqual(before)
    })
  })
}
