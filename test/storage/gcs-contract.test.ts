import {afterAll, beforeAll} from '@jest/globals'
import {randomUUID} from 'node:crypto'
import {openGcsClient} from '../../src/storage/gcs/gcs-client.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import type {GcsOptions} from '../../src/storage/objects/store-options.js'
import {startGcsServer, type GcsServer} from '../support/gcs-server/index.js'
import {describeStorageContract, type OpenedStore} from './contract.js'

async function open(bucket: string, options: GcsOptions): Promise<OpenedStore> {
  const request = {retryForMs: 30_000, stallMs: 20_000, env: process.env}
  const client = await openGcsClient(bucket, options, request)
  const prefix = `contract/${randomUUID()}`
  const store = new ObjectStorage(client, {prefix, retryForMs: request.retryForMs})
  const cleanup = async () => {
    const again = new ObjectStorage(await openGcsClient(bucket, options, request), {
      prefix,
      retryForMs: 30_000,
    })
    for await (const {key} of again.list('')) await again.remove(key)
    await again.close()
  }
  return {store, cleanup}
}

let server: GcsServer
beforeAll(async () => {
  server = await startGcsServer()
})
afterAll(() => server.stop())

describeStorageContract(
  'Google Cloud Storage, as its documentation describes it,',
  () => open(server.makeBucket(), {emulator: server.endpoint}),
  {multipart: true, listed: 5100},
)

const real = process.env.DBBAK_TEST_GCS_BUCKET
if (real !== undefined)
  describeStorageContract('Google Cloud Storage itself', () => open(real, {}), {
    multipart: true,
    listed: 5100,
  })
