import {expect} from '@jest/globals'
import {createHash} from 'node:crypto'
import {Readable} from 'node:stream'
import type {StorageProvider} from '../../src/storage/provider.js'

/** The destination of the test that runs. */
export type Current = () => StorageProvider

/** Neither objects nor leftovers. */
export async function expectNothing(store: StorageProvider): Promise<void> {
  expect(await keys(store)).toEqual([])
  expect(await leftovers(store)).toEqual([])
}

export async function keys(store: StorageProvider, prefix = ''): Promise<string[]> {
  const found: string[] = []
  for await (const {key} of store.list(prefix)) found.push(key)
  return found
}

export async function leftovers(store: StorageProvider): Promise<string[]> {
  const found: string[] = []
  for await (const {key} of store.leftovers()) found.push(key)
  return found
}

/** A stream that has given this much and goes on when the test pushes more. */
export function unfinished(beginning: string): Readable {
  const stream = new Readable({read() {}})
  stream.push(beginning)
  return stream
}

export function inChunks(bytes: Buffer, size: number): Readable {
  const chunks = Array.from({length: Math.ceil(bytes.length / size)}, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  )
  return Readable.from(chunks, {objectMode: false})
}

export function inByteOrder(names: string[]): string[] {
  return [...names].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)))
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
