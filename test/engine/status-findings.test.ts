import {beforeEach, describe, expect, test} from '@jest/globals'
import {Readable} from 'node:stream'
import type {StatusFinding} from '../../src/engine/status/finding.js'
import {judge, type Judgement} from '../../src/engine/status/judge.js'
import type {Manifest} from '../../src/engine/manifest.js'
import {defaultPolicy} from '../../src/engine/retention/policy.js'
import {lookAtDestination} from '../../src/engine/status/look-at-destination.js'
import type {Question} from '../../src/engine/status/question.js'
import {DbbakError} from '../../src/support/errors.js'
import {manifestAt, TimedStorage, type BackupShape} from './status-store.js'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const now = Date.parse('2026-03-17T08:00:00.000Z')
const limits = {maxAgeMs: 26 * hourMs, maxVerifiedAgeMs: 8 * dayMs, maxSizeChange: 0.5}

let clock: {now(): Date}
let store: TimedStorage
beforeEach(() => {
  clock = {now: () => new Date(now)}
  store = new TimedStorage(clock)
})

/** A backup of so many days ago, at two in the morning; verified unless it is said otherwise. */
async function put(
  daysAgo: number,
  shape: BackupShape = {},
  verdict: 'passed' | 'failed' | 'none' = 'passed',
) {
  const manifest = manifestAt(now - 6 * hourMs - daysAgo * dayMs, shape)
  await store.putBackup(manifest)
  if (verdict !== 'none') await store.putVerification(manifest, verdict)
  return manifest
}

/** Daily backups, the newest of yesterday night. */
async function putDays(count: number, shape: (daysAgo: number) => BackupShape = () => ({})) {
  for (let daysAgo = count; daysAgo >= 1; daysAgo--) await put(daysAgo, shape(daysAgo))
}

async function look(
  names: string[] = [],
  stores = [store],
  changed = {},
  more: Partial<Question> = {},
): Promise<Judgement> {
  const states = await Promise.all(
    stores.map((one) => lookAtDestination(one, undefined, new AbortController().signal)),
  )
  return judge(states, {names, limits: {...limits, ...changed}, ...more}, clock.now())
}

const told = ({findings}: Judgement) => findings.map(({code, severity}) => `${severity} ${code}`)
const only = ({findings}: Judgement, code: string): StatusFinding =>
  findings.find((finding) => finding.code === code)!

describe('age', () => {
  test('of fresh and verified backups is no matter', async () => {
    await putDays(10)
    await put(0)
    const {findings, databases} = await look()
    expect(findings).toEqual([])
    expect(databases).toMatchObject([
      {
        name: 'shop',
        destination: 'memory',
        count: 11,
        totalBytes: 11 * 42_000_000,
        newest: {ageSeconds: 6 * 3600, bytes: 42_000_000, rows: 5800},
        newestVerified: {ageSeconds: 6 * 3600, verifiedAt: new Date(now).toISOString()},
        failedRuns: [],
        hasMoved: false,
      },
    ])
    const times = databases[0].history.map(({snapshotAt}) => snapshotAt)
    expect(times).toEqual([...times].sort())
    expect(times).toHaveLength(11)
  })

  test('beyond the limit is an error, to the second', async () => {
    await put(0)
    expect(told(await look([], [store], {maxAgeMs: 6 * hourMs}))).toEqual([])
    const judgement = await look([], [store], {maxAgeMs: 6 * hourMs - 1000})
    expect(told(judgement)).toEqual(['error BACKUP_TOO_OLD'])
    expect(only(judgement, 'BACKUP_TOO_OLD')).toMatchObject({
      message: 'The newest backup is 6 h old; it should be at most 5 h.',
      database: 'shop',
      destination: 'memory',
    })
  })

  test('counts from a restore test, not from a check of the archive', async () => {
    await put(9)
    const newest = await put(0, {}, 'none')
    await store.putVerification(newest, 'passed', 'archive')
    expect(told(await look())).toContain('error VERIFIED_TOO_OLD')
    await store.putVerification(newest, 'passed', 'restore')
    expect(told(await look())).not.toContain('error VERIFIED_TOO_OLD')
  })

  test('of backups none of which was ever verified: a warning at first, later an error', async () => {
    await put(7, {}, 'none')
    await put(0, {}, 'none')
    expect(told(await look())).toContain('warning NEVER_VERIFIED')
    await put(9, {}, 'none')
    const judgement = await look()
    expect(told(judgement)).toContain('error NEVER_VERIFIED')
    expect(only(judgement, 'NEVER_VERIFIED').message).toMatch(/^None of the 3 backups has passed/)
  })

  test('of backups that retention removes before they are old enough is an error all the same', async () => {
    const policy = (keep: object) => ({policy: {...defaultPolicy, ...keep}})
    for (const daysAgo of [2, 1, 0]) await put(daysAgo, {}, 'none')
    const judged = async (keep: object) => only(await look([], [store], {}, policy(keep)), 'NEVER_VERIFIED')
    expect(await judged({keepDays: 3})).toMatchObject({
      severity: 'error',
      message:
        'None of the 3 backups has passed a restore test, and retention removes them before any of them is older: nobody knows whether they can be restored.',
      suggestion: 'dbbak verify shop_2026-03-17T02-00-00-000Z.dump.zst --level restore --from memory',
    })
    expect(await judged({keepDays: 4})).toMatchObject({severity: 'warning'})
    expect(await judged({keepDays: 0, keepLast: 3})).toMatchObject({severity: 'error'})
    expect(await judged({keepDays: 0, keepDaily: 7})).toMatchObject({severity: 'warning'})
  })

  test('of a single backup is worded for one', async () => {
    await put(0, {}, 'none')
    expect(only(await look(), 'NEVER_VERIFIED').message).toBe(
      'The only backup has not passed a restore test: nobody knows whether it can be restored.',
    )
  })

  test('of a backup of some tables does not stand for the whole database', async () => {
    await put(2)
    const selection = {tables: ['orders']}
    await put(0, {changes: {selection}}, 'none')
    const judgement = await look()
    expect(told(judgement)).toEqual(['error BACKUP_TOO_OLD'])
    expect(judgement.databases[0].history.map(({isPart}) => isPart)).toEqual([false, true])
  })

  test('of parts alone is told: nothing is there to restore the whole from', async () => {
    await put(0, {changes: {selection: {tables: ['orders'], excludeTables: ['orders_old']}}})
    const judgement = await look()
    expect(told(judgement)).toEqual(['warning ONLY_PARTS'])
    expect(only(judgement, 'ONLY_PARTS').message).toContain(
      'only the table orders but not the table orders_old',
    )
    await put(0.5, {changes: {selection: {excludeTableData: ['audit']}}})
    expect(told(await look())).toEqual([])
  })

  test('of safety backups counts nothing', async () => {
    await put(2)
    await put(0, {changes: {kind: 'safety'}})
    expect(told(await look())).toEqual(['error BACKUP_TOO_OLD'])
  })

  test('of a backup from the future hides nothing', async () => {
    await put(2)
    await put(-1)
    expect(told(await look())).toEqual(['error BACKUP_TOO_OLD', 'warning BACKUP_IN_FUTURE'])
    await put(0)
    expect(told(await look())).toEqual(['warning BACKUP_IN_FUTURE'])
  })

  test('cannot be told where all backups are from the future', async () => {
    await put(-1)
    expect(told(await look())).toEqual(['error BACKUP_IN_FUTURE'])
  })

  test('may lie five minutes ahead: clocks differ', async () => {
    await store.putVerification(await putAt(now + 4 * 60_000), 'passed')
    expect(told(await look())).toEqual([])
  })
  const putAt = async (atMs: number) => {
    const manifest = manifestAt(atMs)
    await store.putBackup(manifest)
    return manifest
  }
})

describe('verification', () => {
  test('that failed for the newest backup is an error, and says which check', async () => {
    await put(1)
    await put(0, {}, 'failed')
    const judgement = await look()
    expect(told(judgement)).toEqual(['error VERIFICATION_FAILED'])
    expect(only(judgement, 'VERIFICATION_FAILED').message).toMatch(
      /^The newest backup, shop_2026-03-17T02-00-00-000Z, failed .*: restore test\.$/,
    )
  })

  test('that failed for an older one is a warning', async () => {
    await put(1, {}, 'failed')
    await put(0)
    expect(told(await look())).toEqual(['warning VERIFICATION_FAILED'])
  })

  test('that all of them failed leaves none to rely on', async () => {
    for (const daysAgo of [2, 1, 0]) await put(daysAgo, {}, 'failed')
    const judgement = await look()
    expect(told(judgement)).toEqual(['warning NEVER_VERIFIED', 'error VERIFICATION_FAILED'])
    expect(judgement.findings[1].message).toMatch(/^All 3 backups failed verification/)
  })

  test('that could not run is a warning, and no backup is verified by it', async () => {
    await store.putVerification(await put(0, {}, 'none'), 'could-not-run')
    expect(told(await look())).toEqual(['warning NEVER_VERIFIED', 'warning VERIFICATION_COULD_NOT_RUN'])
  })
})

describe('sizes and rows', () => {
  test('that do not vary at all may differ a little', async () => {
    await putDays(20)
    await put(0, {bytes: 41_000_000})
    expect(told(await look())).toEqual([])
  })

  test('that never vary and fall by a sixth are a warning, by a quarter an error', async () => {
    await putDays(20)
    await put(0, {bytes: 35_000_000})
    expect(told(await look())).toEqual(['warning SIZE_DROPPED'])
    store = new TimedStorage(clock)
    await putDays(20)
    await put(0, {bytes: 31_000_000})
    expect(told(await look())).toEqual(['error SIZE_DROPPED'])
  })

  test('that vary much may fall as far as they have before', async () => {
    await putDays(30, (daysAgo) => ({
      bytes: 42_000_000 * (daysAgo % 3 === 0 ? 0.6 : daysAgo % 3 === 1 ? 1 : 1.5),
    }))
    await put(0, {bytes: 26_000_000})
    expect(told(await look())).toEqual([])
  })

  test('of few backups are held against the percentage that is given', async () => {
    await putDays(3)
    await put(0, {bytes: 22_000_000})
    expect(told(await look())).toEqual([])
    const judgement = await look([], [store], {maxSizeChange: 0.4})
    expect(told(judgement)).toEqual(['error SIZE_DROPPED'])
    expect(only(judgement, 'SIZE_DROPPED').message).toBe(
      'shop_2026-03-17T02-00-00-000Z has 22.0 MB, 48 % smaller than usual (42.0 MB).',
    )
  })

  test('that grow beyond it are a warning: nothing is lost', async () => {
    await putDays(20)
    await put(0, {bytes: 90_000_000})
    expect(told(await look())).toEqual(['warning SIZE_GREW'])
  })

  test('that shrink or grow slowly are fine', async () => {
    await putDays(40, (daysAgo) => ({bytes: 42_000_000 * 0.97 ** (40 - daysAgo)}))
    await put(0, {bytes: 42_000_000 * 0.97 ** 40})
    expect(told(await look())).toEqual([])
    store = new TimedStorage(clock)
    await putDays(40, (daysAgo) => ({bytes: 42_000_000 * 1.05 ** (40 - daysAgo)}))
    await put(0, {bytes: 42_000_000 * 1.05 ** 40})
    expect(told(await look())).toEqual([])
  })

  test.each([
    ['level', {compression: {algorithm: 'zstd', level: 19, by: 'dbbak'}}],
    ['method', {compression: {algorithm: 'lz4', level: 3, by: 'dbbak'}}],
    ['compressing program', {compression: {algorithm: 'zstd', level: 3, by: 'pg_dump'}}],
    ['format', {format: 'plain'}],
  ] as [string, Partial<Manifest>][])('of another %s are not compared', async (_, changes) => {
    await putDays(20)
    await put(0, {bytes: 9_000_000, changes})
    expect(told(await look())).toEqual([])
  })

  test('after a drop are told for some days, and then are the new state of things', async () => {
    const after = async (days: number) => {
      store = new TimedStorage(clock)
      await putDays(20, (daysAgo) => ({bytes: daysAgo < days ? 10_000_000 : 42_000_000}))
      await put(0, {bytes: 10_000_000})
      return told(await look())
    }
    expect(await after(1)).toEqual(['error SIZE_DROPPED'])
    expect(await after(3)).toEqual(['error SIZE_DROPPED'])
    expect(await after(4)).toEqual(['info SIZE_DROPPED'])
    expect(await after(12)).toEqual([])
  })

  test('that recur every weekend are the way of this database', async () => {
    const isWeekend = (daysAgo: number) => [0, 6].includes(new Date(now - daysAgo * dayMs).getUTCDay())
    const shape = (daysAgo: number) => ({bytes: isWeekend(daysAgo) ? 15_000_000 : 42_000_000})
    clock = {now: () => new Date(now - 2 * dayMs)} // a Sunday
    store = new TimedStorage(clock)
    for (let daysAgo = 32; daysAgo >= 2; daysAgo--) await put(daysAgo, shape(daysAgo))
    expect(told(await look()).filter((text) => !text.startsWith('info'))).toEqual([])
  })

  test('that are again what they were before an import are a loss of it, however much they wobbled', async () => {
    const wobble = [1, 1.004, 0.99, 1.012, 0.996]
    await putDays(30, (daysAgo) => ({
      bytes: (daysAgo > 10 ? 45_000_000 : 62_000_000) * (daysAgo === 20 ? 0.01 : wobble[daysAgo % 5]),
    }))
    await put(0, {bytes: 39_000_000})
    const judgement = await look()
    expect(told(judgement)).toEqual(['error SIZE_DROPPED'])
    expect(only(judgement, 'SIZE_DROPPED').message).toMatch(/37 % smaller than usual \(62\.\d MB\)\.$/)
  })

  test('that fall a little are worth no warning, unless even that is beyond what is allowed', async () => {
    await putDays(20)
    await put(0, {bytes: 37_000_000})
    const judgement = await look()
    expect(told(judgement)).toEqual(['info SIZE_DROPPED'])
    expect(only(judgement, 'SIZE_DROPPED').message).toMatch(/12 % smaller than usual \(42\.0 MB\)\.$/)
    expect(told(await look([], [store], {maxSizeChange: 0.1}))).toEqual(['error SIZE_DROPPED'])
  })

  test('of all rows are judged as sizes are', async () => {
    await putDays(20, () => ({tables: {orders: 5000, items: 9000}}))
    await put(0, {tables: {orders: 2900, items: 5000}})
    expect(told(await look())).toEqual(['error ROWS_DROPPED'])
  })

  test('that nobody counted are not judged', async () => {
    await putDays(10)
    const {content} = manifestAt(now)
    await put(0, {changes: {content: {...content, level: 'none', tables: [], rowCount: 0, tableCount: 0}}})
    const judgement = await look()
    expect(told(judgement)).toEqual([])
    expect(judgement.databases[0].newest?.rows).toBeNull()
  })
})

describe('tables', () => {
  const tables = {orders: 5000, items: 90_000, notes: 40}

  test.each([
    [
      'vanished',
      {items: 90_000, notes: 40},
      'error TABLE_VANISHED',
      /no longer there: public\.orders \(5,000 rows\)/,
    ],
    ['is empty', {...tables, orders: 0}, 'error TABLE_EMPTIED', /is empty: public\.orders \(5,000 rows\)/],
    [
      'has lost most rows',
      {...tables, orders: 2000},
      'error TABLE_SHRANK',
      /public\.orders \(5,000 → 2,000 rows\)/,
    ],
    ['of few rows is empty', {...tables, notes: 0}, 'warning TABLE_EMPTIED', /public\.notes \(40 rows\)/],
  ])('one that %s is told', async (_, changed, expected, message) => {
    await putDays(20, () => ({tables}))
    await put(0, {tables: changed})
    const judgement = await look()
    expect(told(judgement)).toEqual([expected])
    expect(judgement.findings[0].message).toMatch(message)
  })

  test('one that vanished is told with two backups only', async () => {
    await put(1, {tables})
    await put(0, {tables: {items: 90_000, notes: 40}})
    expect(told(await look())).toEqual(['error TABLE_VANISHED'])
  })

  test('one that has another name is no loss', async () => {
    await putDays(20, () => ({tables}))
    await put(0, {tables: {orders_2025: 5003, items: 90_000, notes: 40}})
    const judgement = await look()
    expect(told(judgement)).toEqual(['info TABLE_RENAMED'])
    expect(judgement.findings[0].message).toContain('public.orders → public.orders_2025')
  })

  test('one that is empty now and then is a queue', async () => {
    await putDays(20, (daysAgo) => ({tables: {...tables, queue: daysAgo % 3 === 0 ? 0 : 700}}))
    await put(0, {tables: {...tables, queue: 0}})
    expect(told(await look())).toEqual([])
  })

  test('one that was filled some days ago, and never emptied since, is a loss', async () => {
    await putDays(20, (daysAgo) => ({tables: {...tables, prices: daysAgo > 8 ? 0 : 700}}))
    await put(0, {tables: {...tables, prices: 0}})
    expect(told(await look())).toEqual(['error TABLE_EMPTIED'])
  })

  test('one that comes and goes is part of an import', async () => {
    await putDays(20, (daysAgo) => ({tables: daysAgo === 1 ? {...tables, staging: 8000} : tables}))
    await put(0, {tables})
    expect(told(await look())).toEqual([])
  })

  test('one that is gone for days was told then; one that is gone for some hours is told at each of them', async () => {
    const left = {items: 90_000, notes: 40}
    await putDays(20, (daysAgo) => ({tables: daysAgo < 5 ? left : tables}))
    await put(0, {tables: left})
    expect(told(await look())).toEqual([])
    store = new TimedStorage(clock)
    await putDays(20, () => ({tables}))
    for (const hoursAgo of [5, 4, 3, 2, 1, 0]) await put(hoursAgo / 24, {tables: left})
    expect(told(await look())).toEqual(['error TABLE_VANISHED'])
  })

  describe('whose names differ in digits only', () => {
    const day = (daysAgo: number) =>
      new Date(now - daysAgo * dayMs).toISOString().slice(0, 10).replaceAll('-', '_')
    /** As they are so many days ago: those of seven days. */
    const logs = (daysAgo: number, nameOf: (daysAgo: number) => string) =>
      Object.fromEntries(Array.from({length: 7}, (_, index) => [nameOf(daysAgo + index), 900 + 37 * index]))

    test.each([
      ['dates', (daysAgo: number) => `log_${day(daysAgo)}`],
      ['dates without a sign between', (daysAgo: number) => `log${day(daysAgo).replaceAll('_', '')}`],
      ['dates, the day first', (daysAgo: number) => `log_${day(daysAgo).split('_').reverse().join('_')}`],
      ['numbers', (daysAgo: number) => `log_${500 - daysAgo}`],
    ])('rotate (%s): no loss as one goes each day, but all of them', async (_, nameOf) => {
      await putDays(10, (daysAgo) => ({tables: {...tables, ...logs(daysAgo, nameOf)}}))
      await put(0, {tables: {...tables, ...logs(0, nameOf)}})
      expect(told(await look())).toEqual([])
      store = new TimedStorage(clock)
      await putDays(10, (daysAgo) => ({tables: {...tables, ...logs(daysAgo, nameOf)}}))
      await put(0, {tables})
      expect(only(await look(), 'TABLE_VANISHED').message).toMatch(/ 7 tables are no longer there/)
    })

    test('do not where one goes from their midst, nor where they are always the same', async () => {
      const dated = {log_2026_01: 500, log_2026_02: 600, log_2026_03: 700}
      await putDays(10, () => ({tables: {...tables, ...dated}}))
      await put(0, {tables: {...tables, log_2026_01: 500, log_2026_03: 700}})
      expect(told(await look())).toEqual(['error TABLE_VANISHED'])
      store = new TimedStorage(clock)
      await putDays(10, () => ({tables: {...tables, shard_1: 500, shard_2: 600}}))
      await put(0, {tables: {...tables, shard_2: 600}})
      expect(told(await look())).toEqual(['error TABLE_VANISHED'])
      store = new TimedStorage(clock)
      await putDays(10, () => ({tables: {...tables, ...dated}}))
      await put(0, {tables: {...tables, log_2026_02: 600, log_2026_03: 700}})
      expect(told(await look())).toEqual([])
    })
  })

  test('many are told in one sentence', async () => {
    const many = Object.fromEntries(Array.from({length: 40}, (_, index) => [`t${index}`, 1000 + index]))
    await putDays(10, () => ({tables: {...many, rest: 900_000}}))
    await put(0, {tables: {rest: 900_000}})
    const {message} = only(await look(), 'TABLE_VANISHED')
    expect(message).toMatch(/40 tables are no longer there: public\.t39 \(1,039 rows\), .* and 37 more\.$/)
  })

  test('all of which are empty are told once', async () => {
    await putDays(10, () => ({tables}))
    await put(0, {tables: {orders: 0, items: 0, notes: 0}})
    expect(told(await look())).toEqual(['error EMPTY_BACKUP'])
  })

  test('none of which ever had rows are a warning', async () => {
    await put(0, {tables: {}})
    expect(told(await look())).toEqual(['warning EMPTY_BACKUP'])
  })
})

describe('what is not as it should be at a destination', () => {
  test('is that there is no backup at all', async () => {
    const judgement = await look()
    expect(told(judgement)).toEqual(['error NO_BACKUP'])
    expect(judgement.databases).toEqual([])
  })

  test('is that a database which is asked for has none', async () => {
    await put(0)
    const judgement = await look(['shop', 'blog'])
    expect(told(judgement)).toEqual(['error NO_BACKUP'])
    expect(judgement.findings[0]).toMatchObject({database: 'blog'})
    expect(judgement.databases.map(({name, newest}) => [name, newest?.id])).toEqual([
      ['shop', 'shop_2026-03-17T02-00-00-000Z'],
      ['blog', undefined],
    ])
  })

  test('of databases that are not asked for is not told', async () => {
    await put(0)
    await put(5, {database: 'blog'})
    expect(told(await look(['shop']))).toEqual([])
    expect(told(await look())).toEqual(['error BACKUP_TOO_OLD'])
  })

  test('is a damaged backup: the newest is an error, an older one a warning', async () => {
    await put(1)
    const newest = await put(0)
    store.truncate(newest)
    const judgement = await look()
    expect(told(judgement)).toContain('error BACKUP_DAMAGED')
    expect(only(judgement, 'BACKUP_DAMAGED')).toMatchObject({
      database: 'shop',
      message: expect.stringMatching(/ARCHIVE_SIZE_MISMATCH/),
    })
    expect(judgement.databases[0].failedRuns).toEqual([
      {at: '2026-03-17T02:00:00.000Z', code: 'ARCHIVE_SIZE_MISMATCH'},
    ])
    store = new TimedStorage(clock)
    store.truncate(await put(1))
    await put(0)
    expect(told(await look())).toEqual(['warning BACKUP_DAMAGED'])
  })

  test('is a database all of whose backups are damaged, however new those of others are', async () => {
    for (const daysAgo of [3, 2]) store.truncate(await put(daysAgo, {database: 'blog'}))
    await put(0)
    const judgement = await look()
    expect(told(judgement)).toEqual(['error BACKUP_DAMAGED'])
    expect(judgement.findings[0]).toMatchObject({
      database: 'blog',
      message: expect.stringMatching(/^There is no good backup called blog: .*2 .*|blog_/),
      otherwise: expect.stringContaining('dbbak status --ignore blog'),
    })
    expect(told(await look([], [store], {}, {ignored: ['blog']}))).toEqual([])
    expect(told(await look(['shop']))).toEqual([])
  })

  test('is not a damaged safety backup', async () => {
    await put(0)
    const manifest = manifestAt(now - dayMs, {database: 'shop-safety', changes: {kind: 'safety'}})
    await store.putBackup(manifest)
    store.truncate(manifest)
    expect(told(await look())).toEqual(['warning BACKUP_DAMAGED'])
  })

  test('is nothing that another destination below it holds', async () => {
    await put(0)
    const below = manifestAt(now - 2 * dayMs)
    for (const name of [below.files[0].path, `${below.files[0].path}.metadata.json`])
      await store.put(`logs/${name}`, Readable.from(['x']))
    store.unfinished = [{key: 'logs/upload-1', size: 5, modifiedAt: new Date(now - 2 * dayMs)}]
    expect(told(await look())).toEqual([])
  })

  test('is a damaged backup of another database, which does not hide behind a newer one of this', async () => {
    await put(1, {database: 'blog'})
    const broken = await put(0.5, {database: 'blog'})
    store.truncate(broken)
    await put(0)
    expect(told(await look(['shop']))).toEqual([])
    expect(told(await look())).toContain('error BACKUP_DAMAGED')
  })

  test('is what failed runs left: of today an info, of earlier a warning, of others nothing', async () => {
    await put(0)
    await store.putArchive(manifestAt(now - 2 * hourMs))
    expect(told(await look())).toEqual(['info LEFTOVERS'])
    store.unfinished = [{key: 'upload-1', size: 5_000_000, modifiedAt: new Date(now - 2 * dayMs)}]
    const judgement = await look()
    expect(told(judgement)).toEqual(['warning LEFTOVERS', 'info LEFTOVERS'])
    expect(judgement.findings[0].message).toBe('1 file (5.0 MB) left by failed runs: upload-1.')
    expect(judgement.databases[0].failedRuns).toHaveLength(1)
  })

  test('is no file of another program', async () => {
    await put(0)
    await store.put('readme.txt', Readable.from(['x']))
    await store.put('other_2026-03-17.tar', Readable.from(['x']))
    expect(told(await look())).toEqual([])
  })

  test('is that it cannot be reached, and the others are told of all the same', async () => {
    await put(0)
    const broken = new TimedStorage(clock, 's3://broken')
    broken.list = () => {
      throw new DbbakError('DESTINATION_UNREACHABLE', 's3://broken does not answer.', {
        suggestions: ['Look at the network.'],
      })
    }
    const judgement = await look([], [broken, store])
    expect(judgement.findings).toEqual([
      {
        code: 'DESTINATION_UNREACHABLE',
        severity: 'error',
        message: 's3://broken does not answer.',
        destination: 's3://broken',
        suggestion: 'Look at the network.',
      },
    ])
    expect(judgement.databases).toHaveLength(1)
  })
})

describe('several destinations', () => {
  test('are held against each other: the newest backup is to be at all of them', async () => {
    const other = new TimedStorage(clock, '/mnt/offsite')
    const yesterday = await put(1)
    await put(0)
    await other.putBackup(yesterday)
    await other.putVerification(yesterday, 'passed')
    const judgement = await look([], [store, other], {maxAgeMs: 48 * hourMs})
    expect(told(judgement)).toEqual(['warning BACKUP_NOT_EVERYWHERE'])
    expect(judgement.findings[0]).toMatchObject({
      message:
        'The newest backup, shop_2026-03-17T02-00-00-000Z, is at 1 of 2 destinations; not at /mnt/offsite.',
      suggestion: 'dbbak copy shop_2026-03-17T02-00-00-000Z.dump.zst --from memory --to /mnt/offsite',
    })
    expect(judgement.databases.map(({destination}) => destination)).toEqual(['memory', '/mnt/offsite'])
  })

  test('have the same said of the same backup once', async () => {
    const other = new TimedStorage(clock, '/mnt/offsite')
    const first = store
    for (const at of [first, other]) {
      store = at
      await putDays(20)
      await put(0, {bytes: 5_000_000})
    }
    const judgement = await look([], [first, other])
    expect(told(judgement)).toEqual(['error SIZE_DROPPED'])
    expect(judgement.findings[0]).not.toHaveProperty('destination')
  })

  test('one of which is empty lacks everything', async () => {
    await put(0)
    const empty = new TimedStorage(clock, '/mnt/offsite')
    const judgement = await look([], [store, empty])
    expect(judgement.findings).toMatchObject([{code: 'NO_BACKUP', destination: '/mnt/offsite'}])
  })
})

describe('runs that were missed', () => {
  test('are told for a month, once the next backup is there', async () => {
    await putDays(40, () => ({}))
    await put(0)
    for (const daysAgo of [12, 13]) await store.removeBackup(manifestAt(now - 6 * hourMs - daysAgo * dayMs))
    const judgement = await look()
    expect(told(judgement)).toEqual(['warning RUNS_MISSED'])
    expect(judgement.findings[0].message).toBe(
      '1 gap in the backups of the last 30 days: 3 d from 2026-03-03 02:00 UTC to 2026-03-06 02:00 UTC.',
    )
  })

  test('are not what retention removed', async () => {
    for (const daysAgo of [0, 1, 2, 3, 4, 5, 6, 9, 16, 23, 30, 60, 90]) await put(daysAgo)
    expect(told(await look())).toEqual([])
  })

  test('are not weekends', async () => {
    const isWeekend = (daysAgo: number) => [0, 6].includes(new Date(now - daysAgo * dayMs).getUTCDay())
    for (let daysAgo = 60; daysAgo >= 0; daysAgo--) if (!isWeekend(daysAgo)) await put(daysAgo)
    expect(told(await look())).toEqual([])
  })

  test('are not nights, where it is hourly in the day; a day that is missing is told', async () => {
    const hours = (skipped: number) =>
      Array.from({length: 30}, (_, day) => day)
        .filter((day) => day !== skipped)
        .flatMap((day) => Array.from({length: 9}, (_, hour) => now - day * dayMs - hour * hourMs))
    for (const at of hours(-1)) await store.putBackup(manifestAt(at))
    expect(told(await look())).toEqual(['error NEVER_VERIFIED'])
    store = new TimedStorage(clock)
    for (const at of hours(9)) await store.putBackup(manifestAt(at))
    expect(told(await look())).toContain('warning RUNS_MISSED')
  })
})

describe('two servers', () => {
  test('with a database of one name each are told of apart', async () => {
    for (const daysAgo of [2, 1, 0]) {
      await put(daysAgo)
      const at = now - 5 * hourMs - daysAgo * dayMs
      const manifest = manifestAt(at, {systemIdentifier: '42', bytes: 900})
      await store.putBackup(manifest)
      await store.putVerification(manifest, 'passed')
    }
    const judgement = await look()
    expect(told(judgement)).toEqual([])
    expect(judgement.databases.map(({count, systemIdentifier}) => [count, systemIdentifier])).toEqual([
      [3, '42'],
      [3, '7301234567890123456'],
    ])
  })

  test('of which one is backed up no more and the other since: an error until somebody says so', async () => {
    for (const daysAgo of [12, 11, 10]) await put(daysAgo)
    for (const daysAgo of [2, 1, 0]) await put(daysAgo, {systemIdentifier: '42', bytes: 900})
    const judgement = await look()
    expect(told(judgement)).toEqual([
      'error BACKUP_TOO_OLD',
      'warning DATABASE_MOVED',
      'error VERIFIED_TOO_OLD',
    ])
    expect(judgement.databases.map(({hasMoved}) => hasMoved)).toEqual([false, true])
    const {suggestion, server} = only(judgement, 'DATABASE_MOVED')
    expect(server).toBe('db.internal:5432, 7301234567890123456')
    const [, ignored = ''] = /dbbak status --ignore (\S+)$/.exec(suggestion!) ?? []
    const left = await look([], [store], {}, {ignored: [ignored]})
    expect(told(left)).toEqual([])
    expect(left.databases).toMatchObject([{systemIdentifier: '42', server: null}])
  })

  test('whose backups are interleaved are two, and one of them that stops is an error', async () => {
    for (const daysAgo of [12, 11, 10]) await put(daysAgo)
    for (const daysAgo of [11.5, 2, 1, 0]) await put(daysAgo, {systemIdentifier: '42', bytes: 900})
    const judgement = await look()
    expect(told(judgement)).toContain('error BACKUP_TOO_OLD')
    expect(told(judgement)).not.toContain('warning DATABASE_MOVED')
  })

  test('that do not tell their system identifier are told apart by their addresses', async () => {
    const at = (host: string) => {
      const {database} = manifestAt(now)
      return {changes: {database: {...database, systemIdentifier: null, host}}}
    }
    for (const daysAgo of [2, 1, 0]) await put(daysAgo + 0.01, at('prod'))
    await put(3, at('staging'))
    const judgement = await look()
    expect(judgement.databases.map(({server, count}) => [server, count])).toEqual([
      ['prod:5432', 3],
      ['staging:5432', 1],
    ])
    expect(only(judgement, 'BACKUP_TOO_OLD')).toMatchObject({
      database: 'shop',
      server: 'staging:5432',
      suggestion: expect.stringMatching(/: dbbak backup -d postgresql:\/\/staging:5432\/shop --to memory$/),
    })
    expect(told(await look([], [store], {}, {ignored: ['shop@staging']}))).toEqual([])
  })
})

describe('a database that is backed up no more', () => {
  test('is an error that says how to leave it out', async () => {
    await put(0)
    await put(20, {database: 'blog'})
    const judgement = await look()
    expect(only(judgement, 'BACKUP_TOO_OLD')).toMatchObject({
      database: 'blog',
      otherwise: expect.stringContaining('dbbak status --ignore blog@7301234567890123456'),
    })
    for (const ignored of ['blog', 'blog@db.internal:5432', 'blog@7301234567890123456']) {
      const left = await look([], [store], {}, {ignored: [ignored]})
      expect([told(left), left.databases.map(({name}) => name)]).toEqual([[], ['shop']])
    }
    expect(told(await look([], [store], {}, {ignored: ['blog@elsewhere']}))).toContain('error BACKUP_TOO_OLD')
  })
})

describe('one of the config file’s databases', () => {
  const known = (host: string) => ({
    known: {
      name: 'live',
      databaseName: 'shop',
      isAt: (database: Manifest['database']) => database.name === 'shop' && database.host === host,
    },
    commands: {destinations: ['memory']},
  })

  test('is told of by its name there, and others of the same name are not', async () => {
    const {database} = manifestAt(now)
    for (const daysAgo of [20, 3]) await put(daysAgo)
    await put(0, {changes: {database: {...database, host: 'staging', systemIdentifier: '42'}}})
    const judgement = await look([], [store], {}, known('db.internal'))
    expect(told(judgement)).toEqual(['error BACKUP_TOO_OLD', 'warning DATABASE_MOVED'])
    expect(judgement.findings[0]).toMatchObject({
      database: 'live',
      suggestion: expect.stringMatching(/: dbbak backup --database live$/),
    })
    expect(judgement.databases).toMatchObject([{name: 'live', databaseName: 'shop', count: 2}])
    expect(told(await look([], [store], {}, known('staging')))).toEqual([])
  })

  test('has no backup where only another server’s database of its name has some', async () => {
    await put(0)
    const judgement = await look([], [store], {}, known('elsewhere'))
    expect(judgement.findings).toMatchObject([
      {code: 'NO_BACKUP', database: 'live', suggestion: 'Take one: dbbak backup --database live'},
    ])
    expect(judgement.databases).toMatchObject([{name: 'live', databaseName: 'shop', newest: null}])
  })
})

test('every message is a sentence, and every suggestion something', async () => {
  await putDays(20)
  store.truncate(await put(0.4))
  await put(0, {tables: {}, bytes: 100}, 'failed')
  const {findings} = await look(['shop', 'blog'])
  expect(findings.length).toBeGreaterThan(4)
  for (const {message, suggestion} of findings) {
    expect(message).toMatch(/^[A-Z\w].*[.?]$/)
    expect(`${message} ${suggestion}`).not.toMatch(/undefined|NaN|\[object|Infinity|\.\./)
    expect(suggestion).toBeTruthy()
  }
})
