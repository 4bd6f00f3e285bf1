import {
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import {afterAll, afterEach, beforeAll, expect, test} from '@jest/globals'
import {createHash, randomBytes, randomUUID} from 'node:crypto'
import {buffer} from 'node:stream/consumers'
import type {CreateOptions, ObjectClient, Upload} from '../../src/storage/objects/object-client.js'
import type {S3Options} from '../../src/storage/objects/store-options.js'
import {s3Client, storeErrorOf} from '../support/ceph/s3-clients.js'
import {startS3Proxy, type S3Proxy, type SeenRequest} from '../support/ceph/s3-proxy.js'
import {needs} from '../support/needs.js'
import {missingCeph, missingS3Server, sharedS3Server, type S3Server} from '../support/s3-server.js'

const mebibyte = 1024 * 1024
const {signal} = new AbortController()
const [first, second] = [randomBytes(5 * mebibyte), randomBytes(1000)]
const content = Buffer.concat([first, second])

const begin = (client: ObjectClient, name: string, ifAbsent = true) => {
  const create: CreateOptions = {ifAbsent, token: randomUUID()}
  return client.startUpload(name, create, signal)
}
const sendFirst = (upload: Upload, bytes = first) =>
  upload.part({number: 1, offset: 0, bytes, last: false}, signal)
const sendSecond = (upload: Upload) =>
  upload.part({number: 2, offset: first.length, bytes: second, last: true}, signal)
const sendBoth = async (upload: Upload) => {
  await Promise.all([sendSecond(upload), sendFirst(upload)])
}
const isComplete = ({method, path}: SeenRequest) => method === 'POST' && path.includes('uploadId=')
const isPart = ({path}: SeenRequest) => path.includes('partNumber=')

needs('s3', missingS3Server())('An upload in parts to S3', () => {
  let server: S3Server
  let bucket: string
  let client: ObjectClient
  let proxy: S3Proxy
  let proxied: ObjectClient
  let raw: S3Client
  const folder = `upload-${randomUUID()}/`

  const expectNoUploads = async () => {
    const {Uploads} = await raw.send(new ListMultipartUploadsCommand({Bucket: bucket, Prefix: folder}))
    expect(Uploads ?? []).toEqual([])
  }
  const contentOf = async (name: string) => {
    const {body} = await client.get(name, {start: 0, end: content.length, etag: undefined}, signal)
    return buffer(body)
  }

  beforeAll(async () => {
    server = await sharedS3Server()
    bucket = await server.makeBucket()
    client = await s3Client(server, bucket)
    proxy = await startS3Proxy(server.endpoint)
    proxied = await s3Client({...server, endpoint: proxy.endpoint}, bucket)
    const {endpoint, region, accessKeyId, secretAccessKey} = server
    raw = new S3Client({endpoint, region, credentials: {accessKeyId, secretAccessKey}, forcePathStyle: true})
  })
  afterEach(() => proxy.meddle(() => undefined))
  afterAll(async () => {
    await client?.close()
    await proxied?.close()
    await proxy?.stop()
    raw?.destroy()
  })

  test('is seen by nobody until it is complete, and then whole', async () => {
    const name = `${folder}whole`
    const create = {ifAbsent: true, token: randomUUID()}
    const upload = await client.startUpload(name, create, signal)
    await sendBoth(upload)
    expect(await client.head(name, signal)).toBeUndefined()
    const stored = await upload.complete(signal)
    expect(stored).toMatchObject({name, size: content.length, etag: compositeEtag([first, second])})
    expect(await client.head(name, signal)).toEqual({...stored, token: create.token})
    expect((await contentOf(name)).equals(content)).toBe(true)
    await expectNoUploads()
  })

  test('takes a part again', async () => {
    const name = `${folder}again`
    const upload = await begin(client, name)
    await sendFirst(upload, randomBytes(5 * mebibyte))
    await sendBoth(upload)
    await upload.complete(signal)
    expect((await contentOf(name)).equals(content)).toBe(true)
  })

  test('takes a part again whose bytes were damaged on the way', async () => {
    const name = `${folder}damaged`
    const upload = await begin(proxied, name)
    proxy.meddle((request) => (isPart(request) ? 'damage' : undefined))
    expect(await storeErrorOf(sendFirst(upload))).toMatchObject({trouble: 'transient'})
    proxy.meddle((request) => (isPart(request) ? 'lose answer' : undefined))
    expect(await storeErrorOf(sendFirst(upload))).toMatchObject({trouble: 'transient'})
    proxy.meddle(() => undefined)
    await sendBoth(upload)
    await upload.complete(signal)
    expect((await contentOf(name)).equals(content)).toBe(true)
  })

  test('refuses a part of which the store holds something else', async () => {
    const upload = await begin(proxied, `${folder}other`)
    const etag = '"00000000000000000000000000000000"'
    proxy.meddle((request) =>
      isPart(request)
        ? {replace: (body: string) => body, headers: (headers) => (headers.etag = etag)}
        : undefined,
    )
    expect(await storeErrorOf(sendFirst(upload))).toMatchObject({trouble: 'transient'})
    await upload.abort(signal)
  })

  test('is complete though the answer to that was lost', async () => {
    const upload = await begin(proxied, `${folder}lost`)
    await sendBoth(upload)
    proxy.meddle((request) => (isComplete(request) ? 'lose answer' : undefined))
    expect(await upload.complete(signal)).toMatchObject({size: content.length})
    expect(proxy.seen.filter(({path}) => path.includes('/lost?')).filter(isComplete)).toHaveLength(1)
  })

  test('can be completed again when nobody could tell whether it was', async () => {
    const upload = await begin(proxied, `${folder}unsure`)
    await sendBoth(upload)
    proxy.meddle((request) => {
      if (isComplete(request)) return 'lose answer'
      return request.method === 'GET' ? {status: 503} : undefined
    })
    expect(await storeErrorOf(upload.complete(signal))).toMatchObject({trouble: 'transient'})
    proxy.meddle(() => undefined)
    const before = proxy.seen.length
    const stored = await upload.complete(signal)
    expect(stored).toMatchObject({size: content.length})
    expect(await upload.complete(signal)).toEqual(stored)
    expect(proxy.seen.slice(before).map(({method}) => method)).toEqual(['HEAD', 'HEAD'])
  })

  test('takes an error in an answer of status 200 for what it is', async () => {
    const name = `${folder}late-error`
    const upload = await begin(proxied, name)
    await sendBoth(upload)
    const body =
      '<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>Try again</Message></Error>'
    proxy.meddle((request) => (isComplete(request) ? {status: 200, body} : undefined))
    expect(await storeErrorOf(upload.complete(signal))).toMatchObject({trouble: 'transient'})
    proxy.meddle(() => undefined)
    expect(await upload.complete(signal)).toMatchObject({size: content.length})
  })

  test('does not count as stored when the store has less of it, or other bytes', async () => {
    const name = `${folder}less`
    const upload = await begin(proxied, name)
    await sendBoth(upload)
    const pretend = (change: (headers: SeenRequest['headers']) => void) =>
      proxy.meddle(({method}) =>
        method === 'HEAD' ? {replace: (body: string) => body, headers: change} : undefined,
      )
    await upload.complete(signal)
    pretend((headers) => (headers['content-length'] = '5'))
    expect(await storeErrorOf(upload.complete(signal))).toMatchObject({
      trouble: 'failed',
      message: `the store has 5 bytes of the ${content.length} that were sent`,
    })
    pretend((headers) => (headers.etag = '"00000000000000000000000000000000-2"'))
    expect(await storeErrorOf(upload.complete(signal))).toMatchObject({trouble: 'failed'})
  })

  test('does not replace what was stored meanwhile, also where the store would', async () => {
    const name = `${folder}taken`
    const upload = await begin(client, name)
    await sendBoth(upload)
    await client.put(name, Buffer.from('other'), {ifAbsent: true, token: 'other'}, signal)
    expect(await storeErrorOf(upload.complete(signal))).toMatchObject({trouble: 'exists'})
    await upload.abort(signal)
    expect((await contentOf(name)).toString()).toBe('other')
    await expectNoUploads()
  })

  test('replaces an object where that was asked for', async () => {
    const name = `${folder}replaced`
    await client.put(name, Buffer.from('other'), {ifAbsent: true, token: 'other'}, signal)
    const upload = await begin(client, name, false)
    await sendBoth(upload)
    await upload.complete(signal)
    expect((await contentOf(name)).equals(content)).toBe(true)
  })

  test('sends the condition with the completion, and does without where it is not known', async () => {
    const conditional = async (name: string) => {
      const upload = await begin(proxied, folder + name)
      await sendBoth(upload)
      const before = proxy.seen.length
      await upload.complete(signal)
      return proxy.seen
        .slice(before)
        .filter(isComplete)
        .map(({headers}) => headers['if-none-match'])
    }
    expect(await conditional('condition')).toEqual(['*'])
    const body = '<Error><Code>NotImplemented</Code></Error>'
    proxy.meddle(({headers}) => (headers['if-none-match'] ? {status: 501, body} : undefined))
    expect(await conditional('condition-unknown')).toEqual(['*', undefined])
    expect(await conditional('condition-known-unknown')).toEqual([undefined])
  })

  test('leaves nothing when it is aborted, twice too', async () => {
    const name = `${folder}aborted`
    const upload = await begin(client, name)
    await sendFirst(upload)
    await upload.abort(signal)
    await upload.abort(signal)
    expect(await client.head(name, signal)).toBeUndefined()
    expect(await client.unfinished(name, signal)).toBeUndefined()
    expect(await storeErrorOf(sendFirst(upload))).toMatchObject({trouble: 'gone'})
    expect(await storeErrorOf(upload.complete(signal))).toMatchObject({trouble: 'gone'})
    await expectNoUploads()
  })

  test('is aborted again while parts of it are to be seen', async () => {
    const upload = await begin(proxied, `${folder}late-part`)
    await sendFirst(upload)
    let aborts = 0
    // As if the first abort had come before a part that was under way.
    proxy.meddle(({method}) => (method === 'DELETE' && aborts++ === 0 ? {status: 204} : undefined))
    await upload.abort(signal)
    expect(aborts).toBe(2)
    await expectNoUploads()
  })

  test('is found and ended by its exact name when it was left', async () => {
    const [name, longer] = [`${folder}left`, `${folder}left-longer`]
    for (let round = 0; round < 2; round++) await sendFirst(await begin(client, name))
    await begin(client, name)
    const other = await begin(client, longer)
    const found = await client.unfinished(name, signal)
    expect(found?.size).toBe(2 * first.length)
    expect(Math.abs(Date.now() - found!.activeAt!.getTime())).toBeLessThan(60_000)
    await client.discardUnfinished(name, signal)
    expect(await client.unfinished(name, signal)).toBeUndefined()
    expect(await client.unfinished(longer, signal)).toMatchObject({size: 0})
    await other.abort(signal)
    await client.discardUnfinished(name, signal)
  })

  needs('s3', missingCeph())('on Ceph', () => {
    const openWith = (options: S3Options, where = bucket) => s3Client(server, where, options)

    test('has the storage class, tags and encryption that were asked for', async () => {
      const name = `${folder}dressed`
      const dressed = await openWith({
        storageClass: 'STANDARD_IA',
        encryption: 'aws:kms',
        kmsKeyId: 'labkey',
        tags: {backup: 'shop'},
      })
      const upload = await begin(dressed, name)
      await sendBoth(upload)
      await upload.complete(signal)
      const head = await raw.send(new HeadObjectCommand({Bucket: bucket, Key: name}))
      expect(head).toMatchObject({
        StorageClass: 'STANDARD_IA',
        ServerSideEncryption: 'aws:kms',
        SSEKMSKeyId: 'labkey',
      })
      const {TagSet} = await raw.send(new GetObjectTaggingCommand({Bucket: bucket, Key: name}))
      expect(TagSet).toEqual([{Key: 'backup', Value: 'shop'}])
      expect((await contentOf(name)).equals(content)).toBe(true)
      await dressed.close()
    })

    test('is under the lock that was asked for, as an object of one request is', async () => {
      const locked = await server.makeBucket(undefined, {objectLock: true})
      const locking = await openWith({objectLock: {mode: 'GOVERNANCE', days: 3}}, locked)
      const upload = await begin(locking, 'parts')
      await sendBoth(upload)
      await upload.complete(signal)
      await locking.put('whole', Buffer.from('x'), {ifAbsent: true, token: 't'}, signal)
      for (const name of ['parts', 'whole']) {
        const {VersionId} = await raw.send(new HeadObjectCommand({Bucket: locked, Key: name}))
        const target = {Bucket: locked, Key: name, VersionId}
        const {Retention} = await raw.send(new GetObjectRetentionCommand(target))
        expect(Retention?.Mode).toBe('GOVERNANCE')
        const days = (Retention!.RetainUntilDate!.getTime() - Date.now()) / 86_400_000
        expect(days).toBeGreaterThan(2.99)
        expect(days).toBeLessThan(3.01)
        const refusal = await raw.send(new DeleteObjectCommand(target)).catch((error: unknown) => error)
        expect(refusal).toMatchObject({name: 'AccessDenied'})
      }
      await locking.close()
    })

    test('is kept by its lock when it is removed, and a refusal because of it is told as such', async () => {
      const locked = await server.makeBucket(undefined, {objectLock: true})
      const options = {objectLock: {mode: 'COMPLIANCE' as const, days: 1}}
      const locking = await s3Client({...server, endpoint: proxy.endpoint}, locked, options)
      const stored = await locking.put('kept', Buffer.from('x'), {ifAbsent: true, token: 't'}, signal)
      // A store without versions refuses; this one has them, and would only hide the object.
      const body = '<Error><Code>AccessDenied</Code></Error>'
      proxy.meddle(({method}) => (method === 'DELETE' ? {status: 403, body} : undefined))
      expect(await storeErrorOf(locking.remove('kept', signal))).toMatchObject({trouble: 'locked'})
      expect(await storeErrorOf(locking.remove('other', signal))).toMatchObject({trouble: 'denied'})
      proxy.meddle(() => undefined)
      const {VersionId} = await raw.send(new HeadObjectCommand({Bucket: locked, Key: 'kept'}))
      await locking.remove('kept', signal)
      expect(await locking.head('kept', signal)).toBeUndefined()
      const kept = await raw.send(new HeadObjectCommand({Bucket: locked, Key: 'kept', VersionId}))
      expect(kept.ETag).toBe(stored.etag)
      await locking.close()
    })

    test('needs a bucket with object lock for a lock', async () => {
      const locking = await openWith({objectLock: {mode: 'GOVERNANCE', days: 3}})
      const error = await storeErrorOf(
        locking.put(`${folder}no-lock`, Buffer.from('x'), {ifAbsent: true, token: 't'}, signal),
      )
      expect(error).toMatchObject({trouble: 'failed'})
      await locking.close()
    })
  })
})

function compositeEtag(parts: Buffer[]): string {
  const md5 = (bytes: Buffer) => createHash('md5').update(bytes)
  const digests = parts.map((bytes) => md5(bytes).digest())
  return `"${md5(Buffer.concat(digests)).digest('hex')}-${parts.length}"`
}
