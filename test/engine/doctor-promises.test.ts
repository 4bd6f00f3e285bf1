import {mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {
  checkDestination,
  checkFolderToCome,
  tryDestination,
} from '../../src/engine/doctor/check-destination.js'
import {checkPromises} from '../../src/engine/doctor/check-promises.js'
import type {DoctorCheck} from '../../src/engine/doctor/diagnosis.js'
import {silent} from '../../src/engine/events.js'
import {openAzureClient} from '../../src/storage/azure/azure-client.js'
import {LocalStorage} from '../../src/storage/local.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import type {
  GetOptions,
  Leftover,
  ObjectInfo,
  PutOptions,
  StorageProvider,
} from '../../src/storage/provider.js'
import {DbbakError, type ErrorCode} from '../../src/support/errors.js'
import {missingAzureServer, startAzureServer} from '../support/azure-server.js'
import {MemoryClient} from '../support/memory-client.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {needs} from '../support/needs.js'

const never = new AbortController().signal
const quiet = {events: silent, signal: never}

const promises = [
  'read after write',
  'read a part',
  'write once',
  'overwrite',
  'empty object',
  'odd names',
  'order of a listing',
  'missing object',
  'stopped write',
  'large object',
  'latency',
  'removal',
]

async function keysOf(store: StorageProvider): Promise<string[]> {
  const keys: string[] = []
  for await (const {key} of store.list('')) keys.push(key)
  return keys
}

const namesOf = (checks: DoctorCheck[]) => checks.map(({name}) => name)
const unkept = (checks: DoctorCheck[]) => checks.filter(({status}) => status !== 'ok')

describe('a destination that keeps every promise', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'doctor-'))
  })
  afterEach(() => rm(folder, {recursive: true}))

  const stores: [string, () => StorageProvider][] = [
    ['a local folder', () => new LocalStorage(folder)],
    ['one in memory', () => new MemoryStorage()],
    ['an object store', () => new ObjectStorage(new MemoryClient(), {prefix: 'a/b', retryForMs: 1000})],
  ]

  test.each(stores)(
    '(%s) has them all told, with its speed, and nothing of the trial left',
    async (_, open) => {
      const store = open()
      await store.put('mine', Readable.from(['precious']))
      const checks = await tryDestination(store, quiet)
      expect(unkept(checks)).toEqual([])
      expect(namesOf(checks)).toEqual(['destination', ...promises])
      expect(checks[0].message).toMatch(/: tried out; 0 backups/)
      const said = (name: string) => checks.find((check) => check.name === name)?.message
      expect(said('large object')).toMatch(/^21 MB unchanged; upload [\d.]+ MB\/s, download [\d.]+ MB\/s$/)
      expect(said('latency')).toMatch(/^[\d.]+ ms /)
      expect(await keysOf(store)).toEqual(['mine'])
      await store.close()
    },
  )

  test('is left with no folder and no unfinished file', async () => {
    const store = new LocalStorage(folder)
    await tryDestination(store, quiet)
    await store.close()
    const names = await readdir(folder, {recursive: true})
    expect(names.filter((name) => name !== '.dbbak-work')).toEqual([])
  })

  test('gets one small object, and no more, where it is only configured', async () => {
    const puts: number[] = []
    class Counted extends MemoryStorage {
      override async put(key: string, body: Readable, options?: PutOptions): Promise<ObjectInfo> {
        const info = await super.put(key, body, options)
        puts.push(info.size)
        return info
      }
    }
    const store = new Counted()
    expect(unkept(await checkDestination(store))).toEqual([])
    expect(puts).toEqual([1024])
    expect(await keysOf(store)).toEqual([])
  })
})

/** A destination in memory whose methods can be spoiled. */
class Spoiled extends MemoryStorage {
  readonly removed = new Set<string>()
  readonly original = {
    put: (key: string, body: Readable, options?: PutOptions) => super.put(key, body, options),
    get: (key: string, options?: GetOptions) => super.get(key, options),
    head: (key: string) => super.head(key),
    list: (prefix: string) => super.list(prefix),
    remove: (key: string) => super.remove(key),
  }

  /** What is really stored. */
  async contents(): Promise<string[]> {
    const keys: string[] = []
    for await (const {key} of this.original.list('')) keys.push(key)
    return keys
  }
}

type Spoil = (store: Spoiled) => Partial<StorageProvider>

const whole = (body: Readable) => buffer(body.on('error', () => {}))
/** What a stream gives until it ends, fails or is stopped. */
async function whatCame(body: Readable, signal?: AbortSignal): Promise<{chunks: Buffer[]; failure?: Error}> {
  const chunks: Buffer[] = []
  body.on('error', () => {})
  signal?.addEventListener('abort', () => body.destroy(signal.reason as Error))
  try {
    for await (const chunk of body) chunks.push(chunk)
    return {chunks}
  } catch (failure) {
    return {chunks, failure: failure as Error}
  }
}

const denied = (code: ErrorCode = 'DESTINATION_DENIED') =>
  new DbbakError(code, 'Not allowed.', {suggestions: ['Ask.']})

const faults: [string, string, RegExp, Spoil][] = [
  [
    'changes bytes',
    'read after write',
    /other bytes/,
    ({original}) => ({
      async get(key, options) {
        const bytes = await buffer(await original.get(key, options))
        if (key.endsWith('/small')) bytes[0] ^= 1
        return Readable.from([bytes])
      },
    }),
  ],
  [
    'tells another size than it stored',
    'read after write',
    /says that it stored 1025 bytes of 1024/,
    ({original}) => ({
      async put(key, body, options) {
        const info = await original.put(key, body, options)
        return {...info, size: info.size + 1}
      },
    }),
  ],
  [
    'does not find what was just written',
    'read after write',
    /not there as soon as/,
    ({original}) => {
      const asked = new Set<string>()
      return {
        async head(key) {
          if (!key.endsWith('/small') || asked.has(key)) return original.head(key)
          asked.add(key)
          return undefined
        },
      }
    },
  ],
  [
    'lists late',
    'read after write',
    /not listed/,
    ({original}) => {
      let listings = 0
      return {
        async *list(prefix) {
          const isFirst = listings++ === 0
          for await (const info of original.list(prefix))
            if (!isFirst || !info.key.endsWith('/small')) yield info
        },
      }
    },
  ],
  [
    'gives whole objects instead of parts',
    'read a part',
    /Asked for the bytes 0 to 0, it gave others/,
    ({original}) => ({get: (key) => original.get(key)}),
  ],
  [
    'counts the end of a part wrongly',
    'read a part',
    /gave others/,
    ({original}) => ({
      get: (key, options = {}) =>
        original.get(key, options.end === undefined ? options : {...options, end: options.end - 1}),
    }),
  ],
  [
    'lets a name be written twice',
    'write once',
    /replaced by another write/,
    ({original}) => ({put: (key, body, options) => original.put(key, body, {...options, overwrite: true})}),
  ],
  [
    'refuses a second write only after it was done',
    'write once',
    /refused write changed/,
    ({original}) => ({
      async put(key, body, options) {
        const isTaken = !options?.overwrite && (await original.head(key)) !== undefined
        const info = await original.put(key, body, {...options, overwrite: true})
        if (isTaken) throw new DbbakError('OBJECT_EXISTS', 'It exists.')
        return info
      },
    }),
  ],
  [
    'goes on giving what was replaced',
    'overwrite',
    /old object was still given/,
    ({original}) => ({
      async put(key, body, options) {
        const found = options?.overwrite ? await original.head(key) : undefined
        if (!found) return original.put(key, body, options)
        await whole(body)
        return found
      },
    }),
  ],
  [
    'drops objects without bytes',
    'empty object',
    /without bytes/,
    ({original}) => ({
      async head(key) {
        const info = await original.head(key)
        return info?.size === 0 ? undefined : info
      },
    }),
  ],
  [
    'decodes names',
    'odd names',
    /name a\+b&c=d%20e#f is listed as another/,
    ({original}) => ({
      async *list(prefix) {
        for await (const info of original.list(prefix)) yield {...info, key: decodeURIComponent(info.key)}
      },
    }),
  ],
  [
    'normalises names',
    'odd names',
    /name grüße-ファイル-😀 is listed as another/,
    ({original}) => ({
      async *list(prefix) {
        for await (const info of original.list(prefix))
          yield info.key.includes('names/') ? {...info, key: info.key.normalize('NFD')} : info
      },
    }),
  ],
  [
    'takes different names for one',
    'odd names',
    /led to something else/,
    ({original}) => ({get: (key, options) => original.get(key.replace('~', 'with space'), options)}),
  ],
  [
    'lists in another order',
    'order of a listing',
    /A listing gave /,
    ({original}) => ({
      async *list(prefix) {
        const all: ObjectInfo[] = []
        for await (const info of original.list(prefix)) all.push(info)
        yield* all.sort((a, b) => (a.key < b.key ? -1 : 1))
      },
    }),
  ],
  [
    'lists folders only',
    'order of a listing',
    /beginning of names/,
    ({original}) => ({
      async *list(prefix) {
        if (!prefix.endsWith('order/a')) yield* original.list(prefix)
        else yield* original.list(`${prefix}/`)
      },
    }),
  ],
  [
    'has everything that it is asked for',
    'missing object',
    /has an object that was never stored/,
    ({original}) => ({
      head: async (key) =>
        (await original.head(key)) ??
        (key.endsWith('/nothing') ? {key, size: 0, modifiedAt: new Date()} : undefined),
    }),
  ],
  [
    'gives an empty stream for what it lacks',
    'missing object',
    /gave an object that was never stored/,
    ({original}) => ({
      get: async (key, options) =>
        (await original.head(key)) ? original.get(key, options) : Readable.from([]),
    }),
  ],
  [
    'stores what came until a write was stopped',
    'stopped write',
    /left half an object/,
    ({original}) => ({
      async put(key, body, options) {
        const {chunks, failure} = await whatCame(body, options?.signal)
        await original.put(key, Readable.from(chunks), {overwrite: options?.overwrite})
        if (failure !== undefined) throw failure
        return (await original.head(key))!
      },
    }),
  ],
  [
    'takes a stopped write for a whole one',
    'stopped write',
    /says that it has stored everything/,
    ({original}) => ({
      async put(key, body, options) {
        const {chunks} = await whatCame(body, options?.signal)
        return original.put(key, Readable.from(chunks), {overwrite: options?.overwrite})
      },
    }),
  ],
  [
    'does not hear that a write is stopped',
    'stopped write',
    /went on until its source was gone/,
    ({original}) => ({
      put: (key, body, options) => original.put(key, body, {overwrite: options?.overwrite}),
    }),
  ],
  [
    'keeps the parts of a stopped write',
    'stopped write',
    /left uploads\/stopped/,
    ({original}) => {
      const parts: Leftover[] = []
      return {
        put: (key, body, options) =>
          original.put(key, body, options).catch((error: unknown) => {
            if (key.endsWith('/stopped'))
              parts.push({key: 'uploads/stopped', size: 1, modifiedAt: new Date()})
            throw error
          }),
        async *leftovers() {
          yield* parts
        },
      }
    },
  ],
  [
    'loses the end of large objects',
    'large object',
    /other bytes of a large object/,
    ({original}) => ({
      async put(key, body, options) {
        if (!key.endsWith('/large')) return original.put(key, body, options)
        const bytes = await whole(body)
        return original.put(key, Readable.from([bytes.subarray(0, 16 * 1024 * 1024)]), options)
      },
    }),
  ],
  [
    'mixes up the parts of large objects',
    'large object',
    /other bytes of a large object/,
    ({original}) => ({
      async put(key, body, options) {
        if (!key.endsWith('/large')) return original.put(key, body, options)
        const bytes = await whole(body)
        const [first, second] = [bytes.subarray(0, 8_000_000), bytes.subarray(8_000_000, 16_000_000)]
        return original.put(key, Readable.from([second, first, bytes.subarray(16_000_000)]), options)
      },
    }),
  ],
  [
    'complains of removing what is gone',
    'removal',
    /OBJECT_NOT_FOUND/,
    ({original}) => ({
      async remove(key) {
        if ((await original.head(key)) === undefined && key.endsWith('/removed'))
          throw denied('OBJECT_NOT_FOUND')
        return original.remove(key)
      },
    }),
  ],
]

describe('a destination that', () => {
  test.each(faults)('%s is found out (%s)', async (_, name, sentence, spoil) => {
    const store = new Spoiled()
    Object.assign(store, spoil(store))
    const checks = await checkPromises(store, quiet)
    const found = unkept(checks).filter((check) => check.name !== 'left behind')
    expect(found).toEqual([
      {name, status: 'error', message: expect.stringMatching(sentence), fix: expect.stringMatching(/\S/)},
    ])
    expect(namesOf(checks).filter((one) => one !== 'left behind')).toEqual(promises)
    const left = await store.contents()
    if (left.length > 0)
      for (const key of left)
        expect(checks.find((check) => check.name === 'left behind')?.message).toContain(key)
  })

  test('only says that it removes is found out, and what it kept is named', async () => {
    const store = new Spoiled()
    store.remove = async () => {}
    const checks = await checkPromises(store, quiet)
    expect(unkept(checks)).toEqual([
      expect.objectContaining({
        name: 'removal',
        status: 'error',
        message: expect.stringContaining('still there'),
      }),
      expect.objectContaining({name: 'left behind', status: 'warning'}),
    ])
    const left = await store.contents()
    expect(left.length).toBeGreaterThan(10)
    for (const key of left) expect(checks.at(-1)?.message).toContain(key)
  })

  test.each(['DESTINATION_DENIED', 'OBJECT_LOCKED'] as const)(
    'does not let anything be removed (%s) is no trouble for backups: a warning, and what was left is named',
    async (code) => {
      const store = new Spoiled()
      store.remove = () => Promise.reject(denied(code))
      const checks = await tryDestination(store, quiet)
      expect(unkept(checks)).toEqual([
        {
          name: 'removal',
          status: 'warning',
          message: expect.stringContaining(`${code}: cannot delete: prune will not work`),
          fix: expect.stringMatching(/\S/),
        },
        {
          name: 'left behind',
          status: 'warning',
          message: expect.stringMatching(
            /^\d+ small objects .* could not be removed from memory: dbbak-doctor-.*\(Not allowed\.\)/,
          ),
          fix: expect.stringMatching(/^Remove dbbak-doctor-[0-9a-f]{12}\/ there by hand/),
        },
      ])
      for (const key of await store.contents()) expect(checks.at(-1)?.message).toContain(key)
    },
  )

  test('may be written to only is told as what it means, without an error', async () => {
    const store = new Spoiled()
    const refuse = () => Promise.reject(denied())
    Object.assign(store, {
      get: refuse,
      head: refuse,
      remove: refuse,
      list: async function* () {
        yield await refuse()
      },
    })
    const checks = await tryDestination(store, quiet)
    expect(checks.map(({status}) => status)).not.toContain('error')
    expect(checks.find(({name}) => name === 'read after write')?.message).toMatch(
      /may not read: list, verify/,
    )
    const {message} = checks.at(-1)!
    for (const key of await store.contents()) expect(message).toContain(key)
  })

  test('cannot be written to at all gets one line that says why', async () => {
    const store = new Spoiled()
    store.put = (_, body) => {
      body.destroy()
      return Promise.reject(denied('DESTINATION_NOT_FOUND'))
    }
    expect(await tryDestination(store, quiet)).toEqual([
      {name: 'destination', status: 'error', message: 'DESTINATION_NOT_FOUND: Not allowed.', fix: 'Ask.'},
    ])
  })

  test('is out of reach amid the trial is not asked any further; what is left there is named', async () => {
    const store = new Spoiled()
    const {put, get, remove} = store.original
    let reachable = true
    let asked = 0
    const whileReachable = <T>(work: () => Promise<T>): Promise<T> => {
      if (reachable) return work()
      asked++
      return Promise.reject(denied('DESTINATION_UNREACHABLE'))
    }
    Object.assign(store, {
      put(key: string, body: Readable, options?: PutOptions) {
        if (key.endsWith('/empty')) reachable = false
        return whileReachable(() => put(key, body, options))
      },
      get: (key: string, options?: GetOptions) => whileReachable(() => get(key, options)),
      remove: (key: string) => whileReachable(() => remove(key)),
    })
    const checks = await checkPromises(store, quiet)
    expect(namesOf(checks)).toEqual([...promises.slice(0, 5), 'left behind'])
    expect(asked).toBe(2) // one put, one removal
    for (const key of await store.contents()) expect(checks.at(-1)?.message).toContain(key)
  })
})

describe('a trial that is interrupted', () => {
  const reason = new DbbakError('INTERRUPTED', 'Interrupted.')

  test.each(['first', 'small', 'once', 'stopped', 'large', 'removed'])(
    'while it writes %s removes what it has written',
    async (name) => {
      const store = new Spoiled()
      const stop = new AbortController()
      const warnings: unknown[] = []
      store.put = (key, body, options) => {
        if (key.endsWith(`/${name}`)) setImmediate(() => stop.abort(reason))
        return store.original.put(key, body, options).then(async (info) => {
          await new Promise((resolve) => setImmediate(resolve))
          return info
        })
      }
      const events = {warning: (warning: unknown) => void warnings.push(warning)}
      await expect(tryDestination(store, {events, signal: stop.signal})).rejects.toBe(reason)
      expect(await store.contents()).toEqual([])
      expect(warnings).toEqual([])
    },
  )

  test('names what it could not remove', async () => {
    const store = new Spoiled()
    const stop = new AbortController()
    const warnings: {code: string; message: string}[] = []
    store.remove = () => Promise.reject(denied())
    store.head = async (key) => {
      stop.abort(reason)
      return store.original.head(key)
    }
    const events = {warning: (warning: {code: string; message: string}) => void warnings.push(warning)}
    await expect(tryDestination(store, {events, signal: stop.signal})).rejects.toBe(reason)
    expect(warnings).toEqual([{code: 'DOCTOR_LEFT', message: expect.stringMatching(/could not be removed/)}])
    const left = await store.contents()
    expect(left).not.toEqual([])
    for (const key of left) expect(warnings[0].message).toContain(key)
  })
})

describe('a local folder that is not there', () => {
  test('is not made; where it can be is told', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'doctor-'))
    try {
      const path = join(parent, 'one', 'two')
      expect(await checkFolderToCome(path)).toEqual({
        name: 'destination',
        status: 'ok',
        message: `${path} is not there yet: the first backup makes it, in ${parent}`,
      })
      expect(await readdir(parent)).toEqual([])
      expect(await checkFolderToCome(parent)).toBeUndefined()
    } finally {
      await rm(parent, {recursive: true})
    }
  })
})

needs('azure', missingAzureServer())('a container whose archives go to the archive tier', () => {
  test('keeps every promise: only archives have to be brought back before they are read', async () => {
    const server = await startAzureServer()
    try {
      const options = {connectionString: server.connectionString, tier: 'Archive'} as const
      const request = {retryForMs: 10_000, stallMs: 10_000, env: {}}
      const client = await openAzureClient(await server.makeContainer(), options, request)
      const store = new ObjectStorage(client, {prefix: 'shop', retryForMs: request.retryForMs})
      expect(unkept(await checkDestination(store))).toEqual([])
      expect(unkept(await tryDestination(store, quiet))).toEqual([])
      expect(await keysOf(store)).toEqual([])
      await store.close()
    } finally {
      await server.stop()
    }
  })
})
