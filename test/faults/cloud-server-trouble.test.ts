import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {listBackups, restoreBackup, takeBackup, verifyBackups} from '../../src/index.js'
import {expectBackups, openCloudRuns, type CloudRuns} from '../support/cloud-runs.js'
import {clouds, type Cloud} from '../support/clouds.js'
import {needs} from '../support/needs.js'
import {until} from '../support/processes.js'

let runs: CloudRuns
beforeAll(async () => {
  runs = await openCloudRuns()
})
afterAll(() => runs.end())

/** DBBAK_STORE_PAUSE_SECONDS=30 for the long version; longer than a connection may be silent in either case. */
const pauseMs = 1000 * Number(process.env.DBBAK_STORE_PAUSE_SECONDS ?? 2.5)

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
          const {place, folder, base} = runs
          const settings = {...base(), DBBAK_RETRY_FOR: '2min', ...cloud.env}
          const direct = {env: settings, cwd: folder}
          const to = cloud.newDestination()
          await listBackups({...direct, from: to}) // the store is known, so that it is worth waiting for
          const slow = {...direct, bandwidthLimit: '4MB'}
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
  await wait(1000)
  if (trouble === 'stopped for a while') cloud.pause()
  else await cloud.kill()
  await wait(pauseMs)
  if (trouble === 'stopped for a while') cloud.resume()
  else await cloud.restart()
}

for (const {name, need, missing, open} of clouds) {
  needs(need, missing())(`${name}, over a slow line`, () => {
    test('a backup takes long; only where nothing moves any more it is left out', async () => {
      const {folder, base} = runs
      const cloud = await open()
      const {proxy, env} = await cloud.proxied()
      try {
        const to = cloud.newDestination()
        // A destination counts as stalled after twice this time. What is in flight takes longer than that; what the
        // kernel holds of it, some 4 MB of which nobody sees whether they move, does not.
        const settings = {...base(), ...env, DBBAK_RETRY_FOR: '4s', DBBAK_STALL_TIMEOUT: '1min'}
        proxy.slowAll({requestBytesPerSecond: 1_000_000})
        const {destinations} = await takeBackup({env: settings, cwd: folder, to: [to]})
        expect(destinations).toMatchObject([{status: 'stored'}])
        await expectBackups(to, 1, {env: {...settings, ...cloud.env}, cwd: folder})

        const sent = () => proxy.requests({kind: ['upload-part', 'stage-block', 'upload']}).length
        const before = sent()
        const stalled = takeBackup({env: settings, cwd: folder, to: [cloud.newDestination()]})
        const refused = expect(stalled).rejects.toMatchObject({code: 'DESTINATION_STALLED', exitCode: 8})
        await until(() => sent() > before, 'the upload is under way')
        setTimeout(() => proxy.stallAll(), 1000)
        await refused
      } finally {
        await proxy.close()
        await cloud.stop()
      }
    }, 200_000)
  })
}

for (const {name, need, missing, open} of clouds) {
  needs(need, missing())(`${name}, when it does not answer`, () => {
    test('a verification could not run, which is not a failure of the backup, and its former result stays', async () => {
      const {folder, base} = runs
      const cloud = await open()
      const {proxy, env} = await cloud.proxied()
      try {
        const to = cloud.newDestination()
        const faulty = {env: {...base(), ...env, DBBAK_RETRY_FOR: '1s'}, cwd: folder}
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
