import {createHash} from 'node:crypto'
import {readFile, readdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, describe, expect, test} from '@jest/globals'
import {verificationError, type VerifiedBackup} from '../../src/index.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'

/** Databases of which pg_dump makes a dump without a word that does not restore, and what a verification must name. */
const hiddenFaults: {fault: string; sql: string; names: RegExp}[] = [
  {
    fault: 'a CHECK that reads another table',
    sql: `create table z_limits (most int); insert into z_limits values (10);
          create function within(int) returns boolean language sql as 'select coalesce($1 <= (select max(most) from public.z_limits), false)';
          create table bounded (n int constraint in_bounds check (within(n))); insert into bounded values (1), (2)`,
    names: /"bounded" violates check constraint "in_bounds"/,
  },
  {
    fault: 'a CHECK that calls now()',
    sql: `create table offers (expires timestamptz constraint still_valid check (expires > now()));
          insert into offers values (clock_timestamp() + interval '50 ms'); commit; select pg_sleep(0.2)`,
    names: /"offers" violates check constraint "still_valid"/,
  },
  {
    fault: 'a CHECK whose function was changed later',
    sql: `create function even(int) returns boolean language sql as 'select true';
          create table numbers (n int constraint even_only check (even(n))); insert into numbers values (3);
          create or replace function even(int) returns boolean language sql as 'select $1 % 2 = 0'`,
    names: /"numbers" violates check constraint "even_only"/,
  },
  {
    fault: 'a function without a search_path in an index',
    sql: `create table names (id int, name text);
          create function name_of(int) returns text language sql immutable as 'select name from names where id = $1';
          create table people (id int); insert into people values (1); create index people_by_name on people (name_of(id))`,
    names: /relation "names" does not exist.*CREATE INDEX people_by_name ON public\.people/,
  },
  {
    fault: 'a function without a search_path in a materialized view',
    sql: `create table names (id int, name text); insert into names values (1, 'a');
          create function first_name() returns text language plpgsql as 'begin return (select name from names limit 1); end';
          create materialized view facts as select first_name() as name`,
    names: /relation "names" does not exist.*REFRESH MATERIALIZED VIEW public\.facts/,
  },
  {
    fault: 'orphan rows under a foreign key',
    sql: `create table parents (id int primary key); create table children (parent int constraint has_parent references parents);
          alter table children disable trigger all; insert into children values (7)`,
    names: /table "children" violates foreign key constraint "has_parent"/,
  },
  {
    fault: 'duplicates under a unique index',
    sql: `create function kind(int) returns int language sql immutable as 'select $1';
          create table things (n int); create unique index one_of_a_kind on things (kind(n)); insert into things values (1), (2);
          create or replace function kind(int) returns int language sql immutable as 'select 1'`,
    names: /could not create unique index "one_of_a_kind"/,
  },
  {
    fault: 'rows in a partition in which they do not belong',
    sql: `create table measured (n int) partition by list (n); create table measured_1 partition of measured for values in (1);
          create table stray (n int); insert into stray values (2);
          set allow_system_table_mods = on; update pg_class set relfilenode = (select relfilenode from pg_class where relname = 'stray') where relname = 'measured_1'`,
    names: /"measured_1" violates partition constraint/,
  },
]

/** What can be cut out of a plain dump, with a checksum that is right all the same. */
const cuts: {what: string; cut: (dump: string) => string; difference: Record<string, string>}[] = [
  {
    what: 'rows removed',
    cut: (dump) => dump.replace(/^4\tfour\n/m, '').replace(/^9\tnine\n/m, ''),
    difference: {kind: 'rows', object: 'shop.orders', expected: '10 rows', found: '8 rows'},
  },
  {
    what: 'rows added',
    cut: (dump) => dump.replace(/^4\tfour\n/m, '4\tfour\n4\tfour\n'),
    difference: {kind: 'rows', object: 'shop.orders', expected: '10 rows', found: '11 rows'},
  },
  {
    what: 'a table missing',
    cut: (dump) =>
      dump
        .replace(/^CREATE TABLE shop\."Empty one" [^;]*;$/m, '')
        .replace(/^ALTER TABLE shop\."Empty one" .*$/m, '')
        .replace(/^COPY shop\."Empty one" [^;]*;\n\\\.$/m, ''),
    difference: {kind: 'table-missing', object: 'shop."Empty one"', expected: 'a table', found: 'none'},
  },
  {
    what: 'a table that was not there',
    cut: (dump) =>
      dump.replace('SET default_tablespace', 'CREATE TABLE shop.new (a int);\nSET default_tablespace'),
    difference: {kind: 'table-unexpected', object: 'shop.new', expected: 'none', found: 'a table'},
  },
  {
    what: 'a sequence behind',
    cut: (dump) => dump.replace("setval('shop.numbers', 41, true)", "setval('shop.numbers', 40, true)"),
    difference: {kind: 'sequence', object: 'shop.numbers', expected: '41', found: '40'},
  },
  {
    what: 'a materialized view not filled',
    cut: (dump) => dump.replace(/^REFRESH MATERIALIZED VIEW .*$/m, ''),
    difference: {
      kind: 'materialized-view',
      object: 'shop.totals',
      expected: 'populated',
      found: 'not populated',
    },
  },
  {
    what: 'a large object missing',
    cut: (dump) => dump.replace(/^SELECT pg_catalog\.lo_.*$/gm, '').replace(/^ALTER LARGE OBJECT.*$/m, ''),
    difference: {kind: 'large-objects', object: 'large objects', expected: '1', found: '0'},
  },
  {
    what: 'an extension missing',
    cut: (dump) => dump.replace(/^(CREATE|COMMENT ON) EXTENSION .*$/gm, ''),
    difference: {kind: 'extension', object: 'pg_trgm', expected: 'version', found: 'none'},
  },
]

describe('a verification by restore', () => {
  let place: RoundTrip
  beforeAll(async () => {
    place = await openRoundTrip()
  })
  afterAll(() => place.end())
  afterEach(() => place.server.dropDatabase('source'))

  const checkOf = (result: VerifiedBackup, name: string) => result.checks.find((check) => check.name === name)

  for (const format of ['custom', 'plain'] as const) {
    test.each(hiddenFaults.map((one) => [one.fault, one] as const))(
      `finds and names, in ${format} format: %s`,
      async (_, {sql, names}) => {
        await place.server.createDatabase('source')
        await place.server.query(sql, 'source')
        await place.backUp('source', {format})

        const result = await place.verify()

        expect(result.verdict).toBe('failed')
        expect(checkOf(result, 'archive-readable')).toMatchObject({status: 'passed'})
        expect(checkOf(result, 'restore-test')).toMatchObject({
          status: 'failed',
          reason: expect.stringMatching(names),
        })
        expect(await scratchDatabases()).toEqual([])
      },
    )
  }

  test('names every table that stayed empty, and no other', async () => {
    await place.server.createDatabase('source')
    await place.server.query(
      `create function always(int) returns boolean language sql as 'select true';
       create table a (n int check (always(n))); create table b (n int); create table c (n int check (always(n)));
       insert into a values (1); insert into b values (1); insert into c values (1), (2);
       create or replace function always(int) returns boolean language sql as 'select false'`,
      'source',
    )
    await place.backUp('source')
    expect(checkOf(await place.verify(), 'data-integrity')?.differences).toEqual([
      {kind: 'rows', object: 'public.a', expected: '1 rows', found: '0 rows'},
      {kind: 'rows', object: 'public.c', expected: '2 rows', found: '0 rows'},
    ])
  })

  test.each(cuts.map((one) => [one.what, one] as const))(
    'finds in an archive with the right checksum: %s',
    async (_, {cut, difference}) => {
      await place.server.createDatabase('source')
      await place.server.query(
        `create schema shop; create extension pg_trgm; create table shop."Empty one" (a int); create sequence shop.numbers; select setval('shop.numbers', 41);
         create table shop.orders (id int, name text); insert into shop.orders values (4, 'four'), (9, 'nine');
         insert into shop.orders select g, 'x' from generate_series(20, 27) g;
         create materialized view shop.totals as select count(*) from shop.orders; select lo_create(4711)`,
        'source',
      )
      await place.backUp('source', {format: 'plain', compress: 'none'})
      expect((await place.verify()).verdict).toBe('passed')
      await doctor(cut)

      const result = await place.verify()

      expect(result.verdict).toBe('failed')
      expect(checkOf(result, 'checksum-valid')?.status).toBe('passed')
      expect(checkOf(result, 'restore-test')).toMatchObject({status: 'passed'})
      const {differences} = checkOf(result, 'data-integrity') ?? {}
      expect(differences).toHaveLength(1)
      expect(differences?.[0]).toMatchObject({
        ...difference,
        expected: expect.stringContaining(difference.expected),
      })
      expect(verificationError({destination: '', verdict: 'failed', results: [result]})).toMatchObject({
        code: 'VERIFICATION_FAILED',
        exitCode: 5,
        message: expect.stringContaining(difference.object),
      })
    },
  )

  test('never runs rows as statements where their table could not be made', async () => {
    await place.server.createDatabase('source')
    await place.server.query(
      `create table notes (n int, note text); insert into notes values (1, ';create database taken_from_a_row;')`,
      'source',
    )
    await place.backUp('source', {format: 'plain', compress: 'none'})
    await doctor((dump) => dump.replace('CREATE TABLE public.notes', 'CREATE TABEL public.notes'))

    expect((await place.verify()).verdict).toBe('failed')

    expect(await place.server.query(`select from pg_database where datname = 'taken_from_a_row'`)).toEqual([])
  })

  /** Changes the newest backup, a plain and uncompressed one, and its manifest with it. */
  async function doctor(change: (dump: string) => string): Promise<void> {
    const names = (await readdir(place.backups)).sort()
    const newest = join(place.backups, names.findLast((name) => name.endsWith('.metadata.json')) as string)
    const manifest = JSON.parse(await readFile(newest, 'utf8'))
    const file = join(place.backups, manifest.files[0].path)
    const before = await readFile(file, 'utf8')
    const after = change(before)
    expect(after).not.toBe(before)
    await writeFile(file, after)
    manifest.files[0].bytes = Buffer.byteLength(after)
    manifest.files[0].sha256 = createHash('sha256').update(after).digest('hex')
    await writeFile(newest, JSON.stringify(manifest))
  }

  const scratchDatabases = () =>
    place.server.query(`select datname from pg_database where datname like 'dbbak%'`)
})
