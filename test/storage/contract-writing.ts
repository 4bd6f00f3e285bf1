import {expect, test} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer, text} from 'node:stream/consumers'
import {delay, expectNothing, inChunks, keys, sha256, unfinished, type Current} from './contract-support.js'

export function describePut(current: Current): void {
  test('it says where it is, without credentials', () => {
    expect(current().describe()).not.toBe('')
    expect(current().describe()).not.toMatch(/:[^/]*@|secret|password/i)
  })

  test('what was put is there at once: for get, head and list', async () => {
    const store = current()
    const before = Date.now()
    const info = await store.put('shop.dump', Readable.from([Buffer.from('hello '), Buffer.from('world')]))
    expect(info).toMatchObject({key: 'shop.dump', size: 11})
    expect(Math.abs(info.modifiedAt.getTime() - before)).toBeLessThan(3_600_000)
    expect(await text(await store.get('shop.dump'))).toBe('hello world')
    expect(await store.head('shop.dump')).toMatchObject({key: 'shop.dump', size: 11})
    expect(await keys(store)).toEqual(['shop.dump'])
  })

  test.each([0, 1, 65_536, 5 * 1024 * 1024 + 3])('%i bytes come back as they were', async (length) => {
    const store = current()
    const bytes = randomBytes(length)
    const info = await store.put('some.bytes', inChunks(bytes, 60_000))
    expect(info.size).toBe(length)
    expect(sha256(await buffer(await store.get('some.bytes')))).toBe(sha256(bytes))
  })

  test('a stream that gives single bytes and strings is stored too', async () => {
    const store = current()
    await store.put('bytes', inChunks(Buffer.from('one at a time'), 1))
    await store.put('strings', Readable.from(['grü', 'ße'], {objectMode: false, encoding: 'utf8'}))
    expect(await text(await store.get('bytes'))).toBe('one at a time')
    expect(await text(await store.get('strings'))).toBe('grüße')
  })

  test('a put takes no more than it can store', async () => {
    let given = 0
    const source = new Readable({
      highWaterMark: 65_536,
      read() {
        given++
        this.push(given > 640 ? null : Buffer.alloc(65_536))
      },
    })
    const info = await current().put('large', source)
    expect(info.size).toBe(640 * 65_536)
  })

  test('many puts and gets at the same time do not disturb each other', async () => {
    const store = current()
    const objects = Array.from({length: 20}, (_, index) => ({
      key: `many/${index}`,
      bytes: randomBytes(100_000 + index),
    }))
    await Promise.all(objects.map(({key, bytes}) => store.put(key, inChunks(bytes, 10_000))))
    const read = await Promise.all(objects.map(async ({key}) => buffer(await store.get(key))))
    expect(read.map(sha256)).toEqual(objects.map(({bytes}) => sha256(bytes)))
  })
}

export function describeFailingPut(current: Current): void {
  test('an object is not there before its stream has ended', async () => {
    const store = current()
    const source = unfinished('first half')
    const put = store.put('slow', source)
    await delay(200)
    expect(await store.head('slow')).toBeUndefined()
    expect(await keys(store)).toEqual([])
    await expect(store.get('slow')).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND'})
    source.push(null)
    await put
    expect(await keys(store)).toEqual(['slow'])
  })

  test('a stream that fails leaves nothing, and its error is what the put fails with', async () => {
    const store = current()
    const source = unfinished('a'.repeat(200_000))
    const failure = Object.assign(new Error('pg_dump failed'), {code: 'ENOSPC', syscall: 'read'})
    setTimeout(() => source.destroy(failure), 100)
    await expect(store.put('folder/broken', source)).rejects.toBe(failure)
    await expectNothing(store)
  })

  test('a stream that failed before the put, or as it began, leaves nothing', async () => {
    const store = current()
    const failure = new Error('too early')
    const before = unfinished('some').on('error', () => {})
    before.destroy(failure)
    await delay(20)
    await expect(store.put('before', before)).rejects.toBe(failure)
    const meanwhile = unfinished('some')
    const put = store.put('meanwhile', meanwhile)
    meanwhile.destroy(failure)
    await expect(put).rejects.toBe(failure)
    await expectNothing(store)
  })

  test('a stream that ends without its end is not taken for a whole one', async () => {
    const store = current()
    const source = unfinished('half')
    setTimeout(() => source.destroy(), 100)
    await expect(store.put('half', source)).rejects.toThrow()
    await expectNothing(store)
  })

  test('an abort amid the stream leaves nothing, and its reason is what the put fails with', async () => {
    const store = current()
    const source = unfinished('a'.repeat(200_000))
    const stop = new AbortController()
    const reason = new Error('stopped by the user')
    setTimeout(() => stop.abort(reason), 100)
    await expect(store.put('folder/aborted', source, {signal: stop.signal})).rejects.toBe(reason)
    expect(source.destroyed).toBe(true)
    await expectNothing(store)
  })

  test('an abort before the put stores nothing and ends the stream', async () => {
    const store = current()
    const source = unfinished('never read')
    const reason = new Error('too late')
    await expect(store.put('aborted', source, {signal: AbortSignal.abort(reason)})).rejects.toBe(reason)
    expect(source.destroyed).toBe(true)
    await expectNothing(store)
  })

  test('an abort after the put changes nothing', async () => {
    const store = current()
    const stop = new AbortController()
    await store.put('done', Readable.from(['all']), {signal: stop.signal})
    stop.abort(new Error('too late'))
    await delay(20)
    expect(await text(await store.get('done'))).toBe('all')
  })

  test('after a put that failed the same name can be put', async () => {
    const store = current()
    const source = unfinished('half')
    setTimeout(() => source.destroy(new Error('broke')), 50)
    await expect(store.put('again/x', source)).rejects.toThrow('broke')
    await store.put('again/x', Readable.from(['whole']))
    expect(await text(await store.get('again/x'))).toBe('whole')
  })
}

export function describeWriteOnce(current: Current): void {
  test('a name that is taken is refused, the object stays, and the new stream is ended unread', async () => {
    const store = current()
    await store.put('once', Readable.from(['first']))
    const second = unfinished('second')
    await expect(store.put('once', second)).rejects.toMatchObject({code: 'OBJECT_EXISTS', exitCode: 8})
    expect(second.destroyed).toBe(true)
    expect(await text(await store.get('once'))).toBe('first')
  })

  test('of eight puts that race for one name exactly one wins, and its bytes are what is stored', async () => {
    const store = current()
    const bodies = Array.from({length: 8}, (_, index) => Buffer.alloc(300_000, String(index)))
    const results = await Promise.allSettled(
      bodies.map((body) => store.put('race/one', inChunks(body, 50_000))),
    )
    const winners = results.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []))
    expect(winners).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({code: 'OBJECT_EXISTS'})
    expect((await buffer(await store.get('race/one'))).equals(bodies[winners[0]])).toBe(true)
    expect(await keys(store)).toEqual(['race/one'])
  })

  test('overwrite replaces an object, and makes one where there is none', async () => {
    const store = current()
    await store.put('result.json', Readable.from(['old and longer']), {overwrite: true})
    const info = await store.put('result.json', Readable.from(['new']), {overwrite: true})
    expect(info.size).toBe(3)
    expect(await text(await store.get('result.json'))).toBe('new')
    expect(await keys(store)).toEqual(['result.json'])
  })

  test('an overwrite that fails leaves the object as it was', async () => {
    const store = current()
    await store.put('result.json', Readable.from(['old']))
    const source = unfinished('ne')
    setTimeout(() => source.destroy(new Error('broke')), 50)
    await expect(store.put('result.json', source, {overwrite: true})).rejects.toThrow('broke')
    expect(await text(await store.get('result.json'))).toBe('old')
  })

  test('whoever reads while the object is overwritten gets the old or the new one, whole', async () => {
    const store = current()
    const [old, young] = ['o', 'y'].map((letter) => Buffer.alloc(1_000_000, letter))
    await store.put('changing', inChunks(old, 65_536))
    const reading = await store.get('changing')
    await store.put('changing', inChunks(young, 65_536), {overwrite: true})
    const read = await buffer(reading)
    expect(read.equals(old) || read.equals(young)).toBe(true)
    expect((await buffer(await store.get('changing'))).equals(young)).toBe(true)
  })
}
