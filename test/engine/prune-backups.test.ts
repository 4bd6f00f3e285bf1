import {beforeEach, describe, expect, test} from '@jest/globals'
import {readCatalog} from '../../src/engine/catalog.js'
import {globalsName, manifestName, verificationName} from '../../src/engine/naming.js'
import {planPrune} from '../../src/engine/prune/plan-prune.js'
import {carryOut, describePlan} from '../../src/engine/prune/prune-backups.js'
import {emptyResult} from '../../src/engine/prune/prune-result.js'
import {verifyBackup} from '../../src/engine/verify/verify-backup.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import {systemClock} from '../../src/support/clock.js'
import {DbbakError} from '../../src/support/errors.js'
import {MemoryClient} from '../support/memory-client.js'
import {MemoryStorage} from '../support/memory-storage.js'
import {backupsAt, daysAgo, keysAt, later, prune, put, store, watched} from './prune-support.js'
import {policyOf} from './retention-support.js'

let memory: MemoryStorage
beforeEach(() => {
  memory = new MemoryStorage()
})

const idOf = (archive: string) => archive.replace(/\.(dump|sql|dir).*$/, '')

describe('a backup that is removed', () => {
  test('loses its manifest first, then its verification, its archive and its globals; the result says why', async () => {
    const kept = await store(memory, {at: daysAgo(1)})
    const gone = await store(memory, {
      at: daysAgo(60),
      format: 'directory',
      globals: true,
      verified: 'failed',
    })
    const bytes = (
      await Promise.all(
        (await keysAt(memory)).filter((key) => key.startsWith(idOf(gone))).map((key) => memory.head(key)),
      )
    ).reduce((sum, object) => sum + object!.size, 0)
    const removed: string[] = []
    const result = await prune(
      watched(memory, {before: (method, key) => void (method === 'remove' && removed.push(key))}),
      {keepDays: 30},
    )
    expect(removed).toEqual([
      manifestName(gone),
      verificationName(gone),
      ...['toc.dat', '3001.dat.zst', '3002.dat.zst'].map((name) => `${gone}/${name}`),
      globalsName(idOf(gone)),
    ])
    expect(await keysAt(memory)).toEqual([kept, manifestName(kept)])
    expect(result).toMatchObject({
      from: ['memory'],
      kept: [
        {
          id: idOf(kept),
          name: kept,
          reasons: ['the newest, which always stays', 'newer than 30 days'],
        },
      ],
      removed: [
        {
          id: idOf(gone),
          name: gone,
          destination: 'memory',
          database: 'shop',
          kind: 'backup',
          bytes,
          reasons: ['its verification failed', 'older than 30 days'],
        },
      ],
      leftovers: [],
      problems: [],
      locked: [],
      failed: [],
      bytesFreed: bytes,
      dryRun: false,
    })
  })

  test('is the same that a dry run tells of, which changes nothing', async () => {
    for (const days of [1, 40, 50]) await store(memory, {at: daysAgo(days)})
    const before = await keysAt(memory)
    const told = emptyResult(true)
    const request = {policy: policyOf({keepDays: 30})}
    const quiet = watched(memory, {
      before(method) {
        if (method === 'remove' || method === 'put' || method === 'sweep')
          throw new Error('It changes something.')
      },
    })
    await describePlan(quiet, await planPrune(quiet, request, later), told)
    expect(await keysAt(memory)).toEqual(before)
    expect({...(await prune(memory, {keepDays: 30})), dryRun: true}).toEqual(told)
    expect(told.removed).toHaveLength(2)
  })

  test('takes its own files only: globals that another backup of the same moment names stay with that', async () => {
    await store(memory, {at: daysAgo(1)})
    const at = daysAgo(40)
    const custom = await store(memory, {at, globals: true})
    const plain = await store(memory, {at, globals: true, format: 'plain', verified: 'passed'})
    await prune(memory, {keepDays: 30, keepVerified: 1})
    expect(await keysAt(memory)).not.toContain(custom)
    expect(await backupsAt(memory)).toMatchObject({whole: expect.arrayContaining([plain]), broken: []})
    await store(memory, {at: daysAgo(2), verified: 'passed'})
    await prune(memory, {keepDays: 30})
    expect((await keysAt(memory)).filter((key) => key.startsWith(idOf(plain)))).toEqual([])
  })

  test('takes globals along that two name and both of them lose', async () => {
    await store(memory, {at: daysAgo(1)})
    const at = daysAgo(40)
    const one = await store(memory, {at, globals: true})
    await store(memory, {at, globals: true, format: 'plain'})
    await prune(memory, {keepDays: 30})
    expect((await keysAt(memory)).filter((key) => key.startsWith(idOf(one)))).toEqual([])
  })
})

describe('what is nobody’s business of a policy', () => {
  test('databases of other names and of other servers have the rules to themselves', async () => {
    const ones = [
      {at: daysAgo(40), database: 'shop', systemIdentifier: '1'},
      {at: daysAgo(50), database: 'shop', systemIdentifier: '1'},
      {at: daysAgo(60), database: 'shop', systemIdentifier: '2'},
      {at: daysAgo(70), database: 'blog', systemIdentifier: '1', prefix: 'shop'},
      {at: daysAgo(80), database: 'shop', systemIdentifier: null, host: 'a'},
      {at: daysAgo(90), database: 'shop', systemIdentifier: null, host: 'b'},
    ]
    const names: string[] = []
    for (const one of ones) names.push(await store(memory, one))
    const {removed} = await prune(memory, {keepDays: 30})
    expect(removed.map(({name}) => name)).toEqual([names[1]])
  })

  test('a backup of some tables stands for no other: of each selection the last stays', async () => {
    const without = {excludeTableData: ['audit']}
    for (const selection of [{tables: ['orders']}, without, {tables: ['orders', 'items'], schemas: []}])
      await store(memory, {at: daysAgo(40), prefix: JSON.stringify(selection).replace(/\W/g, ''), selection})
    const gone = [
      await store(memory, {at: daysAgo(50), selection: {tables: ['items', 'orders', 'items']}}),
      await store(memory, {at: daysAgo(55), selection: without}),
    ]
    await store(memory, {at: daysAgo(60)})
    gone.push(await store(memory, {at: daysAgo(70)}))
    const {removed} = await prune(memory, {keepDays: 1})
    expect(removed.map(({name}) => name)).toEqual(gone)
  })

  test('one backup of a table does not push out those that leave something out', async () => {
    const selection = {excludeTableData: ['audit']}
    const all: string[] = []
    for (let days = 40; days < 70; days++)
      all.push(
        await store(memory, {at: daysAgo(days), selection, verified: days === 50 ? 'passed' : undefined}),
      )
    await store(memory, {at: daysAgo(1), selection: {tables: ['orders']}})
    await prune(memory, {keepDays: 30})
    const {whole} = await backupsAt(memory)
    expect(whole).toEqual(expect.arrayContaining([all[0], all[10]]))
    expect(whole).toHaveLength(3)
  })

  test('one database alone: neither the backups of others nor what their runs left', async () => {
    for (const days of [1, 40]) {
      await store(memory, {at: daysAgo(days), database: 'shop'})
      await store(memory, {at: daysAgo(days), database: 'blog'})
    }
    for (const prefix of ['shop', 'blog', 'news'])
      await put(memory, `${prefix}_2026-01-01T00-00-00-000Z.dump.zst`, 'half')
    await put(memory, 'dbbak-doctor-0123456789ab/trial', 'x')
    const {removed, leftovers, kept} = await prune(
      memory,
      {keepDays: 30},
      {only: ({name}) => name === 'shop'},
    )
    expect(removed.map(({database}) => database)).toEqual(['shop'])
    expect(kept.map(({database}) => database)).toEqual(['shop'])
    expect(leftovers.map(({name}) => name)).toEqual(['shop_2026-01-01T00-00-00-000Z.dump.zst'])
  })

  test('of several servers that were at one address each keeps its own; one that has moved on is not meant', async () => {
    const at = (systemIdentifier: string, host: string, days: number) =>
      store(memory, {at: daysAgo(days), systemIdentifier, host})
    const production = [await at('1', 'db.internal', 40), await at('1', 'localhost', 50)]
    const former = [await at('2', 'localhost', 60), await at('2', 'localhost', 70)]
    const rebuilt = [await at('3', 'localhost', 45), await at('3', 'localhost', 46)]
    const {removed} = await prune(memory, {keepLast: 1}, {only: ({host}) => host === 'localhost'})
    expect(removed.map(({name}) => name)).toEqual([rebuilt[1], former[1]])
    expect((await backupsAt(memory)).whole).toEqual([...production, former[0], rebuilt[0]].sort())
  })

  test('what a run left under a name that two databases share is of neither', async () => {
    await store(memory, {at: daysAgo(1), database: 'shop', systemIdentifier: '1'})
    await store(memory, {at: daysAgo(2), database: 'shop', systemIdentifier: '2', host: 'other'})
    await put(memory, 'shop_2026-01-01T00-00-00-000Z.dump.zst', 'half')
    const {leftovers} = await prune(memory, {keepDays: 30}, {only: ({host}) => host === 'other'})
    expect(leftovers).toEqual([])
  })

  test('a damaged backup, one of a later version and one without its archive are told of, never removed', async () => {
    for (const days of [1, 40]) await store(memory, {at: daysAgo(days)})
    const id = (day: string) => `shop_2026-01-${day}T00-00-00-000Z`
    await put(memory, `${id('01')}.dump.zst`, 'archive')
    await put(memory, `${id('01')}.dump.zst.metadata.json`, '{"formatVersion": 1')
    await put(memory, `${id('01')}.globals.sql`, 'x')
    await put(memory, `${id('02')}.dir/toc.dat`, 'archive')
    await put(memory, `${id('02')}.dir.metadata.json`, '{"formatVersion": 2}')
    const lost = await store(memory, {at: daysAgo(45), globals: true})
    await memory.remove(lost)
    const before = await keysAt(memory)
    expect((await planPrune(memory, {policy: policyOf({keepDays: 30})}, later)).leftovers).toEqual([])
    const {problems, removed, leftovers} = await prune(memory, {keepDays: 30})
    expect(problems.map(({name, code}) => [name, code])).toEqual(
      [
        [`${id('01')}.dump.zst.metadata.json`, 'MANIFEST_INVALID'],
        [`${id('02')}.dir.metadata.json`, 'MANIFEST_VERSION_UNKNOWN'],
        [`${lost}.metadata.json`, 'ARCHIVE_MISSING'],
      ].sort(),
    )
    expect(removed).toHaveLength(1)
    expect(leftovers).toEqual([])
    expect(await keysAt(memory)).toEqual(before.filter((key) => !key.startsWith(removed[0].id)))
  })

  test('a damaged backup does not count as the newest', async () => {
    const old = [await store(memory, {at: daysAgo(40)}), await store(memory, {at: daysAgo(50)})]
    const fresh = await store(memory, {at: daysAgo(1)})
    memory.damage(manifestName(fresh), () => Buffer.from('{'))
    const {removed} = await prune(memory, {keepDays: 30})
    expect(removed.map(({name}) => name)).toEqual([old[1]])
  })
})

describe('leftovers', () => {
  const half = 'shop_2026-01-01T00-00-00-000Z'
  const ours = [
    `${half}.dump.zst`,
    `${half}.dump.zst.verification.json`,
    `${half}.globals.sql`,
    'my-app.v2_2026-01-01T00-00-00-000Z.sql.gz.age',
    'größe_2026-01-01T00-00-00-000Z.dump',
    'shop_2026-01-02T00-00-00-000Z.dir/toc.dat',
    'shop_2026-01-02T00-00-00-000Z.dir/3001.dat.zst',
    'shop_2026-01-02T00-00-00-000Z.dir/blobs_123.toc',
    '.dbbak-doctor-0123456789ab',
    'dbbak-doctor-0123456789ab/promises/one',
  ]
  const foreign = [
    'README.md',
    'shop.dump',
    'shop_2026-01-01.dump',
    `${half}.dump.zst.bak`,
    `${half}.tar`,
    `${half}.dump.metadata.json.old`,
    'shop_2026-01-02T00-00-00-000Z.dir.zip',
    'shop_2026-01-03T00-00-00-000Z.dir/notes.txt',
    'shop_2026-01-03T00-00-00-000Z.dir/photos/3001.dat',
    `offsite/${half}.dump.zst`,
    `offsite/${half}.globals.sql`,
    'offsite/shop_2026-01-01T00-00-00-000Z.dir/toc.dat',
    'dbbak-doctor-notes/plan.txt',
    'dbbak-doctor-0123456789abc/x',
    '-odd_2026-01-01T00-00-00-000Z.dump',
    // A folder that is a destination of its own, however it is called.
    'shop_2026-01-04T00-00-00-000Z.dir/toc.dat',
    'shop_2026-01-04T00-00-00-000Z.dir/shop_2026-01-01T00-00-00-000Z.dump.metadata.json',
  ]

  test('go by their names and age; what others keep there stays', async () => {
    const kept = await store(memory, {at: daysAgo(1)})
    for (const key of [...ours, ...foreign]) await put(memory, key, 'x')
    const {leftovers, bytesFreed, removed} = await prune(memory, {keepDays: 30})
    expect(leftovers.map(({name}) => name).sort()).toEqual([...ours].sort())
    expect(leftovers[0]).toEqual({
      name: expect.any(String),
      destination: 'memory',
      bytes: 1,
      modifiedAt: expect.stringMatching(/Z$/),
      reason: expect.stringMatching(/^a (run|doctor) that was cut off left it/),
    })
    expect({bytesFreed, removed}).toEqual({bytesFreed: ours.length, removed: []})
    expect(await keysAt(memory)).toEqual(expect.arrayContaining([...foreign, kept]))
    expect(await keysAt(memory)).toHaveLength(foreign.length + 2)
  })

  test('younger than a day may be a run that goes on: its archive is there before its manifest', async () => {
    for (const key of ours) await put(memory, key, 'x')
    const almost = new Date(Date.now() + 86_300_000)
    expect((await prune(memory, {keepDays: 30}, {now: almost})).leftovers).toEqual([])
  })

  test('of a run one file of which is young stay all: a dump of a folder takes its time', async () => {
    const old = new Date(Date.now() - 3 * 86_400_000)
    const keys = ['toc.dat', '3001.dat', '3002.dat'].map((name) => `${half}.dir/${name}`)
    for (const key of keys) await put(memory, key, 'x')
    const aged = new Proxy(memory, {
      get: (_, name) =>
        name === 'list'
          ? async function* (prefix: string) {
              for await (const object of memory.list(prefix))
                yield object.key.endsWith('3002.dat') ? object : {...object, modifiedAt: old}
            }
          : (Reflect.get(memory, name) as (() => unknown) | undefined)?.bind(memory),
    })
    expect((await prune(aged, {keepDays: 30}, {now: new Date()})).leftovers).toEqual([])
    expect(await keysAt(memory)).toHaveLength(3)
  })

  test('of an upload that may have taken days are older than that: a store may date it by its beginning', async () => {
    await put(memory, `${half}.dump.zst`, 'x')
    const hugeAt = (at: MemoryStorage, etag: string | undefined) =>
      new Proxy(at, {
        get: (_, name) =>
          name === 'list'
            ? async function* (prefix: string) {
                for await (const object of at.list(prefix)) yield {...object, size: 1e12, etag}
              }
            : (Reflect.get(at, name) as (() => unknown) | undefined)?.bind(at),
      })
    expect((await prune(hugeAt(memory, '"1"'), {keepDays: 30})).leftovers).toEqual([])
    expect((await prune(hugeAt(memory, undefined), {keepDays: 30})).leftovers).toHaveLength(1)
  })

  test('that get a manifest while they are looked at are a backup, and stay', async () => {
    const archive = await store(memory, {at: daysAgo(1)})
    const manifest = manifestName(archive)
    const text = await memory.get(manifest)
    await memory.remove(manifest)
    const copying = watched(memory, {
      async before(method, key) {
        if (method === 'list' && key !== '') await memory.put(manifest, text)
      },
    })
    expect((await prune(copying, {keepDays: 30})).leftovers).toEqual([])
    expect((await backupsAt(memory)).whole).toEqual([archive])
  })

  test('go from an object store as from anywhere', async () => {
    const client = new MemoryClient()
    const bucket = new ObjectStorage(client, {prefix: 'backups', retryForMs: 0})
    const kept = await store(bucket, {at: daysAgo(1)})
    const gone = await store(bucket, {
      at: daysAgo(40),
      format: 'directory',
      globals: true,
      verified: 'failed',
    })
    await put(bucket, `${half}.dump.zst`, 'half')
    const result = await prune(bucket, {keepDays: 30})
    expect(result).toMatchObject({
      from: ['memory://bucket/backups'],
      removed: [{name: gone}],
      leftovers: [{name: `${half}.dump.zst`}],
      failed: [],
      locked: [],
    })
    expect(client.names().sort()).toEqual([`backups/${kept}`, `backups/${manifestName(kept)}`])
    await bucket.close()
  })
})

test('unfinished uploads are swept, and told of before', async () => {
  const unfinished = {key: 'shop.dump', size: 5, modifiedAt: new Date(0)}
  class Uploading extends MemoryStorage {
    override async *leftovers() {
      yield unfinished
    }
    override async sweep() {
      return [unfinished]
    }
  }
  const at = new Uploading()
  const told = emptyResult(true)
  await describePlan(at, await planPrune(at, {policy: policyOf({keepDays: 30})}, later), told)
  const done = await prune(at, {keepDays: 30})
  expect(done.leftovers).toEqual([
    {
      name: 'shop.dump',
      destination: 'memory',
      bytes: 5,
      modifiedAt: '1970-01-01T00:00:00.000Z',
      reason: 'an upload that was cut off left it',
    },
  ])
  expect(told).toEqual({...done, dryRun: true})
})

describe('what goes wrong', () => {
  const failing = (fails: (key: string) => DbbakError | undefined) =>
    watched(memory, {
      before(method, key) {
        const error = method === 'remove' ? fails(key) : undefined
        if (error) throw error
      },
    })
  const denied = new DbbakError('DESTINATION_DENIED', 'It may not be removed.', {
    suggestions: ['Ask for the right.'],
  })

  test('with one backup does not stop the others, and is told', async () => {
    const names: string[] = []
    for (const days of [1, 40, 41, 42, 43]) names.push(await store(memory, {at: daysAgo(days)}))
    const result = await prune(
      failing((key) => (key === manifestName(names[2]) || key === names[3] ? denied : undefined)),
      {keepDays: 30},
    )
    const error = {
      code: 'DESTINATION_DENIED',
      message: 'It may not be removed.',
      suggestions: ['Ask for the right.'],
    }
    expect(result.failed).toEqual([
      {id: idOf(names[2]), name: names[2], destination: 'memory', error},
      {id: idOf(names[3]), name: names[3], destination: 'memory', error},
    ])
    // Without its manifest it is no backup, whatever became of its archive.
    expect(result.removed.map(({name}) => name)).toEqual([names[1], names[3], names[4]])
    expect(await backupsAt(memory)).toEqual({whole: [names[0], names[2]].sort(), broken: []})
    expect(await keysAt(memory)).toContain(names[3])
    expect((await prune(memory, {keepDays: 30})).leftovers.map(({name}) => name)).toEqual([names[3]])
  })

  test('an object lock is no failure: what is locked stays whole, and is told', async () => {
    const names: string[] = []
    for (const days of [1, 40, 41]) names.push(await store(memory, {at: daysAgo(days), verified: 'passed'}))
    const locked = new DbbakError('OBJECT_LOCKED', 'A retention forbids it.')
    const reason = 'locked until its retention ends'
    const result = await prune(
      failing((key) => (key === manifestName(names[1]) || key === names[2] ? locked : undefined)),
      {keepDays: 30},
    )
    expect(result).toMatchObject({
      failed: [],
      kept: [{name: names[0]}, {name: names[1], reasons: [reason]}],
      removed: [{name: names[2]}],
      locked: [
        {id: idOf(names[1]), name: names[1], destination: 'memory', reason},
        {id: idOf(names[2]), name: names[2], destination: 'memory', reason},
      ],
    })
    expect((await backupsAt(memory)).whole).toEqual([names[0], names[1]].sort())
    expect(await keysAt(memory)).toContain(verificationName(names[1]))
  })

  test('a destination that is out of reach is not asked for each backup again', async () => {
    for (let days = 1; days <= 60; days++) await store(memory, {at: daysAgo(days)})
    const down = new DbbakError('DESTINATION_UNREACHABLE', 'Nobody answers.')
    let asked = 0
    const result = await prune(
      failing(() => (asked++, down)),
      {keepDays: 30},
    )
    expect(asked).toBeLessThanOrEqual(8)
    expect(result.failed.filter(({error}) => error.code === 'DESTINATION_UNREACHABLE')).toHaveLength(31 + 1)
    expect((await backupsAt(memory)).whole).toHaveLength(60)
  })

  test('an interruption stops before the next object', async () => {
    for (let days = 1; days <= 60; days++) await store(memory, {at: daysAgo(days)})
    const stop = new AbortController()
    const result = emptyResult(false)
    const at = watched(memory, {
      after: (method) => void (method === 'remove' && stop.abort(new Error('stop'))),
    })
    const plan = await planPrune(at, {policy: policyOf({keepDays: 30})}, later)
    await expect(carryOut(at, plan, result, {events: {}, signal: stop.signal})).rejects.toThrow('stop')
    const names = result.removed.map(({name}) => name)
    expect(names).toEqual([...names].sort().reverse())
    expect(result.removed.length).toBeLessThanOrEqual(8)
    expect(result.removed.length).toBeGreaterThan(0)
    expect((await backupsAt(memory)).broken).toEqual([])
  })

  test('a verification result that could not be read is read again, or nothing is removed', async () => {
    await store(memory, {at: daysAgo(1)})
    const proven = await store(memory, {at: daysAgo(40), verified: 'passed'})
    let failures = 1
    const flaky = watched(memory, {
      before(method, key) {
        if (method === 'get' && key === verificationName(proven) && failures-- > 0)
          throw new DbbakError('DESTINATION_STALLED', 'The connection broke.')
      },
    })
    expect((await prune(flaky, {keepDays: 30, keepVerified: 1})).removed).toEqual([])
    failures = 2
    await expect(prune(flaky, {keepDays: 30, keepVerified: 1})).rejects.toMatchObject({
      code: 'DESTINATION_STALLED',
    })
    expect((await backupsAt(memory)).whole).toContain(proven)
  })
})

test.each(['passed', 'failed'] as const)(
  'a verification result that said %s and is damaged costs no backup its place',
  async (verified) => {
    const good = await store(memory, {at: daysAgo(40)})
    const damaged = await store(memory, {at: daysAgo(35), verified})
    await store(memory, {at: daysAgo(38)})
    await store(memory, {at: daysAgo(1), verified: 'failed'})
    const others = await store(memory, {at: daysAgo(60), verified})
    memory.damage(verificationName(damaged), (bytes) => bytes.subarray(0, 20))
    await memory.put(verificationName(others), await memory.get(verificationName(damaged)), {overwrite: true})
    const {removed, kept} = await prune(memory, {keepLast: 2})
    expect(removed).toEqual([])
    expect(
      kept.filter(({reasons}) => reasons.includes('its verification result cannot be read')),
    ).toHaveLength(2)
    expect((await backupsAt(memory)).whole).toContain(good)
  },
)

test('backups of an emptied database do not push out the last that holds rows', async () => {
  const full = [await store(memory, {at: daysAgo(40)}), await store(memory, {at: daysAgo(45)})]
  for (const days of [1, 2, 35]) await store(memory, {at: daysAgo(days), rows: 0})
  const {removed} = await prune(memory, {keepDays: 30})
  expect(removed.map(({snapshotAt}) => snapshotAt)).toEqual([daysAgo(35), daysAgo(45)])
  expect((await backupsAt(memory)).whole).toContain(full[0])
})

describe('others at work at the same time', () => {
  test('a backup that was replaced since it was planned for stays', async () => {
    await store(memory, {at: daysAgo(1)})
    const gone = await store(memory, {at: daysAgo(40)})
    const plan = await planPrune(memory, {policy: policyOf({keepDays: 30})}, later)
    memory.damage(manifestName(gone), (bytes) => bytes)
    const result = emptyResult(false)
    await carryOut(memory, plan, result, {events: {}, signal: new AbortController().signal})
    expect(result.removed).toEqual([])
    expect(result.kept).toContainEqual(
      expect.objectContaining({name: gone, reasons: ['it was replaced since this was planned']}),
    )
    expect((await backupsAt(memory)).whole).toContain(gone)
  })

  test.each(['its manifest', 'its archive'])(
    'nothing goes for a newest backup that lost %s meanwhile',
    async (what) => {
      const newest = await store(memory, {at: daysAgo(1)})
      const old = [await store(memory, {at: daysAgo(40)}), await store(memory, {at: daysAgo(41)})]
      const plan = await planPrune(memory, {policy: policyOf({keepDays: 30})}, later)
      await memory.remove(what === 'its manifest' ? manifestName(newest) : newest)
      const result = emptyResult(false)
      await carryOut(memory, plan, result, {events: {}, signal: new AbortController().signal})
      expect(result.removed).toEqual([])
      expect(result.failed).toHaveLength(2)
      expect(result.failed[0].error).toMatchObject({
        code: 'OBJECT_NOT_FOUND',
        message: expect.stringContaining(newest),
      })
      expect((await backupsAt(memory)).whole).toEqual([...old].sort())
    },
  )

  test('a backup that somebody else removed meanwhile is told as gone, and frees nothing', async () => {
    await store(memory, {at: daysAgo(1)})
    const gone = await store(memory, {at: daysAgo(40)})
    const plan = await planPrune(memory, {policy: policyOf({keepDays: 30})}, later)
    await memory.remove(manifestName(gone))
    const result = emptyResult(false)
    await carryOut(memory, plan, result, {events: {}, signal: new AbortController().signal})
    const reasons = ['older than 30 days', 'somebody else removed it meanwhile']
    expect(result).toMatchObject({removed: [{name: gone, bytes: 0, reasons}], failed: [], bytesFreed: 0})
  })

  test('a series whose newest has gone meanwhile loses nothing, the others what they would', async () => {
    const selection = {excludeTableData: ['audit']}
    await store(memory, {at: daysAgo(1)})
    const newest = await store(memory, {at: daysAgo(40), selection})
    const gone = await store(memory, {at: daysAgo(50)})
    const stays = await store(memory, {at: daysAgo(60), selection})
    const plan = await planPrune(memory, {policy: policyOf({keepDays: 30})}, later)
    await memory.remove(manifestName(newest))
    const result = emptyResult(false)
    await carryOut(memory, plan, result, {events: {}, signal: new AbortController().signal})
    expect(result.removed.map(({name}) => name)).toEqual([gone])
    expect(result.failed).toMatchObject([{name: stays, error: {code: 'OBJECT_NOT_FOUND'}}])
  })

  test('nothing more goes once the newest has gone in the midst of it', async () => {
    const newest = await store(memory, {at: daysAgo(1)})
    for (let days = 40; days < 80; days++) await store(memory, {at: daysAgo(days)})
    let removals = 0
    const at = watched(memory, {
      async after(method) {
        if (method === 'remove' && ++removals === 10) await memory.remove(manifestName(newest))
      },
    })
    const {removed, failed} = await prune(at, {keepDays: 30})
    expect(removed.length).toBeLessThan(20)
    expect(removed.length + failed.length).toBe(40)
  })

  test.each([
    ['before its result is stored', 'get'],
    ['as its result is stored', 'put'],
  ] as const)(
    'a backup that is removed while it is verified, %s, has no result beside it',
    async (_, moment) => {
      const archive = await store(memory, {at: daysAgo(40)})
      const at = watched(memory, {
        async after(method) {
          if (method !== moment) return
          await memory.remove(manifestName(archive))
          await memory.remove(archive)
        },
      })
      const [entry] = (await readCatalog(memory)).backups
      const warnings: string[] = []
      const record = await verifyBackup(
        {store: at, entry},
        {level: 'checksum'},
        {
          search: {env: {}},
          scratchServer: () => Promise.reject(new Error('There is none.')),
          events: {warning: ({code}) => void warnings.push(code)},
          clock: systemClock,
          version: '1.0.0',
          signal: new AbortController().signal,
        },
      )
      expect(record.verdict).toBe('passed')
      expect(warnings).toEqual(['VERIFICATION_NOT_KEPT'])
      expect(await keysAt(memory)).toEqual([])
    },
  )

  test('an answer about the newest that was damaged on the way is not taken for its loss', async () => {
    const [newest, old] = [await store(memory, {at: daysAgo(1)}), await store(memory, {at: daysAgo(40)})]
    let damages = 1
    const at = new Proxy(memory, {
      get: (_, name) =>
        name === 'head'
          ? async (key: string) => {
              const found = await memory.head(key)
              return found && key === manifestName(newest) && damages-- > 0 ? {...found, etag: '"x"'} : found
            }
          : (Reflect.get(memory, name) as (() => unknown) | undefined)?.bind(memory),
    })
    const {removed, failed} = await prune(at, {keepDays: 30})
    expect([removed.map(({name}) => name), failed, damages]).toEqual([[old], [], -1])
  })

  test('two prunes of the same destination leave what one would', async () => {
    for (let days = 1; days <= 80; days++) await store(memory, {at: daysAgo(days), globals: days % 2 === 0})
    const slow = () => watched(memory, {before: () => new Promise(setImmediate)})
    const results = await Promise.all([prune(slow(), {keepDays: 30}), prune(slow(), {keepDays: 30})])
    for (const {failed} of results) expect(failed).toEqual([])
    expect((await backupsAt(memory)).whole).toHaveLength(29)
    expect((await prune(memory, {keepDays: 30})).leftovers).toEqual([])
  })
})

test('10,000 objects: two listings, a reading of each manifest and verification, six requests a backup that goes', async () => {
  for (let index = 0; index < 2500; index++)
    await store(memory, {at: daysAgo(index / 10), globals: true, verified: 'passed'})
  expect(await keysAt(memory)).toHaveLength(10_000)
  const requests: Record<string, number> = {}
  let running = 0
  let atOnce = 0
  const counting = watched(memory, {
    async before(method) {
      requests[method] = (requests[method] ?? 0) + 1
      atOnce = Math.max(atOnce, ++running)
      await new Promise(setImmediate)
    },
    after: () => void running--,
  })
  const start = performance.now()
  const {removed, kept} = await prune(counting, {keepDays: 30})
  const gone = removed.length
  expect([gone, kept.length]).toEqual([2200, 300])
  // Listings of the whole twice, and one of the newest backup; of each backup that goes its manifest and the newest's.
  expect(requests).toEqual({list: 3, get: 5000, head: 2 * gone, remove: 4 * gone, sweep: 1})
  expect(atOnce).toBeLessThanOrEqual(32)
  process.stderr.write(`pruned 10,000 objects in ${(performance.now() - start).toFixed(0)} ms\n`)
}, 120_000)
