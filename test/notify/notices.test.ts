import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {mkdtemp, readdir, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Events} from '../../src/engine/events.js'
import type {PruneResult} from '../../src/engine/prune/prune-result.js'
import {
  testNotifications,
  withNotices,
  type NoticeContext,
  type NoticeFacts,
} from '../../src/library/notices.js'
import type {ChannelConfig} from '../../src/notify/config.js'
import type {NoticeEvent} from '../../src/notify/notice.js'
import {summaryOf} from '../../src/notify/summaries.js'
import {systemClock} from '../../src/support/clock.js'
import {DbbakError} from '../../src/support/errors.js'
import {startReceiver, type HttpReceiver, type Json} from '../support/http-receiver.js'

let receiver: HttpReceiver
let warnings: {code: string; message: string}[]
beforeEach(async () => {
  receiver = await startReceiver()
  warnings = []
})
afterEach(() => receiver.stop())

const events: Events = {warning: (warning) => void warnings.push(warning)}
const context = (changes: Partial<NoticeContext> = {}): NoticeContext => ({
  env: {},
  notifications: [{type: 'webhook', url: receiver.url, on: ['start', 'success', 'failure']}],
  events,
  clock: systemClock,
  signal: new AbortController().signal,
  ...changes,
})
const sent = (): Json[] => receiver.requests.map((request) => request.json())

const shop = {database: {host: 'db.internal', name: 'shop'}}
const backupResult = {
  backup: {
    id: 'shop_2025-01-15T14-30-00-000Z',
    label: null,
    database: {name: 'shop', host: 'db.internal', owner: 'app'},
    content: {tableCount: 12, rowCount: 3456},
  },
  destinations: [{destination: 's3://backups/shop', status: 'stored'}],
  durationMs: 1234,
  bytes: 5_000_000,
}

describe('work that is watched over', () => {
  test('is told of as it begins and as it succeeds, and gives what it gives', async () => {
    expect(await withNotices('backup', context(), shop, async () => backupResult)).toBe(backupResult)
    const [start, success] = sent()
    expect(start).toMatchObject({
      type: 'backup.start',
      database: shop.database,
      durationMs: null,
      error: null,
    })
    expect(success).toMatchObject({
      type: 'backup.success',
      database: shop.database,
      destinations: ['s3://backups/shop'],
      figures: {bytes: 5_000_000, tables: 12, rows: 3456},
      facts: [
        {label: 'Backup', value: 'shop_2025-01-15T14-30-00-000Z'},
        {label: 'Size', value: '5.0 MB'},
        {label: 'Tables', value: '12'},
        {label: 'Rows', value: '3,456'},
      ],
      error: null,
    })
    expect(success.durationMs).toEqual(expect.any(Number))
    expect(success.runId).toBe(start.runId)
    expect(success.id).not.toBe(start.id)
    expect(warnings).toEqual([])
  })

  test('that fails is told of with what to do, and what is known of it; the error stays as it is', async () => {
    const error = new DbbakError('DESTINATION_FAILED', 'postgresql://app:s3cr3t@db/shop went wrong.', {
      suggestions: ['Try postgresql://app:s3cr3t@db/shop again'],
      details: {
        document: {
          ...backupResult,
          destinations: [
            {destination: '/mnt/a', status: 'stored'},
            {destination: 's3://b', status: 'failed', error: {code: 'DESTINATION_DENIED'}},
          ],
        },
      },
    })
    await expect(withNotices('backup', context(), shop, () => Promise.reject(error))).rejects.toBe(error)
    expect(sent()[1]).toMatchObject({
      type: 'backup.failure',
      destinations: ['/mnt/a', 's3://b'],
      facts: expect.arrayContaining([{label: 'Failed at', value: 's3://b: DESTINATION_DENIED'}]),
      error: {code: 'DESTINATION_FAILED', exitCode: 8, message: 'postgresql://app:***@db/shop went wrong.'},
    })
    expect(receiver.requests.map(({body}) => body).join()).not.toContain('s3cr3t')
  })

  test('that comes to a result which counts as failed is told of as failed', async () => {
    const result = {verdict: 'failed', destination: '/mnt/a', results: []}
    const failure = () => new DbbakError('VERIFICATION_FAILED', 'It is damaged.')
    expect(await withNotices('verify', context(), {failure}, async () => result)).toBe(result)
    expect(sent()[1]).toMatchObject({
      type: 'verify.failure',
      destinations: ['/mnt/a'],
      error: {code: 'VERIFICATION_FAILED', exitCode: 5},
    })
  })

  test('that ends with a bug is told of without what the environment keeps secret', async () => {
    const env = {PGPASSWORD: 'hunter2', SOME_TOKEN: 'abcdef', PATH: '/bin'}
    const bug = () => Promise.reject(new Error('cannot read hunter2 of abcdef in /bin'))
    await expect(withNotices('backup', context({env}), shop, bug)).rejects.toThrow('hunter2')
    expect(sent()[1].error).toMatchObject({code: 'INTERNAL', message: 'cannot read *** of *** in /bin'})
  })

  test('does not wait for a monitor that is slow to hear of its beginning', async () => {
    receiver.answer('never')
    const stop = new AbortController()
    let began = false
    const running = withNotices('backup', context({signal: stop.signal}), shop, async () => {
      began = true
      await receiver.received(1)
      stop.abort(new DbbakError('TERMINATED', 'Terminated.'))
      throw stop.signal.reason
    })
    expect(began).toBe(true)
    receiver.answer('reset')
    await expect(running).rejects.toMatchObject({code: 'TERMINATED'})
  }, 30_000)

  test('that is interrupted is told of as such, whatever error came of it', async () => {
    const stop = new AbortController()
    const work = () => {
      stop.abort(new DbbakError('TERMINATED', 'Terminated: what was under way was stopped and cleaned up.'))
      return Promise.reject(new DbbakError('DUMP_FAILED', 'pg_dump was killed.'))
    }
    const running = withNotices('backup', context({signal: stop.signal}), shop, work)
    await expect(running).rejects.toMatchObject({code: 'DUMP_FAILED'})
    expect(sent()[1]).toMatchObject({
      title: 'Backup of shop on db.internal was interrupted',
      error: {code: 'TERMINATED', exitCode: 143},
    })
  })

  test('is told of in the order in which it happened, also where the beginning takes a second attempt', async () => {
    receiver.answer({status: 503, headers: {'retry-after': '1'}}, {status: 200})
    await withNotices('backup', context(), shop, async () => backupResult)
    expect(sent().map(({type}) => type)).toEqual(['backup.start', 'backup.start', 'backup.success'])
  })

  test('that is interrupted ends in time, also where no monitor answers', async () => {
    receiver.answer('never')
    const stop = new AbortController()
    const running = withNotices('backup', context({signal: stop.signal}), shop, async () => {
      await receiver.received(1)
      stop.abort(new DbbakError('TERMINATED', 'Terminated.'))
      throw stop.signal.reason
    })
    const startMs = performance.now()
    await expect(running).rejects.toMatchObject({code: 'TERMINATED'})
    expect(performance.now() - startMs).toBeLessThan(9500) // of ten seconds that it would have otherwise
    expect(receiver.requests).toHaveLength(2)
  }, 30_000)

  test('that somebody declined is told only to those who wait for an end', async () => {
    const declined = () => Promise.reject(new DbbakError('CANCELLED', 'Nothing was changed.'))
    const notifications: ChannelConfig[] = [
      {type: 'slack', url: `${receiver.url}/slack`},
      {type: 'ping', url: `${receiver.url}/ping`, events: ['restore']},
    ]
    await expect(withNotices('restore', context({notifications}), shop, declined)).rejects.toThrow()
    expect(receiver.requests.map(({path}) => path.split('?')[0])).toEqual(['/ping/start', '/ping/fail'])
  })

  test('is the same whatever becomes of the notices, which is a warning without an address', async () => {
    receiver.answer({status: 410})
    const notifications: ChannelConfig[] = [
      {type: 'webhook', url: `${receiver.url}/s3cr3t`, name: 'the pager'},
      {type: 'ping', url: `${receiver.url}/s3cr3t`},
    ]
    expect(await withNotices('backup', context({notifications}), shop, async () => backupResult)).toBe(
      backupResult,
    )
    expect(warnings).toEqual(
      ['ping', 'the pager', 'ping'].map((channel) => ({
        code: 'NOTIFICATION_FAILED',
        message: `A notice did not get through to ${channel}: it answered 410.`,
      })),
    )
  })

  test('is not begun when the notifications are set up wrongly', async () => {
    let began = false
    const notifications: ChannelConfig[] = [{type: 'slack', url: 's3cr3t'}]
    const work = async () => void (began = true)
    const running = withNotices('backup', context({notifications}), shop, work)
    await expect(running).rejects.toMatchObject({code: 'CONFIG_INVALID', exitCode: 2})
    expect(began).toBe(false)
  })

  test('is done also where a secret of a channel is not set, which is a warning', async () => {
    const unset = {key: 'url', variable: 'SLACK'}
    const notifications: ChannelConfig[] = [
      {type: 'slack', url: '${SLACK}', unset, place: 'notifications.0'},
      {type: 'slack', url: '${SLACK}', unset, events: ['restore']},
      {type: 'webhook', url: receiver.url},
    ]
    await withNotices('backup', context({notifications}), shop, async () => backupResult)
    expect(sent()).toMatchObject([{type: 'backup.success'}])
    expect(warnings).toEqual([
      {
        code: 'NOTIFICATION_FAILED',
        message: 'Nothing is told to slack: notifications.0.url comes from SLACK, which is not set or empty.',
      },
    ])
    expect((await testNotifications(context({notifications}))).map(({status}) => status)).toEqual([
      'failed',
      'failed',
      'sent',
    ])
  })

  test('that is a rehearsal is told to nobody', async () => {
    await withNotices('prune', context(), {...shop, dryRun: true}, async () => ({}))
    expect(receiver.requests).toEqual([])
  })

  test('opens and closes the same incident, also where a failure knows less than a success', async () => {
    const notifications: ChannelConfig[] = [
      {type: 'pagerduty', routingKey: 'R'.repeat(32), url: receiver.url},
    ]
    const failing = () => Promise.reject(new DbbakError('SERVER_UNREACHABLE', 'x.'))
    for (const facts of [{}, shop, {destinations: ['/mnt/b', '/mnt/a']}]) {
      await withNotices('backup', context({notifications}), facts, failing).catch(() => {})
      await withNotices('backup', context({notifications}), facts, async () => backupResult)
    }
    const keys = sent().map(({event_action, dedup_key}) => `${event_action} ${dedup_key}`)
    expect(keys).toEqual([
      'trigger dbbak/backup/',
      'resolve dbbak/backup/',
      'trigger dbbak/backup/db.internal/shop',
      'resolve dbbak/backup/db.internal/shop',
      'trigger dbbak/backup//mnt/a /mnt/b',
      'resolve dbbak/backup//mnt/a /mnt/b',
    ])
  })

  test('closes no incident but its own', async () => {
    const notifications: ChannelConfig[] = [
      {type: 'pagerduty', routingKey: 'R'.repeat(32), url: receiver.url},
    ]
    const keyOf = async (event: NoticeEvent, facts: NoticeFacts<unknown>) => {
      await withNotices(event, context({notifications}), facts, async () => ({}))
      return sent().at(-1).dedup_key as string
    }
    const at = (port: number, more: NoticeFacts<unknown> = {}) => ({
      database: {host: 'db', port, name: 'shop'},
      destinations: ['/mnt/a'],
      ...more,
    })
    const keys = [
      await keyOf('backup', at(5432)),
      await keyOf('backup', at(5433)),
      await keyOf('backup', at(5432, {destinations: ['/mnt/b']})),
      await keyOf('verify', at(5432, {scope: 'latest level checksum'})),
      await keyOf('verify', at(5432, {scope: 'latest level restore'})),
    ]
    expect(keys[0]).toBe('dbbak/backup/db:5432/shop /mnt/a')
    expect(new Set(keys).size).toBe(keys.length)
    // Whatever it was restored from.
    expect(await keyOf('restore', at(5432))).toBe(
      await keyOf('restore', at(5432, {destinations: ['/mnt/b']})),
    )
  })
})

describe('a recovery', () => {
  let cacheDir: string
  beforeEach(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), 'failures-'))
  })
  afterEach(() => rm(cacheDir, {recursive: true, force: true}))
  const failing = () => Promise.reject(new DbbakError('SERVER_UNREACHABLE', 'x.'))

  const notifications = (): ChannelConfig[] => [
    {type: 'webhook', url: `${receiver.url}/both`, on: ['failure', 'recovered']},
    {type: 'webhook', url: `${receiver.url}/failure`, on: ['failure']},
  ]
  const run = (work: () => Promise<unknown>, facts: NoticeFacts<unknown> = shop, dir = cacheDir) =>
    withNotices(
      'backup',
      context({notifications: notifications(), settings: {cacheDir: {value: dir}}}),
      facts,
      work,
    )
  const told = () => receiver.requests.splice(0).map((request) => `${request.path} ${request.json().title}`)

  test('is told once, of the work that had failed, to those who want to know', async () => {
    await run(async () => backupResult)
    await expect(run(failing)).rejects.toThrow()
    await expect(run(failing)).rejects.toThrow()
    told()
    await run(async () => backupResult, {database: {host: 'db.internal', name: 'crm'}})
    expect(told()).toEqual([])
    await run(async () => backupResult)
    expect(told()).toEqual(['/both Backup of shop on db.internal succeeded again'])
    await run(async () => backupResult)
    expect(told()).toEqual([])
    expect(await readdir(join(cacheDir, 'failures'))).toEqual([])
  })

  test('that cannot be kept in mind changes nothing', async () => {
    const file = join(cacheDir, 'file')
    await writeFile(file, '')
    await expect(run(failing, shop, file)).rejects.toMatchObject({code: 'SERVER_UNREACHABLE'})
    expect(await run(async () => backupResult, shop, file)).toBe(backupResult)
    expect(warnings).toEqual([])
  })
})

describe('one of several databases', () => {
  test('is told of to its own check, but not to the one that all share', async () => {
    const notifications: ChannelConfig[] = [
      {type: 'ping', url: `${receiver.url}/shared`, place: 'notifications.0'},
      {type: 'ping', url: `${receiver.url}/own`, place: 'databases.shop.notifications.0'},
      {type: 'webhook', url: `${receiver.url}/hook`},
    ]
    await withNotices(
      'backup',
      context({notifications, isOneOfSeveral: true}),
      {about: 'shop'},
      async () => ({}),
    )
    const paths = receiver.requests.map(({path}) => path.split('?')[0]).sort()
    expect(paths).toEqual(['/hook', '/own', '/own/start'])
    const hook = receiver.requests.find(({path}) => path === '/hook')
    expect((hook as (typeof receiver.requests)[0]).json().title).toBe('Backup of shop succeeded')
  })
})

describe('a test of the notifications', () => {
  test('gives a line for each channel', async () => {
    receiver.answer({status: 200}, {status: 403})
    const notifications: ChannelConfig[] = [
      {type: 'slack', url: receiver.url},
      {type: 'discord', url: `${receiver.url}/x`},
    ]
    const results = await testNotifications(context({notifications}))
    expect(results.map(({channel}) => channel)).toEqual(['slack', 'discord'])
    expect(results.map(({status, reason}) => reason ?? status).sort()).toEqual(['it answered 403', 'sent'])
    expect(receiver.requests[0].body).toContain('Test notice of dbbak')
  })
})

describe('what a result tells', () => {
  const facts = (event: NoticeEvent, document: unknown) =>
    summaryOf(event, document).facts.map(({label, value}) => `${label}: ${value}`)

  test('a verification', () => {
    const results = [
      {id: 'a', verdict: 'passed', level: 'restore', checks: []},
      {
        id: 'b',
        verdict: 'failed',
        level: 'checksum',
        checks: [{name: 'checksum valid', status: 'failed', reason: 'it is another.'}],
      },
    ]
    expect(facts('verify', {destination: '/mnt/a', verdict: 'failed', results})).toEqual([
      'Verdict: failed',
      'Backups: 2',
      'b: failed, level checksum, it is another.',
    ])
  })

  test('a restore that was rolled back', () => {
    const document = {
      backup: {id: 'a'},
      target: {host: 'db', port: 5432, database: 'shop'},
      strategy: 'swap',
      stages: [
        {name: 'preflight', status: 'done'},
        {name: 'restore', status: 'failed'},
      ],
      safetyBackup: {id: 's', destination: '/mnt/a', bytes: 1},
      targetState: 'rolled-back',
      lockedOutMs: null,
    }
    expect(summaryOf('restore', document).database).toEqual({host: 'db', name: 'shop'})
    expect(facts('restore', document)).toEqual([
      'Backup: a',
      'Target is: what it was before (rolled back)',
      'Strategy: swap',
      'Failed stage: restore',
      'Safety backup: s at /mnt/a',
    ])
  })

  test('a pruning, a copy, a drill and a health check', () => {
    const pruned: Partial<PruneResult> = {from: ['/a', 's3://b'], bytesFreed: 2_000_000, leftovers: []}
    const [kept, removed] = [[{}, {}], [{}]]
    expect(facts('prune', {...pruned, kept, removed})).toEqual(['Kept: 2', 'Removed: 1', 'Freed: 2.0 MB'])
    expect(summaryOf('prune', pruned).destinations).toEqual(['/a', 's3://b'])
    const copies = [{status: 'copied'}, {status: 'skipped'}, {status: 'failed'}, {status: 'not-run'}]
    expect(facts('copy', {from: '/a', to: ['/b'], copies, bytes: 1000})).toEqual([
      'From: /a',
      'Copied: 1',
      'There already: 1',
      'Not copied: 2',
      'Size: 1.0 kB',
    ])
    const targets = {rtoSeconds: 1800, rpoSeconds: 86_400}
    expect(facts('drill', {rtoSeconds: 65, rpoSeconds: 7200, targets, met: true})).toEqual([
      'Recovery took (RTO): 1 min 5 s (target 30 min)',
      'Data lost (RPO): 2 h (target 1 d)',
      'Targets: met',
    ])
    const findings = [{code: 'TOO_OLD', severity: 'error', message: 'The newest is 3 d old.'}]
    expect(facts('status', {healthy: false, findings, newest: {id: 'a', ageSeconds: 90}})).toEqual([
      'Healthy: no',
      'TOO_OLD: The newest is 3 d old.',
      'Newest backup: a',
      'Its age: 1 min 30 s',
    ])
  })

  const events_: NoticeEvent[] = ['backup', 'verify', 'restore', 'prune', 'copy', 'drill', 'status']
  test.each(events_)('nothing, where a document of %s is not what it should be', (event) => {
    for (const document of [
      undefined,
      null,
      1,
      'x',
      [],
      {backup: 1, results: [null], destinations: {}, kept: 1},
    ])
      expect(facts(event, document).filter((fact) => !fact.startsWith('Backup: '))).toEqual([])
  })
})
