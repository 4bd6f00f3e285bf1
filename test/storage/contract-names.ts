import {expect, test} from '@jest/globals'
import {Readable} from 'node:stream'
import {text} from 'node:stream/consumers'
import {delay, expectNothing, keys, leftovers, unfinished, type Current} from './contract-support.js'

export function describeNames(current: Current): void {
  const longPart = 'l'.repeat(255)
  test.each([
    'with space.dump',
    ' leading and trailing ',
    'grüße/файл/ファイル-😀',
    'e\u0301 is not \u00e9',
    'a+b&c=d%20e#f?g',
    '%2e%2e/%2F',
    'quote\'"`$(id);|<>*',
    '-rf',
    '.hidden',
    '...',
    '..a/b..',
    'trailing.',
    '~',
    longPart,
    `${longPart}/${longPart}/${longPart}/x`,
    'shop_2025-01-15T14-30-00-000Z.dir/toc.dat',
  ])('the name %j is taken and given back as it is', async (key) => {
    const store = current()
    await store.put(key, Readable.from(['content']))
    expect(await text(await store.get(key))).toBe('content')
    expect(await store.head(key)).toMatchObject({key, size: 7})
    expect(await keys(store)).toEqual([key])
    expect(await keys(store, key)).toEqual([key])
    await store.remove(key)
    await expectNothing(store)
  })

  test.each([
    '',
    '/',
    '/etc/passwd',
    '..',
    '../x',
    '../../etc/passwd',
    'a/../../x',
    'a/..',
    '.',
    './a',
    'a/./b',
    'a//b',
    'a/',
    'a\\..\\b',
    'C:\\x',
    'C:/x',
    'nul\0byte',
    'line\nbreak',
    'l'.repeat(256),
    'lone surrogate \ud800',
    Array(600).fill('a').join('/'),
    '.dbbak-work/x',
    '.DBBAK-WORK/x',
  ])('the name %j is refused by every operation', async (key) => {
    const store = current()
    const body = unfinished('x')
    const refusal = {code: 'OBJECT_NAME_INVALID', exitCode: 8}
    await expect(store.put(key, body)).rejects.toMatchObject(refusal)
    expect(body.destroyed).toBe(true)
    await expect(store.put(key, Readable.from(['x']), {overwrite: true})).rejects.toMatchObject(refusal)
    await expect(store.get(key)).rejects.toMatchObject(refusal)
    await expect(store.head(key)).rejects.toMatchObject(refusal)
    await expect(store.remove(key)).rejects.toMatchObject(refusal)
    await expectNothing(store)
  })
}

export function describeRemove(current: Current): void {
  test('a removed object is gone for get, head and list, and its name is free', async () => {
    const store = current()
    await store.put('a/b', Readable.from(['x']))
    await store.put('a/c', Readable.from(['y']))
    await store.remove('a/b')
    expect(await store.head('a/b')).toBeUndefined()
    expect(await keys(store)).toEqual(['a/c'])
    await store.put('a/b', Readable.from(['z']))
    expect(await text(await store.get('a/b'))).toBe('z')
  })

  test('removing a missing object is no error, and removes nothing else', async () => {
    const store = current()
    await store.put('a/b', Readable.from(['x']))
    for (const key of ['missing', 'missing/x', 'a', 'a/b/c']) await store.remove(key)
    expect(await keys(store)).toEqual(['a/b'])
  })

  test('puts and removes in one folder at the same time do not disturb each other', async () => {
    const store = current()
    await Promise.all(
      Array.from({length: 8}, async (_, worker) => {
        for (let round = 0; round < 15; round++) {
          await store.put(`shared/folder/${worker}`, Readable.from(['x']))
          await store.remove(`shared/folder/${worker}`)
        }
      }),
    )
    await expectNothing(store)
  })
}

export function describeLeftovers(current: Current): void {
  test('a put that runs is no leftover, and a sweep does not touch it', async () => {
    const store = current()
    const source = unfinished('first ')
    const put = store.put('running', source)
    await delay(200)
    expect(await leftovers(store)).toEqual([])
    expect(await store.sweep()).toEqual([])
    source.push('second')
    source.push(null)
    await put
    expect(await text(await store.get('running'))).toBe('first second')
  })

  test('a sweep touches no objects', async () => {
    const store = current()
    await store.put('a', Readable.from(['x']))
    await store.put('b/c', Readable.from(['x']))
    expect(await store.sweep()).toEqual([])
    expect(await keys(store)).toEqual(['a', 'b/c'])
  })
}
