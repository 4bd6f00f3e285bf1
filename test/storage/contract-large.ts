import {expect, test} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {delay, expectNothing, inChunks, keys, leftovers, sha256, type Current} from './contract-support.js'

const mebibyte = 1024 * 1024

/** Objects that a store is sent in parts: more than 8 MiB. */
export function describeLargeObjects(current: Current): void {
  test.each([
    ['exactly one part', 8 * mebibyte],
    ['one byte more than a part', 8 * mebibyte + 1],
    ['exactly three parts', 24 * mebibyte],
    ['some parts and a rest', 27 * mebibyte + 4321],
  ])('%s comes back as it was, whole and by range', async (_name, length) => {
    const store = current()
    const bytes = randomBytes(length)
    const info = await store.put('large', inChunks(bytes, 300_000))
    expect(info.size).toBe(length)
    expect(sha256(await buffer(await store.get('large')))).toBe(sha256(bytes))
    const [start, end] = [length - 900_000, length - 100_001]
    const range = await buffer(await store.get('large', {start, end}))
    expect(range.equals(bytes.subarray(start, end + 1))).toBe(true)
    expect(await store.head('large')).toMatchObject({size: length})
    expect(await leftovers(store)).toEqual([])
  })

  test('what was expected may be wrong', async () => {
    const store = current()
    for (const expectedBytes of [1, 100 * mebibyte]) {
      const bytes = randomBytes(20 * mebibyte)
      const key = `expected-${expectedBytes}`
      await store.put(key, inChunks(bytes, 500_000), {expectedBytes})
      expect(sha256(await buffer(await store.get(key)))).toBe(sha256(bytes))
    }
  })

  test('an object in parts is not there before its stream has ended, and is no leftover', async () => {
    const store = current()
    const source = new Readable({read() {}})
    const put = store.put('slow', source)
    for (let piece = 0; piece < 20; piece++) source.push(Buffer.alloc(mebibyte, 'x'))
    await delay(500)
    expect(await store.head('slow')).toBeUndefined()
    expect(await keys(store)).toEqual([])
    expect(await leftovers(store)).toEqual([])
    expect(await store.sweep()).toEqual([])
    source.push(null)
    await put
    expect(await store.head('slow')).toMatchObject({size: 20 * mebibyte})
  })

  test('a stream that fails, and an abort, leave no object, no upload and no claim', async () => {
    const store = current()
    for (const end of ['fails', 'is aborted'] as const) {
      const source = new Readable({read() {}})
      const stop = new AbortController()
      const reason = new Error(end)
      const put = store.put('given/up', source, {signal: stop.signal})
      for (let piece = 0; piece < 30; piece++) source.push(Buffer.alloc(mebibyte, 'x'))
      setTimeout(() => (end === 'fails' ? source.destroy(reason) : stop.abort(reason)), 300)
      await expect(put).rejects.toBe(reason)
      expect(source.destroyed).toBe(true)
      await expectNothing(store)
    }
    await store.put('given/up', inChunks(Buffer.alloc(9 * mebibyte), mebibyte))
    expect(await keys(store)).toEqual(['given/up'])
  })

  test('of four large puts that race for one name exactly one wins, and its bytes are what is stored', async () => {
    const store = current()
    const bodies = Array.from({length: 4}, () => randomBytes(9 * mebibyte))
    const results = await Promise.allSettled(
      bodies.map((body) => store.put('race/large', inChunks(body, 400_000))),
    )
    const winners = results.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []))
    expect(winners).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({code: 'OBJECT_EXISTS'})
    expect(sha256(await buffer(await store.get('race/large')))).toBe(sha256(bodies[winners[0]]))
    expect(await keys(store)).toEqual(['race/large'])
    expect(await leftovers(store)).toEqual([])
  })

  test('an overwrite in parts replaces the object, and one that fails leaves it as it was', async () => {
    const store = current()
    const [old, young] = [randomBytes(9 * mebibyte), randomBytes(10 * mebibyte)]
    await store.put('changing', inChunks(old, mebibyte), {overwrite: true})
    const source = new Readable({read() {}})
    for (let piece = 0; piece < 12; piece++) source.push(Buffer.alloc(mebibyte, 'x'))
    setTimeout(() => source.destroy(new Error('broke')), 300)
    await expect(store.put('changing', source, {overwrite: true})).rejects.toThrow('broke')
    expect(sha256(await buffer(await store.get('changing')))).toBe(sha256(old))
    await store.put('changing', inChunks(young, mebibyte), {overwrite: true})
    expect(sha256(await buffer(await store.get('changing')))).toBe(sha256(young))
  })

  test('a large get that is given up, or aborted, ends at once', async () => {
    const store = current()
    await store.put('large', inChunks(randomBytes(40 * mebibyte), mebibyte))
    for await (const chunk of await store.get('large')) if (chunk) break
    const stop = new AbortController()
    const reason = new Error('enough')
    const reading = (async () => {
      let read = 0
      for await (const chunk of await store.get('large', {signal: stop.signal})) {
        read += (chunk as Buffer).length
        if (read > 10 * mebibyte) stop.abort(reason)
      }
    })()
    await expect(reading).rejects.toBe(reason)
  })
}
