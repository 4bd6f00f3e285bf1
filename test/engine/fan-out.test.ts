import {expect, test} from '@jest/globals'
import {randomBytes} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {storeEverywhere, type Branch} from '../../src/engine/backup/fan-out.js'
import type {PutOptions} from '../../src/storage/provider.js'
import {MemoryStorage} from '../support/memory-storage.js'

/** Takes the beginning, then nothing any more; and does not even notice that it is told to stop. */
class StuckStorage extends MemoryStorage {
  wasStopped = false

  override put(_key: string, body: Readable, {signal}: PutOptions = {}): Promise<never> {
    body.once('data', () => body.pause())
    signal?.addEventListener('abort', () => (this.wasStopped = true))
    return new Promise(() => {})
  }
}

class FullStorage extends MemoryStorage {
  override async put(_key: string, body: Readable): Promise<never> {
    let taken = 0
    for await (const chunk of body) {
      taken += (chunk as Buffer).length
      if (taken > 3_000_000) break
    }
    throw new Error('no room')
  }
}

const branchesOf = (...stores: MemoryStorage[]): Branch[] => stores.map((store) => ({store, stored: []}))
const options = (changes = {}) => ({signal: new AbortController().signal, stalledAfterMs: 60_000, ...changes})

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}

test('a destination that takes nothing any more is left out, and the others get everything', async () => {
  const [good, stuck] = [new MemoryStorage('good'), new StuckStorage('stuck')]
  const branches = branchesOf(good, stuck)
  const bytes = randomBytes(8_000_000)
  await storeEverywhere(branches, 'x', Readable.from(pieces(bytes)), options({stalledAfterMs: 300}))
  expect((await buffer(await good.get('x'))).equals(bytes)).toBe(true)
  expect(branches[0].error).toBeUndefined()
  expect(branches[1].error).toMatchObject({code: 'DESTINATION_STALLED', exitCode: 8})
  expect(stuck.wasStopped).toBe(true)
})

test('one that never says that it is done is left out too', async () => {
  const [good, stuck] = [new MemoryStorage('good'), new StuckStorage('stuck')]
  const branches = branchesOf(good, stuck)
  await storeEverywhere(branches, 'x', Readable.from([Buffer.from('short')]), options({stalledAfterMs: 200}))
  expect(branches.map(({error}) => error?.code)).toEqual([undefined, 'DESTINATION_STALLED'])
})

test('one over whose line something moves is waited for, until nothing does', async () => {
  class SlowStorage extends StuckStorage {
    private readonly begin = performance.now()
    /** Something moves for a second. */
    bytesMoved = () => Math.min(1000, performance.now() - this.begin)
  }
  const slow = new SlowStorage('slow')
  const begin = performance.now()
  const branches = branchesOf(new MemoryStorage('good'), slow)
  await storeEverywhere(branches, 'x', Readable.from([Buffer.from('short')]), options({stalledAfterMs: 200}))
  expect(performance.now() - begin).toBeGreaterThan(1000)
  expect(branches.map(({error}) => error?.code)).toEqual([undefined, 'DESTINATION_STALLED'])
})

test('one that fails amid the stream does not spoil what the others get', async () => {
  const [good, full] = [new MemoryStorage('good'), new FullStorage('full')]
  const branches = branchesOf(full, good)
  const bytes = randomBytes(8_000_000)
  await storeEverywhere(branches, 'x', Readable.from(pieces(bytes)), options())
  expect((await buffer(await good.get('x'))).equals(bytes)).toBe(true)
  expect(branches.map(({error}) => error?.code)).toEqual(['DESTINATION_FAILED', undefined])
  expect(branches.map(({stored}) => stored)).toEqual([[], ['x']])
})

test('when none is left it ends with the error of the first', async () => {
  const source = Readable.from(pieces(randomBytes(20_000_000)))
  const stuck = branchesOf(new StuckStorage(), new FullStorage())
  await expect(storeEverywhere(stuck, 'x', source, options({stalledAfterMs: 200}))).rejects.toMatchObject({
    code: 'DESTINATION_STALLED',
  })
})

test('a source that fails is told as it is, leaves nothing, and is not held up by a stuck destination', async () => {
  const failure = new Error('pg_dump failed')
  const source = (async function* () {
    yield* pieces(randomBytes(500_000))
    throw failure
  })()
  const good = new MemoryStorage()
  const branches = branchesOf(good, new StuckStorage())
  await expect(storeEverywhere(branches, 'x', source, options({stalledAfterMs: 200}))).rejects.toBe(failure)
  expect(await good.head('x')).toBeUndefined()
})

test('an abort is told with its reason', async () => {
  const stop = new AbortController()
  const reason = new Error('Ctrl-C')
  const source = (async function* () {
    for (;;) {
      yield Buffer.alloc(100_000)
      stop.abort(reason)
      await new Promise(setImmediate)
    }
  })()
  const good = new MemoryStorage()
  await expect(storeEverywhere(branchesOf(good), 'x', source, options({signal: stop.signal}))).rejects.toBe(
    reason,
  )
  expect(await good.head('x')).toBeUndefined()
})
