import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import type {StoredBackup} from '../../src/engine/archive/open-archive.js'
import {readCatalog} from '../../src/engine/catalog.js'
import {throwOnErrors, type Finding} from '../../src/engine/restore/findings.js'
import {readArchiveEntries} from '../../src/engine/archive/archive-entries.js'
import {choosePart} from '../../src/engine/restore/part/choose-part.js'
import type {Part} from '../../src/engine/restore/part/part.js'
import {checkPart, manifestOfPart} from '../../src/engine/restore/part/part-content.js'
import {findPartObstacles} from '../../src/engine/restore/part/part-obstacles.js'
import {preflight, type Target} from '../../src/engine/restore/preflight.js'
import {replacePartInTransaction} from '../../src/engine/restore/strategies/in-place-part.js'
import {leaveSession} from '../../src/engine/restore/target-session.js'
import {LocalStorage} from '../../src/storage/local.js'
import {clientTools18} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {until} from '../support/processes.js'
import {
  createOwner,
  forgetBackups,
  openRestorePlace,
  type RestorePlace,
  type RestorePlaceRequest,
} from '../support/restore-place.js'
import {comparableDump, dumpDifferences, type ComparableDump} from '../support/same-dump.js'
import {missingServer} from '../support/servers.js'

/** Beside what the place's shop has. */
const more = `
  create table sales.order_items (order_id bigint references sales.orders, line int, price numeric not null check (price > 0), primary key (order_id, line));
  insert into sales.order_items select g, 1, g from generate_series(1, 500) g;
  create function sales.touch() returns trigger language plpgsql as 'begin return new; end';
  create trigger touched before update on sales.order_items for each row execute function sales.touch();
  create policy everybody on sales.order_items using (exists (select from customers));
  alter table sales.order_items enable row level security;
  comment on column sales.order_items.price is 'in euro';
  comment on constraint order_items_pkey on sales.order_items is 'one line each';
  create statistics sales.by_line on order_id, line from sales.order_items;
  grant select (line) on sales.order_items to public;
  create rule no_delete as on delete to sales.order_items where old.line = 77 do instead nothing;

  create schema log;
  create table log.events (id int generated always as identity, at date, customer int references customers, kind text, primary key (id, at)) partition by range (at);
  create table log.events_2024 partition of log.events for values from ('2024-01-01') to ('2025-01-01');
  create table public."events 2025" partition of log.events for values from ('2025-01-01') to ('2026-01-01');
  create index on log.events (kind);
  insert into log.events (at, customer, kind) select date '2024-06-01' + g, 1 + g % 100, 'visit' from generate_series(1, 400) g;
  create type log.level as enum ('low', 'high');
  create table log.notes (id serial primary key, level log.level default 'low', text text);
  insert into log.notes (text) select 'note ' || g from generate_series(1, 50) g;
  create function log.loud(log.notes) returns boolean language sql immutable as $$ select $1.level = 'high' $$;
  create view log.high as select * from log.notes where log.loud(notes);
  create materialized view log.days as select at, count(*) from log.events group by at;
  alter table log.notes add check (not log.loud(notes) or text <> '');

  create table "Odd Name" ("a b" int primary key, "semi;colon" text);
  create table "Odd Name x" ("a b" int constraint y references "Odd Name");
  create table "Odd" ("a b" int constraint "Name x y" references "Odd Name");
  insert into "Odd Name" select g, 'x' from generate_series(1, 20) g;
  create table lone (id int primary key, n int);
  insert into lone select g, g from generate_series(1, 100) g;
  create publication pub for table lone;
  create sequence tickets start 7;
  create function first_order() returns sales.orders language sql as 'select * from sales.orders limit 1';
  create function worth(sales.order_items) returns numeric language sql as 'select $1.price';`

let place: RestorePlace
const open = async (request: RestorePlaceRequest = {}) => {
  place = await openRestorePlace({rows: 1000, ...request})
  await place.server.psql(more, 'shop')
}
beforeAll(() => open())
afterAll(() => place.end())

const dump = async (database: string) => comparableDump(place.tools, await place.server.describe(database))

/**
 * Makes the target: the shop, changed beside the part and in it. What it is to be after the restore is the shop with
 * the first change alone.
 */
async function accident(beside: string, inside: string): Promise<ComparableDump> {
  for (const name of ['target', 'expected']) await place.server.dropDatabase(name)
  await place.server.createDatabase('expected', 'template shop')
  await place.server.psql(beside, 'expected')
  await place.server.createDatabase('target', 'template expected')
  await place.server.psql(inside, 'target')
  const before = await dump('target')
  expect(dumpDifferences(await dump('expected'), before)).not.toEqual([])
  return before
}

async function newest(): Promise<StoredBackup> {
  const store = new LocalStorage(place.backups)
  const {backups} = await readCatalog(store)
  return {store, entry: backups[0]}
}

interface Steps {
  /** After the preflight. */
  beforeFill?: () => Promise<void>
  whileFilling?: (target: Target) => Promise<void>
  beforeCommit?: (target: Target) => Promise<void>
}

const options = {
  noOwner: false,
  noPrivileges: false,
  terminateConnections: false,
  analyze: false,
  jobs: undefined,
}

const asUsual = {forceVersion: false, globals: false, safetyBackup: false, part: undefined}

/** What the staged restore is to do with a part. */
async function restorePart(part: Partial<Part>, steps: Steps = {}): Promise<Finding[]> {
  const backup = await newest()
  const {signal} = new AbortController()
  const search = {env: place.env, pgBin: place.env.DBBAK_PG_BIN}
  const connection = await place.server.describe('target')
  const target = await preflight(
    backup,
    {...options, ...asUsual, strategy: 'in-place', lockTimeoutMs: 60_000},
    {connection, search, safetyStore: backup.store, signal},
  )
  try {
    const archive = await readArchiveEntries(backup, signal)
    const chosen = choosePart(archive, {schemas: [], tables: [], ...part})
    const findings = await findPartObstacles(target.client, chosen, 'ID')
    throwOnErrors(findings)
    await steps.beforeFill?.()
    const replacement = replacePartInTransaction(backup, target, chosen, options, {
      search,
      events: {},
      signal,
    })
    try {
      const filling = replacement.fill()
      filling.catch(() => {})
      await steps.whileFilling?.(target)
      const client = await filling
      await checkPart(client, manifestOfPart(backup.entry.manifest, chosen), true, signal)
      await steps.beforeCommit?.(target)
      await replacement.commit(false)
    } catch (error) {
      await replacement.undo()
      throw error
    }
    return findings
  } finally {
    await leaveSession(target)
  }
}

async function restoredAsExpected(part: Partial<Part>): Promise<Finding[]> {
  const findings = await restorePart(part)
  expect(dumpDifferences(await dump('expected'), await dump('target'))).toEqual([])
  return findings
}

/** A restore that must be refused or fail, and leave the target as it was. */
async function failsUnharmed(before: ComparableDump, part: Partial<Part>, steps: Steps = {}) {
  const error = await restorePart(part, steps).then(
    () => Promise.reject(new Error('The restore succeeded.')),
    (thrown: Error & {code: string; suggestions: string[]; details?: {findings?: Finding[]}}) => thrown,
  )
  await place.quiet()
  expect(dumpDifferences(before, await dump('target'))).toEqual([])
  return error
}

/** Changes that a restore of a part must not touch. */
const beside = `
  update customers set name = 'renamed since';
  insert into sales.orders (customer_id, note) values (1, 'ordered since');
  create table made_since (id int primary key references customers);
  select lo_from_bytea(999, 'a large object since') \\g /dev/null`

const formats = ['custom', 'directory'] as const

/** The tests of what a restored part is, for one format. */
function restoresParts(format: (typeof formats)[number]): void {
  beforeAll(async () => {
    await forgetBackups(place)
    await place.backUp({format})
  })

  test.each<[string, Partial<Part>, string]>([
    ['a table whose rows are gone', {tables: ['lone']}, 'delete from lone'],
    ['a table that is gone', {tables: ['public.lone']}, 'drop table lone'],
    ['a table with a name that needs quotes', {tables: ['"Odd Name x"']}, 'drop table "Odd Name x"'],
    ['tables by a wildcard', {tables: ['"Odd Name"*', '"Odd"']}, 'drop table "Odd Name" cascade'],
    ['a sequence', {tables: ['tickets']}, `select setval('tickets', 99999) \\g /dev/null`],
    [
      'a partitioned table with an identity, and a view of it',
      {tables: ['log.events', 'log.days']},
      `delete from log.events where id < 200; alter table log.events detach partition public."events 2025";
       create table log.extra partition of log.events for values from ('2030-01-01') to ('2031-01-01')`,
    ],
    [
      'a schema, also what the backup does not know of it',
      {schemas: ['log']},
      `drop table log.notes cascade; create table log.surplus (id int); delete from log.events;
       create function log.more() returns int language sql as 'select 1'`,
    ],
    ['a schema that is gone', {schemas: ['log']}, 'drop schema log cascade'],
  ])('%s', async (_, part, inside) => {
    await accident(beside, inside)
    await restoredAsExpected(part)
  })

  test('a table with everything that a table can have', async () => {
    const inside = 'alter table sales.order_items drop column price cascade; truncate sales.order_items'
    await accident(`drop function worth; ${beside}`, inside)
    await restoredAsExpected({tables: ['order_items']})
  })

  test('tables with a foreign key between them, and a view of one', async () => {
    await accident('drop function worth, first_order; truncate lone', 'truncate sales.orders cascade')
    await restoredAsExpected({tables: ['sales.orders', 'sales.order_items', 'open_orders']})
  })
}

describe.each(formats)('%s format', restoresParts)

describe('single partitions', () => {
  beforeAll(async () => {
    await forgetBackups(place)
    await place.backUp()
  })

  test.each([
    ['whose rows are gone', 'delete from log.events_2024'],
    ['that is gone', 'drop table log.events_2024'],
    [
      'that was detached',
      'alter table log.events detach partition log.events_2024; delete from log.events_2024',
    ],
  ])('one %s: its partitioned table and the other partitions stay', async (_, inside) => {
    await accident(
      `drop materialized view log.days; delete from public."events 2025" where kind = 'visit'`,
      inside,
    )
    await restoredAsExpected({tables: ['log.events_2024']})
  })

  test('one whose rows were dumped as those of the whole table is refused: they could go anywhere', async () => {
    await place.server.psql(
      `create schema hashed; create type hashed.k as enum ('a', 'b', 'c', 'd');
       create table hashed.all_of_it (k hashed.k) partition by hash (k);
       create table hashed.one partition of hashed.all_of_it for values with (modulus 2, remainder 0);
       create table hashed.two partition of hashed.all_of_it for values with (modulus 2, remainder 1);
       insert into hashed.all_of_it values ('a'), ('b'), ('c'), ('d')`,
      'shop',
    )
    await place.backUp()
    await place.server.psql('drop schema hashed cascade', 'shop')
    const archive = await readArchiveEntries(await newest(), new AbortController().signal)
    const dumpedThroughRoot = archive.some(({copy}) => copy.startsWith('COPY hashed.all_of_it '))
    if (!dumpedThroughRoot) throw new Error('pg_dump copies each partition by itself.')
    const choose = () => choosePart(archive, {schemas: [], tables: ['hashed.one']})
    expect(choose).toThrow(/rows of hashed\.one as rows of the partitioned table hashed\.all_of_it/)
    expect(choosePart(archive, {schemas: [], tables: ['hashed.all_of_it']}).relations).toHaveLength(3)
  })
})

describe('what foreign keys and others make impossible', () => {
  let before: ComparableDump
  beforeAll(async () => {
    await forgetBackups(place)
    await place.backUp()
  })
  beforeEach(async () => {
    before = await accident(beside, 'truncate lone')
  })

  test('a foreign key of another table onto a selected one is refused by name, with the command for both', async () => {
    const error = await failsUnharmed(before, {tables: ['"Odd Name"']})
    expect(error.code).toBe('PREFLIGHT_FAILED')
    expect(error.details?.findings?.map(({code, message}) => [code, message])).toEqual([
      [
        'PART_HAS_DEPENDENTS',
        'The foreign key "Name x y" of public."Odd" points to public."Odd Name", which would be replaced.',
      ],
      [
        'PART_HAS_DEPENDENTS',
        'The foreign key y of public."Odd Name x" points to public."Odd Name", which would be replaced.',
      ],
    ])
    expect(error.suggestions).toEqual([
      `Restore both: dbbak restore ID --table '"Odd Name"' --table 'public."Odd"' --table 'public."Odd Name x"'`,
    ])
    await restorePart({tables: ['"Odd Name"', 'public."Odd"', 'public."Odd Name x"']})
  })

  test('views, materialized views, functions and foreign keys all at once', async () => {
    const error = await failsUnharmed(before, {tables: ['sales.orders', 'log.events']})
    const messages = error.details?.findings?.map(({message}) => message)
    expect(messages?.sort()).toEqual([
      'The foreign key order_items_order_id_fkey of sales.order_items points to sales.orders, which would be replaced.',
      'The function public.first_order() depends on the table sales.orders, which would be replaced.',
      'The materialized view log.days depends on the table log.events, which would be replaced.',
      'The view public.open_orders depends on the table sales.orders, which would be replaced.',
    ])
    expect(error.suggestions).toContain(
      'Restore the whole backup, or remove it first and make it again afterwards: DROP ROUTINE public.first_order()',
    )
  })

  test('what the backup does not know of and depends on a selected table', async () => {
    const error = await failsUnharmed(before, {tables: ['customers']})
    expect(error.message).toContain('made_since_id_fkey')
    expect(error.suggestions).toContain(
      'Restore the whole backup, or remove it first and make it again afterwards: ALTER TABLE public.made_since DROP CONSTRAINT made_since_id_fkey',
    )
  })

  test('a column of another table whose type is in a selected schema', async () => {
    before = await accident('create table levels (level log.level)', 'truncate lone')
    const error = await failsUnharmed(before, {schemas: ['log']})
    expect(error.message).toContain('column level of table public.levels depends on the type log.level')
  })

  test('a foreign key to a table that is neither selected nor there', async () => {
    before = await accident('select 1', 'drop table sales.orders cascade')
    const error = await failsUnharmed(before, {tables: ['sales.order_items'], schemas: []})
    expect(error.message).toContain('The function public.worth(sales.order_items)')
    await place.server.psql('drop function worth', 'target')
    before = await dump('target')
    const {message, suggestions} = await failsUnharmed(before, {tables: ['sales.order_items']})
    expect(message).toContain(
      'PART_NEEDS_OTHERS: The foreign key order_items_order_id_fkey of sales.order_items needs the table sales.orders, which is neither selected nor in the target.',
    )
    expect(suggestions).toEqual([
      'Restore both: dbbak restore ID --table sales.order_items --table sales.orders',
    ])
    await restorePart({tables: ['sales.order_items', 'sales.orders']})
  })

  test('a type that is neither selected nor there', async () => {
    before = await accident('drop schema log cascade', 'create schema log')
    const {message, suggestions} = await failsUnharmed(before, {tables: ['log.notes']})
    expect(message).toContain('The table log.notes needs the type log.level')
    expect(suggestions).toContain(
      'Make it first, or restore all of its schema: dbbak restore ID --schema log',
    )
    await restoredWith({schemas: ['log']})
  })

  test('a publication that the backup does not know is told of', async () => {
    await accident('select 1', 'create publication later for table lone, sales.order_items')
    const [finding, ...others] = await restorePart({tables: ['lone']})
    expect(others).toEqual([])
    expect(finding).toMatchObject({
      code: 'PART_LEAVES_PUBLICATION',
      severity: 'warning',
      fix: 'Afterwards: ALTER PUBLICATION later ADD TABLE public.lone',
    })
    const published = await place.server.query(
      "select pubname from pg_publication_tables where tablename = 'lone'",
      'target',
    )
    expect(published).toEqual([{pubname: 'pub'}])
  })

  test('a table of somebody else', async () => {
    const client = new Client({connectionString: await createOwner(place, 'clerk')})
    await client.connect()
    try {
      const archive = await readArchiveEntries(await newest(), new AbortController().signal)
      const chosen = choosePart(archive, {schemas: [], tables: ['lone']})
      expect(await findPartObstacles(client, chosen, 'ID')).toMatchObject([
        {code: 'OBJECTS_OF_OTHERS', severity: 'error', fix: expect.stringContaining(' TO "clerk"')},
      ])
    } finally {
      await client.end()
    }
  })

  const restoredWith = async (part: Partial<Part>) => {
    await restorePart(part)
    expect((await dump('target')).rows.size).toBeGreaterThan(0)
  }
})

describe('a restore of a part that fails half-way leaves everything as it was', () => {
  beforeAll(async () => {
    await forgetBackups(place)
    await place.backUp()
  })
  const inTarget = async (sql: string) => place.server.psql(sql, 'target')

  test('a row that its foreign key no longer finds', async () => {
    const before = await accident(
      'drop function worth',
      'delete from sales.order_items; delete from sales.orders where id = 400',
    )
    const error = await failsUnharmed(before, {tables: ['sales.order_items']})
    expect(error).toMatchObject({code: 'RESTORE_FAILED'})
    expect(error.message).toContain('violates foreign key constraint "order_items_order_id_fkey"')
  })

  test('fewer rows than the record of the backup says', async () => {
    await accident('select 1', 'truncate lone')
    await inTarget(
      "create function thin() returns event_trigger language plpgsql as $$ begin delete from public.lone where id = 1; end $$; create event trigger thin on ddl_command_end when tag in ('ALTER TABLE') execute function thin()",
    )
    const before = await dump('target')
    const error = await failsUnharmed(before, {tables: ['lone']})
    expect(error.message).toContain('public.lone: expected 100 rows, found 99 rows')
  })

  test('a view that was made over a selected table in the meantime: nothing goes by CASCADE', async () => {
    let before = await accident('select 1', 'truncate lone')
    const beforeFill = async () => {
      await inTarget('create view since as select * from lone')
      before = await dump('target')
    }
    const error = await restorePart({tables: ['lone']}, {beforeFill}).catch((thrown: Error) => thrown)
    expect((error as Error).message).toContain(
      'cannot drop table public.lone because other objects depend on it',
    )
    expect(dumpDifferences(before, await dump('target'))).toEqual([])
  })

  test('a view that was made over a selected schema in the meantime', async () => {
    let before = await accident('select 1', 'truncate log.notes')
    const beforeFill = async () => {
      await inTarget('create view since as select * from log.high')
      before = await dump('target')
    }
    const error = await restorePart({schemas: ['log']}, {beforeFill}).catch((thrown: Error) => thrown)
    expect(error).toMatchObject({code: 'RESTORE_FAILED'})
    expect((error as Error).message).toContain('view public.since depends on the ')
    expect(dumpDifferences(before, await dump('target'))).toEqual([])
  })

  test('the server ends our session while pg_restore is at work', async () => {
    const before = await accident('drop function worth', 'truncate sales.order_items')
    const blocker = new Client({connectionString: place.server.url('target')})
    const error = await failsUnharmed(
      before,
      {tables: ['sales.order_items']},
      {
        async beforeFill() {
          await blocker.connect()
          await blocker.query('begin; lock table sales.orders in row exclusive mode')
        },
        async whileFilling({backend: {pid}}) {
          const waits = () => place.server.query(`select from pg_locks where pid = ${pid} and not granted`)
          await until(async () => (await waits()).length > 0, 'the foreign key waits for its table')
          await place.server.query(`select pg_terminate_backend(${pid})`)
          await blocker.end()
        },
      },
    )
    expect(error.message).toMatch(/terminat|connection|session/i)
  })

  test('the server ends our session before the commit', async () => {
    const before = await accident('select 1', 'truncate lone')
    await failsUnharmed(
      before,
      {tables: ['lone']},
      {
        async beforeCommit({backend: {pid}}) {
          await place.server.query(`select pg_terminate_backend(${pid})`)
        },
      },
    )
  })
})

describe('names', () => {
  beforeAll(async () => {
    await forgetBackups(place)
    await place.backUp()
    await accident('select 1', 'truncate lone')
  })

  test.each<[string, Partial<Part>, RegExp, string]>([
    [
      'of no table',
      {tables: ['sales.order']},
      /no table sales\.order\./,
      `Did you mean: --table 'sales.orders'`,
    ],
    ['of no schema', {schemas: ['slaes']}, /no schema slaes\./, `Did you mean: --schema 'sales'`],
    ['in upper case', {tables: ['"LONE"']}, /no table "LONE"/, `Did you mean: --table 'lone'`],
    ['of an index', {tables: ['lone_pkey']}, /no table lone_pkey/, `It has: `],
  ])('%s', async (_, part, words, suggestion) => {
    const error = await failsUnharmed(await dump('target'), part)
    expect(error.code).toBe('NOTHING_SELECTED')
    expect(error.message).toMatch(words)
    expect(error.suggestions.join('\n')).toContain(suggestion)
  })

  test('one that is in two schemas is refused, not guessed', async () => {
    const archive = await readArchiveEntries(await newest(), new AbortController().signal)
    expect(() => choosePart(archive, {schemas: [], tables: ['*e*']})).toThrow(/could mean .* or /)
    expect(() => choosePart(archive, {schemas: [], tables: ['[']})).toThrow(/not a name and not a pattern/)
  })

  test('a plain dump is refused, with the way round', async () => {
    await forgetBackups(place)
    await place.backUp({format: 'plain'})
    const error = await failsUnharmed(await dump('target'), {tables: ['lone']})
    expect(error.code).toBe('OPTION_INVALID')
    expect(error.suggestions[0]).toContain('into an empty database')
  })
})

const tools18 = await clientTools18()
const missing18 = await missingServer(18)

// The last, since it has a place of its own.
needs('pg18-tools', tools18.missing)('tools of 18', () => {
  needs('embedded-server', missing18)('and a server of 18', () => {
    beforeAll(async () => {
      await place.end()
      await open({major: 18, pgBin: tools18.folder})
    })

    describe.each(formats)('%s format', restoresParts)
  })
})
