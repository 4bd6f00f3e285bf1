import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {readdir} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {
  copyBackups,
  copyError,
  DbbakError,
  restoreBackup,
  takeBackup,
  type RestoreResult,
} from '../../src/index.js'
import {expectBackups, openCloudRuns, type CloudRuns, type Run} from '../support/cloud-runs.js'
import {clouds, type Cloud} from '../support/clouds.js'
import type {FaultType} from '../support/http-fault-proxy.js'
import {needs} from '../support/needs.js'

/** DBBAK_CLOUD_FAULT_RUNS=70 for the long version; prunes are in prune-faults.test.ts. */
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

let cloudRuns: CloudRuns
beforeAll(async () => {
  cloudRuns = await openCloudRuns()
})
afterAll(() => cloudRuns.end())

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
      `a backup, a restore and a copy end right, or with a clear error and nothing half-done (${runs} runs)`,
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
  const {place, folder, base} = cloudRuns
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

    expect(await temporaryIn(tmpdir())).toEqual([])
  } catch (error) {
    throw new Error(`With seed ${seed} (${format}): ${(error as Error).message}`, {cause: error})
  } finally {
    outcomes.faults += faults.count
    await proxy.close()
  }
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
