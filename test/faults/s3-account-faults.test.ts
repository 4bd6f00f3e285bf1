import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {listBackups, takeBackup, type DbbakError} from '../../src/index.js'
import {makeBucket} from '../support/ceph/ceph-server.js'
import {noise} from '../support/clouds.js'
import {startHttpFaultProxy} from '../support/http-fault-proxy.js'
import {needs} from '../support/needs.js'
import {missingCeph, sharedS3Server, type S3Server} from '../support/s3-server.js'
import {startServer, type TestServer} from '../support/servers.js'

needs('s3', missingCeph())('an S3 account', () => {
  let server: TestServer
  let store: S3Server
  let folder: string
  beforeAll(async () => {
    server = await startServer()
    await server.createDatabase('shop')
    await server.psql(noise(24_000), 'shop')
    store = await sharedS3Server()
    folder = await mkdtemp(join(tmpdir(), 's3-account-'))
  }, 180_000)
  afterAll(async () => {
    await server?.stop()
    await rm(folder, {recursive: true, force: true})
  })

  /** A user with a bucket, and how a backup to it and a listing of it go. */
  async function account() {
    const user = await store.newUser()
    const bucket = await makeBucket({...store, ...user})
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      BACKUP_DIR: join(folder, 'local'),
      DATABASE_URL: server.url('shop'),
      AWS_ENDPOINT_URL_S3: store.endpoint,
      AWS_REGION: store.region,
      AWS_ACCESS_KEY_ID: user.accessKeyId,
      AWS_SECRET_ACCESS_KEY: user.secretAccessKey,
    }
    const run = {env, cwd: folder}
    const to = `s3://${bucket}/shop`
    return {
      user,
      local: join(folder, 'local'),
      backUp: (more = {}, endpoint = store.endpoint): Promise<DbbakError> =>
        takeBackup({
          ...run,
          env: {...env, AWS_ENDPOINT_URL_S3: endpoint},
          to: [to, join(folder, 'local')],
          ...more,
        }).then(
          () => Promise.reject(new Error('the backup succeeded')),
          (error: DbbakError) => error,
        ),
      list: (from = to) => listBackups({...run, from, incomplete: true}),
    }
  }

  const outcome = ({code, details}: DbbakError) => ({
    code,
    destinations: (
      details?.document as {destinations: {status: string; error?: {code: string}}[]}
    ).destinations.map(({status, error}) => error?.code ?? status),
  })

  test('whose quota is used up takes no backup and keeps nothing of it, and the folder beside it has it', async () => {
    const {user, backUp, list, local} = await account()
    await user.setQuota(1_000_000)
    const error = await backUp()
    expect(outcome(error)).toEqual({code: 'DESTINATION_FAILED', destinations: ['DESTINATION_FULL', 'stored']})
    expect(error.exitCode).toBe(8)
    expect(await list()).toMatchObject({backups: [], incomplete: []})
    expect((await list(local)).backups.length).toBeGreaterThan(0)
  })

  test('that is suspended while a backup is on its way keeps nothing that list shows', async () => {
    const {user, backUp, list} = await account()
    const proxy = await startHttpFaultProxy(store.endpoint)
    const suspended = proxy.arrival({kind: 'upload-part'}).then(() => user.suspend())
    const error = await backUp({bandwidthLimit: '4MB'}, proxy.endpoint)
    await suspended
    await proxy.close()
    expect(outcome(error)).toEqual({
      code: 'DESTINATION_FAILED',
      destinations: ['DESTINATION_DENIED', 'stored'],
    })
    await user.resume()
    const {backups, incomplete} = await list()
    expect(backups).toEqual([])
    expect(incomplete?.length).toBeLessThanOrEqual(1)
  })
})
