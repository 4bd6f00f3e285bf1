import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {manifestName} from '../../src/engine/naming.js'
import {DbbakError, listBackups, pruneBackups, pruneError, type PruneResult} from '../../src/index.js'
import {openContext, openStores} from '../../src/library/context.js'
import type {StorageProvider} from '../../src/storage/provider.js'
import {startDbbak} from '../e2e/program.js'
import {backupsAt, daysAgo, keysAt, later, put, store} from '../engine/prune-support.js'
import {clouds, type Cloud} from '../support/clouds.js'
import {needs} from '../support/needs.js'
import {randomNumbers} from '../support/random-faults.js'

/** DBBAK_CLOUD_FAULT_RUNS=35 for the long version. */
const runs = Number(process.env.DBBAK_CLOUD_FAULT_RUNS ?? 3)
const firstSeed = Number(process.env.DBBAK_CLOUD_FAULT_SEED ?? 1)
const rates = [0.05, 0.15, 0.3]
const reads = {s3: 'get-object', azure: 'get-blob', gcs: 'get-media'} as const

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prune-faults-'))
})
afterAll(() => rm(folder, {recursive: true, force: true}))

const settings = (env: Record<string, string>) => ({
  ...env,
  PATH: process.env.PATH,
  HOME: folder,
  DBBAK_CACHE_DIR: join(folder, 'cache'),
  DBBAK_STALL_TIMEOUT: '1s',
  DBBAK_RETRY_FOR: '8s',
})

/** What lies at a destination that two databases share: of each what stays, what goes, and what a run left. */
interface Place {
  url: string
  at: StorageProvider
  kept: string[]
  /** All objects of what stays. */
  keptKeys: string[]
}

async function fill(cloud: Cloud, seed: number, now: Date): Promise<Place> {
  const url = cloud.newDestination()
  const context = await openContext({env: settings(cloud.env), cwd: folder})
  const [at] = await openStores(context, [url])
  const next = randomNumbers(seed)
  const kept: string[] = []
  for (const database of ['shop', 'blog'])
    for (const days of [1, 2]) kept.push(await store(at, {at: daysAgo(days, now), database, globals: true}))
  const keptKeys = await keysAt(at)
  const ages = Array.from({length: 6}, (_, index) => 40 + index)
  const add = (database: string) => async (days: number) => {
    const format = next() < 0.4 ? 'directory' : 'custom'
    const verified = next() < 0.3 ? 'failed' : undefined // the newest that passed would stay
    await store(at, {at: daysAgo(days, now), database, format, verified, globals: next() < 0.5})
  }
  await Promise.all(['shop', 'blog'].flatMap((database) => ages.map(add(database))))
  await put(at, `shop_2020-01-01T00-00-00-000Z.dump.zst`, 'half')
  return {url, at, kept: kept.sort(), keptKeys}
}

/** Nothing listed is broken, and nothing that stays has lost a file. */
async function expectUnharmed({at, kept, keptKeys}: Place, seed: number): Promise<void> {
  const {whole, broken} = await backupsAt(at)
  expect({seed, broken}).toEqual({seed, broken: []})
  expect(whole).toEqual(expect.arrayContaining(kept))
  expect(await keysAt(at)).toEqual(expect.arrayContaining(keptKeys))
}

const rules = {keepDays: 30, keepVerified: 0, force: true}
const clockAt = (time: Date) => ({now: () => time})

async function outcomeOf(work: Promise<PruneResult>): Promise<string> {
  try {
    const error = pruneError(await work)
    return error?.code ?? 'done'
  } catch (error) {
    if (!(error instanceof DbbakError) || error.code === 'INTERNAL') throw error
    return error.code
  }
}

for (const {name, need, missing, open} of clouds) {
  needs(need, missing())(name, () => {
    let cloud: Cloud
    beforeAll(async () => {
      cloud = await open()
    }, 120_000)
    afterAll(() => cloud?.stop())

    test(
      `prunes through a line that fails at random harm nothing, and the next one finishes (${runs} runs)`,
      async () => {
        const counts: Record<string, number> = {}
        let faults = 0
        for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
          const place = await fill(cloud, seed, later)
          const {proxy, env} = await cloud.proxied(seed)
          const chance = proxy.random({rate: rates[seed % rates.length], seed})
          const run = (to: Record<string, string>) =>
            pruneBackups({env: settings(to), cwd: folder, from: place.url, clock: clockAt(later), ...rules})
          try {
            const outcome = await outcomeOf(run(env))
            counts[outcome] = (counts[outcome] ?? 0) + 1
            faults += chance.count
          } finally {
            await proxy.close()
          }
          await expectUnharmed(place, seed)
          expect({seed, outcome: await outcomeOf(run(cloud.env))}).toEqual({seed, outcome: 'done'})
          expect(await keysAt(place.at)).toEqual(place.keptKeys)
          await place.at.close()
        }
        expect(faults).toBeGreaterThan(0)
        if (process.env.DBBAK_CLOUD_FAULT_RUNS)
          process.stderr.write(`${name}: ${runs} prunes, ${faults} faults, ${JSON.stringify(counts)}\n`)
      },
      runs * 90_000,
    )

    test('a manifest that is damaged on the way is read again, and never kept in the cache', async () => {
      const {proxy, env} = await cloud.proxied()
      const place = await fill(cloud, 1, later)
      try {
        const [archive] = place.kept
        const manifest = {kind: reads[cloud.store], path: new RegExp(manifestName(archive))}
        // Within a number: a text that can be read all the same.
        const content = await readText(place.at, manifestName(archive))
        const afterBytes = content.indexOf('"rows": ') + '"rows": '.length
        const fault = {type: 'corrupt-response', afterBytes} as const
        const options = {env: settings(env), cwd: folder, from: place.url}
        const list = async () => (await listBackups(options)).backups.find((one) => one.name === archive)
        const planned = proxy.plan({fault, when: manifest, times: 2})
        const listed = await list()
        expect(planned.count).toBe(2)
        const direct = await listBackups({
          ...options,
          env: {...settings(cloud.env), DBBAK_CACHE_DIR: join(folder, 'other')},
        })
        expect(listed).toEqual({
          ...direct.backups.find((one) => one.name === archive),
          ageSeconds: expect.any(Number),
        })

        await rm(join(folder, 'cache'), {recursive: true, force: true})
        proxy.plan({fault, when: manifest, times: 99})
        expect(await list()).toBeUndefined()
        proxy.heal()
        expect(await list()).toEqual({...listed, ageSeconds: expect.any(Number)})
      } finally {
        await proxy.close()
        await place.at.close()
      }
    })
  })
}

async function readText(at: StorageProvider, key: string): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of await at.get(key)) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

for (const {name, need, missing, open} of clouds.filter(({need}) => need === 's3')) {
  const kills = Number(process.env.DBBAK_PRUNE_KILLS ?? 4)
  needs(need, missing())(`${name}, a prune that is killed`, () => {
    test(
      `harms none of the databases that share the destination, and the next one finishes (${kills} kills)`,
      async () => {
        const cloud = await open()
        const now = new Date()
        let cut = 0
        for (let seed = 1; seed <= kills; seed++) {
          const place = await fill(cloud, seed, now)
          const before = (await keysAt(place.at)).length
          const env = settings(cloud.env) as Record<string, string>
          const started = startDbbak(
            ['prune', '--force', '--keep-days', '30', '--keep-verified', '0', '--from', place.url],
            {cwd: folder, env},
          )
          while ((await keysAt(place.at)).length === before && started.child.exitCode === null) await delay(5)
          await delay(randomNumbers(seed)() * 80)
          started.child.kill('SIGKILL')
          await started.ended
          await expectUnharmed(place, seed)
          if ((await keysAt(place.at)).length > place.keptKeys.length + 1) cut++
          // Two days later what a cut-off removal left is old enough to be swept.
          const clock = clockAt(later)
          const again = {env, cwd: folder, from: place.url, clock, ...rules}
          expect({seed, outcome: await outcomeOf(pruneBackups(again))}).toEqual({seed, outcome: 'done'})
          expect(await keysAt(place.at)).toEqual(place.keptKeys)
          await place.at.close()
        }
        expect(cut).toBeGreaterThan(0)
        await cloud.stop()
      },
      kills * 60_000,
    )
  })
}
