import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {until} from '../support/processes.js'
import {forgetBackups, openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {dumpDifferences} from '../support/same-dump.js'
import {dbbak, dbbakJson, failing, startDbbak} from './program.js'

describe('a server without room for the locks of one transaction', () => {
  let place: RestorePlace
  let env: Record<string, string>
  const tables = (schema: string, count: number) =>
    `create schema if not exists ${schema};
     select format('create table ${schema}.t_%s (id int primary key, note text default %L)', i, i) from generate_series(1, ${count}) i \\gexec
     insert into ${schema}.t_1 select i from generate_series(1, 50000) i`
  beforeAll(async () => {
    place = await openRestorePlace({
      settings: {max_locks_per_transaction: '24', max_connections: '20'},
    })
    await place.server.psql(tables('more', 220), 'shop')
    await place.server.psql(tables('old_more', 200), 'former')
    env = {DATABASE_URL: place.server.url('target'), BACKUP_DIR: place.backups}
    await place.backUp()
  })
  afterAll(() => place.end())
  beforeEach(() => place.resetTarget())
  const inPlace = ['restore', '--latest', '--force', '--strategy', 'in-place']

  test('is restored step by step, and says so', async () => {
    const document = await dbbakJson([...inPlace, '--verify'], {env})
    expect(document).toMatchObject({strategy: 'in-place', targetState: 'restored', findings: []})
    expect(document.strategyReason).toMatch(/^step by step, since the server has no room/)
    expect(await place.state()).toBe('backup')
    expect((await dbbakJson(['doctor'], {env})).checks.map(({name}: {name: string}) => name)).not.toContain(
      'cut-off restore',
    )
  })

  test('needs a safety backup for that', async () => {
    const {error} = await failing(
      [...inPlace, '--no-safety-backup'],
      {env},
      {exitCode: 3, code: 'PREFLIGHT_FAILED'},
    )
    expect(error.message).toMatch(/LOCK_TABLE_TOO_SMALL.*Step by step it needs a safety backup/)
    expect(await place.state()).toBe('former')
  })

  test('a restore that fails puts back what was there', async () => {
    const args = [...inPlace, '--critical-table', 'customers:999999']
    const {error, document} = await failing(args, {env}, {exitCode: 6, code: 'TABLE_CHECKS_FAILED'})
    expect(error.message).toMatch(/The target is as it was before\.$/)
    expect(document.targetState).toBe('rolled-back')
    expect(await place.state()).toBe('former')
  })

  test.each(['finish', 'undo'] as const)(
    'one that is killed is named by the next run and by doctor: %s',
    async (way) => {
      const running = startDbbak(inPlace, {env})
      let said = ''
      running.child.stderr!.on('data', (text: string) => (said += text))
      await until(() => said.includes('Emptying target'), 'it has begun to empty the target')
      await until(async () => {
        const [row] = await place.server.query<{there: boolean}>(
          `select to_regclass('old_more.t_100') is not null as there`,
          'target',
        )
        return row?.there === false
      }, 'something is gone')
      running.child.kill('SIGKILL')
      await running.ended
      await until(
        async () =>
          (
            await place.server.query(
              `select from pg_stat_activity where datname = 'target' and application_name = 'dbbak restore'`,
            )
          ).length === 0,
        'its sessions are gone',
      )
      expect(await place.state()).toBe('something else')

      const doctor = await dbbak(['doctor'], {env})
      expect(doctor.stdout + doctor.stderr).toMatch(/A restore of shop_\S+ into this database.*was cut off/)
      const backup = await failing(['backup'], {env}, {exitCode: 4, code: 'RESTORE_CUT_OFF'})
      expect(backup.error.message).toMatch(/incomplete/)
      const next = await dbbakJson(['restore', '--latest', '--dry-run'], {env})
      expect(next.findings).toMatchObject([{code: 'RESTORE_CUT_OFF', severity: 'warning'}])
      const [finish, undo] = [
        ...(next.findings[0].fix as string).matchAll(
          /dbbak (restore \S+ --from \S+ --strategy in-place --force)/g,
        ),
      ].map(([, command]) => command.split(' '))
      const command = way === 'finish' ? finish : undo
      const ended = await dbbak(command, {env})
      expect({code: ended.exitCode, stderr: ended.stderr}).toMatchObject({code: 0})
      expect(await place.state()).toBe(way === 'finish' ? 'backup' : 'former')
      expect((await dbbakJson(['restore', '--latest', '--dry-run'], {env})).findings).toEqual([])
    },
  )
})

describe('a part of a backup', () => {
  let place: RestorePlace
  let env: Record<string, string>
  beforeAll(async () => {
    place = await openRestorePlace()
    await place.backUp()
    env = {DATABASE_URL: place.server.url('target'), BACKUP_DIR: place.backups}
  })
  afterAll(() => place.end())
  beforeEach(async () => {
    await place.server.dropDatabase('target')
    await place.server.createDatabase('target', 'template shop')
  })

  test.each([
    [['--table', 'sales.orders'], 'sales.orders'],
    [['--schema', 'sales'], 'sales.orders'],
  ])('%j: that alone is put back', async (options, table) => {
    await place.server.query(`delete from ${table}; drop view open_orders`, 'target')
    await place.server.query(`update customers set name = 'changed since'`, 'target')
    await place.server.createDatabase('wanted', 'template shop')
    await place.server.query(`drop view open_orders`, 'wanted')
    await place.server.query(`update customers set name = 'changed since'`, 'wanted')
    const document = await dbbakJson(['restore', '--latest', '--force', '--verify', ...options], {env})
    expect(document).toMatchObject({strategy: 'in-place', targetState: 'restored'})
    expect(document.strategyReason).toMatch(/^only the part is replaced/)
    const differences = dumpDifferences(await place.dump('wanted'), await place.dump('target'))
    await place.server.dropDatabase('wanted')
    expect(differences).toEqual([])
  })

  test('what depends on it is named, with what to add, and nothing is changed', async () => {
    const {error, document} = await failing(
      ['restore', '--latest', '--force', '--table', 'customers'],
      {env},
      {exitCode: 3, code: 'PREFLIGHT_FAILED'},
    )
    expect(document.findings).toMatchObject([{code: 'PART_HAS_DEPENDENTS', severity: 'error'}])
    expect(error.message).toMatch(/orders_customer_id_fkey/)
    expect(error.suggestions.join()).toMatch(/--table public\.customers|--table customers/)
    expect(await place.state()).toBe('backup')
  })

  test.each([
    [['--table', 'custmers'], 'NOTHING_SELECTED'],
    [['--table', 'customers', '--critical-table', 'customers'], 'OPTION_INVALID'],
    [['--table', 'customers', '--keep-old'], 'OPTION_INVALID'],
  ])('%j is refused', async (options, code) => {
    await failing(['restore', '--latest', '--force', ...options], {env}, {exitCode: 2, code})
    expect(await place.state()).toBe('backup')
  })

  test('a plain dump cannot be taken apart', async () => {
    await place.backUp({format: 'plain'})
    const args = ['restore', '--latest', '--force', '--table', 'customers']
    const {error} = await failing(args, {env}, {exitCode: 2, code: 'OPTION_INVALID'})
    expect(error.message).toMatch(/plain/)
    await forgetBackups(place)
  })
})
