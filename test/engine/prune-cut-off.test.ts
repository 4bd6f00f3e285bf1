import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {readCatalog} from '../../src/engine/catalog.js'
import {LocalStorage} from '../../src/storage/local.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import type {StorageProvider} from '../../src/storage/provider.js'
import {compiled} from '../support/compiled.js'
import {MemoryClient} from '../support/memory-client.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {backupsAt, daysAgo, keysAt, later, prune, put, store, watched} from './prune-support.js'

// No rule of the calendar: what it keeps would depend on the day on which this runs.
const policy = {keepDays: 30, keepLast: 3, keepVerified: 1}

/** Backups of all formats, what a run left, and files of others. */
async function fill(at: StorageProvider): Promise<void> {
  for (const days of [1, 2, 31]) await store(at, {at: daysAgo(days), globals: true})
  await store(at, {at: daysAgo(200), format: 'directory', globals: true, verified: 'failed'})
  await store(at, {at: daysAgo(201), format: 'plain', globals: true, verified: 'passed'})
  await store(at, {at: daysAgo(202), format: 'directory', files: 9})
  await store(at, {at: daysAgo(203), verified: 'passed'})
  await store(at, {at: daysAgo(20), kind: 'safety', prefix: 'shop-safety'})
  await put(at, 'shop_2026-01-01T00-00-00-000Z.dump.zst', 'half')
  await put(at, 'notes.txt', 'of somebody else')
}

/** How a prune without any trouble leaves the destination. */
async function finished(): Promise<string[]> {
  const at = new MemoryStorage()
  await fill(at)
  await prune(at, policy)
  return keysAt(at)
}

const destinations = {
  'in memory': () => new MemoryStorage(),
  'in an object store': () => new ObjectStorage(new MemoryClient(), {prefix: 'shop', retryForMs: 0}),
}

test.each(Object.entries(destinations))(
  'a prune %s that ends after any number of requests leaves whole backups and leftovers, and the next finishes it',
  async (_, open) => {
    const wanted = await finished()
    let cutOff = 0
    for (const when of ['before', 'after'] as const) {
      for (let limit = 0; ; limit++) {
        const at = open()
        await fill(at)
        const {kept} = await prune(at, {...policy, keepDays: 1000}) // all of them
        let requests = 0
        const dying = watched(at, {
          // Nothing reaches the destination any more; of the last request either it or its answer is lost.
          before: () =>
            (when === 'before' ? requests++ >= limit : requests > limit) &&
            Promise.reject(new Error('killed')),
          after: () => when === 'after' && requests++ >= limit && Promise.reject(new Error('killed')),
        })
        const result = await prune(dying, policy).catch(() => undefined)
        const {whole, broken} = await backupsAt(at)
        expect(broken).toEqual([])
        const expected = kept
          .map(({name}) => name)
          .filter((name) => wanted.includes(name) || wanted.includes(`${name}/toc.dat`))
        expect(whole).toEqual(expect.arrayContaining(expected))
        await prune(at, policy)
        expect(await keysAt(at)).toEqual(wanted)
        await at.close()
        if (result?.failed.length === 0) break
        cutOff++
      }
    }
    expect(cutOff).toBeGreaterThan(60)
  },
  120_000,
)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prune-killed-'))
})
afterEach(() => rm(folder, {recursive: true, force: true}))

/** A program that prunes the folder, and is killed as it is about to remove its n-th object. */
async function killedProgram(): Promise<string> {
  const module = async (name: string) => JSON.stringify(pathToFileURL(await compiled(name)).href)
  const script = join(folder, 'prune.mjs')
  await writeFile(
    script,
    `
    import {LocalStorage} from ${await module('storage/local')}
    import {planPrune} from ${await module('engine/prune/plan-prune')}
    import {carryOut} from ${await module('engine/prune/prune-backups')}
    import {emptyResult} from ${await module('engine/prune/prune-result')}
    import {defaultPolicy} from ${await module('engine/retention/policy')}
    const at = new LocalStorage(${JSON.stringify(join(folder, 'backups'))})
    const remove = at.remove.bind(at)
    let count = 0
    at.remove = (key) => {
      if (++count === Number(process.argv[2])) process.kill(process.pid, 'SIGKILL')
      return remove(key)
    }
    const request = {policy: {...defaultPolicy, ...${JSON.stringify(policy)}}}
    const plan = await planPrune(at, request, new Date(${later.getTime()}))
    await carryOut(at, plan, emptyResult(false), {events: {}, signal: new AbortController().signal})
    `,
  )
  return script
}

async function killedAt(n: number, script: string): Promise<void> {
  const child = spawn(process.execPath, [script, String(n)], {stdio: ['ignore', 'ignore', 'inherit']})
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
}

test('a prune of a folder that is killed leaves whole backups, and the next finishes it', async () => {
  const wanted = await finished()
  const program = await killedProgram()
  for (const n of [1, 2, 3, 5, 8, 11, 14]) {
    await rm(join(folder, 'backups'), {recursive: true, force: true})
    const at = new LocalStorage(join(folder, 'backups'))
    await fill(at)
    const before = await readCatalog(at)
    await killedAt(n, program)
    const {whole, broken} = await backupsAt(at)
    expect(broken).toEqual([])
    const stays = before.backups.map(({archive}) => archive).filter((name) => wanted.includes(name))
    expect(stays.length).toBeGreaterThan(3)
    expect(whole).toEqual(expect.arrayContaining(stays))
    await prune(at, policy)
    expect(await keysAt(at)).toEqual(wanted)
  }
}, 120_000)
