import {readFileSync} from 'node:fs'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {DbbakError, type RestoreOptions, type StageName} from '../../src/index.js'
import {startFaultProxy, type Fault, type FaultProxy, type Moment} from '../support/fault-proxy.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

let place: RestorePlace
let proxy: FaultProxy

beforeAll(async () => {
  place = await openRestorePlace({overTcp: true, rows: 20_000})
  await place.backUp()
})
afterAll(() => place.end())
beforeEach(async () => {
  await place.resetTarget()
  proxy = await startFaultProxy(Number(new URL(place.server.url()).port))
})
afterEach(() => proxy.close())

const byProxy = (): RestoreOptions => ({
  databaseUrl: proxy.url(place.server.url('target')),
  safetyBackup: true,
})

/** Moments in the life of a restore, by what it says to the server, and the stage in which it says that. */
const moments: [string, StageName, Moment][] = [
  ['as it begins', 'restore', {before: 'begin isolation level'}],
  ['before the first DROP', 'restore', {before: 'drop '}],
  ['after a DROP', 'restore', {after: 'drop table'}],
  ['as the tool begins', 'restore', {after: 'SET statement_timeout'}],
  ['in the middle of the rows', 'restore', {after: 'COPY sales.orders'}],
  ['as an index is made', 'restore', {before: 'CREATE INDEX'}],
  ['as the rows are counted', 'table-checks', {after: 'count(*)'}],
  ['just before the commit', 'table-checks', {before: 'delete from pg_temp'}],
]

/** Plans a fault for when a stage begins. @returns the options with which to hear of that, and of its happening */
function faultIn(
  stage: StageName,
  fault: Fault,
  moment: Moment,
): {options: RestoreOptions; happened: Promise<void>} {
  const {promise, resolve} = Promise.withResolvers<void>()
  const stageStarted = (name: StageName) => {
    if (name === stage) void proxy.plan(fault, moment).then(resolve)
  }
  return {options: {...byProxy(), events: {stageStarted}}, happened: promise}
}

/** An interruption, a moment after something has happened. */
function interruptAfter(happened: Promise<void>): AbortSignal {
  const controller = new AbortController()
  void happened.then(() => setTimeout(() => controller.abort(new DbbakError('INTERRUPTED', 'Enough.')), 200))
  return controller.signal
}

/** A message of the protocol, as it is sent. */
const commit = 'Q\0\0\0\u000bcommit\0'

async function leftAlone(document: {targetState: string}): Promise<void> {
  expect(document.targetState).toBe('rolled-back')
  await place.quiet()
  expect(await place.state()).toBe('former')
}

describe('a connection that is cut', () => {
  test.each(moments)('%s: the target is as it was before', async (_, stage, moment) => {
    const {options, happened} = faultIn(stage, 'cut', moment)
    const {error, document} = await place.failingRestore(options)
    await happened
    expect(error.exitCode).toBe(6)
    expect(error.message).toMatch(/The target is as it was before\.$/)
    await leftAlone(document)
  })

  test('at any byte of the restore', async () => {
    await place.restore({...byProxy(), safetyBackup: false})
    const whole = proxy.clientBytes()
    for (let run = 0; run < 10; run++) {
      await place.resetTarget()
      proxy.heal()
      const at = Math.floor(Math.random() * whole)
      void proxy.plan('cut', {afterBytes: at})
      const outcome = await place.restore({...byProxy(), safetyBackup: false}).then(
        ({targetState}) => targetState,
        (error: DbbakError) => (error.details?.document as {targetState: string}).targetState,
      )
      await place.quiet()
      const expected = outcome === 'restored' ? 'backup' : 'former'
      expect({at, outcome, state: await place.state()}).toEqual({at, outcome, state: expected})
      expect(outcome).not.toBe('unknown')
    }
  })

  test('just before the commit arrives: it has not happened, and dbbak finds out', async () => {
    const {options} = faultIn('table-checks', 'cut', {before: commit})
    const {error, document} = await place.failingRestore(options)
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/The server did not commit.* The target is as it was before\.$/)
    expect(document.stages.find(({name}) => name === 'rollback')).toMatchObject({status: 'done'})
    await leftAlone(document)
  })

  test('after the commit, before its answer: it has happened, and dbbak finds out', async () => {
    const {options} = faultIn('table-checks', 'cut', {after: commit})
    const {targetState, stages} = await place.restore(options)
    expect(targetState).toBe('restored')
    expect(stages.find(({name}) => name === 'table-checks')).toMatchObject({status: 'done'})
    await place.quiet()
    expect(await place.state()).toBe('backup')
  })

  test('at the commit, and a server that does not answer for a while: dbbak waits for it', async () => {
    const {options, happened} = faultIn('table-checks', 'cut', {after: commit})
    const running = place.restore(options)
    await happened
    proxy.refuse()
    setTimeout(() => proxy.heal(), 3000)
    expect((await running).targetState).toBe('restored')
    expect(await place.state()).toBe('backup')
  })

  test.each([
    ['before', 'former'],
    ['after', 'backup'],
  ] as const)(
    'at the commit (%s), and a server that never answers again: exit code 7 and what to do',
    async (side, truth) => {
      const {options, happened} = faultIn(
        'table-checks',
        'cut',
        side === 'before' ? {before: commit} : {after: commit},
      )
      void happened.then(() => proxy.refuse())
      // Nobody has the patience that dbbak has by itself.
      const {error, document} = await place.failingRestore({...options, signal: interruptAfter(happened)})
      expect(error).toMatchObject({code: 'ROLLBACK_FAILED', exitCode: 7})
      expect(error.message).toMatch(/lost at the moment of the commit/)
      expect(document.targetState).toBe('unknown')
      expect(document.stages.find(({name}) => name === 'rollback')).toMatchObject({status: 'failed'})
      const {id, destination} = document.safetyBackup!
      expect(error.suggestions).toContainEqual(
        expect.stringContaining(`dbbak restore ${id} --from ${destination} --force --no-safety-backup`),
      )
      await place.quiet()
      expect(await place.state()).toBe(truth)
      await place.restore({backup: id, latest: false, from: destination})
      expect(await place.state()).toBe('former')
    },
  )
})

describe('a connection over which nothing comes any more', () => {
  test.each(moments)('%s: Ctrl-C ends it, the server’s side too', async (_, stage, moment) => {
    const {options, happened} = faultIn(stage, 'stall', moment)
    const {error, document} = await place.failingRestore({...options, signal: interruptAfter(happened)})
    expect(error).toMatchObject({
      code: 'INTERRUPTED',
      exitCode: 130,
      message: 'Interrupted. The target is as it was before.',
    })
    // The proxy still holds the server's end open: that the server is quiet is dbbak's doing.
    await leftAlone(document)
  })

  test.each([
    ['preflight', {before: 'pg_control_system'}],
    ['safety-dump', {before: 'pg_export_snapshot'}],
  ] as [StageName, Moment][])(
    'in the stage %s: Ctrl-C ends it, and nothing was changed',
    async (stage, moment) => {
      const {options, happened} = faultIn(stage, 'stall', moment)
      const {error, document} = await place.failingRestore({...options, signal: interruptAfter(happened)})
      expect(error).toMatchObject({
        code: 'INTERRUPTED',
        exitCode: 130,
        message: 'Interrupted. Nothing was changed.',
      })
      expect(document.targetState).toBe('unchanged')
      await proxy.close()
      await place.quiet()
      expect(await place.state()).toBe('former')
    },
  )

  test('before the commit arrives: Ctrl-C, and it never happens', async () => {
    const {options, happened} = faultIn('table-checks', 'stall', {before: commit})
    const {error, document} = await place.failingRestore({...options, signal: interruptAfter(happened)})
    expect(error).toMatchObject({
      code: 'INTERRUPTED',
      exitCode: 130,
      message: 'Interrupted. The target is as it was before.',
    })
    await leftAlone(document)
  })

  test('after the commit, before its answer: Ctrl-C, and dbbak says that it has happened', async () => {
    const {options, happened} = faultIn('table-checks', 'stall', {after: commit})
    const {targetState} = await place.restore({...options, signal: interruptAfter(happened)})
    expect(targetState).toBe('restored')
    expect(await place.state()).toBe('backup')
  })

  test('nor over a new one: Ctrl-C ends it all the same, and dbbak says what it left on the server', async () => {
    const {options, happened} = faultIn('restore', 'stall', {after: 'COPY sales.orders'})
    const warnings: string[] = []
    void happened.then(() => proxy.stallAll())
    const {error, document} = await place.failingRestore({
      ...options,
      signal: interruptAfter(happened),
      events: {...options.events, warning: ({code}) => warnings.push(code)},
    })
    expect(error).toMatchObject({code: 'INTERRUPTED', exitCode: 130})
    expect(warnings).toContain('SERVER_SESSION_LEFT')
    await proxy.close()
    await leftAlone(document)
  })

  test('is noticed by both sides after a minute, and not after hours', async () => {
    let timers: string[] = []
    let sessions: unknown
    await place.restore({
      ...byProxy(),
      force: false,
      confirm: async () => {
        timers = keepAliveTimers(proxy.port)
        const rows = await place.server.query(
          `select pid from pg_stat_activity where datname = 'target' and application_name = 'dbbak restore'`,
        )
        sessions = rows.length
      },
    })
    expect(sessions).toBe(1)
    if (process.platform === 'linux') {
      expect(timers).toHaveLength(1)
      expect(Number.parseInt(timers[0], 16)).toBeLessThanOrEqual(60 * 100)
    }
  })
})

/** Of this machine's TCP connections to a port: hundredths of a second until the kernel asks whether the other side is there. */
function keepAliveTimers(port: number): string[] {
  if (process.platform !== 'linux') return []
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , remote, state]) => remote?.endsWith(`:${hex}`) && state === '01')
    .map((fields) => /^02:(\w+)$/.exec(fields[5])?.[1] ?? 'none')
}

test('a server that is not there for a moment is no reason to wait for ever', async () => {
  proxy.refuse()
  const {error} = await place.failingRestore(byProxy())
  expect(error).toMatchObject({code: 'PREFLIGHT_FAILED', exitCode: 3})
})
