import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {clientTools18} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {createOwner, forgetBackups, openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {missingServer} from '../support/servers.js'

const formats = ['custom', 'plain', 'directory'] as const

describe('settings of a role and a database do not change what a restore does', () => {
  let place: RestorePlace
  let databaseUrl: string
  beforeAll(async () => {
    place = await openRestorePlace({rows: 20_000})
    databaseUrl = await createOwner(place, 'app', 'superuser')
    await place.backUp()
  })
  afterAll(() => place.end())
  beforeEach(() => place.resetTarget())
  afterEach(async () => {
    await place.server.query('alter role app reset all')
  })

  test.each([
    'default_transaction_read_only = on',
    'default_transaction_isolation = serializable',
    'default_transaction_deferrable = on',
    'statement_timeout = 20',
    'lock_timeout = 1',
    'idle_in_transaction_session_timeout = 20',
    'idle_session_timeout = 20',
    'search_path = nowhere, old',
    `search_path = ''`,
    'standard_conforming_strings = off',
    'backslash_quote = off',
    'quote_all_identifiers = on',
    'client_encoding = LATIN1',
    'DateStyle = German',
    'IntervalStyle = sql_standard',
    'bytea_output = escape',
    'extra_float_digits = -5',
    'TimeZone = "Asia/Kathmandu"',
    'synchronous_commit = off',
    'session_replication_role = replica',
    'row_security = off',
    'check_function_bodies = on',
    'transform_null_equals = on',
    `lc_messages = 'C'`,
    'max_parallel_workers_per_gather = 0',
    'client_min_messages = debug5',
    'xmloption = document',
  ])('%s', async (setting) => {
    await place.server.query(`alter role app set ${setting}`)
    const {targetState} = await place.restore({databaseUrl, verify: true})
    expect(targetState).toBe('restored')
    expect(await place.state()).toBe('backup')
  })

  test('idle_session_timeout, where sessions of several jobs wait while a large table is filled', async () => {
    await place.server.createDatabase('large')
    await place.server.query(
      `create table large (id int); insert into large select generate_series(1, 400000);
       create index on large (id); create index on large ((id + 1)); create index on large ((id + 2))`,
      'large',
    )
    const {id} = await place.backUp({databaseUrl: place.server.url('large'), format: 'directory'})
    await place.server.query('alter role app set idle_session_timeout = 20')
    const chosen = {latest: false, backup: id, strategy: 'swap', jobs: 4} as const
    const {targetState} = await place.restore({databaseUrl, ...chosen, verify: true})
    expect(targetState).toBe('restored')
    await place.server.dropDatabase('large')
    await forgetBackups(place)
    await place.backUp()
  })

  test('set for the database, they are still there afterwards', async () => {
    await place.server.query('alter database target set default_transaction_read_only = on')
    await place.server.query('alter database target set statement_timeout = 20')
    await place.restore({databaseUrl, verify: true})
    const rows = await place.server.query<{setconfig: string[]}>(
      `select setconfig from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = 'target')`,
    )
    expect(rows).toEqual([{setconfig: ['default_transaction_read_only=on', 'statement_timeout=20']}])
  })
})

describe('encodings', () => {
  let place: RestorePlace
  beforeAll(async () => {
    place = await openRestorePlace()
    await place.server.dropDatabase('target')
  })
  afterAll(() => place.end())
  afterEach(async () => {
    await forgetBackups(place)
    for (const name of ['source', 'target']) await place.server.dropDatabase(name)
  })

  /** Bytes of the rows, as the server keeps them. */
  const rows = (database: string) =>
    place.server.query(
      `select encode(convert_to(a, getdatabaseencoding()), 'hex') as a from words order by 1`,
      database,
    )

  const make = async (name: string, encoding: string) =>
    place.server.createDatabase(name, `encoding '${encoding}' locale 'C' template template0`)

  const fill = async (encoding: string) => {
    await make('source', encoding)
    await place.server.query(
      `create table words (a text); comment on table words is 'Größe';
       insert into words values ('Übergröße'), ('naïve'), (E'back\\\\slash'), (E'line\\nbreak'), ('COMMIT;')`,
      'source',
    )
  }

  test.each(
    formats.flatMap((format) =>
      ['LATIN1', 'UTF8', 'EUC_JIS_2004'].map((encoding) => [format, encoding] as const),
    ),
  )('a %s backup of a %s database keeps every character', async (format, encoding) => {
    if (encoding === 'EUC_JIS_2004') {
      await make('source', encoding)
      await place.server.query(
        `create table words (a text); insert into words values ('日本語'), ('表'), ('ソ')`,
        'source',
      )
    } else await fill(encoding)
    await place.backUp({databaseUrl: place.server.url('source'), format})
    await make('target', encoding)
    await place.restore({verify: true})
    expect(await rows('target')).toEqual(await rows('source'))
    // The session of the restore was left speaking UTF-8: the comment was read back right.
    const [{comment}] = await place.server.query<{comment: string}>(
      `select obj_description('words'::regclass) as comment`,
      'target',
    )
    expect(comment).toBe(encoding === 'EUC_JIS_2004' ? null : 'Größe')
  })

  test.each(formats)(
    'a %s backup of an SQL_ASCII database keeps bytes that are in no encoding',
    async (format) => {
      await make('source', 'SQL_ASCII')
      await place.server.psql(
        `create table words (a text); insert into words values (E'\\xfc\\xff\\x81'), ('x')`,
        'source',
      )
      await place.backUp({databaseUrl: place.server.url('source'), format})
      await make('target', 'SQL_ASCII')
      await place.restore({verify: true})
      const bytes = (database: string) =>
        place.server.query(`select encode(a::bytea, 'hex') as a from words order by 1`, database)
      expect(await bytes('target')).toEqual(await bytes('source'))
      expect(await bytes('target')).toContainEqual({a: 'fcff81'})
    },
  )

  test('a character that the target’s encoding lacks stops the restore, and nothing is lost', async () => {
    await make('source', 'UTF8')
    await place.server.query(`create table words (a text); insert into words values ('日本')`, 'source')
    await place.backUp({databaseUrl: place.server.url('source')})
    await make('target', 'LATIN1')
    await place.server.query(`create table words (a text); insert into words values ('was there')`, 'target')
    const {error, document} = await place.failingRestore()
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/has no equivalent in encoding "LATIN1"/)
    expect(document).toMatchObject({targetState: 'rolled-back', findings: [{code: 'ENCODING_DIFFERS'}]})
    expect(await place.server.query('select a from words', 'target')).toEqual([{a: 'was there'}])
  })
})

const tools18 = await clientTools18()
const pgBin = tools18.folder
const missing = {15: await missingServer(15), 16: await missingServer(16), 18: await missingServer(18)}

for (const major of [15, 16] as const)
  needs('pg18-tools', tools18.missing)(`tools of 18, server ${major}`, () => {
    needs('embedded-server', missing[major])('a restore', () => {
      let place: RestorePlace
      beforeAll(async () => {
        place = await openRestorePlace({major, pgBin})
      })
      afterAll(() => place.end())
      afterEach(() => forgetBackups(place))

      test.each(formats)('spares the server what it does not know, %s format', async (format) => {
        await place.resetTarget()
        await expect(place.server.query('set transaction_timeout = 0')).rejects.toThrow(/unrecognized/)
        const {client} = await place.backUp({format})
        expect(client.pgDumpVersion).toMatch(/^18/)
        await place.restore({verify: true})
        expect(await place.state()).toBe('backup')
      })
    })
  })

needs('pg18-tools', tools18.missing)('tools of 18, server 18', () => {
  needs('embedded-server', missing[18])('a restore', () => {
    let place: RestorePlace
    beforeAll(async () => {
      place = await openRestorePlace({major: 18, pgBin})
    })
    afterAll(() => place.end())

    test('is not ended by a limit on the length of transactions', async () => {
      await place.backUp()
      const databaseUrl = await createOwner(place, 'app', 'superuser')
      await place.server.query('alter role app set transaction_timeout = 50')
      await place.restore({databaseUrl, verify: true})
      expect(await place.state()).toBe('backup')
    })
  })
})
