import {expect, test} from '@jest/globals'
import {buffer} from 'node:stream/consumers'
import {throttled, Valve} from '../../src/storage/throttled.js'
import {parseByteRate} from '../../src/support/byte-rate.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {describeStorageContract} from './contract.js'
import {inChunks} from './contract-support.js'

const valves = (rate: number) => ({sending: new Valve(rate), receiving: new Valve(rate)})

describeStorageContract('a destination behind a wide valve', async () => ({
  store: throttled(new MemoryStorage(), valves(1e9)),
}))

test('two puts and two gets together stay below the rate', async () => {
  const store = throttled(new MemoryStorage(), valves(2_000_000))
  const bytes = Buffer.alloc(500_000, 'x')
  const start = performance.now()
  await Promise.all([store.put('a', inChunks(bytes, 10_000)), store.put('b', inChunks(bytes, 10_000))])
  const sent = performance.now()
  expect(sent - start).toBeGreaterThan(400)
  await Promise.all([store.get('a').then(buffer), store.get('b').then(buffer)])
  expect(performance.now() - sent).toBeGreaterThan(400)
})

test('rates are written in bytes a second', () => {
  const rates = ['20MB', '20MB/s', '1.5MiB/s', '800k', '1 GB', '500000']
  expect(rates.map((text) => parseByteRate(text, '--x'))).toEqual([2e7, 2e7, 1572864, 8e5, 1e9, 5e5])
  for (const text of ['', 'fast', '20 miles', '-1MB', '0', '9kB', '1e9'])
    expect(() => parseByteRate(text, '--bandwidth-limit')).toThrow(
      expect.objectContaining({code: 'OPTION_INVALID'}),
    )
})
