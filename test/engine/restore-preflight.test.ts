import {existsSync} from 'node:fs'
import {chmod, mkdir, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {delimiter, dirname, join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import type {DbbakError, RestoreOptions} from '../../src/index.js'
import {clientTools18} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {
  createOwner,
  doctorManifest,
  forgetBackups,
  openRestorePlace,
  type RestorePlace,
} from '../support/restore-place.js'
import {outputOf} from '../support/run-command.js'
import {missingServer, startServer, type TestServer} from '../support/servers.js'

let place: RestorePlace
beforeAll(async () => {
  place = await openRestorePlace({
    settings: {max_prepared_transactions: '5', wal_level: 'logical', max_wal_senders: '2'},
  })
  await place.backUp()
})
afterAll(() => place.end())
beforeEach(() => place.resetTarget())

/** The codes that a restore is refused with. Nothing may have been changed by it. */
async function refusal(options: RestoreOptions = {}): Promise<{codes: string[]; error: DbbakError}> {
  const {error, document} = await place.failingRestore(options)
  expect(error).toMatchObject({code: 'PREFLIGHT_FAILED', exitCode: 3})
  expect(document).toMatchObject({
    targetState: 'unchanged',
    stages: [{name: 'preflight', status: 'failed'}, ...Array(6).fill({status: 'not-run'})],
  })
  const errors = document.findings.filter(({severity}) => severity === 'error')
  for (const {message, fix} of errors)
    expect({message, fix}).toEqual({message: expect.any(String), fix: expect.any(String)})
  for (const {fix} of errors) expect(error.suggestions).toContain(fix)
  return {codes: errors.map(({code}) => code), error}
}

const elsewhere = (change: (url: URL) => void) => {
  const url = new URL(place.server.url('target'))
  change(url)
  return url.href
}

describe('a target that cannot be reached', () => {
  test.each([
    ['nobody listens there', () => 'postgresql://app@127.0.0.1:1/target', 'SERVER_UNREACHABLE'],
    ['there is no such database', () => place.server.url('nowhere'), 'DATABASE_NOT_FOUND'],
    ['the password is wrong', () => elsewhere((url) => (url.password = 'wrong')), 'AUTHENTICATION_FAILED'],
  ])('%s', async (_, url, code) => {
    const {codes} = await refusal({databaseUrl: url()})
    expect(codes).toEqual([code])
    expect(await place.state()).toBe('former')
  })

  test('a database that is not there: the command that is told makes one like the backup', async () => {
    const {error} = await refusal({databaseUrl: place.server.url("new shop's")})
    const [, command] = /^Make it, empty: (createdb .*)$/.exec(error.suggestions[0]) ?? []
    const env = place.server.connection.toolEnvironment({
      PATH: [dirname(place.tools.dump), process.env.PATH].join(delimiter),
      HOME: place.folder,
    })
    await outputOf('sh', ['-c', command], {env})
    const like = (name: string) =>
      place.server.query(
        `select encoding, datcollate, datctype, to_jsonb(d) ->> 'datlocprovider' from pg_database d where datname = $$${name}$$`,
      )
    expect(await like("new shop's")).toEqual(await like('shop'))
    await place.server.dropDatabase("new shop's")
  })

  test('and tools that are not there are told of together', async () => {
    const empty = join(place.folder, 'empty')
    await mkdir(empty, {recursive: true})
    const env = {...place.env, DBBAK_PG_BIN: empty}
    const {codes} = await refusal({databaseUrl: 'postgresql://app@127.0.0.1:1/target', env})
    expect(codes).toEqual(['SERVER_UNREACHABLE', 'CLIENT_TOOLS_NOT_FOUND'])
    expect((await refusal({env})).codes).toEqual(['CLIENT_TOOLS_NOT_FOUND'])
  })
})

describe('what others are doing in the target', () => {
  let other: Client
  beforeEach(async () => {
    const description = await place.server.describe('target')
    other = new Client({...description.clientConfig('plain'), application_name: 'web shop'})
    other.on('error', () => {})
    await other.connect()
  })
  afterEach(() => other.end().catch(() => {}))

  test('is named', async () => {
    const {codes, error} = await refusal()
    expect(codes).toEqual(['ACTIVE_CONNECTIONS'])
    const [{pid}] = (await other.query('select pg_backend_pid() as pid')).rows
    expect(error.message).toMatch(
      new RegExp(`1 other session is connected to target: .*web shop pid ${pid} idle`),
    )
    expect(error.suggestions.join()).toMatch('--terminate-connections')
    expect(await place.state()).toBe('former')
  })

  test('is ended where that is asked for', async () => {
    await other.query('begin; select * from customers; delete from old.invoices')
    const result = await place.restore({terminateConnections: true})
    expect(result.findings).toMatchObject([{code: 'ACTIVE_CONNECTIONS', severity: 'warning'}])
    await expect(other.query('select 1')).rejects.toThrow()
    expect(await place.state()).toBe('backup')
  })

  describe('with a hook before the restore', () => {
    const hooked = async (beforeRestore: string, more: RestoreOptions = {}): Promise<RestoreOptions> => {
      const config = join(place.folder, 'hooks.json')
      const afterRestore = 'echo $DBBAK_OUTCOME > after-ran'
      await writeFile(config, JSON.stringify({hooks: {beforeRestore, afterRestore}}))
      for (const name of ['before-ran', 'after-ran']) await rm(join(place.folder, name), {force: true})
      return {config, ...more}
    }
    const ran = (name: string) => existsSync(join(place.folder, name))
    const outcome = () => readFile(join(place.folder, 'after-ran'), 'utf8')
    const maintenance = async () => {
      const [{pid}] = (await other.query('select pg_backend_pid() as pid')).rows
      const psql = `${place.tools.folder}/psql '${place.server.url('postgres')}'`
      return `touch before-ran; ${psql} -c 'select pg_terminate_backend(${pid})'`
    }

    test.each(['in-place', 'swap'] as const)('it may end them (%s)', async (strategy) => {
      const options = await hooked(await maintenance(), {strategy, safetyBackup: true})
      const {plan} = await place.restore({...options, dryRun: true})
      expect(plan?.findings).toMatchObject([{code: 'ACTIVE_CONNECTIONS', severity: 'warning'}])
      expect(ran('before-ran')).toBe(false)
      const result = await place.restore(options)
      expect(result).toMatchObject({findings: [], targetState: 'restored', oldDatabase: null})
      expect(await place.state()).toBe('backup')
      expect(await outcome()).toBe('success\n')
    })

    test('whoever is still there afterwards stops it, unharmed, and the hook after it runs', async () => {
      const {error, document} = await place.failingRestore(await hooked('touch before-ran'))
      expect(error).toMatchObject({code: 'PREFLIGHT_FAILED', exitCode: 3})
      expect(error.message).toMatch(/^ACTIVE_CONNECTIONS: 1 other session is connected/)
      expect(document).toMatchObject({
        targetState: 'unchanged',
        findings: [{code: 'ACTIVE_CONNECTIONS', severity: 'error'}],
        stages: [{}, {}, {name: 'confirm', status: 'failed'}, ...Array(4).fill({status: 'not-run'})],
      })
      expect(ran('before-ran')).toBe(true)
      expect(await outcome()).toBe('failure\n')
      expect(await place.state()).toBe('former')
    })

    test('nothing that it says holds a password or a secret of the config file', async () => {
      await other.end()
      const {password} = new URL(place.server.url('target'))
      const options = await hooked(`echo first ${password}; echo then ${password} and s3cr3t-Token; exit 1`)
      const text = await readFile(options.config!, 'utf8')
      const notifications = [{type: 'webhook', url: '${HOOK}', secret: '${SIGNING}'}]
      await writeFile(options.config!, JSON.stringify({...JSON.parse(text), notifications}))
      const details: string[] = []
      const env = {...place.env, HOOK: 'http://127.0.0.1:1/', SIGNING: 's3cr3t-Token'}
      const running = place.restore({...options, env, events: {detail: (line) => void details.push(line)}})
      const error: DbbakError = await running.then(
        () => Promise.reject(new Error('no')),
        (thrown) => thrown,
      )
      expect(error).toMatchObject({code: 'HOOK_FAILED', exitCode: 3})
      expect(error.message).toMatch(/: then \*\*\* and \*\*\*\.$/)
      expect(details).toContain('beforeRestore: first ***')
      expect([error.message, ...details].join()).not.toMatch(new RegExp(`${password}|s3cr3t`))
    })

    test.each([
      ['somebody says no', {force: false, confirm: () => Promise.reject(new Error('no'))}],
      ['the preflight fails', {databaseUrl: 'postgresql://app@127.0.0.1:1/target'}],
    ])('it does not run where %s', async (_, more) => {
      await place.failingRestore(await hooked('touch before-ran', more)).catch(() => {})
      expect(ran('before-ran') || ran('after-ran')).toBe(false)
    })
  })

  test('another restore or backup at work: exit code 9, and who it is', async () => {
    await other.query('select pg_advisory_lock_shared(1684169313, 1)')
    const {error, document} = await place.failingRestore({terminateConnections: true})
    expect(error).toMatchObject({code: 'OPERATION_IN_PROGRESS', exitCode: 9})
    expect(error.message).toMatch(/web shop, process \d+, since/)
    expect(document.targetState).toBe('unchanged')
    await other.query('select 1')
    expect(await place.state()).toBe('former')
  })

  test('a prepared transaction, which has no session to end', async () => {
    await other.query(`begin; insert into customers values (999999); prepare transaction 'left behind'`)
    await other.end()
    const {codes, error} = await refusal()
    expect(codes).toEqual(['PREPARED_TRANSACTIONS'])
    expect(error.suggestions).toEqual([expect.stringContaining(`ROLLBACK PREPARED 'left behind'`)])
    await place.server.query(`rollback prepared 'left behind'`, 'target')
  })
})

describe('a subscription on the target', () => {
  afterEach(() => place.server.query('drop subscription news', 'target'))

  test('stops the restore, since it cannot be dropped in a transaction', async () => {
    await place.server.query(
      `create subscription news connection 'host=127.0.0.1 dbname=nowhere' publication p with (connect = false)`,
      'target',
    )
    await place.server.query('alter subscription news set (slot_name = none)', 'target')
    const {codes, error} = await refusal()
    expect(codes).toEqual(['TARGET_HAS_SUBSCRIPTIONS'])
    expect(error.suggestions).toEqual([expect.stringContaining('DROP SUBSCRIPTION "news"')])
  })
})

describe('a role that is no superuser', () => {
  const created: string[] = []
  const owner = async (name: string, settings = '') => {
    created.push(name)
    return createOwner(place, name, settings)
  }
  afterEach(async () => {
    await place.server.dropDatabase('target')
    for (const name of created.splice(0)) await place.server.query(`drop owned by ${name}; drop role ${name}`)
  })

  test('and does not own the target hears of everything at once', async () => {
    const databaseUrl = await owner('guest')
    await place.server.query(`alter database target owner to postgres`).catch(() => {})
    const {codes, error} = await refusal({databaseUrl})
    expect(codes.sort()).toEqual(['NOT_OWNER', 'OBJECTS_OF_OTHERS', 'ROLES_FOREIGN'])
    expect(error.message).toMatch(/3 findings stand against this restore/)
    expect(error.message).toMatch(/may not drop: .*customers of /)
  })

  test('and owns the database, but not what is in it', async () => {
    const databaseUrl = await owner('app')
    await place.server.query('alter database target owner to app')
    const {codes} = await refusal({databaseUrl, noOwner: true, noPrivileges: true})
    expect(codes).toEqual(['OBJECTS_OF_OTHERS'])
  })

  test('restores into a database of its own, to which everything then belongs', async () => {
    const databaseUrl = await owner('app')
    await place.server.dropDatabase('target')
    await place.server.createDatabase('target', 'owner app')
    const result = await place.restore({databaseUrl, noOwner: true, noPrivileges: true, verify: true})
    expect(result.targetState).toBe('restored')
    const owners = await place.server.query(
      `select distinct pg_get_userbyid(relowner) as owner from pg_class where oid >= 16384 and relkind = 'r'`,
      'target',
    )
    expect(owners).toEqual([{owner: 'app'}])
  })
})

describe('what the backup needs', () => {
  afterEach(async () => {
    await forgetBackups(place)
    await place.backUp()
  })

  test('roles that are not there: named, and without owners and grants it goes', async () => {
    await place.server.query('create role shopkeeper; create role auditor')
    await place.server.query(
      'alter table customers owner to shopkeeper; grant select on customers to auditor',
      'shop',
    )
    await place.backUp()
    await place.server
      .query(
        'reassign owned by shopkeeper to postgres; drop owned by shopkeeper; drop owned by auditor',
        'shop',
      )
      .catch(async () => {
        const [{me}] = await place.server.query<{me: string}>('select current_user as me')
        await place.server.query(
          `reassign owned by shopkeeper to ${me}; drop owned by shopkeeper; drop owned by auditor`,
          'shop',
        )
      })
    await place.server.query('drop role shopkeeper; drop role auditor')

    const {codes, error} = await refusal()
    expect(codes).toEqual(['ROLES_MISSING'])
    expect(error.message).toMatch(/auditor, shopkeeper/)
    expect(error.suggestions).toEqual([
      expect.stringMatching(/CREATE ROLE "auditor"; CREATE ROLE "shopkeeper".*--no-owner --no-privileges/),
    ])

    await place.restore({noOwner: true, noPrivileges: true, verify: true})
    expect(await place.state()).toBe('backup')
  })

  test('extensions that the server does not have: named with their versions', async () => {
    await doctorManifest(place, ({content}) =>
      content.extensions.push({name: 'postgis_of_old', version: '2.5.1'}),
    )
    const {codes, error} = await refusal()
    expect(codes).toEqual(['EXTENSIONS_MISSING'])
    expect(error.message).toMatch(/postgis_of_old 2\.5\.1/)
  })

  test('a newer server', async () => {
    await doctorManifest(place, ({database}) => (database.serverVersion = '99.1'))
    const {codes, error} = await refusal()
    expect(codes).toEqual(['TARGET_SERVER_OLDER'])
    expect(error.suggestions.join()).toMatch(/^Restore into a server of version 99 or newer/)
  })

  test('newer client tools', async () => {
    await doctorManifest(place, ({client}) => (client.pgDumpVersion = '99.1'))
    expect((await refusal()).codes).toEqual(['CLIENT_TOOLS_TOO_OLD'])
  })

  test('a part of a database only goes into an empty one', async () => {
    await forgetBackups(place) // one of everything would be taken
    await place.backUp({tables: ['customers']})
    expect((await refusal()).codes).toEqual(['PARTIAL_BACKUP'])

    await place.server.dropDatabase('target')
    await place.server.createDatabase('target')
    await place.server.query(
      'create function precious() returns int language sql as $$ select 1 $$',
      'target',
    )
    expect((await refusal()).codes).toEqual(['PARTIAL_BACKUP'])

    await place.server.query('drop function precious', 'target')
    expect((await place.restore({verify: true})).targetState).toBe('restored')
  })

  test('another encoding is warned of', async () => {
    await place.server.dropDatabase('target')
    await place.server.createDatabase('target', `encoding 'LATIN1' locale 'C' template template0`)
    const {findings, targetState} = await place.restore({verify: true})
    expect(findings).toMatchObject([{code: 'ENCODING_DIFFERS', severity: 'warning'}])
    expect(targetState).toBe('restored')
  })

  test('psql that knows the \\restrict lines of a plain dump', async () => {
    await place.backUp({format: 'plain'})
    const folder = join(place.folder, 'old-psql')
    await mkdir(folder)
    for (const name of ['pg_dump', 'pg_restore', 'pg_dumpall'])
      await symlink(join(place.tools.folder, name), join(folder, name))
    await writeFile(
      join(folder, 'psql'),
      `#!/bin/sh\nread -r line\nprintf '%s\\n' 'psql:<stdin>:5: error: invalid command \\restrict' >&2\nexit 3\n`,
    )
    await chmod(join(folder, 'psql'), 0o755)

    const {error} = await place.failingRestore({env: {...place.env, DBBAK_PG_BIN: folder}})
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.suggestions[0]).toMatch(/knows? the \\restrict lines/)
    expect(await place.state()).toBe('former')
    await place.restore()
    expect(await place.state()).toBe('backup')
  })
})

describe('a server with a small table of locks', () => {
  let small: TestServer
  beforeAll(async () => {
    small = await startServer({
      settings: {
        max_locks_per_transaction: '10',
        max_connections: '8',
        max_worker_processes: '0',
        autovacuum_max_workers: '1',
      },
    })
  })
  afterAll(() => small.stop())

  test('is told the setting before anything is begun', async () => {
    await small.createDatabase('many')
    await small.psql(
      Array.from({length: 60}, (_, index) => `create table t${index} (a int primary key, b text);`).join(
        '\n',
      ),
      'many',
    )
    const {codes, error} = await refusal({databaseUrl: small.url('many')})
    expect(codes).toEqual(['LOCK_TABLE_TOO_SMALL'])
    expect(error.suggestions).toEqual([
      expect.stringMatching(/ALTER SYSTEM SET max_locks_per_transaction = \d+/),
    ])
  })
})

describe('a replica', () => {
  let replica: TestServer
  beforeAll(async () => {
    replica = await startServer({settings: {wal_level: 'replica', hot_standby: 'on'}})
    await replica.createDatabase('shop')
    await replica.kill('SIGINT')
    await writeFile(join(replica.dataFolder!, 'standby.signal'), '')
    await replica.start()
  })
  afterAll(() => replica.stop())

  test('is not written to: the primary is asked for', async () => {
    const {codes, error} = await refusal({databaseUrl: replica.url('shop')})
    expect(codes).toEqual(['TARGET_IS_REPLICA'])
    expect(error.suggestions).toEqual([expect.stringContaining('Name the primary')])
  })
})

const tools18 = await clientTools18()
const missing18 = await missingServer(18)
needs('pg18-tools', tools18.missing)('a dump of PostgreSQL 18', () => {
  needs('embedded-server', missing18)('into an older server', () => {
    let newer: TestServer
    beforeAll(async () => {
      newer = await startServer({major: 18})
      await newer.createDatabase('shop')
      await newer.query('create table customers (id int)', 'shop')
    })
    afterAll(() => newer.stop())

    test('is refused with the version that it takes', async () => {
      const env = {...place.env, DBBAK_PG_BIN: tools18.folder}
      const {takeBackup} = await import('../../src/index.js')
      await takeBackup({
        env,
        cwd: place.folder,
        databaseUrl: newer.url('shop'),
        to: [join(place.folder, 'of-18')],
      })
      const {codes, error} = await refusal({env, from: join(place.folder, 'of-18')})
      expect(codes).toEqual(['TARGET_SERVER_OLDER'])
      expect(error.suggestions.join()).toMatch(/^Restore into a server of version 18 or newer/)
      expect(await place.state()).toBe('former')
    })

    test.each(['swap', 'in-place'] as const)(
      'goes with --force-version, where nothing in it is newer (%s)',
      async (strategy) => {
        const env = {...place.env, DBBAK_PG_BIN: tools18.folder}
        const from = join(place.folder, 'of-18')
        const result = await place.restore({env, from, strategy, forceVersion: true, verify: true})
        if (result.oldDatabase) await place.server.dropDatabase(result.oldDatabase)
        expect(result.findings).toMatchObject([{code: 'TARGET_SERVER_OLDER', severity: 'warning'}])
        expect(result.targetState).toBe('restored')
      },
    )
  })
})
