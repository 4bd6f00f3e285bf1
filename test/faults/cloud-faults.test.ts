import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {
  copyBackups,
  copyError,
  DbbakError,
  listBackups,
  pruneBackups,
  pruneError,
  restoreBackup,
  takeBackup,
  verifyBackups,
  type RestoreResult,
} from '../../src/index.js'
import {clouds, noise, type Cloud} from '../support/clouds.js'
import type {FaultType} from '../support/http-fault-proxy.js'
import {needs} from '../support/needs.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

/** DBBAK_CLOUD_FAULT_RUNS=70 for the long version. */
const runs = Number(process.env.DBBAK_CLOUD_FAULT_RUNS ?? 2)
const firstSeed = Number(process.env.DBBAK_CLOUD_FAULT_SEED ?? 1)
const rates = [0.02, 0.1, 0.3]
const formats = ['custom', 'directory', 'plain'] as const
const allFaults: FaultType[] = [
  'status',
  'lost-answer',
  'reset',
  'stall',
  'truncate',
  'corrupt-request',
  'corrupt-response',
  'wrong-checksum',
]

let place: RestorePlace
let folder: string
beforeAll(async () => {
  place = await openRestorePlace()
  await place.server.psql(noise(40_000), 'shop')
  folder = await mkdtemp(join(tmpdir(), 'cloud-faults-'))
})
afterAll(async () => {
  await place.end()
  await rm(folder, {recursive: true, force: true})
})

const base = () => ({
  ...place.env,
  DATABASE_URL: place.server.url('shop'),
  TEST_DATABASE_URL: place.server.url(),
  BACKUP_DIR: join(folder, 'safety'),
  DBBAK_CACHE_DIR: join(folder, 'cache'),
  DBBAK_STALL_TIMEOUT: '2s',
  DBBAK_RETRY_FOR: '20s',
})

interface Outcomes {
  counts: Record<string, number>
  faults: number
}

for (const {name, need, missing, open} of clouds) {
  needs(need, missing())(`${name} through a line that fails at random`, () => {
    let cloud: Cloud
    beforeAll(async () => {
      cloud = await open()
    })
    afterAll(() => cloud.stop())

    test(
      `a backup, a restore, a copy and a prune end right, or with a clear error and nothing half-done (${runs} runs)`,
      async () => {
        const outcomes: Outcomes = {counts: {}, faults: 0}
        for (let run = 0; run < runs; run++) await faultyRun(cloud, firstSeed + run, outcomes)
        expect(outcomes.faults).toBeGreaterThan(runs)
        if (process.env.DBBAK_CLOUD_FAULT_RUNS)
          process.stderr.write(
            `${name}: ${runs} runs, ${outcomes.faults} faults, ${JSON.stringify(outcomes.counts)}\n`,
          )
      },
      runs * 240_000,
    )
  })
}

async function faultyRun(cloud: Cloud, seed: number, outcomes: Outcomes): Promise<void> {
  const direct = {env: {...base(), ...cloud.env}, cwd: folder}
  const {proxy, env} = await cloud.proxied(seed)
  const faulty = {env: {...base(), ...env}, cwd: folder}
  const format = formats[seed % formats.length]
  const faults = proxy.random({rate: rates[seed % rates.length], faults: allFaults, seed})
  const note = (what: string, outcome: string) => {
    const key = `${what}: ${outcome}`
    outcomes.counts[key] = (outcomes.counts[key] ?? 0) + 1
  }
  try {
    const [from, to] = [cloud.newDestination(), cloud.newDestination()]
    const backup = await outcomeOf(takeBackup({...faulty, format, to: [from]}))
    note('backup', backup.outcome)
    await expectBackups(from, backup.result ? 1 : undefined, direct)

    const source = backup.result ? from : await unfaultedBackup(cloud, direct)
    await place.resetTarget()
    const databaseUrl = place.server.url('target')
    const options = {latest: true, force: true, safetyBackup: false, from: source, verify: true}
    const restore = await outcomeOf(restoreBackup({...faulty, ...options, databaseUrl}))
    note('restore', restore.outcome)
    const document = restore.result ?? (restore.error?.details?.document as RestoreResult | undefined)
    await place.quiet()
    const wanted = {restored: 'backup', unchanged: 'former', 'rolled-back': 'former', unknown: ''} as const
    expect({seed, state: await place.state()}).toEqual({
      seed,
      state: document ? wanted[document.targetState] : 'former',
    })

    const copied = await outcomeOf(
      copyBackups({...faulty, all: true, from: source, to: [to]}).then((result) => {
        const error = copyError(result)
        if (error) throw error
        return result
      }),
    )
    note('copy', copied.outcome)
    await expectBackups(to, copied.result ? 1 : undefined, direct)

    await takeBackup({...direct, to: [source]})
    const before = (await listBackups({...direct, from: source})).backups
    const pruned = await outcomeOf(
      pruneBackups({...faulty, from: source, keepDays: 0, keepLast: 1, force: true}).then((result) => {
        const error = pruneError(result)
        if (error) throw error
        return result
      }),
    )
    note('prune', pruned.outcome)
    await expectBackups(source, pruned.result ? 1 : undefined, direct)
    const [newest] = (await listBackups({...direct, from: source})).backups
    expect(newest.id).toBe(before[0].id)
    expect(await temporaryIn(tmpdir())).toEqual([])
  } catch (error) {
    throw new Error(`With seed ${seed} (${format}): ${(error as Error).message}`, {cause: error})
  } finally {
    outcomes.faults += faults.count
    await proxy.close()
  }
}

type Run = {env: Record<string, string | undefined>; cwd: string}

/** What is listed is whole, as one sees who reads it without faults; and nothing else is there but known leftovers. */
async function expectBackups(place: string, count: number | undefined, direct: Run): Promise<void> {
  const {backups, problems} = await listBackups({...direct, from: place})
  expect(problems).toEqual([])
  if (count !== undefined) expect(backups).toHaveLength(count)
  if (backups.length === 0) return
  const {verdict} = await verifyBackups({...direct, from: place, all: true, level: 'archive'})
  expect(verdict).toBe('passed')
}

async function unfaultedBackup(cloud: Cloud, direct: Run): Promise<string> {
  const to = cloud.newDestination()
  await takeBackup({...direct, to: [to]})
  return to
}

/** A result, or an error that was foreseen; any other is a failure of the test. */
async function outcomeOf<T>(work: Promise<T>): Promise<{outcome: string; result?: T; error?: DbbakError}> {
  try {
    return {outcome: 'done', result: await work}
  } catch (error) {
    if (!(error instanceof DbbakError) || error.code === 'INTERNAL') throw error
    expect(error.suggestions).not.toEqual([])
    return {outcome: error.code, error}
  }
}

async function temporaryIn(parent: string): Promise<string[]> {
  return (await readdir(parent)).filter((name) => /^dbbak-(?!scratch|test)[a-zA-Z0-9]{6}$/.test(name))
}

/** DBBAK_STORE_PAUSE_SECONDS=30 for the long version; longer than a connection may be silent in either case. */
const pauseMs = 1000 * Number(process.env.DBBAK_STORE_PAUSE_SECONDS ?? 4)

for (const {name, need, missing, forgets, open} of clouds) {
  needs(need, missing())(`${name}, a server that has trouble while a backup is on its way`, () => {
    let cloud: Cloud
    beforeAll(async () => {
      cloud = await open(true)
    }, 120_000)
    afterAll(() => cloud.stop())

    describe.each(['stopped for a while', 'killed and started again'] as const)('%s', (trouble) => {
      const cannot = trouble === 'killed and started again' ? forgets : undefined
      const suffix = cannot === undefined ? '' : ` [skipped: ${cannot}]`
      const tested = cannot === undefined ? test : test.skip
      tested(
        `the backup, and a restore, end right${suffix}`,
        async () => {
          const settings = {...base(), DBBAK_RETRY_FOR: '2min', ...cloud.env}
          const direct = {env: settings, cwd: folder}
          const to = cloud.newDestination()
          await listBackups({...direct, from: to}) // the store is known, so that it is worth waiting for
          const slow = {...direct, bandwidthLimit: '6MB'}
          const [taken] = await Promise.all([takeBackup({...slow, to: [to]}), disturb(cloud, trouble)])
          expect(taken.destinations).toMatchObject([{status: 'stored'}])
          await expectBackups(to, 1, direct)

          await place.resetTarget()
          const options = {latest: true, force: true, safetyBackup: false, from: to, verify: true}
          const databaseUrl = place.server.url('target')
          await Promise.all([restoreBackup({...slow, ...options, databaseUrl}), disturb(cloud, trouble)])
          expect(await place.state()).toBe('backup')
        },
        400_000,
      )
    })
  })
}

async function disturb(
  cloud: Cloud,
  trouble: 'stopped for a while' | 'killed and started again',
): Promise<void> {
  const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
  await wait(1500)
  if (trouble === 'stopped for a while') cloud.pause()
  else await cloud.kill()
  await wait(pauseMs)
  if (trouble === 'stopped for a while') cloud.resume()
  else await cloud.restart()
}

for (const {name, need, missing, open} of clouds) {
  needs(need, missing())(`${name}, when it does not answer`, () => {
    test('a verification could not run, which is not a failure of the backup, and its former result stays', async () => {
      const cloud = await open()
      const {proxy, env} = await cloud.proxied()
      try {
        const to = cloud.newDestination()
        const faulty = {env: {...base(), ...env, DBBAK_RETRY_FOR: '2s'}, cwd: folder}
        await takeBackup({...faulty, to: [to]})
        await verifyBackups({...faulty, from: to, latest: true, level: 'archive'})
        proxy.plan({
          fault: {type: 'status', status: 503},
          when: {kind: archiveReads[cloud.store], path: /zst/},
          times: 99,
        })
        const again = await verifyBackups({...faulty, from: to, latest: true, level: 'archive'})
        expect(again.verdict).toBe('could-not-run')
        proxy.heal()
        const {backups} = await listBackups({...faulty, from: to})
        expect(backups).toMatchObject([{verification: {verdict: 'passed', level: 'archive'}}])
      } finally {
        await proxy.close()
        await cloud.stop()
      }
    })
  })
}

const archiveReads = {s3: 'get-object', azure: 'get-blob', gcs: 'get-media'} as const
