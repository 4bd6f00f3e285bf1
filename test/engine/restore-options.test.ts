import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {statementsFor} from '../../src/engine/restore/restore-roles.js'
import {checkSafetySpace} from '../../src/engine/restore/safety-space.js'
import {checkPsql, checkServerVersions} from '../../src/engine/restore/version-findings.js'
import type {RestoreOptions} from '../../src/index.js'
import {doctorManifest, forgetBackups, openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {startServer, type TestServer} from '../support/servers.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {sampleManifest} from './sample-manifest.js'

const strategies = ['swap', 'in-place'] as const

describe('--globals', () => {
  let place: RestorePlace
  let elsewhere: TestServer
  beforeAll(async () => {
    place = await openRestorePlace()
    elsewhere = await startServer({major: place.server.major})
    for (const statement of [
      'create role staff nologin',
      `create role "Odd ""clerk"" $1" login createdb connection limit 3 password 'secret' in role staff`,
      `alter role "Odd ""clerk"" $1" set work_mem = '9MB'`,
      'create role stranger',
    ])
      await place.server.query(statement)
    await place.server.query('alter table customers owner to "Odd ""clerk"" $1"', 'shop')
    await place.server.query('grant select on customers to staff', 'shop')
  })
  afterAll(() => Promise.all([place.end(), elsewhere.stop()]))
  beforeEach(async () => {
    await forgetBackups(place)
    for (const database of ['target', 'other']) await elsewhere.dropDatabase(database)
    await elsewhere.query('drop role if exists "Odd ""clerk"" $1", staff')
    await elsewhere.createDatabase('target')
    await elsewhere.query('create table former (id int)', 'target')
  })

  const into = (options: RestoreOptions): RestoreOptions => ({
    databaseUrl: elsewhere.url('target'),
    ...options,
  })
  const roles = () =>
    elsewhere.query(
      `select rolname, rolcanlogin, rolcreatedb, rolconnlimit, rolpassword is null as "noPassword",
              (select setconfig from pg_db_role_setting where setrole = a.oid and setdatabase = 0) as config,
              (select string_agg(roleid::regrole::text, ', ') from pg_auth_members where member = a.oid) as groups
         from pg_authid a where rolname ~ 'clerk|staff|stranger' order by 1`,
    )
  const made = [
    {
      rolname: 'Odd "clerk" $1',
      rolcanlogin: true,
      rolcreatedb: true,
      rolconnlimit: 3,
      noPassword: true,
      config: ['work_mem=9MB'],
      groups: 'staff',
    },
    expect.objectContaining({rolname: 'staff', rolcanlogin: false}),
  ]

  test.each(strategies)('makes the roles that are missing, and no others (%s)', async (strategy) => {
    await place.backUp({globals: true})
    const result = await place.restore(into({strategy, globals: true, keepOld: false}))
    expect(result).toMatchObject({strategy, targetState: 'restored'})
    expect(await roles()).toEqual(made)
    const owners = await elsewhere.query(
      `select relowner::regrole::text as owner from pg_class where relname = 'customers'`,
      'target',
    )
    expect(owners).toEqual([{owner: '"Odd ""clerk"" $1"'}])
    if (result.oldDatabase) await elsewhere.dropDatabase(result.oldDatabase)
    await elsewhere.dropDatabase('target')
  })

  test.each(strategies)('a restore that fails leaves no role behind (%s)', async (strategy) => {
    await place.backUp({globals: true})
    const {error} = await place.failingRestore(
      into({strategy, globals: true, criticalTables: ['customers:999999']}),
    )
    expect(error.code).toBe('TABLE_CHECKS_FAILED')
    expect(await roles()).toEqual([])
    expect(await elsewhere.query('select from former', 'target')).toEqual([])
  })

  test('without it, the missing roles are named, with the ways out', async () => {
    await place.backUp({globals: true})
    const {document} = await place.failingRestore(into({strategy: 'swap'}))
    expect(document.findings).toMatchObject([
      {
        code: 'ROLES_MISSING',
        message: expect.stringMatching(/clerk.*staff/),
        fix: expect.stringMatching(/dbbak restore --globals/),
      },
    ])
  })

  test('a backup without roles says so, with the roles that are missing', async () => {
    await place.backUp()
    const {document} = await place.failingRestore(into({globals: true}))
    expect(document.findings).toMatchObject([
      {
        code: 'ROLES_MISSING',
        message: expect.stringMatching(/clerk.*staff.* taken without --globals, so it cannot make them/),
        fix: expect.not.stringContaining('--globals'),
      },
    ])
  })

  test('a backup without roles is restored where none is missing', async () => {
    await place.backUp()
    await elsewhere.query('create role staff; create role "Odd ""clerk"" $1"')
    const {targetState} = await place.restore(into({globals: true}))
    expect(targetState).toBe('restored')
    await elsewhere.dropDatabase('target')
  })
})

test('of the globals only what makes the missing roles is taken', () => {
  const globals = [
    'CREATE ROLE app;',
    'ALTER ROLE app WITH NOSUPERUSER LOGIN;',
    'CREATE ROLE "app x";',
    `ALTER ROLE "app x" SET search_path TO 'a', 'b';`,
    'GRANT staff TO app WITH INHERIT TRUE GRANTED BY postgres;',
    'GRANT app TO other GRANTED BY postgres;',
    "CREATE TABLESPACE fast OWNER app LOCATION '/fast';",
    `ALTER ROLE app WITH PASSWORD 'SCRAM-SHA-256$4096';`,
  ]
  expect(statementsFor(globals.join('\n'), ['app'])).toEqual([globals[0], globals[1], globals[4]])
  expect(statementsFor(globals.join('\n'), ['app x'])).toEqual([globals[2], globals[3]])
})

describe('a backup of a newer server', () => {
  let place: RestorePlace
  beforeAll(async () => {
    place = await openRestorePlace()
    await place.backUp()
    await doctorManifest(place, (manifest) => (manifest.database.serverVersion = '99.1'))
  })
  afterAll(() => place.end())

  test.each(strategies)('is refused, with what may not be understood (%s)', async (strategy) => {
    const {error, document} = await place.failingRestore({strategy})
    expect(error.exitCode).toBe(3)
    expect(document.findings).toMatchObject([
      {code: 'TARGET_SERVER_OLDER', severity: 'error', message: expect.stringMatching(/transaction_timeout/)},
    ])
    expect(await place.state()).toBe('former')
  })

  test('is tried with --force-version', async () => {
    const result = await place.restore({forceVersion: true})
    expect(result).toMatchObject({
      targetState: 'restored',
      findings: [{code: 'TARGET_SERVER_OLDER', severity: 'warning'}],
    })
    expect(await place.state()).toBe('backup')
  })
})

test('only versions between the two are told of', () => {
  const [finding] = checkServerVersions('16.4', {version: '15.18', major: 15}, false)
  expect(finding?.message).toMatch(/\(16: .*\)/)
  expect(finding?.message).not.toMatch(/17:|15:/)
  expect(checkServerVersions('15.1', {version: '15.18', major: 15}, false)).toEqual([])
})

describe('the \\restrict lines of a plain dump', () => {
  const plain = (pgDumpVersion: string) =>
    sampleManifest('2025-01-15T14:30:00.000Z', {format: 'plain', client: {pgDumpVersion}})

  test.each([
    ['15.14', '15.13', true],
    ['18.0', '17.5', true],
    ['15.13', '15.12', false],
    ['15.14', '18.0', false],
    ['17.6', '17.6', false],
  ])('written by pg_dump %s, read by psql %s: refused is %s', (dump, psql, isRefused) => {
    expect(checkPsql(plain(dump), psql).map(({code}) => code)).toEqual(isRefused ? ['PSQL_TOO_OLD'] : [])
  })

  test('do not matter to other formats', () => {
    expect(checkPsql({...plain('18.0'), format: 'custom'}, '17.5')).toEqual([])
  })
})

test('a safety backup that would not fit is told of before anything else is done', async () => {
  const manifest = sampleManifest('2025-01-15T14:30:00.000Z')
  manifest.database.sizeBytes = 1000
  manifest.files = [{...manifest.files[0], bytes: 250}]
  const target = {database: {sizeBytes: 4_000_000_000}} as Parameters<typeof checkSafetySpace>[1]
  const store = Object.assign(new MemoryStorage(), {freeBytes: async () => 999_000_000})
  const [finding] = await checkSafetySpace(manifest, target, store)
  expect(finding).toMatchObject({
    code: 'SAFETY_SPACE',
    message: expect.stringMatching(/needs some 1000 MB.*has 999 MB left/),
  })
  store.freeBytes = async () => 1_000_000_000
  expect(await checkSafetySpace(manifest, target, store)).toEqual([])
})
