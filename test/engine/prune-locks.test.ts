import {
  DeleteObjectCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectLegalHoldCommand,
  PutObjectRetentionCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import {setTimeout as delay} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {pruneQuestion} from '../../src/cli/show-prune.js'
import {globalsName, manifestName} from '../../src/engine/naming.js'
import {planPrune} from '../../src/engine/prune/plan-prune.js'
import {describePlan} from '../../src/engine/prune/prune-backups.js'
import {emptyResult} from '../../src/engine/prune/prune-result.js'
import {openGcsClient} from '../../src/storage/gcs/gcs-client.js'
import {ObjectStorage} from '../../src/storage/objects/object-storage.js'
import type {ObjectLock, StorageProvider} from '../../src/storage/provider.js'
import {request, s3Client} from '../support/ceph/s3-clients.js'
import {startGcsServer, type GcsServer} from '../support/gcs-server/index.js'
import {MemoryClient, type MemoryClientOptions} from '../support/memory-client.js'
import {needs} from '../support/needs.js'
import {missingCeph, sharedS3Server, type S3Server} from '../support/s3-server.js'
import {backupsAt, daysAgo, keysAt, later, prune, put, store} from './prune-support.js'
import {policyOf} from './retention-support.js'

const idOf = (archive: string) => archive.replace(/\.(dump|sql|dir).*$/, '')
const nextYear = new Date(Date.now() + 365 * 86_400_000)
const retention: ObjectLock = {until: nextYear, by: 'retention COMPLIANCE'}
const untilNextYear = `locked until ${nextYear.toISOString()} (retention COMPLIANCE)`
const half = 'shop_2020-01-01T00-00-00-000Z'

describe('a store that holds on to objects', () => {
  let names: string[]
  let client: MemoryClient
  let bucket: StorageProvider
  async function open(options: MemoryClientOptions): Promise<void> {
    client = new MemoryClient(options)
    bucket = new ObjectStorage(client, {prefix: '', retryForMs: 0})
    names = []
    for (const days of [1, 40, 41, 42]) names.push(await store(bucket, {at: daysAgo(days), globals: true}))
    names.push(await store(bucket, {at: daysAgo(43), format: 'directory', files: 6}))
    client.requests.length = 0
  }
  const asked = (what: string) => client.requests.filter((name) => name === what).length

  test.each([
    ['tells when it is asked', {keepsVersions: true}],
    ['tells in its listing', {keepsVersions: true, lists: true}],
    ['tells in its listing, and has no versions', {keepsVersions: false, lists: true}],
  ])(
    'and %s: of a backup with one locked object nothing goes, and that is no failure',
    async (_, protection) => {
      const locks = new Map<string, ObjectLock>()
      await open({protection, locks})
      locks.set(manifestName(names[1]), retention)
      locks.set(globalsName(idOf(names[2])), {until: undefined, by: 'legal hold'})
      locks.set(`${names[4]}/3005.dat.zst`, retention)
      await put(bucket, `${half}.dir/toc.dat`, 'half')
      await put(bucket, `${half}.dir/1.dat`, 'half')
      locks.set(`${half}.dir/1.dat`, retention)
      const before = await keysAt(bucket)

      const plan = await planPrune(bucket, {policy: policyOf({keepDays: 30})}, later)
      const told = emptyResult(true)
      await describePlan(bucket, plan, told)
      const result = await prune(bucket, {keepDays: 30})
      expect(result).toEqual({...told, dryRun: false})
      const held = `${globalsName(idOf(names[2]))} is locked until somebody ends it (legal hold)`
      const locked = `${names[4]}/3005.dat.zst is ${untilNextYear}`
      expect(result).toMatchObject({
        removed: [{name: names[3]}],
        leftovers: [],
        failed: [],
        kept: [
          {name: names[0]},
          {name: names[1], reasons: [untilNextYear]},
          {name: names[2], reasons: [held]},
          {name: names[4], reasons: [locked]},
        ],
        locked: [
          {id: idOf(names[1]), name: names[1], until: nextYear.toISOString(), reason: untilNextYear},
          {id: idOf(names[2]), name: names[2], until: null, reason: held},
          {id: idOf(names[4]), name: names[4], until: nextYear.toISOString(), reason: locked},
          {id: null, name: `${half}.dir/1.dat`, until: nextYear.toISOString(), reason: untilNextYear},
        ],
        keepsVersions: protection.keepsVersions ? ['memory://bucket'] : [],
      })
      const question = pruneQuestion(told)
      if (protection.keepsVersions)
        expect(question).toMatch(/removed\. memory:\/\/bucket keeps older versions/)
      else expect(question).toMatch(/will be gone for good\.$/)
      const gone = before.filter((key) => key.startsWith(idOf(names[3])))
      expect(await keysAt(bucket)).toEqual(before.filter((key) => !gone.includes(key)))
      await bucket.close()
    },
  )

  test('is asked a few questions for each backup that is to go, and none where nothing is', async () => {
    const locks = new Map<string, ObjectLock>()
    await open({protection: {keepsVersions: true}, locks})
    await prune(bucket, {keepDays: 365})
    expect([asked('protection'), asked('lock')]).toEqual([0, 0])
    for (const name of names) locks.set(manifestName(name), retention)
    await prune(bucket, {keepDays: 30})
    expect([asked('protection'), asked('lock')]).toEqual([1, 4])
    locks.clear()
    await prune(bucket, {keepDays: 30})
    expect([asked('protection'), asked('lock')]).toEqual([2, 4 + 3 * 3 + 7])
    await bucket.close()
  })
})

needs('s3', missingCeph())('S3 (Ceph)', () => {
  let server: S3Server
  let admin: S3Client
  const opened: StorageProvider[] = []
  beforeAll(async () => {
    server = await sharedS3Server()
    const {endpoint, region, accessKeyId, secretAccessKey} = server
    const credentials = {accessKeyId, secretAccessKey}
    admin = new S3Client({endpoint, region, credentials, forcePathStyle: true})
  })
  afterAll(async () => {
    for (const one of opened) await one.close()
    admin?.destroy()
  })

  async function open(bucket: string, user: Partial<S3Server> = {}): Promise<StorageProvider> {
    const client = await s3Client({...server, ...user}, bucket)
    const storage = new ObjectStorage(client, {prefix: 'backups', retryForMs: request.retryForMs})
    opened.push(storage)
    return storage
  }
  const nameOf = (bucket: string, key: string) => ({Bucket: bucket, Key: `backups/${key}`})
  const lock = (bucket: string, key: string, until: Date, mode: 'GOVERNANCE' | 'COMPLIANCE' = 'GOVERNANCE') =>
    admin.send(
      new PutObjectRetentionCommand({
        ...nameOf(bucket, key),
        Retention: {Mode: mode, RetainUntilDate: until},
        BypassGovernanceRetention: true,
      }),
    )

  test('locked and held backups stay in the listing; what goes lies on as an older version', async () => {
    const bucket = await server.makeBucket(undefined, {objectLock: true})
    const at = await open(bucket)
    const names: string[] = []
    for (const days of [1, 40, 41, 42, 43]) names.push(await store(at, {at: daysAgo(days)}))
    await lock(bucket, manifestName(names[1]), nextYear)
    const hold = {LegalHold: {Status: 'ON'}} as const
    await admin.send(new PutObjectLegalHoldCommand({...nameOf(bucket, names[2]), ...hold}))
    const released = {LegalHold: {Status: 'OFF'}} as const
    await admin.send(new PutObjectLegalHoldCommand({...nameOf(bucket, names[3]), ...released}))
    const result = await prune(at, {keepDays: 30})
    expect(result).toMatchObject({
      kept: [{name: names[0]}, {name: names[1]}, {name: names[2]}],
      removed: [{name: names[3]}, {name: names[4]}],
      locked: [
        {
          name: names[1],
          until: expect.stringMatching(/Z$/),
          reason: expect.stringContaining('retention GOVERNANCE'),
        },
        {name: names[2], until: null, reason: expect.stringContaining('legal hold')},
      ],
      failed: [],
      warnings: [],
      keepsVersions: [`s3://${bucket}/backups`],
    })
    expect((await backupsAt(at)).whole).toEqual(names.slice(0, 3).sort())
  })

  test('a bucket with versions and without locks is told of; one without either is not', async () => {
    const [plain, versioned] = [await server.makeBucket(), await server.makeBucket()]
    await admin.send(
      new PutBucketVersioningCommand({
        Bucket: versioned,
        VersioningConfiguration: {Status: 'Enabled'},
      }),
    )
    for (const bucket of [plain, versioned]) {
      const at = await open(bucket)
      for (const days of [1, 40]) await store(at, {at: daysAgo(days)})
      const {removed, keepsVersions, warnings, locked} = await prune(at, {keepDays: 30})
      expect([removed.length, keepsVersions.length, warnings, locked]).toEqual([
        1,
        bucket === versioned ? 1 : 0,
        [],
        [],
      ])
    }
  })

  test('who may not ask is warned, and prunes', async () => {
    const bucket = await server.makeBucket(undefined, {objectLock: true})
    const user = await server.newUser()
    const Principal = {AWS: [`arn:aws:iam:::user/${user.uid}`]}
    const Resource = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`]
    const Action = ['s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:ListBucket']
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{Effect: 'Allow', Principal, Resource, Action}],
    })
    await admin.send(new PutBucketPolicyCommand({Bucket: bucket, Policy}))
    const owner = await open(bucket) // who may ask about its own objects
    const names: string[] = []
    for (const days of [1, 40]) names.push(await store(owner, {at: daysAgo(days)}))
    const {removed, failed, warnings} = await prune(await open(bucket, user), {keepDays: 30})
    expect([removed.map(({name}) => name), failed]).toEqual([[names[1]], []])
    expect(warnings.map(({message}) => /s3:Get\w+/.exec(message)?.[0])).toEqual([
      's3:GetBucketVersioning',
      's3:GetObjectRetention',
    ])
  })

  test('a lock that has ended holds nothing', async () => {
    const bucket = await server.makeBucket(undefined, {objectLock: true})
    const at = await open(bucket)
    const names: string[] = []
    for (const days of [1, 40]) names.push(await store(at, {at: daysAgo(days)}))
    const end = Date.now() + 15_000
    await lock(bucket, names[1], new Date(end))
    expect((await prune(at, {keepDays: 30})).locked).toMatchObject([{name: names[1]}])
    await delay(end + 1000 - Date.now())
    expect((await prune(at, {keepDays: 30})).removed).toMatchObject([{name: names[1]}])
    await admin.send(new DeleteObjectCommand(nameOf(bucket, names[1])))
  })
})

describe('Google Cloud Storage', () => {
  let server: GcsServer
  beforeAll(async () => {
    server = await startGcsServer()
  })
  afterAll(() => server.stop())

  async function open(bucket: string): Promise<StorageProvider> {
    const request = {retryForMs: 0, stallMs: 20_000, env: {}}
    const client = await openGcsClient(bucket, {emulator: server.endpoint}, request)
    return new ObjectStorage(client, {prefix: '', retryForMs: 0})
  }

  test('holds and retentions of objects are in its listing', async () => {
    const bucket = server.makeBucket(undefined, {versioning: {enabled: true}})
    const at = await open(bucket)
    const names: string[] = []
    for (const days of [1, 40, 41, 42, 43]) names.push(await store(at, {at: daysAgo(days)}))
    const change = (name: string, attributes: Parameters<typeof server.store.patch>[1]) =>
      server.store.patch(server.store.get(bucket, name), attributes)
    change(names[1], {temporaryHold: true})
    change(manifestName(names[2]), {eventBasedHold: true})
    change(names[3], {retention: {mode: 'Locked', retainUntilTime: nextYear.toISOString()}})
    server.seen.length = 0
    const result = await prune(at, {keepDays: 30})
    expect(result.locked).toMatchObject([
      {name: names[1], until: null, reason: 'locked until somebody ends it (temporary hold)'},
      {name: names[2], until: null, reason: 'locked until somebody ends it (event-based hold)'},
      {name: names[3], until: nextYear.toISOString()},
    ])
    expect(result).toMatchObject({
      removed: [{name: names[4]}],
      failed: [],
      keepsVersions: [`gs://${bucket}`],
    })
    expect((await backupsAt(at)).whole).toEqual(names.slice(0, 4).sort())
    expect(server.seen.filter(({operation}) => operation === 'buckets.get')).toHaveLength(1)
    await at.close()
  })

  test('the retention of a bucket holds, and who may not ask for the bucket is warned', async () => {
    const bucket = server.makeBucket(undefined, {retentionPolicy: {retentionPeriod: '86400'}})
    const at = await open(bucket)
    const names: string[] = []
    for (const days of [1, 40]) names.push(await store(at, {at: daysAgo(days)}))
    server.inject({on: 'buckets.get', do: 'answer', status: 403, reason: 'forbidden', message: 'No.'})
    const {locked, removed, warnings} = await prune(at, {keepDays: 30})
    expect(removed).toEqual([])
    expect(locked).toMatchObject([{name: names[1], until: expect.stringMatching(/Z$/)}])
    expect(warnings).toMatchObject([{message: expect.stringContaining('storage.buckets.get')}])
    await at.close()
  })
})
