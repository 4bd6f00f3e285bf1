import {CreateBucketCommand, PutBucketPolicyCommand, PutObjectCommand, S3Client} from '@aws-sdk/client-s3'
import {afterAll, afterEach, beforeAll, expect, jest, test} from '@jest/globals'
import {randomBytes, randomUUID} from 'node:crypto'
import type {ObjectClient} from '../../src/storage/objects/object-client.js'
import {openS3Client} from '../../src/storage/s3/s3-client.js'
import {request, s3Client, storeErrorOf} from '../support/ceph/s3-clients.js'
import {startS3Proxy, type S3Proxy} from '../support/ceph/s3-proxy.js'
import {needs} from '../support/needs.js'
import {
  missingCeph,
  missingS3Server,
  sharedS3Server,
  startS3Server,
  type S3Server,
} from '../support/s3-server.js'

const {signal} = new AbortController()
const create = () => ({ifAbsent: true, token: randomUUID()})
const range = {start: 0, end: 9, etag: undefined}

/** Every kind of request to a store that refuses them all. */
function everyRequest(client: ObjectClient): Record<string, Promise<unknown>> {
  return {
    head: client.head('name', signal),
    get: client.get('name', range, signal),
    list: client.list('', undefined, signal),
    remove: client.remove('name', signal),
    put: client.put('name', Buffer.from('x'), create(), signal),
    startUpload: client.startUpload('name', create(), signal),
    unfinished: client.unfinished('name', signal),
    discardUnfinished: client.discardUnfinished('name', signal),
  }
}

async function troubles(client: ObjectClient): Promise<Record<string, string>> {
  const entries = Object.entries(everyRequest(client)).map(
    async ([name, promise]) => [name, (await storeErrorOf(promise)).trouble] as const,
  )
  await client.close()
  return Object.fromEntries(await Promise.all(entries))
}

const all = (trouble: string) => ({
  head: trouble,
  get: trouble,
  list: trouble,
  remove: trouble,
  put: trouble,
  startUpload: trouble,
  unfinished: trouble,
  discardUnfinished: trouble,
})

needs('s3', missingS3Server())('S3 that refuses', () => {
  let server: S3Server
  let bucket: string
  let proxy: S3Proxy
  let proxied: ObjectClient
  let raw: S3Client

  beforeAll(async () => {
    server = await sharedS3Server()
    bucket = await server.makeBucket()
    proxy = await startS3Proxy(server.endpoint)
    proxied = await s3Client({...server, endpoint: proxy.endpoint}, bucket)
    const {endpoint, region, accessKeyId, secretAccessKey} = server
    raw = new S3Client({endpoint, region, credentials: {accessKeyId, secretAccessKey}, forcePathStyle: true})
  })
  afterEach(() => {
    proxy.meddle(() => undefined)
    jest.restoreAllMocks()
  })
  afterAll(async () => {
    await proxied?.close()
    await proxy?.stop()
    raw?.destroy()
  })

  test('an access key that it does not know', async () => {
    const client = await s3Client({...server, accessKeyId: 'AKIAUNKNOWN123456789'}, bucket)
    const error = await storeErrorOf(client.list('', undefined, signal))
    expect(error.message).toMatch(/does not know the access key .*InvalidAccessKeyId/)
    expect(error.suggestions).toContain('See which credentials are used: aws configure list')
    expect(JSON.stringify([error, error.message, error.cause])).not.toContain('UNKNOWN123')
    expect(await troubles(client)).toEqual(all('credentials'))
  })

  test('a secret that is wrong', async () => {
    const client = await s3Client({...server, secretAccessKey: 'wrong'}, bucket)
    const error = await storeErrorOf(client.head('name', signal))
    expect(error.message).toMatch(/secret key does not belong to the access key .*SignatureDoesNotMatch/)
    expect(await troubles(client)).toEqual(all('credentials'))
  })

  test('a bucket that does not exist', async () => {
    const client = await s3Client(server, `none-${randomBytes(6).toString('hex')}`)
    // An answer to HEAD does not say what is missing.
    expect(await client.head('name', signal)).toBeUndefined()
    const error = await storeErrorOf(client.list('', undefined, signal))
    expect(error).toMatchObject({trouble: 'missing-bucket', message: expect.stringContaining('NoSuchBucket')})
    expect(await storeErrorOf(client.put('name', Buffer.from('x'), create(), signal))).toMatchObject({
      trouble: 'missing-bucket',
    })
    expect(await storeErrorOf(client.startUpload('name', create(), signal))).toMatchObject({
      trouble: 'missing-bucket',
    })
    await client.close()
  })

  test('checksums that are wrong', async () => {
    const wrong = {Bucket: bucket, Key: 'digest', Body: 'content', ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA=='}
    const refusal = await raw.send(new PutObjectCommand(wrong)).catch((error: unknown) => error)
    expect(refusal).toMatchObject({name: 'BadDigest'})
    expect(proxied.explain(refusal)).toMatchObject({trouble: 'transient'})
  })

  test('requests of a clock that is an hour ahead, and says both times', async () => {
    const now = Date.now.bind(Date)
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000)
    const client = await s3Client(server, bucket)
    const error = await storeErrorOf(client.list('', undefined, signal))
    expect(error).toMatchObject({trouble: 'clock-skew'})
    expect(error.message).toMatch(/clock says 2\d{3}-.*Z, the store's 2\d{3}-.*Z \(RequestTimeTooSkewed\)/)
    await client.close()
    const other = await s3Client(server, bucket)
    expect(await storeErrorOf(other.head('name', signal))).toMatchObject({trouble: 'clock-skew'})
    await other.close()
  })

  test('too many requests, and says how long to wait', async () => {
    const body = '<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
    proxy.meddle(() => ({status: 503, headers: {'retry-after': '7'}, body}))
    expect(await storeErrorOf(proxied.list('', undefined, signal))).toMatchObject({
      trouble: 'throttled',
      retryAfterMs: 7000,
      message: expect.stringContaining('Please reduce your request rate'),
    })
  })

  test('a request for a bucket of another region, and says which', async () => {
    const redirect = '<Error><Code>PermanentRedirect</Code><Bucket>b</Bucket></Error>'
    const headers = {'x-amz-bucket-region': 'eu-west-1'}
    proxy.meddle(() => ({status: 301, headers, body: redirect}))
    const expected = {
      trouble: 'failed',
      message: expect.stringContaining('is in the region eu-west-1'),
      suggestions: ['Use that region: export AWS_REGION=eu-west-1'],
    }
    expect(await storeErrorOf(proxied.list('', undefined, signal))).toMatchObject(expected)
    expect(await storeErrorOf(proxied.head('name', signal))).toMatchObject(expected)
    const malformed = '<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>'
    proxy.meddle(() => ({status: 400, body: malformed}))
    expect(await storeErrorOf(proxied.list('', undefined, signal))).toMatchObject(expected)
    expect(await storeErrorOf(proxied.head('name', signal))).toMatchObject(expected)
  })

  test('an archived object, and says how to have it back', async () => {
    const body = '<Error><Code>InvalidObjectState</Code><Message>Not valid</Message></Error>'
    proxy.meddle(() => ({status: 403, body}))
    const {message, suggestions, trouble} = await storeErrorOf(proxied.get("it's", range, signal))
    expect(trouble).toBe('failed')
    expect(message).toContain('archived')
    expect(suggestions[0]).toBe(
      `aws s3api --endpoint-url ${proxy.endpoint} restore-object --bucket ${bucket} --key 'it'\\''s' --restore-request Days=7`,
    )
  })

  test('a connection to nobody', async () => {
    const client = await s3Client({...server, endpoint: 'http://127.0.0.1:9'}, bucket)
    expect(await troubles(client)).toEqual(all('transient'))
  })

  test('TLS where there is none', async () => {
    const client = await s3Client({...server, endpoint: server.endpoint.replace('http:', 'https:')}, bucket)
    const error = await storeErrorOf(client.list('', undefined, signal))
    expect(error).toMatchObject({trouble: 'failed', message: expect.stringContaining('does not speak TLS')})
    await client.close()
  })
})

test('a bucket of AWS needs a region, and says how to set it', async () => {
  // The SDK looks into the files of the AWS tools.
  const before = process.env
  process.env = {...before, AWS_CONFIG_FILE: '/nonexistent', AWS_SHARED_CREDENTIALS_FILE: '/nonexistent'}
  delete process.env.AWS_REGION
  const error = await storeErrorOf(openS3Client('bucket', {}, request))
  process.env = before
  expect(error).toMatchObject({trouble: 'failed', message: 'no region is set'})
  expect(error.suggestions.join()).toContain('export AWS_REGION=')
  const client = await openS3Client('bucket', {}, {...request, env: {AWS_REGION: 'eu-west-1'}})
  expect(client).toMatchObject({place: 's3://bucket', listsInOrder: true, limits: {partsMax: 10_000}})
  await client.close()
})

test('an endpoint is a URL without credentials, and is not told when it has some', async () => {
  for (const endpoint of ['minio:9000', 'http://key:secret@127.0.0.1:9000']) {
    const error = await storeErrorOf(openS3Client('bucket', {endpoint}, request))
    expect(error).toMatchObject({trouble: 'failed'})
    expect(JSON.stringify([error.message, error.suggestions])).not.toContain('secret')
  }
})

needs('s3', missingCeph())('Ceph refuses', () => {
  let server: S3Server
  let admin: S3Client
  beforeAll(async () => {
    server = await sharedS3Server()
    const {endpoint, region, accessKeyId, secretAccessKey} = server
    admin = new S3Client({
      endpoint,
      region,
      credentials: {accessKeyId, secretAccessKey},
      forcePathStyle: true,
    })
  })
  afterAll(() => admin?.destroy())

  test('what the policy of the bucket forbids', async () => {
    const bucket = await server.makeBucket()
    const user = await server.newUser()
    const client = await s3Client({...server, ...user}, bucket)
    expect(await troubles(client)).toEqual(all('denied'))
    const principal = {
      Principal: {AWS: [`arn:aws:iam:::user/${user.uid}`]},
      Resource: [`arn:aws:s3:::${bucket}/*`],
    }
    const statements = [
      {Effect: 'Allow', Action: ['s3:PutObject'], ...principal},
      {Effect: 'Deny', Action: ['s3:GetObject'], ...principal},
    ]
    const Policy = JSON.stringify({Version: '2012-10-17', Statement: statements})
    await admin.send(new PutBucketPolicyCommand({Bucket: bucket, Policy}))
    const writer = await s3Client({...server, ...user}, bucket)
    const stored = await writer.put('written', Buffer.from('x'), create(), signal)
    expect(stored).toMatchObject({size: 1, etag: expect.stringMatching(/^"[0-9a-f]{32}"$/)})
    expect(await storeErrorOf(writer.head('written', signal))).toMatchObject({trouble: 'denied'})
    const listing = await storeErrorOf(writer.list('', undefined, signal))
    expect(listing.message).toMatch(/access is denied \(AccessDenied/)
    expect(listing.suggestions[0]).toContain('s3:ListBucket')
    await writer.close()
  })

  test('a user who is suspended', async () => {
    const user = await server.newUser()
    const bucket = await server.makeBucket()
    await user.suspend()
    const client = await s3Client({...server, ...user}, bucket)
    const error = await storeErrorOf(client.list('', undefined, signal))
    expect(error).toMatchObject({trouble: 'denied', message: expect.stringContaining('UserSuspended')})
    await client.close()
  })

  test('what goes beyond the quota', async () => {
    const user = await server.newUser()
    const {endpoint, region} = server
    const bucket = `quota-${randomBytes(6).toString('hex')}`
    const owner = new S3Client({endpoint, region, credentials: user, forcePathStyle: true})
    await owner.send(new CreateBucketCommand({Bucket: bucket}))
    owner.destroy()
    await user.setQuota(1_000_000)
    const client = await s3Client({...server, ...user}, bucket)
    await client.put('small', randomBytes(1000), create(), signal)
    const error = await storeErrorOf(client.put('large', randomBytes(2_000_000), create(), signal))
    expect(error).toMatchObject({trouble: 'full', message: expect.stringContaining('QuotaExceeded')})
    const upload = await client.startUpload('parts', create(), signal)
    const part = {number: 1, offset: 0, bytes: randomBytes(5_242_880), last: true}
    expect(await storeErrorOf(upload.part(part, signal))).toMatchObject({trouble: 'full'})
    await upload.abort(signal)
    expect(await client.head('large', signal)).toBeUndefined()
    await client.close()
  })
})

needs('s3', missingCeph())('A store that fails', () => {
  let server: S3Server
  beforeAll(async () => (server = await startS3Server()))
  afterAll(async () => server?.stop())

  test('is told as one that may be back, when it is silent and when it is gone', async () => {
    const bucket = await server.makeBucket()
    const {endpoint, region, accessKeyId, secretAccessKey} = server
    const options = {endpoint, region, credentials: {accessKeyId, secretAccessKey}}
    const client = await openS3Client(bucket, options, {...request, stallMs: 1000})
    await client.put('before', Buffer.from('x'), create(), signal)

    server.pause()
    expect(await storeErrorOf(client.put('silent', Buffer.from('x'), create(), signal))).toMatchObject({
      trouble: 'transient',
      message: expect.stringContaining('silent'),
    })
    server.resume()

    await server.kill()
    expect(await storeErrorOf(client.head('before', signal))).toMatchObject({trouble: 'transient'})
    await server.restart()
    expect(await client.head('before', signal)).toMatchObject({size: 1})
    await client.close()
  })
})
