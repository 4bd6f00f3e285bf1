import {execFile} from 'node:child_process'
import {readdir} from 'node:fs/promises'
import {promisify} from 'node:util'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import type {RestoreOptions} from '../../src/index.js'
import {createFeatureRich} from '../support/feature-rich.js'
import {until} from '../support/processes.js'
import {dumpDifferences, unhurried} from '../support/same-dump.js'
import {
  createOwner,
  doctor,
  forgetBackups,
  openRestorePlace,
  type RestorePlace,
} from '../support/restore-place.js'

let place: RestorePlace
beforeAll(async () => {
  place = await openRestorePlace({
    rows: 20_000,
    settings: {wal_level: 'logical', max_wal_senders: '2', max_replication_slots: '2'},
  })
})
afterAll(() => place.end())
beforeEach(async () => {
  for (const name of await besideTarget()) await place.server.dropDatabase(name)
  await place.resetTarget()
  await forgetBackups(place)
})

const swap: RestoreOptions = {strategy: 'swap', safetyBackup: true}

async function besideTarget(): Promise<string[]> {
  const rows = await place.server.query<{datname: string}>(
    `select datname from pg_database where datname like '%\\_dbbak\\_%' order by 1`,
  )
  return rows.map(({datname}) => datname)
}

/** The former content, and nothing beside it. */
async function expectUnharmed(): Promise<void> {
  await place.quiet()
  expect(await place.state()).toBe('former')
  expect(await besideTarget()).toEqual([])
}

test.each(['custom', 'plain', 'directory'] as const)(
  'the target holds the backup afterwards, and nothing is left beside it (%s)',
  async (format) => {
    await place.backUp({format})
    const result = await place.restore({...swap, verify: true, jobs: 3})
    expect(result).toMatchObject({strategy: 'swap', targetState: 'restored', oldDatabase: null})
    expect(result.lockedOutMs).toEqual(expect.any(Number))
    expect(result.stages.map(({name, status}) => `${name} ${status}`)).toEqual([
      'preflight done',
      'verify done',
      'confirm done',
      'safety-dump done',
      'restore done',
      'table-checks done',
      'rollback skipped',
    ])
    expect(await place.state()).toBe('backup')
    expect(await besideTarget()).toEqual([])
    const [{analyzed}] = await place.server.query<{analyzed: boolean}>(
      `select reltuples > 0 as analyzed from pg_class where relname = 'orders'`,
      'target',
    )
    expect(analyzed).toBe(true)
  },
)

test('indexes that are built beside the stream, and what is said of them, are all there', async () => {
  await place.server.createDatabase('large', 'template shop')
  await place.server.psql(
    `insert into sales.orders (customer_id, state, note) select 1, 'new', 'more ' || g || repeat('+', 200) from generate_series(1, 60000) g;
     alter table sales.orders cluster on orders_by_customer;
     alter table sales.orders replica identity using index orders_pkey;
     comment on index sales.orders_by_customer is 'built early';
     comment on constraint orders_note_key on sales.orders is 'unique early';
     create statistics sales.both on customer_id, state from sales.orders;
     create table sales.zoo (id int primary key, order_id bigint references sales.orders);
     insert into sales.zoo select g, g from generate_series(1, 1000) g`,
    'large',
  )
  await place.backUp({databaseUrl: place.server.url('large')})
  const objects = new Set<string>()
  const rows: number[] = []
  const result = await place.restore({
    ...swap,
    jobs: 3,
    verify: true,
    events: {
      activityProgress: ({object, rows: counted}) => {
        if (object) objects.add(object)
        if (counted) rows.push(counted.done)
      },
    },
  })
  expect(result.targetState).toBe('restored')
  expect(dumpDifferences(await place.dump('large'), await place.dump('target'))).toEqual([])
  expect([...objects]).toEqual(expect.arrayContaining(['sales.orders', 'indexes and constraints']))
  expect(rows).toEqual([...rows].sort((a, b) => a - b))
  expect(rows.at(-1)).toBeGreaterThanOrEqual(82_000)
  await place.server.dropDatabase('large')
})

test.each(['custom', 'directory'] as const)(
  'several jobs keep the order in which one role grants what it was given by another (%s)',
  async (format) => {
    await createFeatureRich(place.server, 'rich')
    await place.backUp({databaseUrl: place.server.url('rich'), format})
    for (let round = 0; round < 3; round++) {
      const result = await place.restore({...swap, jobs: 4, verify: true, safetyBackup: false})
      await place.server.dropDatabase(result.oldDatabase!)
      expect(dumpDifferences(await place.dump('rich'), await place.dump('target'))).toEqual([])
    }
    await place.server.dropDatabase('rich')
  },
)

test('auto swaps, and the safety backup is what was there before', async () => {
  await place.backUp()
  const {strategy, safetyBackup} = await place.restore({strategy: 'auto', safetyBackup: true})
  expect(strategy).toBe('swap')
  await place.restore({...swap, latest: false, backup: safetyBackup!.id})
  expect(await place.state()).toBe('former')
})

describe('what belongs to the database itself', () => {
  /** Everything that pg_dump --create writes before the content, without the dump's own key. */
  async function properties(database: string): Promise<string[]> {
    const {toolEnvironment} = await place.server.describe(database).then((connection) => ({
      toolEnvironment: connection.toolEnvironment(process.env),
    }))
    const {stdout} = await promisify(execFile)(place.tools.dump, ['--create', '--schema-only'], {
      env: unhurried(toolEnvironment),
    })
    return stdout
      .split('\n')
      .filter((line) => /\bDATABASE\b/.test(line) && !line.startsWith('--'))
      .sort()
  }

  test('is carried over', async () => {
    await place.backUp()
    await place.server.query(`create role "Odd ""owner""" createdb`)
    await place.server.query(`create role onlooker`)
    for (const statement of [
      `owner to "Odd ""owner"""`,
      'connection limit 17',
      `set search_path = "$user", sales, "odd, ""name"""`,
      `set work_mem = '7MB'`,
      `set app.motto = E'it''s a \\\\ back"slash'`,
      `set session_preload_libraries = 'auto_explain'`,
      `set default_transaction_read_only = on`,
      `set statement_timeout = '5ms'`,
    ])
      await place.server.query(`alter database target ${statement}`)
    await place.server.query(`alter role onlooker in database target set search_path = 'only here'`)
    await place.server.query('revoke connect on database target from public')
    await place.server.query('grant connect, temporary on database target to onlooker with grant option')
    await place.server.query(`comment on database target is E'the shop''s \\\\ own'`)
    const before = await properties('target')
    expect(before.length).toBeGreaterThan(12)

    await place.restore(swap)
    expect(await properties('target')).toEqual(before)
    expect(await place.state()).toBe('backup')
  })

  test.each([
    [`template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'`],
    [`template template0 locale_provider icu icu_locale 'de-u-kn'`],
    ['is_template true'],
  ])('is carried over: %s', async (options) => {
    await place.backUp()
    await place.server.dropDatabase('target')
    await place.server.createDatabase('target', options)
    const before = await properties('target')
    try {
      await place.restore({...swap, safetyBackup: false})
      expect(await properties('target')).toEqual(before)
    } finally {
      await place.server.query('alter database target is_template false')
    }
  })
})

describe('the former content', () => {
  test('stays under another name when it is to be kept', async () => {
    await place.backUp()
    const {oldDatabase} = await place.restore({...swap, keepOld: true})
    expect(oldDatabase).toMatch(/^target_dbbak_old_[0-9a-f]{8}$/)
    expect(await besideTarget()).toEqual([oldDatabase])
    expect(await place.server.query('select from old.invoices', oldDatabase!)).toHaveLength(300)
  })

  test('stays when there is no safety backup of it', async () => {
    await place.backUp()
    const {oldDatabase, safetyBackup} = await place.restore({...swap, safetyBackup: false})
    expect(safetyBackup).toBeNull()
    expect(await besideTarget()).toEqual([oldDatabase])
  })

  test('a name of the longest length leaves room for the ending', async () => {
    await place.backUp()
    const name = `${'ü'.repeat(31)}x`
    await place.server.createDatabase(name, 'template former')
    const {oldDatabase} = await place.restore({...swap, keepOld: true, databaseUrl: place.server.url(name)})
    expect(Buffer.byteLength(oldDatabase!)).toBeLessThanOrEqual(63)
    expect(await place.server.query('select from sales.orders limit 1', name)).toHaveLength(1)
    const [{names}] = await place.server.query<{names: string[]}>(
      'select array_agg(datname::text) as names from pg_database',
    )
    expect(names).toContain(oldDatabase)
    await place.server.dropDatabase(name)
  })
})

describe('others in the target', () => {
  async function connect(): Promise<Client> {
    const client = new Client({connectionString: place.server.url('target'), application_name: 'a client'})
    client.on('error', () => {})
    await client.connect()
    return client
  }

  test('go on until the swap; the fastest to come back are in the restored database', async () => {
    await place.backUp()
    let running = true
    const seen = new Set<string>()
    const errors = new Set<string>()
    const comeBack = async () => {
      while (running) {
        try {
          const client = await connect()
          const {rows} = await client.query(`select to_regclass('sales.orders') is not null as restored`)
          seen.add(rows[0].restored ? 'backup' : 'former')
          await client.end()
        } catch (error) {
          errors.add((error as {code?: string}).code ?? (error as Error).message)
        }
      }
    }
    const clients = Array.from({length: 6}, comeBack)
    const idle = await connect()
    try {
      const result = await place.restore({...swap, terminateConnections: true})
      expect(result.targetState).toBe('restored')
      // It may hold what they wrote after the safety backup.
      expect(await besideTarget()).toEqual([result.oldDatabase])
      await until(() => seen.has('backup'), 'a client is in the restored database')
    } finally {
      running = false
      await Promise.all(clients)
      await idle.end().catch(() => {})
    }
    expect([...seen].sort()).toEqual(['backup', 'former'])
    // Ended, or told that the database they asked for was renamed; nothing else.
    const expected = ['57P01', '3D000', 'Connection terminated unexpectedly', 'ECONNRESET']
    expect([...errors].filter((code) => !expected.includes(code))).toEqual([])
    expect(await place.state()).toBe('backup')
  })

  test('that came after the preflight are waited for', async () => {
    await place.backUp()
    let late: Client | undefined
    const restoring = place.restore({
      ...swap,
      force: false,
      confirm: async () => {
        late = await connect()
      },
    })
    await until(async () => {
      const rows = await place.server.query(
        `select from pg_stat_activity where query like '%autovacuum worker%' and application_name = 'dbbak restore'`,
      )
      return rows.length > 0
    }, 'the swap waits')
    await late!.end()
    expect((await restoring).targetState).toBe('restored')
  })

  test('that stay make it give up unharmed', async () => {
    await place.backUp()
    let late: Client | undefined
    const {error, document} = await place.failingRestore({
      ...swap,
      force: false,
      lockTimeout: '1s',
      confirm: async () => {
        late = await connect()
      },
    })
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/a client pid \d+.*The target is as it was before\.$/)
    expect(error.suggestions.join()).toMatch(/--terminate-connections/)
    expect(document.targetState).toBe('rolled-back')
    await late!.end()
    await expectUnharmed()
  })

  test('that are there before are a finding', async () => {
    await place.backUp()
    const idle = await connect()
    const {document} = await place.failingRestore(swap)
    expect(document.findings).toMatchObject([{code: 'ACTIVE_CONNECTIONS', severity: 'error'}])
    await idle.end()
    await expectUnharmed()
  })
})

describe('a restore that fails leaves the target as it was, and nothing beside it', () => {
  test.each([[1], [3]])('at rows that break a constraint (%i jobs)', async (jobs) => {
    await place.backUp({format: 'plain', compress: 'none'})
    await doctor(place, (dump) => dump.replace('\n7\tcustomer 7\n', '\n8\tcustomer 7\n'))
    const {error, document} = await place.failingRestore({...swap, jobs})
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/customers_pkey.*The target is as it was before\.$/)
    expect(document).toMatchObject({targetState: 'rolled-back'})
    await expectUnharmed()
  })

  test('at a foreign key that does not hold, while indexes are built', async () => {
    await place.server.createDatabase('broken', 'template shop')
    await place.server.query('alter table customers disable trigger all', 'broken')
    await place.server.query('delete from customers where id = 7', 'broken')
    await place.backUp({databaseUrl: place.server.url('broken')})
    const {error} = await place.failingRestore({...swap, jobs: 2})
    expect(error.message).toMatch(/violates foreign key constraint.*The target is as it was before\.$/)
    await place.server.dropDatabase('broken')
    await expectUnharmed()
  })

  test('at the table checks', async () => {
    await place.backUp()
    const {error} = await place.failingRestore({...swap, criticalTables: ['customers:1000000']})
    expect(error).toMatchObject({code: 'TABLE_CHECKS_FAILED', exitCode: 6})
    await expectUnharmed()
  })

  test('when the safety backup cannot be taken', async () => {
    await place.backUp()
    const {error, document} = await place.failingRestore({...swap, safetyTo: '/dev/null/backups'})
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/safety backup could not be taken.*The target is as it was before\.$/)
    expect(document.stages.find(({name}) => name === 'safety-dump')).toMatchObject({status: 'failed'})
    await expectUnharmed()
  })

  test('when it is interrupted at any moment', async () => {
    await place.backUp()
    for (const activity of [
      'Creating target',
      'Filling the copy',
      'Collecting statistics',
      'Swapping the names',
    ]) {
      const controller = new AbortController()
      const restoring = place.failingRestore({
        ...swap,
        signal: controller.signal,
        events: {
          activityStarted: (name) => {
            if (name.startsWith(activity)) setImmediate(() => controller.abort(new Error('stop')))
          },
        },
      })
      // The swap itself may be faster than the interruption.
      const outcome = await restoring.then(
        () => 'former',
        (error: Error) => (/The restore succeeded/.test(error.message) ? 'backup' : Promise.reject(error)),
      )
      await place.quiet()
      expect(await place.state()).toBe(outcome)
      if (outcome === 'former') expect(await besideTarget()).toEqual([])
      if (outcome === 'backup') expect(activity).toBe('Swapping the names')
    }
  })
})

describe('what a killed restore left beside the target', () => {
  test('is named by the next one', async () => {
    await place.backUp()
    await place.server.createDatabase('target_dbbak_0123abcd')
    await place.server.createDatabase('target_dbbak_old_0123abcd')
    await place.server.createDatabase('target2_dbbak_0123abcd')
    const {findings} = await place.restore({...swap, dryRun: true})
    expect(findings).toMatchObject([
      {
        code: 'DATABASE_LEFT',
        severity: 'warning',
        message: expect.stringMatching(/cut off left an unfinished copy .*target_dbbak_0123abcd\./),
      },
      {
        code: 'DATABASE_LEFT',
        severity: 'warning',
        message: expect.stringMatching(/left the former content .*_old_0123abcd\./),
      },
    ])
    expect(findings[0].fix).toBe('When you do not need it: DROP DATABASE "target_dbbak_0123abcd"')
  })
})

describe('a role that is no superuser', () => {
  test('swaps a database of its own where it may create databases', async () => {
    await place.backUp()
    const databaseUrl = await createOwner(place, 'creator', 'createdb')
    await place.server.query('alter database target owner to creator')
    const result = await place.restore({databaseUrl, strategy: 'auto', noOwner: true, noPrivileges: true})
    expect(result).toMatchObject({strategy: 'swap', targetState: 'restored'})
    const rows = await place.server.query(
      `select pg_get_userbyid(datdba) as owner from pg_database where datname = 'target'`,
    )
    expect(rows).toEqual([{owner: 'creator'}])
    expect(await place.server.query('select from sales.orders limit 1', 'target')).toHaveLength(1)
  })

  test('replaces in place where it may not, and is told why', async () => {
    await place.backUp()
    const databaseUrl = await createOwner(place, 'plain_owner')
    await place.server.query('alter database target owner to plain_owner')
    await place.server.query('alter schema old owner to plain_owner', 'target')
    const {findings, strategy, strategyReason} = await place
      .failingRestore({databaseUrl, strategy: 'auto', noOwner: true, noPrivileges: true})
      .then(({document}) => document)
    expect({strategy, codes: findings.map(({code}) => code)}).toMatchObject({codes: ['OBJECTS_OF_OTHERS']})
    expect(strategyReason).toBeDefined()
    const refused = await place.failingRestore({
      databaseUrl,
      strategy: 'swap',
      noOwner: true,
      noPrivileges: true,
    })
    expect(refused.document.findings).toMatchObject([
      {code: 'SWAP_NOT_POSSIBLE', message: expect.stringMatching(/plain_owner may not create databases/)},
    ])
  })

  test.each([
    [
      'a replication slot',
      `select pg_create_logical_replication_slot('keeps', 'test_decoding')`,
      `select pg_drop_replication_slot('keeps')`,
      /replication slot keeps/,
    ],
  ])('auto does not swap away %s', async (_, before, after, reason) => {
    await place.backUp()
    await place.server.query(before, 'target')
    const {strategy, strategyReason} = await place.restore({strategy: 'auto'})
    expect({strategy, strategyReason}).toEqual({
      strategy: 'in-place',
      strategyReason: expect.stringMatching(reason),
    })
    await place.server.query(after, 'target')
  })
})

test.each(['swap', 'in-place'] as const)(
  'a dry run touches nothing, by the server’s own statistics (%s)',
  async (strategy) => {
    await place.backUp()
    const counters = async () => {
      await place.server.query('select pg_stat_force_next_flush()', 'target').catch(() => {}) // since 15
      return place.server.query(
        `select (select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_all_tables) as rows,
              (select json_agg(row_to_json(d) order by oid) from (select oid, datname, datacl::text, datconnlimit from pg_database) d) as databases,
              (select json_agg(rolname order by oid) from pg_roles) as roles`,
        'target',
      )
    }
    const files = async () => (await readdir(place.folder, {recursive: true})).sort()
    const walBefore = await writtenBytes()
    const [before, filesBefore] = [await counters(), await files()]
    const result = await place.restore({strategy, dryRun: true, safetyBackup: true})
    expect(result).toMatchObject({dryRun: true, targetState: 'unchanged', plan: {strategy}})
    expect(result.stages.slice(2).every(({status}) => status === 'skipped')).toBe(true)
    expect(await counters()).toEqual(before)
    expect(await files()).toEqual(filesBefore)
    // Reading may write hints and statistics; what a restore writes is far more.
    expect((await writtenBytes()) - walBefore).toBeLessThan(1_000_000)
    await place.quiet()
    expect(await place.state()).toBe('former')
  },
)

async function writtenBytes(): Promise<number> {
  const [row] = await place.server.query<{bytes: string}>(
    `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as bytes`,
  )
  return Number(row?.bytes)
}
