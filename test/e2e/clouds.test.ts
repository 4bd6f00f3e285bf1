import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {clouds, noise, type Cloud} from '../support/clouds.js'
import type {HttpFaultProxy} from '../support/http-fault-proxy.js'
import {needs} from '../support/needs.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {dbbak, dbbakJson, startDbbak} from './program.js'

let place: RestorePlace
let folder: string
beforeAll(async () => {
  place = await openRestorePlace()
  await place.server.psql(noise(40_000), 'shop')
  folder = await mkdtemp(join(tmpdir(), 'clouds-'))
})
afterAll(async () => {
  await place.end()
  await rm(folder, {recursive: true, force: true})
})

const databases = () => ({
  DATABASE_URL: place.server.url('shop'),
  TEST_DATABASE_URL: place.server.url(),
  BACKUP_DIR: join(folder, 'local'),
  DBBAK_CACHE_DIR: join(folder, 'cache'),
  TMPDIR: folder,
})

for (const {name, need, missing, open} of clouds) {
  needs(need, missing())(`${name} as a destination`, () => {
    let cloud: Cloud
    let env: Record<string, string>
    beforeAll(async () => {
      cloud = await open()
      env = {...databases(), ...cloud.env}
    })
    afterAll(() => cloud.stop())

    // To a store the plain format is one stream like the custom one: one store has to do for it.
    const formats = need === 's3' ? ['custom', 'plain', 'directory'] : ['custom', 'directory']
    describe.each(formats)('with the format %s', (format) => {
      let to: string
      beforeAll(() => {
        to = cloud.newDestination()
      })

      test('a backup is stored, listed, verified by restoring it, restored and copied back', async () => {
        const taken = await dbbakJson(['backup', '--format', format, '--to', to, '--jobs', '2'], {env})
        expect(taken.destinations).toEqual([{destination: to, status: 'stored'}])

        const {backups, problems} = await dbbakJson(['list', '--from', to], {env})
        expect(problems).toEqual([])
        expect(backups).toMatchObject([{id: taken.backup.id, format, bytes: taken.bytes}])
        expect(backups[0].location).toBe(`${to}/${backups[0].name}`)

        const verified = await dbbakJson(['verify', backups[0].location, '--level', 'restore'], {env})
        expect(verified).toMatchObject({verdict: 'passed', results: [{level: 'restore'}]})
        const {backups: again} = await dbbakJson(['list', '--from', to], {env})
        expect(again[0].verification).toMatchObject({level: 'restore', verdict: 'passed'})

        await place.resetTarget()
        const target = {...env, DATABASE_URL: place.server.url('target')}
        const restored = await dbbakJson(['restore', '--latest', '--from', to, '--force', '--verify'], {
          env: target,
        })
        expect(restored.targetState).toBe('restored')
        expect(await place.state()).toBe('backup')

        const local = join(folder, `copy-${cloud.store}-${format}`)
        const copied = await dbbakJson(['copy', '--latest', '--from', to, '--to', local], {env})
        expect(copied.copies).toMatchObject([{id: taken.backup.id, status: 'copied'}])
        const {backups: locals} = await dbbakJson(['list', '--from', local], {env})
        expect(locals).toMatchObject([{id: taken.backup.id, verification: {level: 'restore'}}])
        expect(
          (await dbbakJson(['verify', '--latest', '--from', local, '--level', 'archive'], {env})).verdict,
        ).toBe('passed')
        expect(await temporaryFoldersIn(folder)).toEqual([])
      })
    })

    test('a program killed while it uploads leaves nothing that list shows, and the next backup sweeps what it left', async () => {
      const to = cloud.newDestination()
      const {proxy, env: slow} = await cloud.proxied()
      try {
        const running = startDbbak(['backup', '--to', to, '--quiet'], {env: {...env, ...slow}})
        const stopped = stall(proxy, cloud)
        await stopped
        running.child.kill('SIGKILL')
        await running.ended
      } finally {
        await proxy.close()
      }
      const {backups, incomplete} = await dbbakJson(['list', '--from', to, '--incomplete'], {env})
      expect(backups).toEqual([])
      expect(incomplete).toMatchObject([{name: expect.stringMatching(/^shop_.*\.dump\.zst$/)}])

      const next = await dbbakJson(['backup', '--to', to], {env})
      const after = await dbbakJson(['list', '--from', to, '--incomplete'], {env})
      expect(after.backups.map(({id}: {id: string}) => id)).toEqual([next.backup.id])
      expect(after.incomplete).toEqual([])
    })

    test('Ctrl-C while it uploads leaves nothing at all, though the connection hangs', async () => {
      const to = cloud.newDestination()
      const {proxy, env: slow} = await cloud.proxied()
      try {
        const running = startDbbak(['backup', '--to', to, '--quiet'], {env: {...env, ...slow}})
        await stall(proxy, cloud)
        running.child.kill('SIGINT')
        expect((await running.ended).exitCode).toBe(130)
      } finally {
        await proxy.close()
      }
      const {backups, incomplete} = await dbbakJson(['list', '--from', to, '--incomplete'], {env})
      expect({backups, incomplete}).toEqual({backups: [], incomplete: []})
    })

    test('one of two destinations fails: the other has the backup, and the exit code and the document say who', async () => {
      const to = cloud.newDestination()
      const bad = to.replace(/^(\w+:\/\/)[^/]+/, '$1no-such-bucket-here')
      const document = await dbbakJson(['backup', '--to', bad, '--to', to], {env}, 8)
      expect(document.destinations).toMatchObject([
        {destination: bad, status: 'failed', error: {code: 'DESTINATION_NOT_FOUND'}},
        {destination: to, status: 'stored'},
      ])
      expect((await dbbakJson(['list', '--from', to], {env})).backups).toHaveLength(1)
    })

    test('doctor tries the promises at the destination, and leaves nothing there', async () => {
      const to = cloud.newDestination()
      const {exitCode, stdout} = await dbbak(['doctor', '--to', to, '--json'], {env})
      const {checks} = JSON.parse(stdout)
      const here = checks.filter(({message}: {message: string}) => message.includes(to))
      expect({exitCode, here: here.length > 0}).toEqual({exitCode: 0, here: true})
      const {incomplete} = await dbbakJson(['list', '--from', to, '--incomplete'], {env})
      expect(incomplete).toEqual([])
    })
  })
}

/** Lets an upload begin and holds up its second part; comes back when that has happened. */
async function stall(proxy: HttpFaultProxy, {store}: Cloud): Promise<void> {
  const kind = ({s3: 'upload-part', azure: 'stage-block', gcs: 'session-chunk'} as const)[store]
  await proxy.plan({fault: {type: 'stall', in: 'request', afterBytes: 100_000}, when: {kind, nth: 2}})
    .happened
}

async function temporaryFoldersIn(parent: string): Promise<string[]> {
  return (await readdir(parent)).filter((name) => /^dbbak-/.test(name))
}
