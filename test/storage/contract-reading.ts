import {expect, test} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer, text} from 'node:stream/consumers'
import {inByteOrder, inChunks, keys, type Current} from './contract-support.js'

export function describeGet(current: Current): void {
  test.each([
    ['from the start', {start: 0}, '0123456789'],
    ['from within', {start: 4}, '456789'],
    ['to a byte, included', {end: 3}, '0123'],
    ['between two bytes', {start: 2, end: 5}, '2345'],
    ['of one byte', {start: 9, end: 9}, '9'],
    ['beyond the end', {start: 8, end: 100}, '89'],
    ['that begins at the end', {start: 10}, ''],
    ['that begins beyond the end', {start: 50, end: 60}, ''],
  ])('a range %s is read', async (_name, range, expected) => {
    const store = current()
    await store.put('digits', Readable.from(['0123456789']))
    expect(await text(await store.get('digits', range))).toBe(expected)
  })

  test('a range in the midst of a large object is read', async () => {
    const store = current()
    const bytes = randomBytes(2_000_000)
    await store.put('large', inChunks(bytes, 65_536))
    const read = await buffer(await store.get('large', {start: 600_001, end: 1_499_999}))
    expect(read.equals(bytes.subarray(600_001, 1_500_000))).toBe(true)
  })

  test('a missing object: get says so, head gives undefined', async () => {
    const store = current()
    await store.put('there/it/is', Readable.from(['x']))
    for (const key of ['missing', 'there', 'there/it', 'there/it/is/not', 'missing/x']) {
      await expect(store.get(key)).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND', exitCode: 8})
      expect(await store.head(key)).toBeUndefined()
    }
  })

  test('an abort ends a get with its reason', async () => {
    const store = current()
    await store.put('large', inChunks(randomBytes(3_000_000), 65_536))
    const stop = new AbortController()
    const stream = await store.get('large', {signal: stop.signal})
    const reason = new Error('enough')
    const reading = (async () => {
      for await (const chunk of stream) if (chunk) stop.abort(reason)
    })()
    await expect(reading).rejects.toBe(reason)
    await expect(store.get('large', {signal: AbortSignal.abort(reason)})).rejects.toBe(reason)
  })

  test('a get that nobody finishes can be given up', async () => {
    const store = current()
    await store.put('large', inChunks(randomBytes(3_000_000), 65_536))
    const unread = await store.get('large')
    unread.destroy()
    for await (const chunk of await store.get('large')) if (chunk) break
    expect(await store.head('large')).toMatchObject({size: 3_000_000})
  })
}

export function describeList(current: Current, listed = 1500): void {
  test('an empty destination lists nothing', async () => {
    expect(await keys(current())).toEqual([])
    expect(await keys(current(), 'shop')).toEqual([])
  })

  test(`${listed} objects are listed once each, in order`, async () => {
    const store = current()
    const names = Array.from(
      {length: listed},
      (_, index) => `${index % 3 ? '' : 'folder/'}shop_${(index * 7919) % 10_007}.dump`,
    )
    for (let at = 0; at < names.length; at += 50) {
      await Promise.all(names.slice(at, at + 50).map((name) => store.put(name, Readable.from([name]))))
    }
    expect(await keys(store)).toEqual(inByteOrder(names))
    expect(await keys(store, 'folder/')).toEqual(
      inByteOrder(names.filter((name) => name.startsWith('folder/'))),
    )
  }, 600_000)

  test('the order is that of the UTF-8 bytes of whole keys, also where folders are between files', async () => {
    const store = current()
    // In UTF-16 the emoji would come before U+FB01; `a-b` and `a.b` come before `a/…`, `a0` after it.
    const names = [
      'a/z',
      'a-b',
      'a.b',
      'a0',
      'a/b/c',
      'a/b.c',
      'B',
      'b',
      'ä',
      'z',
      '\u{1f600}',
      '\ufb01',
      'a b',
      '1',
      '10',
      '2',
    ]
    for (const name of names) await store.put(name, Readable.from([name]))
    expect(await keys(store)).toEqual(inByteOrder(names))
  })

  test('a prefix selects the keys that begin with it, wherever it ends', async () => {
    const store = current()
    const names = ['shop.dump', 'shop.dump.metadata.json', 'shop/a', 'shop/b/c', 'shopping/a', 'other']
    for (const name of names) await store.put(name, Readable.from([name]))
    for (const prefix of [
      '',
      's',
      'shop',
      'shop.',
      'shop/',
      'shop/b',
      'shop/b/',
      'shop/b/c',
      'shopp',
      'x',
      'shop/b/cc',
      'other/',
    ]) {
      expect(await keys(store, prefix)).toEqual(inByteOrder(names.filter((name) => name.startsWith(prefix))))
    }
  })

  test.each(['../', '/', './', 'a//', '..', '../../etc/', '.dbbak-work/', 'C:\\', '\0'])(
    'a prefix that no key can have (%j) lists nothing',
    async (prefix) => {
      const store = current()
      await store.put('a/b', Readable.from(['x']))
      expect(await keys(store, prefix)).toEqual([])
    },
  )

  test('sizes and times are listed as head tells them', async () => {
    const store = current()
    await store.put('x/y', Readable.from(['12345']))
    for await (const info of store.list('')) expect(info).toEqual(await store.head('x/y'))
    expect((await store.head('x/y'))?.size).toBe(5)
  })

  test('a listing that is given up early, and one while objects go, do no harm', async () => {
    const store = current()
    for (let index = 0; index < 200; index++) await store.put(`f${index % 4}/${index}`, Readable.from(['x']))
    for await (const info of store.list('')) if (info) break
    const listed: string[] = []
    for await (const {key} of store.list('')) {
      listed.push(key)
      await store.remove(key)
    }
    expect(listed).toHaveLength(200)
    expect(await keys(store)).toEqual([])
  })
}
