import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {Client} from 'pg'
import type {BackupOptions, RestoreOptions} from '../../src/index.js'
import {DbbakError} from '../../src/index.js'
import {until} from '../support/processes.js'
import {
  doctor,
  doctorBytes,
  doctorManifest,
  forgetBackups,
  openRestorePlace,
  type RestorePlace,
} from '../support/restore-place.js'

let place: RestorePlace
beforeAll(async () => {
  place = await openRestorePlace()
})
afterAll(() => place.end())
beforeEach(() => place.resetTarget())
afterEach(() => forgetBackups(place))

const plain: BackupOptions = {format: 'plain', compress: 'none'}

/** A restore that must fail in a stage, and leave the target as it was and nothing behind. */
async function failsUnharmed(stage: 'restore' | 'table-checks', words: RegExp, options: RestoreOptions = {}) {
  const {error, document} = await place.failingRestore(options)
  expect(error.exitCode).toBe(6)
  expect(error.message).toMatch(words)
  expect(error.message).toMatch(/The target is as it was before\.$/)
  expect(document.targetState).toBe('rolled-back')
  const statuses = Object.fromEntries(document.stages.map(({name, status}) => [name, status]))
  expect(statuses[stage]).toBe('failed')
  expect(statuses.rollback).toBe('done')
  expect(document.stages.find(({name}) => name === stage)?.reason).toMatch(/\w+/)
  await place.quiet()
  expect(await place.state()).toBe('former')
  return {error, document}
}

const replaced = (from: string | RegExp, to: string) => (dump: string) => {
  const changed = dump.replace(from, to)
  if (changed === dump) throw new Error(`The dump does not contain ${String(from)}.`)
  return changed
}

describe('an archive whose checksum is right and whose content is not', () => {
  beforeEach(() => place.backUp(plain))

  test.each<[string, (dump: string) => string, RegExp]>([
    [
      'a row without the one that it refers to',
      replaced(/^(COPY sales\.orders .*\n)/m, '$1999999\t888888\tpaid\tno such customer\n'),
      /foreign key constraint/,
    ],
    [
      'a row twice',
      replaced(/^(COPY public\.customers .*\n)/m, '$11\tthe first again\n'),
      /could not create unique index|duplicate key/,
    ],
    [
      'an owner that does not exist',
      replaced(/OWNER TO \w+;/, 'OWNER TO nobody_of_that_name;'),
      /role "nobody_of_that_name" does not exist/,
    ],
    [
      'a value of another type',
      replaced(/^(COPY public\.customers .*\n)1\t/m, '$1one\t'),
      /invalid input syntax for type integer/,
    ],
    [
      'a statement that is none',
      (dump) => `${dump}\nCREAT TABLE typo ();\n-- PostgreSQL database dump complete\n`,
      /syntax error/,
    ],
    [
      'a COMMIT hidden between others',
      (dump) => `${dump}\nSELECT 1\\; COMMIT\\; SELECT 2;\n-- PostgreSQL database dump complete\n`,
      /dbbak_uncommitted/,
    ],
    [
      'a ROLLBACK',
      (dump) => `${dump}\nROLLBACK;\nCREATE TABLE after_it ();\n-- PostgreSQL database dump complete\n`,
      /could not be restored|connection/,
    ],
    [
      'a PREPARE TRANSACTION',
      (dump) => `${dump}\nPREPARE TRANSACTION 'x';\n-- PostgreSQL database dump complete\n`,
      /PREPARE|prepared transactions are disabled/i,
    ],
  ])('%s', async (_, change, words) => {
    await doctor(place, change)
    await failsUnharmed('restore', words)
  })

  test('fewer rows than the manifest says: found by --verify, and not without', async () => {
    await doctor(place, replaced(/^(COPY sales\.orders .*\n).*\n/m, '$1'))
    const {error} = await failsUnharmed(
      'table-checks',
      /sales\.orders: expected 2000 rows, found 1999 rows/,
      {verify: true},
    )
    expect(error.code).toBe('TABLE_CHECKS_FAILED')
    await place.restore()
    expect(await place.state()).toBe('something else')
  })

  test('a sequence that stands elsewhere than the manifest says', async () => {
    await doctor(place, replaced(/setval\('sales\.orders_id_seq', 2000/, `setval('sales.orders_id_seq', 1`))
    await place.server.query('select 1')
    await doctorManifest(place, ({content}) => (content.sequences[0].lastValue = '7'))
    await failsUnharmed('table-checks', /orders_id_seq: expected 7/, {verify: true})
  })

  test('a table more, or less, than the manifest says: found without --verify too', async () => {
    await doctor(
      place,
      replaced(
        'CREATE TABLE public.customers',
        'CREATE TABLE public.surplus (a int);\nCREATE TABLE public.customers',
      ),
    )
    await failsUnharmed('table-checks', /surplus: expected none, found a table/)
    await doctor(place, replaced('CREATE TABLE public.surplus (a int);', ''), ({content}) =>
      content.tables.push({schema: 'public', name: 'lost', rows: 1, bytes: 0, checksum: null}),
    )
    await failsUnharmed('table-checks', /lost: expected a table, found none/)
  })

  test('a ROLLBACK hidden in a statement that goes on: dbbak says that it does not know, and how to go back', async () => {
    await doctor(
      place,
      (dump) =>
        `${dump}\nROLLBACK\\; CREATE TABLE public.after_it ();\n-- PostgreSQL database dump complete\n`,
    )
    const {error, document} = await place.failingRestore({safetyBackup: true})
    expect(error).toMatchObject({code: 'ROLLBACK_FAILED', exitCode: 7})
    expect(document).toMatchObject({
      targetState: 'unknown',
      stages: expect.arrayContaining([expect.objectContaining({name: 'rollback', status: 'failed'})]),
    })
    expect(await place.state()).toBe('something else')
    const command = error.suggestions.find((text) => text.includes('target-safety_'))!
    const [, id, from] = /dbbak restore (\S+) --from (\S+) --force --no-safety-backup/.exec(command)!

    await place.restore({backup: id, latest: false, from})
    expect(await place.state()).toBe('former')
  })
})

describe('an archive that cannot be read', () => {
  test.each<[BackupOptions, string]>([
    [{}, 'custom'],
    [{format: 'directory'}, 'directory'],
    [plain, 'plain'],
  ])('is found before anything is changed: %j', async (options) => {
    const manifest = await place.backUp(options)
    await doctor(
      place,
      (dump) => dump.slice(0, -300),
      (changed) => {
        if (changed.format !== 'plain') changed.files[0].sha256 = '0'.repeat(64)
      },
    )
    const {error, document} = await place.failingRestore()
    expect(error).toMatchObject({
      code: manifest.format === 'plain' ? 'ARCHIVE_CORRUPT' : 'CHECKSUM_MISMATCH',
      exitCode: 3,
    })
    expect(document).toMatchObject({
      targetState: 'unchanged',
      stages: [{status: 'done'}, {name: 'verify', status: 'failed'}, {}, {}, {status: 'not-run'}, {}, {}],
    })
    expect(await place.state()).toBe('former')
    await place.quiet()
  })
})

test('an archive with more behind its end, which pg_restore does not read, is restored', async () => {
  await place.backUp({compress: 'none'})
  await doctorBytes(place, (bytes) => Buffer.concat([bytes, Buffer.alloc(5_000_000, 'more')]))
  await place.restore({verify: true})
  expect(await place.state()).toBe('backup')
})

describe('a lock that another session holds', () => {
  let other: Client
  /** Comes when the preflight is over, as a client that reconnects would. */
  const lockLate = (sql: string): RestoreOptions => ({
    lockTimeout: '500ms',
    force: false,
    safetyBackup: true,
    confirm: async () => {
      other = new Client({
        ...(await place.server.describe('target')).clientConfig('plain'),
        application_name: 'late comer',
      })
      other.on('error', () => {})
      await other.connect()
      await other.query(sql)
    },
  })
  beforeEach(() => place.backUp())
  afterEach(() => other.end().catch(() => {}))

  test('for ever: gives up unharmed, and says who it is', async () => {
    const {error, document} = await place.failingRestore(lockLate('begin; select count(*) from customers'))
    expect(error).toMatchObject({code: 'LOCK_TIMEOUT', exitCode: 6})
    expect(error.message).toMatch(
      /locked by another session: .*late comer pid \d+ idle in transaction\. The target is as it was before\.$/,
    )
    expect(error.suggestions.join()).toMatch(/--terminate-connections.*--lock-timeout/s)
    expect(document.targetState).toBe('rolled-back')
    expect((await other.query('select count(*) as n from customers')).rows).toEqual([{n: '300'}])
    await other.end()
    await place.quiet()
    expect(await place.state()).toBe('former')
  })

  test('on a name that the backup needs: the tool gives up too', async () => {
    const {error} = await place.failingRestore(
      lockLate('begin; create schema sales; create table sales.orders ()'),
    )
    expect(error).toMatchObject({exitCode: 6})
    expect(error.message).toMatch(/lock timeout/)
    await other.end()
    await place.quiet()
    expect(await place.state()).toBe('former')
  })

  test('not for long: the restore waits for it', async () => {
    const {confirm, ...options} = lockLate('begin; lock table customers')
    await place.restore({
      ...options,
      lockTimeout: '60s',
      confirm: async (plan) => {
        await confirm!(plan)
        setTimeout(() => void other.query('commit').catch(() => {}), 1000)
      },
      safetyBackup: true,
    })
    await other.end()
    expect(await place.state()).toBe('backup')
  })

  test('a session that is only there does not stop a restore', async () => {
    await place.restore(lockLate('select 1'))
    expect((await other.query('select count(*) as n from sales.orders')).rows).toEqual([{n: '2000'}])
    await other.end()
    expect(await place.state()).toBe('backup')
  })
})

describe('two restores at once', () => {
  test('one goes, the other is told to wait by exit code 9', async () => {
    await place.backUp()
    const results = await Promise.all(
      Array.from({length: 3}, () =>
        place.restore().then(
          ({targetState}) => targetState,
          (error: DbbakError) => `${error.code} ${error.exitCode}`,
        ),
      ),
    )
    expect(results.sort()).toEqual(['OPERATION_IN_PROGRESS 9', 'OPERATION_IN_PROGRESS 9', 'restored'])
    expect(await place.state()).toBe('backup')
    await place.quiet()
  })

  test('a backup of the target during a restore is refused', async () => {
    await place.backUp()
    const refusals: unknown[] = []
    await place.restore({
      force: false,
      safetyBackup: true,
      confirm: async () => {
        await place.backUp({databaseUrl: place.server.url('target')}).catch((error) => refusals.push(error))
      },
    })
    expect(refusals).toMatchObject([{code: 'RESTORE_IN_PROGRESS', exitCode: 9}])
  })
})

describe('an interruption', () => {
  const stop = (code: 'INTERRUPTED' | 'TERMINATED') => new DbbakError(code, 'Enough.')

  test.each(['preflight', 'verify', 'confirm', 'safety-dump', 'restore', 'table-checks'] as const)(
    'at the beginning of the stage %s leaves the target as it was',
    async (stage) => {
      await place.backUp()
      const controller = new AbortController()
      const {error, document} = await place.failingRestore({
        signal: controller.signal,
        safetyBackup: true,
        events: {
          stageStarted: (name) => {
            if (name === stage) controller.abort(stop('INTERRUPTED'))
          },
        },
      })
      expect(error).toMatchObject({code: 'INTERRUPTED', exitCode: 130})
      const begun = ['restore', 'table-checks'].includes(stage)
      expect(error.message).toBe(
        `Interrupted. ${begun ? 'The target is as it was before.' : 'Nothing was changed.'}`,
      )
      expect(document.targetState).toBe(begun ? 'rolled-back' : 'unchanged')
      expect(document.stages.find(({name}) => name === stage)).toMatchObject({
        status: 'failed',
        reason: 'INTERRUPTED: Enough.',
      })
      await place.quiet()
      expect(await place.state()).toBe('former')
    },
  )

  test('while something waits for a lock ends the waiting', async () => {
    await place.backUp()
    const other = new Client((await place.server.describe('target')).clientConfig('plain'))
    const controller = new AbortController()
    const {error} = await place.failingRestore({
      signal: controller.signal,
      safetyBackup: true,
      force: false,
      lockTimeout: '1h',
      confirm: async () => {
        await other.connect()
        await other.query('begin; lock table old.invoices in share mode')
        const waits = `select 1 from pg_locks where not granted and relation = 'old.invoices'::regclass`
        const isWaiting = async () => (await other.query(waits)).rows.length > 0
        void until(isWaiting, 'the restore waits').then(() => controller.abort(stop('TERMINATED')))
      },
    })
    expect(error).toMatchObject({
      code: 'TERMINATED',
      exitCode: 143,
      message: 'Terminated. The target is as it was before.',
    })
    await other.end()
    await place.quiet()
    expect(await place.state()).toBe('former')
  })

  test('that comes before it begins', async () => {
    await place.backUp()
    const signal = AbortSignal.abort(stop('INTERRUPTED'))
    const {error} = await place.failingRestore({signal})
    expect(error).toMatchObject({code: 'INTERRUPTED', exitCode: 130})
    await place.quiet()
    expect(await place.state()).toBe('former')
  })

  test('of anybody’s own, without an error of ours', async () => {
    await place.backUp()
    const {error} = await place.failingRestore({signal: AbortSignal.abort()})
    expect(error).toMatchObject({code: 'INTERRUPTED', exitCode: 130})
  })
})
