import {afterAll, beforeAll} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {openAzureClient} from '../../src/storage/azure/azure-client.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import {missingAzureServer, startAzureServer, type AzureServer} from '../support/azure-server.js'
import {needs} from '../support/needs.js'
import {describeStorageContract} from './contract.js'

needs('azure', missingAzureServer())('Azure Blob Storage', () => {
  let server: AzureServer
  let container: string

  beforeAll(async () => {
    server = await startAzureServer()
    container = await server.makeContainer()
  })
  afterAll(() => server.stop())

  const open = async () => {
    const request = {retryForMs: 60_000, stallMs: 30_000, env: {}}
    const client = await openAzureClient(container, {connectionString: server.connectionString}, request)
    const prefix = `place/${randomBytes(6).toString('hex')}`
    return {store: new ObjectStorage(client, {prefix, retryForMs: request.retryForMs})}
  }
  describeStorageContract('a container', open, {multipart: true, listed: 5100})
})
