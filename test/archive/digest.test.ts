import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
import {createHash} from 'node:crypto'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {pipeline} from 'node:stream/promises'
import {digest, digestOf} from '../../src/archive/digest.js'
import {inChunks, passedThrough} from './passing-through.js'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('a digest', () => {
  test('passes everything on, and knows its size and SHA-256 at the end', async () => {
    const bytes = fc.uint8Array({maxLength: 3000}).map((array) => Buffer.from(array))
    await fc.assert(
      fc.asyncProperty(bytes, fc.array(fc.nat(), {maxLength: 8}), async (input, cuts) => {
        const sum = digest()
        const output = await passedThrough(sum, inChunks(input, cuts))
        expect(output.equals(input)).toBe(true)
        expect(sum.result()).toEqual({bytes: input.length, sha256: sha256(input)})
        expect(await digestOf(Readable.from(inChunks(input, cuts), {objectMode: false}))).toEqual(
          sum.result(),
        )
      }),
    )
  })

  test('has no result before the end', () => {
    const sum = digest()
    sum.write('half of it')
    expect(() => sum.result()).toThrow('before its stream had ended')
    sum.destroy()
  })

  test('has no result when its source failed', async () => {
    const sum = digest()
    const failure = new Error('the source broke')
    const broken = Readable.from(
      (function* () {
        yield Buffer.from('some')
        throw failure
      })(),
    )
    await expect(pipeline(broken, sum, async (rest) => buffer(rest))).rejects.toBe(failure)
    expect(() => sum.result()).toThrow('before its stream had ended')
  })

  test('a source that fails makes digestOf fail with its own error', async () => {
    const failure = new Error('the disk broke')
    const source = new Readable({
      read() {
        this.destroy(failure)
      },
    })
    await expect(digestOf(source)).rejects.toBe(failure)
  })

  test('a source that ends before its time makes digestOf fail', async () => {
    const source = new Readable({read() {}})
    source.push('some')
    setImmediate(() => source.destroy())
    await expect(digestOf(source)).rejects.toMatchObject({code: 'ERR_STREAM_PREMATURE_CLOSE'})
  })

  test('an abort ends digestOf with the reason given, and the source with it', async () => {
    const source = new Readable({read() {}})
    const stop = new AbortController()
    const reason = new Error('enough')
    const sum = digestOf(source, {signal: stop.signal})
    stop.abort(reason)
    await expect(sum).rejects.toBe(reason)
    expect(source.destroyed).toBe(true)
  })
})
