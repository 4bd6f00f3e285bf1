import {expect, jest, test} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {PassThrough, Readable, Writable} from 'node:stream'
import {buffer, text} from 'node:stream/consumers'
import {pipeline} from 'node:stream/promises'
import {setImmediate as nextTurn} from 'node:timers/promises'
import type {StoreTrouble} from '../../src/storage/objects/store-error.js'
import {StoreError} from '../../src/storage/objects/store-error.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import {InFlight} from '../../src/storage/objects/in-flight.js'
import {partBytes} from '../../src/storage/objects/part-size.js'
import type {ErrorCode} from '../../src/support/errors.js'
import {MemoryClient, type MemoryClientOptions} from '../support/memory-client.js'
import {until} from '../support/processes.js'
import {delay, inChunks, keys, leftovers, sha256} from './contract-support.js'

const mebibyte = 1024 * 1024

/** A store whose waiting takes no time; what it waited is in `pauses`. */
function opened(options: MemoryClientOptions = {}, retryForMs = 300_000) {
  const client = new MemoryClient(options)
  const pauses: number[] = []
  let clock = 0
  const store = new ObjectStorage(client, {
    prefix: 'team/shop',
    retryForMs,
    random: () => 0.5,
    now: () => clock,
    sleep: async (milliseconds) => {
      pauses.push(milliseconds)
      clock += milliseconds
    },
  })
  return {client, store, pauses}
}

/** Fails requests of one kind: the nth, or each one. */
function failing(
  request: string,
  error: () => Error,
  {nth, when = 'before'}: {nth?: number; when?: string} = {},
) {
  let count = 0
  return (name: string, moment: string) =>
    name === request && moment === when && (++count === nth || nth === undefined) ? error() : undefined
}

const reset = () => Object.assign(new Error('read ECONNRESET'), {code: 'ECONNRESET'})
const trouble = (kind: StoreTrouble, retryAfterMs?: number) => () =>
  new StoreError(kind, kind, {retryAfterMs})

test('everything lies below the prefix, and nothing beside it is seen', async () => {
  const {client, store} = opened()
  await client.put(
    'team/shopping',
    Buffer.from('x'),
    {ifAbsent: true, token: ''},
    new AbortController().signal,
  )
  await client.put(
    'team/shop/a//b',
    Buffer.from('x'),
    {ifAbsent: true, token: ''},
    new AbortController().signal,
  )
  await store.put('mine', Readable.from(['x']))
  expect(client.names()).toContain('team/shop/mine')
  expect(await keys(store)).toEqual(['mine'])
  expect(store.describe()).toBe('memory://bucket/team/shop')
})

test('a small object takes one look and one request; a small read takes one', async () => {
  const {client, store} = opened()
  await store.put('small', Readable.from(['x']))
  expect(client.requests).toEqual(['head', 'put'])
  expect(await text(await store.get('small'))).toBe('x')
  expect(client.requests).toEqual(['head', 'put', 'get'])
})

test('a request that fails is sent again after pauses that grow, up to 15 seconds', async () => {
  const {store, pauses} = opened({fault: failing('head', reset)})
  await store.put('a', Readable.from(['x'])).catch(() => {})
  expect(pauses.slice(0, 4)).toEqual([150, 250, 450, 850])
  expect(Math.max(...pauses)).toBeLessThanOrEqual(15_000)
})

test('a store that never answered is given up after 20 seconds, one that has after the time that is set', async () => {
  const never = opened({fault: failing('head', reset)})
  await expect(never.store.head('a')).rejects.toMatchObject({code: 'DESTINATION_UNREACHABLE', exitCode: 8})
  expect(sum(never.pauses)).toBeLessThan(20_000)

  const known = opened({fault: failing('head', reset)})
  await keys(known.store)
  await expect(known.store.head('a')).rejects.toThrow(/tried \d+ times in \d+ s/)
  expect(sum(known.pauses)).toBeGreaterThan(270_000)
  expect(sum(known.pauses)).toBeLessThan(300_000)
})

test('a store that asks to wait is waited for', async () => {
  const {store, pauses} = opened({fault: failing('head', trouble('throttled', 7000), {nth: 1})})
  await store.head('a')
  expect(pauses).toEqual([7000])
})

test.each([
  ['denied', 'DESTINATION_DENIED'],
  ['credentials', 'CREDENTIALS_REFUSED'],
  ['missing-bucket', 'DESTINATION_NOT_FOUND'],
  ['full', 'DESTINATION_FULL'],
  ['failed', 'DESTINATION_FAILED'],
  ['locked', 'OBJECT_LOCKED'],
] as [StoreTrouble, ErrorCode][])('%s is told at once, as %s with what to do', async (kind, code) => {
  const {store, pauses, client} = opened({fault: failing('put', trouble(kind))})
  const error = await store.put('a', Readable.from(['x'])).catch((caught: unknown) => caught)
  expect(error).toMatchObject({code, exitCode: 8})
  expect((error as {suggestions: string[]}).suggestions.length).toBeGreaterThan(0)
  expect(pauses).toEqual([])
  expect(client.names()).toEqual([])
})

test('a wrong clock is tried once more, since the first refusal tells the time', async () => {
  const once = opened({fault: failing('head', trouble('clock-skew'), {nth: 1})})
  await expect(once.store.head('a')).resolves.toBeUndefined()
  const always = opened({fault: failing('head', trouble('clock-skew'))})
  await expect(always.store.head('a')).rejects.toMatchObject({code: 'CLOCK_SKEW'})
  expect(always.client.requests).toHaveLength(2)
})

test('a put whose answer was lost is not taken for one of somebody else', async () => {
  for (const request of ['put', 'complete']) {
    const {store, client} = opened({fault: failing(request, reset, {nth: 1, when: 'after'})})
    const bytes = randomBytes(request === 'put' ? 10 : 20 * mebibyte)
    const info = await store.put('a', inChunks(bytes, mebibyte))
    expect(info.size).toBe(bytes.length)
    expect(sha256(await buffer(await store.get('a')))).toBe(sha256(bytes))
    expect(client.unfinishedUploads()).toBe(0)
  }
})

test('a put that was given up although the store carried it out leaves nothing', async () => {
  const {store, client} = opened({fault: failing('put', trouble('failed'), {when: 'after'})})
  await expect(store.put('a', Readable.from(['x']))).rejects.toMatchObject({code: 'DESTINATION_FAILED'})
  expect(client.names()).toEqual([])
})

test('one part that fails is sent again, alone', async () => {
  const {store, client} = opened({fault: failing('part', reset, {nth: 2})})
  await store.put('large', inChunks(randomBytes(30 * mebibyte), mebibyte))
  expect(client.requests.filter((request) => request === 'part')).toHaveLength(5)
  expect(client.parts.map(({number}) => number).sort()).toEqual([1, 2, 3, 4])
})

test('a part that cannot be sent ends the put, its stream, the upload and the claim', async () => {
  const {store, client} = opened({fault: failing('part', trouble('full'), {nth: 3})})
  const source = inChunks(randomBytes(100 * mebibyte), mebibyte)
  await expect(store.put('large', source)).rejects.toMatchObject({code: 'DESTINATION_FULL'})
  expect(source.destroyed).toBe(true)
  expect(client.names()).toEqual([])
  expect(client.unfinishedUploads()).toBe(0)
})

test('an upload that breaks off, and whose end cannot be told to the store, is a leftover until it is swept', async () => {
  let isDown = false
  const {store, client} = opened({
    fault: (request) => {
      isDown ||= request === 'complete'
      return isDown ? reset() : undefined
    },
  })
  await expect(store.put('large', inChunks(randomBytes(20 * mebibyte), mebibyte))).rejects.toMatchObject({
    code: 'DESTINATION_UNREACHABLE',
  })
  isDown = false
  client.options.fault = undefined
  expect(await keys(store)).toEqual([])
  expect(client.unfinishedUploads()).toBe(1)
  expect(await leftovers(store)).toEqual([]) // its owner is this very process, which runs
  await claimOf(client, {pid: 2 ** 22 + 1})
  expect(await leftovers(store)).toEqual(['large'])
  expect(await store.sweep()).toMatchObject([{key: 'large', size: 20 * mebibyte}])
  expect(client.unfinishedUploads()).toBe(0)
  expect(client.names()).toEqual([])
})

test('a claim of a machine that cannot be asked counts as running for a day; a name it holds is refused', async () => {
  const {store, client} = opened()
  await store.put('large', inChunks(randomBytes(9 * mebibyte), mebibyte))
  await store.remove('large')
  const signal = new AbortController().signal
  const upload = await client.startUpload('team/shop/large', {ifAbsent: true, token: 't'}, signal)
  await upload.part({number: 1, offset: 0, bytes: Buffer.alloc(10), last: true}, signal)
  await claimOf(client, {host: 'elsewhere'}, 'team/shop/large')
  expect(await store.sweep()).toEqual([])
  await expect(store.put('large', inChunks(randomBytes(9 * mebibyte), mebibyte))).rejects.toMatchObject({
    code: 'OBJECT_EXISTS',
    message: expect.stringMatching(/^Another upload of large to \S+ is under way, or was cut off/),
  })
  expect(client.unfinishedUploads()).toBe(1)
})

test('a claim of a machine that cannot be asked, whose upload the store has dropped, is gone after a day', async () => {
  const {store, client} = opened()
  await claimOf(client, {host: 'elsewhere'})
  expect(await store.sweep()).toEqual([])
  const now = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 25 * 3_600_000)
  try {
    expect(await leftovers(store)).toEqual(['large'])
    await store.put('large', inChunks(randomBytes(9 * mebibyte), mebibyte))
  } finally {
    now.mockRestore()
  }
  expect(client.names()).toEqual(['team/shop/large'])
})

test.each([
  ['a claim', 'put', 9],
  ['the start of an upload', 'start', 9],
  ['a part', 'part', 9],
])(
  'a put that is aborted while the store is busy with %s leaves nothing that comes true later',
  async (_, request, mebibytes) => {
    const {promise: letGo, resolve: release} = Promise.withResolvers<void>()
    const {store, client} = opened({held: {request, letGo}})
    const body = () => inChunks(Buffer.alloc(mebibytes * mebibyte), mebibyte)
    const stop = new AbortController()
    const reason = new Error('enough')
    const putting = store.put('large', body(), {signal: stop.signal})
    const refused = expect(putting).rejects.toBe(reason)
    await until(() => client.heldRequests > 0, 'the request has reached the store')
    stop.abort(reason)
    await Promise.race([refused, delay(200)]) // a put that does not wait for its request has ended by then
    release()
    await refused
    await nextTurn() // the store has carried the request out
    expect({names: client.names(), uploads: client.unfinishedUploads()}).toEqual({names: [], uploads: 0})
    await store.put('large', body()) // nothing holds the name
    expect(client.names()).toEqual(['team/shop/large'])
  },
)

test.each([
  ['one request', 'put', 1],
  ['parts', 'complete', 9],
])(
  'a put in %s that is aborted at its very end is told as what became of it',
  async (_, request, mebibytes) => {
    const {promise: letGo, resolve: release} = Promise.withResolvers<void>()
    const {store, client} = opened({held: {request, letGo}})
    const stop = new AbortController()
    const bytes = Buffer.alloc(mebibytes * mebibyte)
    const putting = store.put('object', inChunks(bytes, mebibyte), {signal: stop.signal})
    await until(() => client.heldRequests > 0, 'the last request has reached the store')
    stop.abort(new Error('enough'))
    release()
    expect(await putting).toMatchObject({size: bytes.length})
    expect({names: client.names(), uploads: client.unfinishedUploads()}).toEqual({
      names: ['team/shop/object'],
      uploads: 0,
    })
  },
)

test('a store that does not answer at all is not waited for long when a put is aborted', async () => {
  const {store, client} = opened({held: {request: 'start', letGo: new Promise(() => {})}})
  const stop = new AbortController()
  const reason = new Error('enough')
  const putting = store.put('large', inChunks(Buffer.alloc(9 * mebibyte), mebibyte), {signal: stop.signal})
  await until(() => client.heldRequests > 0, 'the request has reached the store')
  stop.abort(reason)
  await expect(putting).rejects.toBe(reason)
  expect(client.names()).toEqual([]) // the claim is gone
}, 15_000)

test('an upload whose beginning was not told is ended with the one that took its place', async () => {
  const {store, client} = opened({fault: failing('start', reset, {nth: 1, when: 'after'})})
  await store.put('large', inChunks(Buffer.alloc(9 * mebibyte), mebibyte))
  expect({names: client.names(), uploads: client.unfinishedUploads()}).toEqual({
    names: ['team/shop/large'],
    uploads: 0,
  })
})

test('a sweep does not end what somebody has begun anew since it looked', async () => {
  const {store, client} = opened()
  await store.put('large', inChunks(randomBytes(9 * mebibyte), mebibyte))
  await store.remove('large')
  const signal = new AbortController().signal
  await claimOf(client, {pid: 2 ** 22 + 1})
  await client.startUpload('team/shop/large', {ifAbsent: true, token: 't'}, signal)
  // Between the sweep's look at the claim and its end, another process takes the name over.
  const look = client.unfinished.bind(client)
  client.unfinished = async (...asked) => {
    const found = await look(...asked)
    await claimOf(client, {})
    return found
  }
  await store.sweep()
  expect(client.unfinishedUploads()).toBe(1)
})

test('a claim that is damaged, or speaks of what lies elsewhere, is nobody and touches nothing', async () => {
  const {store, client} = opened()
  const signal = new AbortController().signal
  await client.startUpload('other/database', {ifAbsent: true, token: 't'}, signal)
  const name = 'team/shop/.dbbak-work/claim_0123'
  for (const body of [
    '',
    '{',
    '{"target":"other/database","owner":{"host":"x","place":"y","pid":1,"start":"1"}}',
  ])
    await client.put(name + body.length, Buffer.from(body), {ifAbsent: true, token: ''}, signal)
  expect(await store.sweep()).toEqual([])
  expect(client.unfinishedUploads()).toBe(1)
})

test('a download that breaks goes on at the byte where it broke', async () => {
  let pieces = 0
  const {store, client} = opened({
    fault: (request) => (request === 'body' && ++pieces % 20 === 0 ? reset() : undefined),
  })
  const bytes = randomBytes(40 * mebibyte)
  await store.put('large', inChunks(bytes, mebibyte))
  expect(sha256(await buffer(await store.get('large')))).toBe(sha256(bytes))
  expect(client.requests.filter((request) => request === 'get').length).toBeGreaterThan(20)
})

test('a small object whose bytes are damaged on the way is read again, and one that always is is not believed', async () => {
  let damages = 4
  const onTheWay = (bytes: Buffer) => (damages-- > 0 ? Buffer.from(bytes).fill(0, 3, 4) : bytes)
  const {store, client, pauses} = opened({onTheWay})
  const bytes = randomBytes(mebibyte).fill(1, 3, 4)
  await store.put('small', inChunks(bytes, mebibyte))
  client.requests.length = 0
  expect((await buffer(await store.get('small'))).equals(bytes)).toBe(true)
  expect([client.requests.filter((name) => name === 'get').length, pauses.length]).toEqual([5, 4])
  damages = 5
  await expect(store.get('small')).rejects.toMatchObject({code: 'DESTINATION_FAILED'})
})

test('a reader that comes and goes gets everything, however small its bites', async () => {
  const {store} = opened()
  const bytes = randomBytes(20 * mebibyte)
  await store.put('large', inChunks(bytes, mebibyte))
  const stream = await store.get('large')
  const read: Buffer[] = []
  const sink = new Writable({
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, done) {
      read.push(chunk)
      if (read.length % 3) setImmediate(done)
      else done()
    },
  })
  await pipeline(stream, new PassThrough({highWaterMark: 1_000_000}), sink)
  expect(sha256(Buffer.concat(read))).toBe(sha256(bytes))
})

test('an object that is replaced while it is read is not mixed with the new one', async () => {
  const {store} = opened()
  await store.put('large', inChunks(randomBytes(60 * mebibyte), mebibyte))
  const stream = await store.get('large')
  await store.put('large', inChunks(randomBytes(60 * mebibyte), mebibyte), {overwrite: true})
  await expect(buffer(stream)).rejects.toMatchObject({code: 'DESTINATION_FAILED'})
})

test('whoever may not look or remove can still put', async () => {
  const {store, client} = opened({
    fault: (request) => (['head', 'remove', 'list'].includes(request) ? trouble('denied')() : undefined),
  })
  expect(await store.sweep()).toEqual([])
  await store.put('small', Readable.from(['x']))
  await store.put('large', inChunks(randomBytes(20 * mebibyte), mebibyte))
  expect(client.names()).toEqual(expect.arrayContaining(['team/shop/small', 'team/shop/large']))
})

test('parts grow so that 5 TB fit into 10,000 and 800 GB into 1,000', () => {
  const limits = {partBytesMin: 5 * mebibyte, partBytesMax: 5 * 1024 ** 3, sequential: false}
  const capacity = (partsMax: number, expectedBytes?: number) => {
    let offset = 0
    for (let number = 1; number <= partsMax; number++)
      offset += partBytes(number, expectedBytes, {...limits, partsMax})
    return offset
  }
  expect(capacity(10_000)).toBeGreaterThan(5e12)
  expect(capacity(1_000)).toBeGreaterThan(8e11)
  for (const expected of [0, 1, 1e9, 5e12]) expect(capacity(10_000, expected)).toBeGreaterThan(5e12)
  expect(partBytes(1, 5e12, {...limits, partsMax: 10_000})).toBeLessThan(630 * mebibyte)
  expect(partBytes(1, undefined, {...limits, partsMax: 10_000})).toBe(8 * mebibyte)
})

test('where more comes than was expected, parts stay of one size as long as there are enough of them, and grow slowly then', () => {
  const limits = {
    partBytesMin: 5 * mebibyte,
    partBytesMax: 5 * 1024 ** 3,
    partsMax: 10_000,
    sequential: false,
  }
  const sizes = (bytes: number, expectedBytes: number) => {
    const found: number[] = []
    for (let offset = 0; offset < bytes; offset += found.at(-1)!)
      found.push(partBytes(found.length + 1, expectedBytes, limits))
    return found
  }
  expect(new Set(sizes(60e9, 7e9))).toEqual(new Set([8 * mebibyte]))
  const [first = 0, ...others] = sizes(120e9, 80e9)
  expect(Math.max(...others)).toBeLessThanOrEqual(32 * first)
})

test('the parts of an object that is larger than was expected are of one size, for stores that want that', async () => {
  const client = new MemoryClient({partsMax: 10})
  const store = new ObjectStorage(client, {prefix: '', retryForMs: 1000})
  await store.put('large', inChunks(randomBytes(60 * mebibyte), mebibyte), {expectedBytes: 40 * mebibyte})
  const sizes = client.parts.sort((one, other) => one.number - other.number).map(({bytes}) => bytes)
  expect(sizes).toEqual([...Array<number>(7).fill(8 * mebibyte), 4 * mebibyte])
})

test('several uploads at a time hold no more in flight than one, and a part too large for that goes alone', async () => {
  const inFlight = new InFlight(100)
  const {signal} = new AbortController()
  const order: string[] = []
  const enter = async (name: string, bytes: number, own = signal) => {
    const leave = await inFlight.enter(bytes, own)
    order.push(name)
    return leave
  }
  const [a, b] = [await enter('a', 60), await enter('b', 40)]
  const stop = new AbortController()
  const [large, gone, small] = [enter('large', 500), enter('gone', 10, stop.signal), enter('small', 10)]
  stop.abort(new Error('enough'))
  await expect(gone).rejects.toThrow('enough')
  a()
  await nextTurn()
  expect(order).toEqual(['a', 'b'])
  b()
  ;(await large)()
  ;(await small)()
  expect(order).toEqual(['a', 'b', 'large', 'small'])
})

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0)

/** Makes the only claim there is (or a new one) somebody else's. */
async function claimOf(client: MemoryClient, other: Record<string, unknown>, target = 'team/shop/large') {
  const {createHash} = await import('node:crypto')
  const {thisProcess} = await import('../../src/storage/work-owner.js')
  const hash = createHash('sha256').update(target).digest('hex').slice(0, 32)
  const body = Buffer.from(JSON.stringify({target, owner: {...thisProcess(), ...other}}))
  const signal = new AbortController().signal
  await client.put(`team/shop/.dbbak-work/claim_${hash}`, body, {ifAbsent: false, token: 'other'}, signal)
}
