import {GetObjectTaggingCommand, HeadObjectCommand, PutObjectCommand, S3Client} from '@aws-sdk/client-s3'
import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {createHash, randomBytes, randomUUID} from 'node:crypto'
import {buffer} from 'node:stream/consumers'
import type {ObjectClient} from '../../src/storage/objects/object-client.js'
import {s3Client, storeErrorOf} from '../support/ceph/s3-clients.js'
import {startS3Proxy, type S3Proxy} from '../support/ceph/s3-proxy.js'
import {needs} from '../support/needs.js'
import {missingS3Server, sharedS3Server, type S3Server} from '../support/s3-server.js'

needs('s3', missingS3Server())('The S3 client', () => {
  let server: S3Server
  let bucket: string
  let client: ObjectClient
  let proxy: S3Proxy
  let proxied: ObjectClient
  let raw: S3Client
  const {signal} = new AbortController()
  const folder = `client-${randomUUID()}/`
  const create = () => ({ifAbsent: true, token: randomUUID()})
  const put = (name: string, content: string | Buffer, using = client) =>
    using.put(folder + name, Buffer.from(content), create(), signal)
  const get = async (name: string, start: number, end: number) => {
    const answer = await client.get(folder + name, {start, end, etag: undefined}, signal)
    return {...answer, body: (await buffer(answer.body)).toString()}
  }

  beforeAll(async () => {
    server = await sharedS3Server()
    bucket = await server.makeBucket()
    client = await s3Client(server, bucket)
    proxy = await startS3Proxy(server.endpoint)
    proxied = await s3Client({...server, endpoint: proxy.endpoint}, bucket)
    const {endpoint, region, accessKeyId, secretAccessKey} = server
    const credentials = {accessKeyId, secretAccessKey}
    raw = new S3Client({endpoint, region, credentials, forcePathStyle: true})
  })
  afterAll(async () => {
    await client?.close()
    await proxied?.close()
    await proxy?.stop()
    raw?.destroy()
  })

  test('tells of an object what put told', async () => {
    const options = create()
    const stored = await client.put(`${folder}told`, Buffer.from('content'), options, signal)
    expect(stored).toMatchObject({name: `${folder}told`, size: 7, etag: expect.stringMatching(/^".+"$/)})
    expect(await client.head(`${folder}told`, signal)).toEqual({...stored, token: options.token})
    const {objects} = await client.list(`${folder}told`, undefined, signal)
    expect(objects).toMatchObject([{name: stored.name, size: 7, etag: stored.etag}])
    expect(Math.abs(Date.now() - stored.modifiedAt.getTime())).toBeLessThan(60_000)
  })

  test('has nothing to tell of an object that is not there', async () => {
    expect(await client.head(`${folder}none`, signal)).toBeUndefined()
    const range = {start: 0, end: 1, etag: undefined}
    expect(await storeErrorOf(client.get(`${folder}none`, range, signal))).toMatchObject({trouble: 'missing'})
  })

  test('replaces an object only where that was asked for', async () => {
    await put('once', 'first')
    expect(await storeErrorOf(put('once', 'second'))).toMatchObject({trouble: 'exists'})
    expect((await get('once', 0, 99)).body).toBe('first')
    const options = {ifAbsent: false, token: randomUUID()}
    await client.put(`${folder}once`, Buffer.from('third'), options, signal)
    expect((await get('once', 0, 99)).body).toBe('third')
  })

  test('lets one of many win that put the same name at the same time', async () => {
    const puts = Array.from({length: 8}, (_, index) => put('race', `writer ${index}`))
    const ended = await Promise.allSettled(puts)
    expect(ended.filter(({status}) => status === 'fulfilled')).toHaveLength(1)
    const winner = ended.findIndex(({status}) => status === 'fulfilled')
    expect((await get('race', 0, 99)).body).toBe(`writer ${winner}`)
  })

  test('stores an empty object', async () => {
    expect(await put('empty', '')).toMatchObject({size: 0})
    const range = {start: 0, end: 10, etag: undefined}
    const error = await storeErrorOf(client.get(`${folder}empty`, range, signal))
    expect(error).toMatchObject({trouble: 'beyond-end', size: 0})
  })

  test('gives ranges, and the size of the whole', async () => {
    await put('ranges', '0123456789')
    expect(await get('ranges', 3, 5)).toMatchObject({body: '345', size: 10})
    expect(await get('ranges', 8, 1_000_000)).toMatchObject({body: '89', size: 10})
    expect(await get('ranges', 0, Number.MAX_SAFE_INTEGER - 1)).toMatchObject({body: '0123456789', size: 10})
    const range = {start: 10, end: 20, etag: undefined}
    const error = await storeErrorOf(client.get(`${folder}ranges`, range, signal))
    expect(error).toMatchObject({trouble: 'beyond-end', size: 10})
  })

  test('does not mix an object with the one that replaced it', async () => {
    const {etag} = await put('mixed', 'old')
    const range = {start: 0, end: 2, etag}
    expect((await client.get(`${folder}mixed`, range, signal)).etag).toBe(etag)
    await client.put(`${folder}mixed`, Buffer.from('new'), {ifAbsent: false, token: 't'}, signal)
    expect(await storeErrorOf(client.get(`${folder}mixed`, range, signal))).toMatchObject({
      trouble: 'changed',
    })
  })

  test('frees the connection of a body that is destroyed', async () => {
    await put('long', randomBytes(20_000_000))
    const range = {start: 0, end: 19_999_999, etag: undefined}
    // More than the sockets that there may be at a time.
    for (let round = 0; round < 70; round++) {
      const {body} = await client.get(`${folder}long`, range, signal)
      body.on('error', () => {}).destroy()
    }
    expect((await get('long', 0, 9)).size).toBe(20_000_000)
  })

  test('ends with the reason of its signal', async () => {
    const stop = new AbortController()
    const running = client.put(`${folder}stopped`, randomBytes(30_000_000), create(), stop.signal)
    const reason = new Error('stopped by the test')
    stop.abort(reason)
    await expect(running).rejects.toBe(reason)
    await expect(client.head(`${folder}told`, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(await client.head(`${folder}stopped`, signal)).toBeUndefined()
  })

  test('lists in pages, in the order of the bytes of the names', async () => {
    const names = Array.from({length: 1005}, (_, index) => `pages/${String(index).padStart(4, '0')}`)
    const special = [
      'pages/é',
      'pages/z',
      'pages/ space',
      'pages/a+b&c=d%20#?',
      'pages/𐍈',
      'pages/ﬀ',
      'pages/"<>\'',
    ]
    const all = [...names, ...special]
    for (let at = 0; at < all.length; at += 30)
      await Promise.all(all.slice(at, at + 30).map((name) => put(name, 'x')))
    const first = await client.list(`${folder}pages/`, undefined, signal)
    expect(first.objects).toHaveLength(1000)
    const second = await client.list(`${folder}pages/`, first.next, signal)
    expect(second.next).toBeUndefined()
    const listed = [...first.objects, ...second.objects].map(({name}) => name.slice(folder.length))
    const inOrder = all.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
    expect(listed).toEqual(inOrder)
  })

  test('lists beside names that XML cannot hold', async () => {
    for (const name of ['odd/\u0001', 'odd/a\r\nb', 'odd/\uFFFE', 'odd/ \n', 'odd/__proto__'])
      await raw.send(new PutObjectCommand({Bucket: bucket, Key: folder + name, Body: 'x'}))
    await put('odd/zz', 'ours')
    const {objects, next} = await client.list(`${folder}odd/`, undefined, signal)
    expect(objects).toHaveLength(6)
    expect(objects.at(-1)?.name).toMatch(/^.*odd\/(zz|\uFFFE)$/)
    expect(objects.map(({name}) => name)).toContain(`${folder}odd/zz`)
    expect(next).toBeUndefined()
  })

  test('removes an object, and one that is not there', async () => {
    await put('removed', 'x')
    await client.remove(`${folder}removed`, signal)
    await client.remove(`${folder}removed`, signal)
    expect(await client.head(`${folder}removed`, signal)).toBeUndefined()
  })

  test('has the store refuse bytes that were damaged on the way', async () => {
    proxy.meddle(({method}) => (method === 'PUT' ? 'damage' : undefined))
    expect(await storeErrorOf(put('damaged', 'content', proxied))).toMatchObject({trouble: 'transient'})
    proxy.meddle(() => undefined)
    expect(await client.head(`${folder}damaged`, signal)).toBeUndefined()
    await put('damaged', 'content', proxied)
    const sent = proxy.seen.at(-2)
    const md5 = createHash('md5').update('content').digest('base64')
    expect(sent?.headers['content-md5']).toBe(md5)
  })

  test('does not leave damaged bytes in a store that looks at no checksum', async () => {
    const etag = '"00000000000000000000000000000000"'
    proxy.meddle(({method}) =>
      method === 'PUT'
        ? {replace: (body: string) => body, headers: (headers) => (headers.etag = etag)}
        : undefined,
    )
    expect(await storeErrorOf(put('unchecked', 'content', proxied))).toMatchObject({trouble: 'transient'})
    proxy.meddle(() => undefined)
    expect(await client.head(`${folder}unchecked`, signal)).toBeUndefined()
  })

  test('can tell after a lost answer that the object is the one that was sent', async () => {
    proxy.meddle(({method}) => (method === 'PUT' ? 'lose answer' : undefined))
    const options = create()
    const content = Buffer.from('content')
    const name = `${folder}lost`
    expect(await storeErrorOf(proxied.put(name, content, options, signal))).toMatchObject({
      trouble: 'transient',
    })
    proxy.meddle(() => undefined)
    expect(await storeErrorOf(proxied.put(name, content, options, signal))).toMatchObject({trouble: 'exists'})
    expect(await proxied.head(name, signal)).toMatchObject({token: options.token, size: 7})
  })

  test('writes once in a store that knows no conditions', async () => {
    const other = await s3Client({...server, endpoint: proxy.endpoint}, bucket)
    const answer = {status: 501, body: '<Error><Code>NotImplemented</Code></Error>'}
    proxy.meddle(({headers}) => (headers['if-none-match'] ? answer : undefined))
    await put('unconditional', 'first', other)
    const before = proxy.seen.length
    expect(await storeErrorOf(put('unconditional', 'second', other))).toMatchObject({trouble: 'exists'})
    expect(proxy.seen.slice(before).map(({method}) => method)).toEqual(['HEAD'])
    proxy.meddle(() => undefined)
    await other.close()
  })

  test('takes a conflict with another writer for a taken name only when it is taken', async () => {
    const answer = {status: 409, body: '<Error><Code>ConditionalRequestConflict</Code></Error>'}
    proxy.meddle(({method}) => (method === 'PUT' ? answer : undefined))
    expect(await storeErrorOf(put('conflict', 'x', proxied))).toMatchObject({trouble: 'transient'})
    await put('conflict', 'by another')
    expect(await storeErrorOf(put('conflict', 'x', proxied))).toMatchObject({trouble: 'exists'})
    proxy.meddle(() => undefined)
  })

  test('takes no web page for an S3 store', async () => {
    proxy.meddle(() => ({
      status: 200,
      headers: {'content-type': 'text/html'},
      body: '<html><p>Hello</p></html>',
    }))
    const failed = {trouble: 'failed', message: expect.stringContaining('not one of an S3 store')}
    expect(await storeErrorOf(proxied.list('', undefined, signal))).toMatchObject(failed)
    expect(await storeErrorOf(put('page', 'x', proxied))).toMatchObject(failed)
    expect(await storeErrorOf(proxied.head('page', signal))).toMatchObject(failed)
    proxy.meddle(() => ({status: 502, body: '<html><br>Bad Gateway</html>'}))
    expect(await storeErrorOf(proxied.list('', undefined, signal))).toMatchObject({trouble: 'transient'})
    proxy.meddle(() => undefined)
  })

  test('does not take a listing that breaks off for a whole one', async () => {
    proxy.meddle(() => ({
      replace: (body: string) => body.replace('<IsTruncated>false', '<IsTruncated>true'),
    }))
    expect(await storeErrorOf(proxied.list(folder + 'told', undefined, signal))).toMatchObject({
      trouble: 'failed',
    })
    proxy.meddle(() => undefined)
  })

  test('gives objects a storage class, tags and encryption, and work files none of it', async () => {
    const options = {
      storageClass: server.kind === 'ceph' ? 'STANDARD_IA' : 'STANDARD',
      tags: {backup: 'shop & co', 'a=b': 'ü'},
      ...(server.kind === 'ceph' && {encryption: 'aws:kms' as const, kmsKeyId: 'labkey'}),
    }
    const dressed = await s3Client(server, bucket, options)
    const [name, work] = [`${folder}dressed`, `${folder}.dbbak-work/claim`]
    await dressed.put(name, Buffer.from('content'), create(), signal)
    await dressed.put(work, Buffer.from('content'), create(), signal)
    const head = await raw.send(new HeadObjectCommand({Bucket: bucket, Key: name}))
    if (server.kind === 'ceph')
      expect(head).toMatchObject({
        StorageClass: 'STANDARD_IA',
        ServerSideEncryption: 'aws:kms',
        SSEKMSKeyId: 'labkey',
      })
    const {TagSet} = await raw.send(new GetObjectTaggingCommand({Bucket: bucket, Key: name}))
    const sorted = TagSet?.sort((one, other) => one.Key!.localeCompare(other.Key!))
    expect(sorted).toEqual([
      {Key: 'a=b', Value: 'ü'},
      {Key: 'backup', Value: 'shop & co'},
    ])
    const workHead = await raw.send(new HeadObjectCommand({Bucket: bucket, Key: work}))
    expect(workHead.StorageClass ?? 'STANDARD').toBe('STANDARD')
    expect((await raw.send(new GetObjectTaggingCommand({Bucket: bucket, Key: work}))).TagSet).toEqual([])
    expect((await get('dressed', 2, 4)).body).toBe('nte')
    await dressed.close()
  })

  test('what is read often is not put into an archive', async () => {
    if (server.kind !== 'ceph') return
    const archiving = await s3Client(server, bucket, {storageClass: 'GLACIER'})
    const name = `${folder}not-archived`
    await archiving.put(name, Buffer.from('x'), {...create(), readOften: true}, signal)
    const head = await raw.send(new HeadObjectCommand({Bucket: bucket, Key: name}))
    expect(head.StorageClass ?? 'STANDARD').toBe('STANDARD')
    // This server has no such class, which shows that it was asked for.
    const refused = archiving.put(`${folder}archived`, Buffer.from('x'), create(), signal)
    expect((await storeErrorOf(refused)).message).toContain('InvalidArgument')
    await archiving.close()
  })
})
