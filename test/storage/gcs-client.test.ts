import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {crc32c, crcText} from '../../src/storage/gcs/crc32c.js'
import {openGcsClient} from '../../src/storage/gcs/gcs-client.js'
import type {ObjectClient, Upload} from '../../src/storage/objects/object-client.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import type {GcsOptions} from '../../src/storage/objects/store-options.js'
import {startGcsServer, startGcsServerProcess, type GcsServer} from '../support/gcs-server/index.js'

const block = 256 * 1024
const {signal} = new AbortController()
const create = {ifAbsent: true, token: 'token-1'}
let server: GcsServer
let bucket: string
let client: ObjectClient

beforeAll(async () => {
  server = await startGcsServer()
})
afterAll(() => server.stop())
beforeEach(async () => {
  bucket = server.makeBucket()
  server.seen.length = 0
  client = await open()
})
afterEach(async () => {
  server.clearFaults()
  await client.close()
})

const open = (options: GcsOptions = {}, stallMs = 20_000, inBucket = bucket) =>
  openGcsClient(inBucket, {emulator: server.endpoint, ...options}, {retryForMs: 1000, stallMs, env: {}})
const all = {start: 0, end: Number.MAX_SAFE_INTEGER - 1, etag: undefined}
const read = async (name: string, range = all) => buffer((await client.get(name, range, signal)).body)
const operations = () => server.seen.map(({operation}) => operation)

/** Sends parts of a size, and the rest as the last. */
async function sendParts(upload: Upload, bytes: Buffer, partBytes: number): Promise<void> {
  for (let offset = 0, number = 1; ; offset += partBytes, number++) {
    const last = offset + partBytes >= bytes.length
    await upload.part({number, offset, bytes: bytes.subarray(offset, offset + partBytes), last}, signal)
    if (last) return
  }
}

describe('CRC32C', () => {
  test('is that of the published vectors, in pieces of any length', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43)
    expect(crcText(crc32c(Buffer.alloc(0)))).toBe('AAAAAA==')
    const bytes = randomBytes(100)
    for (let cut = 0; cut <= 100; cut++)
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes))
  })
})

describe('one request', () => {
  test('put, head, list and get tell the same of an object', async () => {
    const name = 'a folder/ü+&=%2F #?'
    const stored = await client.put(name, Buffer.from('content'), create, signal)
    expect(stored).toMatchObject({name, size: 7})
    expect(Math.abs(stored.modifiedAt.getTime() - Date.now())).toBeLessThan(60_000)
    expect(await client.head(name, signal)).toEqual({...stored, token: 'token-1'})
    expect(await client.list('a folder/', undefined, signal)).toEqual({objects: [stored], next: undefined})
    const answer = await client.get(name, {start: 2, end: 4, etag: stored.etag}, signal)
    expect([(await buffer(answer.body)).toString(), answer.size, answer.etag]).toEqual([
      'nte',
      7,
      stored.etag,
    ])
    expect(client.place).toBe(`gs://${bucket}`)
  })

  test('an empty object is stored; it has no byte to be read', async () => {
    await client.put('empty', Buffer.alloc(0), create, signal)
    expect(await client.head('empty', signal)).toMatchObject({size: 0})
    await expect(client.get('empty', all, signal)).rejects.toMatchObject({trouble: 'beyond-end', size: 0})
  })

  test('ifAbsent refuses a taken name, and without it the object is replaced', async () => {
    const first = await client.put('x', Buffer.from('first'), create, signal)
    await expect(client.put('x', Buffer.from('second'), create, signal)).rejects.toMatchObject({
      trouble: 'exists',
    })
    await expect(client.startUpload('x', create, signal)).rejects.toMatchObject({trouble: 'exists'})
    expect((await read('x')).toString()).toBe('first')
    const second = await client.put('x', Buffer.from('second'), {ifAbsent: false, token: 'token-2'}, signal)
    expect(second.etag).not.toBe(first.etag)
    expect(await client.head('x', signal)).toMatchObject({token: 'token-2', size: 6})
  })

  test('the store refuses bytes that were damaged on the way', async () => {
    server.inject({on: 'objects.insert', do: 'damage'})
    await expect(client.put('x', randomBytes(900_000), create, signal)).rejects.toMatchObject({
      trouble: 'transient',
    })
    expect(await client.head('x', signal)).toBeUndefined()
  })

  test('an etag that is not that of the object fails with changed', async () => {
    const {etag} = await client.put('x', Buffer.from('first'), create, signal)
    await client.put('x', Buffer.from('second'), {...create, ifAbsent: false}, signal)
    await expect(client.get('x', {...all, etag}, signal)).rejects.toMatchObject({trouble: 'changed'})
  })

  test('a start at or beyond the end says so, with the size', async () => {
    await client.put('x', Buffer.from('content'), create, signal)
    for (const start of [7, 100])
      await expect(client.get('x', {...all, start}, signal)).rejects.toMatchObject({
        trouble: 'beyond-end',
        size: 7,
      })
  })

  test('a missing object: get fails, head is undefined, remove is content', async () => {
    await expect(client.get('missing', all, signal)).rejects.toMatchObject({trouble: 'missing'})
    expect(await client.head('missing', signal)).toBeUndefined()
    await client.remove('missing', signal)
  })

  test('content that is said to be gzip comes as it is stored', async () => {
    await client.put('x', Buffer.from('this is no gzip'), create, signal)
    server.store.patch(server.store.get(bucket, 'x'), {contentEncoding: 'gzip'})
    expect((await read('x')).toString()).toBe('this is no gzip')
  })

  test('a body that breaks off is an error, not a short object', async () => {
    await client.put('x', randomBytes(3_000_000), create, signal)
    server.inject({on: 'objects.media', do: 'truncate', bytes: 1_000_000})
    const {body} = await client.get('x', all, signal)
    const error: unknown = await buffer(body).catch((caught: unknown) => caught)
    expect(client.explain(error)).toMatchObject({trouble: 'transient'})
  })

  test('lists go on from page to page', async () => {
    const names = Array.from({length: 1003}, (_, index) => `o${String(index).padStart(4, '0')}`)
    for (let at = 0; at < names.length; at += 50)
      await Promise.all(
        names.slice(at, at + 50).map((name) => client.put(name, Buffer.from('x'), create, signal)),
      )
    const first = await client.list('o', undefined, signal)
    const second = await client.list('o', first.next, signal)
    expect([first.objects.length, second.objects.length, second.next]).toEqual([1000, 3, undefined])
    expect([...first.objects, ...second.objects].map(({name}) => name)).toEqual(names)
  })

  test('storage class and key are asked for, in puts and uploads', async () => {
    await client.close()
    const kmsKeyName = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'
    client = await open({storageClass: 'NEARLINE', kmsKeyName})
    await client.put('put', Buffer.from('x'), create, signal)
    const upload = await client.startUpload('upload', create, signal)
    await sendParts(upload, Buffer.from('x'), block)
    await upload.complete(signal)
    for (const name of ['put', 'upload'])
      expect(server.store.get(bucket, name)).toMatchObject({
        kmsKeyName,
        attributes: {storageClass: 'NEARLINE'},
      })
  })

  test.each([
    [{temporaryHold: true}],
    [{retention: {mode: 'Locked', retainUntilTime: '2999-01-01T00:00:00Z'}}],
  ])('an object under %j is locked', async (attributes) => {
    await client.put('x', Buffer.from('first'), create, signal)
    server.store.patch(server.store.get(bucket, 'x'), attributes)
    await expect(client.remove('x', signal)).rejects.toMatchObject({trouble: 'locked'})
    const replace = client.put('x', Buffer.from('second'), {...create, ifAbsent: false}, signal)
    await expect(replace).rejects.toMatchObject({trouble: 'locked'})
    expect((await read('x')).toString()).toBe('first')
  })

  test('a missing bucket is told from a missing object by every method', async () => {
    await client.close()
    client = await open({}, 20_000, 'no-such-bucket')
    const body = Buffer.from('x')
    for (const work of [
      client.head('x', signal),
      client.get('x', all, signal),
      client.list('', undefined, signal),
      client.remove('x', signal),
      client.put('x', body, create, signal),
      client.startUpload('x', create, signal),
    ])
      await expect(work).rejects.toMatchObject({trouble: 'missing-bucket'})
  })
})

describe('an upload', () => {
  test.each([
    ['nothing', 0],
    ['one byte', 1],
    ['one block', block],
    ['blocks and a rest', 5 * block + 77],
    ['exactly two parts', 4 * block],
  ])('of %s is invisible until it is complete, and whole then', async (_name, length) => {
    const bytes = randomBytes(length)
    const upload = await client.startUpload('x', create, signal)
    await sendParts(upload, bytes, 2 * block)
    expect(await client.head('x', signal)).toBeUndefined()
    const stored = await upload.complete(signal)
    expect(stored).toMatchObject({name: 'x', size: length})
    expect(await client.head('x', signal)).toEqual({...stored, token: 'token-1'})
    if (length > 0) expect((await read('x')).equals(bytes)).toBe(true)
    expect(await upload.complete(signal)).toEqual(stored)
  })

  test('the buffers of its parts may be used again', async () => {
    const bytes = randomBytes(3 * block + 5)
    const upload = await client.startUpload('x', create, signal)
    const reused = Buffer.alloc(2 * block)
    for (const [number, offset] of [
      [1, 0],
      [2, 2 * block],
    ]) {
      const length = bytes.copy(reused, 0, offset, offset + 2 * block)
      await upload.part({number, offset, bytes: reused.subarray(0, length), last: number === 2}, signal)
      reused.fill(0)
    }
    await upload.complete(signal)
    expect((await read('x')).equals(bytes)).toBe(true)
  })

  test.each([
    ['is not carried out', 'answer' as const],
    ['is carried out, with 503 for an answer', 'carry-out-and-answer' as const],
    ['meets a broken connection', 'drop' as const],
    ['is carried out, and its answer is lost', 'carry-out-and-drop' as const],
    ['breaks off within', 'break-off' as const],
  ])('a part that %s can be sent again', async (_name, fault) => {
    const bytes = randomBytes(6 * block + 3)
    const upload = await client.startUpload('x', create, signal)
    const part = (number: number) => {
      const offset = (number - 1) * 2 * block
      return {number, offset, bytes: bytes.subarray(offset, offset + 2 * block), last: number === 4}
    }
    await upload.part(part(1), signal)
    server.inject({on: 'session.chunk', do: fault, bytes: block})
    await expect(upload.part(part(2), signal)).rejects.toMatchObject({trouble: 'transient'})
    for (const number of [2, 3, 4]) await upload.part(part(number), signal)
    await upload.complete(signal)
    expect(operations().filter((operation) => operation === 'session.status')).toHaveLength(1)
    expect((await read('x')).equals(bytes)).toBe(true)
  })

  test('what the session did not keep of a part is sent again at once', async () => {
    const bytes = randomBytes(8 * block)
    const upload = await client.startUpload('x', create, signal)
    server.inject(
      {on: 'session.chunk', do: 'persist', bytes: 3 * block},
      {on: 'session.chunk', do: 'persist', bytes: block},
    )
    await sendParts(upload, bytes, 8 * block)
    await upload.complete(signal)
    expect((await read('x')).equals(bytes)).toBe(true)
  })

  test('a session that keeps nothing makes no endless loop', async () => {
    const upload = await client.startUpload('x', create, signal)
    server.inject({on: 'session.chunk', do: 'persist', bytes: 0})
    const part = {number: 1, offset: 0, bytes: randomBytes(block), last: false}
    await expect(upload.part(part, signal)).rejects.toMatchObject({trouble: 'transient'})
    await upload.part(part, signal)
  })

  test.each(['answer', 'carry-out-and-answer', 'drop', 'carry-out-and-drop'] as const)(
    'complete can be called again after it failed (%s)',
    async (fault) => {
      const bytes = randomBytes(block + 9)
      const upload = await client.startUpload('x', create, signal)
      await sendParts(upload, bytes, block)
      server.inject({on: 'session.chunk', do: fault})
      await expect(upload.complete(signal)).rejects.toMatchObject({trouble: 'transient'})
      expect(await upload.complete(signal)).toMatchObject({size: bytes.length})
      expect((await read('x')).equals(bytes)).toBe(true)
    },
  )

  test.each([404, 410])('a session that the store knows no more (%d) is gone', async (status) => {
    const upload = await client.startUpload('x', create, signal)
    await upload.part({number: 1, offset: 0, bytes: randomBytes(block), last: false}, signal)
    server.sessions.forgetAll(status)
    const again = upload.part({number: 2, offset: block, bytes: randomBytes(9), last: true}, signal)
    await again // nothing of it is sent yet
    await expect(upload.complete(signal)).rejects.toMatchObject({trouble: 'gone'})
    await upload.abort(signal)
  })

  test('a name that was taken meanwhile is refused when the object is made', async () => {
    const upload = await client.startUpload('x', create, signal)
    await sendParts(upload, randomBytes(block + 9), block)
    await client.put('x', Buffer.from('other'), {...create, token: 'other'}, signal)
    await expect(upload.complete(signal)).rejects.toMatchObject({trouble: 'exists'})
    await upload.abort(signal)
    expect((await read('x')).toString()).toBe('other')
  })

  test('an abort ends the session, twice too', async () => {
    const upload = await client.startUpload('x', create, signal)
    await upload.part({number: 1, offset: 0, bytes: randomBytes(block), last: false}, signal)
    const before = server.sessions.unfinished
    await upload.abort(signal)
    await upload.abort(signal)
    expect(server.sessions.unfinished).toBe(before - 1)
    await expect(
      upload.part({number: 2, offset: block, bytes: randomBytes(block), last: false}, signal),
    ).rejects.toMatchObject({
      trouble: 'gone',
    })
  })

  test('an abort after the object was made, whose answer was lost, removes it', async () => {
    const upload = await client.startUpload('x', create, signal)
    await sendParts(upload, randomBytes(9), block)
    server.inject({on: 'session.chunk', do: 'carry-out-and-drop'})
    await expect(upload.complete(signal)).rejects.toMatchObject({trouble: 'transient'})
    expect(await client.head('x', signal)).toBeDefined()
    await upload.abort(signal)
    expect(await client.head('x', signal)).toBeUndefined()
  })

  test('such an abort leaves the object of somebody else', async () => {
    const upload = await client.startUpload('x', create, signal)
    await sendParts(upload, randomBytes(9), block)
    server.inject({on: 'session.chunk', do: 'carry-out-and-drop'})
    await expect(upload.complete(signal)).rejects.toMatchObject({trouble: 'transient'})
    await client.put('x', Buffer.from('other'), {ifAbsent: false, token: 'other'}, signal)
    await upload.abort(signal)
    expect((await read('x')).toString()).toBe('other')
  })

  test('bytes that were damaged on the way make no object', async () => {
    const upload = await client.startUpload('x', create, signal)
    server.inject({on: 'session.chunk', do: 'damage'})
    await sendParts(upload, randomBytes(3 * block), block)
    await expect(upload.complete(signal)).rejects.toMatchObject({trouble: 'failed'})
    expect(await client.head('x', signal)).toBeUndefined()
  })

  test('nothing is asked that is known: one request a part', async () => {
    const upload = await client.startUpload('x', create, signal)
    await sendParts(upload, randomBytes(3 * block + 1), block)
    await upload.complete(signal)
    const chunk = 'session.chunk'
    expect(operations()).toEqual(['session.start', chunk, chunk, chunk, chunk])
  })

  test('no session is told of, and none can be discarded', async () => {
    await client.startUpload('x', create, signal)
    expect(await client.unfinished('x', signal)).toBeUndefined()
    await client.discardUnfinished('x', signal)
  })
})

describe('connections', () => {
  test.each(['put', 'get', 'head'] as const)(
    'a server that stays silent ends a %s as transient',
    async (method) => {
      await client.put('x', Buffer.from('content'), create, signal)
      await client.close()
      client = await open({}, 400)
      server.inject(
        {on: 'objects.insert', do: 'hold'},
        {on: 'objects.media', do: 'hold'},
        {on: 'objects.get', do: 'hold'},
      )
      const requests = {
        put: () => client.put('y', randomBytes(3_000_000), create, signal),
        get: () => client.get('x', all, signal),
        head: () => client.head('x', signal),
      }
      await expect(requests[method]()).rejects.toMatchObject({trouble: 'transient'})
    },
  )

  test('an abort ends every request with its reason', async () => {
    await client.put('x', randomBytes(5_000_000), create, signal)
    const reason = new Error('stopped')
    for (const on of [
      'objects.insert',
      'objects.media',
      'objects.get',
      'objects.list',
      'objects.delete',
      'session.start',
    ] as const)
      server.inject({on, do: 'hold'})
    const stop = new AbortController()
    const requests = [
      client.put('y', Buffer.from('y'), create, stop.signal),
      client.get('x', all, stop.signal),
      client.head('x', stop.signal),
      client.list('', undefined, stop.signal),
      client.remove('x', stop.signal),
      client.startUpload('y', create, stop.signal),
    ]
    const ends = Promise.all(requests.map((request) => expect(request).rejects.toBe(reason)))
    setTimeout(() => stop.abort(reason), 100)
    await ends
    await expect(client.head('x', AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  test('an abort ends a body with its reason', async () => {
    await client.put('x', randomBytes(9_000_000), create, signal)
    const stop = new AbortController()
    const {body} = await client.get('x', all, stop.signal)
    const reason = new Error('enough')
    const reading = (async () => {
      for await (const chunk of body) if (chunk) stop.abort(reason)
    })()
    await expect(reading).rejects.toBe(reason)
  })

  test('a refused connection is transient', async () => {
    const other = await startGcsServer()
    const lost = await open({emulator: other.endpoint.replace('http://', '')})
    await other.stop()
    await expect(lost.head('x', signal)).rejects.toMatchObject({trouble: 'transient'})
    await lost.close()
  })

  test('an upload goes on with a server that was paused, killed and started again', async () => {
    const own = await startGcsServerProcess(bucket)
    const there = await open({emulator: own.endpoint}, 700)
    try {
      const bytes = randomBytes(9 * block + 5)
      const upload = await there.startUpload('x', create, signal)
      const part = (number: number) => {
        const offset = (number - 1) * 3 * block
        return {number, offset, bytes: bytes.subarray(offset, offset + 3 * block), last: number === 4}
      }
      await upload.part(part(1), signal)
      own.pause()
      await expect(upload.part(part(2), signal)).rejects.toMatchObject({trouble: 'transient'})
      own.resume()
      await upload.part(part(2), signal)
      await own.kill()
      await expect(upload.part(part(3), signal)).rejects.toMatchObject({trouble: 'transient'})
      await own.restart()
      await upload.part(part(3), signal)
      await upload.part(part(4), signal)
      await upload.complete(signal)
      const {body} = await there.get('x', all, signal)
      expect((await buffer(body)).equals(bytes)).toBe(true)
    } finally {
      await there.close()
      await own.stop()
    }
  })
})

describe('an upload that was cut off on another machine', () => {
  test('does not hold its name: nobody can tell that it has ended', async () => {
    const options = {prefix: 'shop', retryForMs: 1000}
    const store = new ObjectStorage(client, options)
    const stop = new AbortController()
    const cutOff = new Readable({read() {}})
    const put = store.put('large', cutOff, {signal: stop.signal})
    for (let piece = 0; piece < 40; piece++) cutOff.push(Buffer.alloc(1024 * 1024))
    const claims = () => client.list('shop/.dbbak-work/', undefined, signal)
    let [claim] = (await claims()).objects
    while (!claim) [claim] = (await claims()).objects
    const held = JSON.parse((await read(claim.name)).toString()) as {owner: object}
    stop.abort(new Error('cut off'))
    await expect(put).rejects.toThrow('cut off')
    const elsewhere = JSON.stringify({...held, owner: {...held.owner, host: 'elsewhere'}})
    await client.put(claim.name, Buffer.from(elsewhere), create, signal)

    const bytes = randomBytes(20 * 1024 * 1024)
    await store.put('large', Readable.from([bytes]))
    expect((await buffer(await store.get('large'))).equals(bytes)).toBe(true)
    expect((await claims()).objects).toMatchObject([{name: claim.name}])
  })
})
