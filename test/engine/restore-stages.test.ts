import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import type {RestoreResult} from '../../src/index.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

let place: RestorePlace
beforeAll(async () => {
  place = await openRestorePlace()
  await place.backUp()
})
afterAll(() => place.end())
beforeEach(() => place.resetTarget())

const statuses = ({stages}: RestoreResult) =>
  Object.fromEntries(stages.map(({name, status}) => [name, status]))

test('a restore makes the target what the backup holds, and tells of each stage', async () => {
  expect(await place.state()).toBe('former')

  const result = await place.restore({verify: true})

  expect(await place.state()).toBe('backup')
  expect(result).toMatchObject({
    backup: {id: expect.stringMatching(/^shop_/)},
    target: {database: 'target'},
    strategy: 'in-place',
    findings: [],
    safetyBackup: null,
    targetState: 'restored',
    dryRun: false,
  })
  expect(result.stages.map(({name}) => name)).toEqual([
    'preflight',
    'verify',
    'confirm',
    'safety-dump',
    'restore',
    'table-checks',
    'rollback',
  ])
  expect(statuses(result)).toEqual({
    preflight: 'done',
    verify: 'done',
    confirm: 'done',
    'safety-dump': 'skipped',
    restore: 'done',
    'table-checks': 'done',
    rollback: 'skipped',
  })
  for (const stage of result.stages.filter(({status}) => status === 'skipped'))
    expect(stage.reason).toMatch(/\w+/)
  await place.quiet()
})

test('the events tell of the stages in their order', async () => {
  const heard: string[] = []
  await place.restore({
    events: {
      stageStarted: (name) => heard.push(`${name} begins`),
      stageEnded: ({name, status}) => heard.push(`${name} ${status}`),
    },
  })
  expect(heard).toEqual([
    'preflight begins',
    'preflight done',
    'verify begins',
    'verify done',
    'confirm begins',
    'confirm done',
    'safety-dump skipped',
    'restore begins',
    'restore done',
    'table-checks begins',
    'table-checks done',
    'rollback skipped',
  ])
})

describe('a dry run', () => {
  const counters = async () => {
    await place.server.query('select pg_stat_force_next_flush()', 'target').catch(() => {}) // since 15
    const [row] = await place.server.query(
      `select tup_inserted, tup_updated, tup_deleted, xact_rollback, temp_bytes, deadlocks from pg_stat_database where datname = 'target'`,
    )
    return row
  }
  const currentXid = async () =>
    (await place.server.query('select pg_snapshot_xmax(pg_current_snapshot()) as x'))[0]

  test('changes nothing, and takes no transaction number to do it', async () => {
    const before = {counters: await counters(), xid: await currentXid()}

    const result = await place.restore({dryRun: true, force: false, safetyBackup: true, verify: true})

    expect({counters: await counters(), xid: await currentXid()}).toEqual(before)
    expect(await place.state()).toBe('former')
    expect(result).toMatchObject({dryRun: true, targetState: 'unchanged', safetyBackup: null})
    expect(statuses(result)).toEqual({
      preflight: 'done',
      verify: 'done',
      confirm: 'skipped',
      'safety-dump': 'skipped',
      restore: 'skipped',
      'table-checks': 'skipped',
      rollback: 'skipped',
    })
  })

  test('says what would be replaced by what', async () => {
    const {plan} = await place.restore({dryRun: true})
    expect(plan).toMatchObject({
      backup: {database: 'shop', tables: 2, rows: 2200},
      target: {database: 'target'},
      targetContent: {tables: 2, isEmpty: false},
      strategy: 'in-place',
    })
  })

  test('fails where the restore would', async () => {
    const {error, document} = await place
      .failingRestore({dryRun: true, at: '2001-01-01T00:00:00Z', latest: false})
      .catch((thrown) => ({error: thrown, document: undefined}))
    expect(error).toMatchObject({code: 'BACKUP_NOT_FOUND', exitCode: 2})
    expect(document).toBeUndefined()
  })
})

describe('the confirmation', () => {
  test('is shown what is lost and what comes', async () => {
    const plans: unknown[] = []
    await place.restore({force: false, safetyBackup: true, confirm: async (plan) => void plans.push(plan)})
    expect(plans).toMatchObject([
      {
        backup: {database: 'shop', tables: 2, rows: 2200},
        target: {database: 'target'},
        targetContent: {tables: 2},
        safetyBackup: true,
      },
    ])
    expect(await place.state()).toBe('backup')
  })

  test('that is not given leaves everything as it is', async () => {
    const {error, document} = await place
      .failingRestore({
        force: false,
        safetyBackup: true,
        confirm: () => Promise.reject(new Error('no')),
      })
      .catch((thrown: Error) => ({error: thrown, document: undefined}))
    expect(error).toMatchObject({message: 'no'})
    expect(document).toBeUndefined()
    expect(await place.state()).toBe('former')
    await place.quiet()
  })

  test('is asked of nobody: refused', async () => {
    const {error, document} = await place.failingRestore({force: false, safetyBackup: true})
    expect(error).toMatchObject({code: 'CONFIRMATION_REQUIRED', exitCode: 2})
    expect(document.targetState).toBe('unchanged')
    expect(statuses(document)).toMatchObject({confirm: 'failed', restore: 'not-run', rollback: 'not-run'})
    expect(await place.state()).toBe('former')
  })
})

describe('table checks', () => {
  test('that hold let the restore become true', async () => {
    await place.restore({criticalTables: ['customers:200', 'sales.orders:2000'], verify: true})
    expect(await place.state()).toBe('backup')
  })

  test.each([
    [
      'a table with too few rows',
      {criticalTables: ['customers:201']},
      /customers: expected at least 201 rows, found 200/,
    ],
    [
      'a table that is not there',
      {criticalTables: ['nowhere']},
      /nowhere: expected a critical table, found none/,
    ],
  ])('%s: the target is as it was before', async (_, more, words) => {
    const {error, document} = await place.failingRestore(more)

    expect(error).toMatchObject({code: 'TABLE_CHECKS_FAILED', exitCode: 6})
    expect(error.message).toMatch(words)
    expect(error.message).toMatch(/The target is as it was before\.$/)
    expect(document.targetState).toBe('rolled-back')
    expect(statuses(document)).toMatchObject({restore: 'done', 'table-checks': 'failed', rollback: 'done'})
    expect(await place.state()).toBe('former')
    await place.quiet()
  })
})
