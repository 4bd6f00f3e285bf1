import {randomUUID} from 'node:crypto'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import {request, s3Client} from '../support/ceph/s3-clients.js'
import {needs} from '../support/needs.js'
import {missingS3Server, sharedS3Server} from '../support/s3-server.js'
import {describeStorageContract} from './contract.js'

let bucket: Promise<string> | undefined

needs('s3', missingS3Server())('S3', () => {
  describeStorageContract(
    'S3',
    async () => {
      const server = await sharedS3Server()
      bucket ??= server.makeBucket()
      const client = await s3Client(server, await bucket)
      const {retryForMs} = request
      return {store: new ObjectStorage(client, {prefix: `contract-${randomUUID()}`, retryForMs})}
    },
    {multipart: true, listed: 5100},
  )
})
