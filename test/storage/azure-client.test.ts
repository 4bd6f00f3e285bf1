import {
  BlobServiceClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
  type ContainerClient,
} from '@azure/storage-blob'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {randomBytes, randomUUID} from 'node:crypto'
import {createConnection, createServer, type AddressInfo, type Socket} from 'node:net'
import {buffer} from 'node:stream/consumers'
import {openAzureClient} from '../../src/storage/azure/azure-client.js'
import type {ObjectClient, StoredObject} from '../../src/storage/objects/object-client.js'
import {StoreError} from '../../src/storage/objects/store-error.js'
import type {AzureOptions} from '../../src/storage/objects/store-options.js'
import {missingAzureServer, startAzureServer, type AzureServer} from '../support/azure-server.js'
import {needs} from '../support/needs.js'

const mebibyte = 1024 * 1024
const never = new AbortController().signal
const requestOptions = {retryForMs: 0, stallMs: 30_000, env: {}}
const create = (ifAbsent = true) => ({ifAbsent, token: randomUUID()})
const whole = {start: 0, end: Number.MAX_SAFE_INTEGER - 1, etag: undefined}

/** What needs a server that can be stopped, or one that keeps names as Azure does not. */
const emulated = process.env.DBBAK_TEST_AZURE_CONNECTION_STRING ? describe.skip : describe

needs('azure', missingAzureServer())('an Azure client', () => {
  let server: AzureServer
  let containerName: string
  /** The SDK's own view, for what the client hides. */
  let container: ContainerClient
  let client: ObjectClient
  const opened: ObjectClient[] = []

  async function open(options: Partial<AzureOptions> = {}, stallMs = requestOptions.stallMs) {
    const access = Object.keys(options).length > 0 ? options : {connectionString: server.connectionString}
    const one = await openAzureClient(containerName, access, {...requestOptions, stallMs})
    opened.push(one)
    return one
  }

  beforeAll(async () => {
    server = await startAzureServer()
  })
  beforeEach(async () => {
    containerName = await server.makeContainer()
    container = BlobServiceClient.fromConnectionString(server.connectionString).getContainerClient(
      containerName,
    )
    client = await open()
  })
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
  })
  afterAll(() => server.stop())

  async function read(
    name: string,
    range: {start?: number; end?: number; etag?: string} = {},
    from = client,
  ) {
    return buffer((await from.get(name, {...whole, ...range}, never)).body)
  }

  async function list(prefix = '', from = client): Promise<StoredObject[]> {
    const objects: StoredObject[] = []
    for (let next: string | undefined, first = true; first || next !== undefined; first = false) {
      const page = await from.list(prefix, next, never)
      objects.push(...page.objects)
      next = page.next
    }
    return objects
  }

  /** Everything that is there, uncommitted blocks and discarded blobs as well. */
  async function everything(): Promise<string[]> {
    const names: string[] = []
    for await (const {name} of container.listBlobsFlat({includeUncommitedBlobs: true})) names.push(name)
    return names
  }

  async function stage(name: string, parts: Buffer[], options = create(), by = client) {
    const upload = await by.startUpload(name, options, never)
    let offset = 0
    for (const [index, bytes] of parts.entries()) {
      await upload.part({number: index + 1, offset, bytes, last: index === parts.length - 1}, never)
      offset += bytes.length
    }
    return upload
  }

  describe('put, head, get, list and remove', () => {
    test('tell the same of an object', async () => {
      const options = create()
      const put = await client.put('a/b', Buffer.from('hello'), options, never)
      expect(put).toMatchObject({name: 'a/b', size: 5, etag: expect.stringMatching(/^".+"$/)})
      expect(await client.head('a/b', never)).toEqual({...put, token: options.token})
      expect(await list()).toEqual([put])
      const {body, size, etag} = await client.get('a/b', whole, never)
      expect([(await buffer(body)).toString(), size, etag]).toEqual(['hello', 5, put.etag])
      await client.remove('a/b', never)
      expect(await list()).toEqual([])
    })

    test('a missing object', async () => {
      expect(await client.head('x', never)).toBeUndefined()
      await expect(read('x')).rejects.toMatchObject({name: 'StoreError', trouble: 'missing'})
      await expect(client.remove('x', never)).resolves.toBeUndefined()
      expect(await client.unfinished('x', never)).toBeUndefined()
      await expect(client.discardUnfinished('x', never)).resolves.toBeUndefined()
    })

    test('ranges, also beyond the end', async () => {
      await client.put('x', Buffer.from('0123456789'), create(), never)
      expect((await read('x', {start: 2, end: 4})).toString()).toBe('234')
      expect((await read('x', {start: 7, end: 700})).toString()).toBe('789')
      const {size} = await client.get('x', {start: 3, end: 3, etag: undefined}, never)
      expect(size).toBe(10)
      await expect(read('x', {start: 10, end: 20})).rejects.toMatchObject({trouble: 'beyond-end', size: 10})
      await client.put('empty', Buffer.alloc(0), create(), never)
      await expect(read('empty')).rejects.toMatchObject({trouble: 'beyond-end', size: 0})
    })

    test('a range of an object that was replaced is refused', async () => {
      const {etag} = await client.put('x', Buffer.from('old'), create(), never)
      expect((await read('x', {etag})).toString()).toBe('old')
      await client.put('x', Buffer.from('new'), create(false), never)
      await expect(read('x', {etag})).rejects.toMatchObject({trouble: 'changed'})
    })

    test('a taken name is refused, and replaced only when that was asked for', async () => {
      await client.put('x', Buffer.from('first'), create(), never)
      await expect(client.put('x', Buffer.from('second'), create(), never)).rejects.toMatchObject({
        trouble: 'exists',
      })
      expect((await read('x')).toString()).toBe('first')
      await client.put('x', Buffer.from('third'), create(false), never)
      expect((await read('x')).toString()).toBe('third')
    })

    test('of eight puts of one name one wins', async () => {
      const puts = Array.from({length: 8}, (_, index) =>
        client.put('x', Buffer.alloc(100_000, index), create(), never),
      )
      const results = await Promise.allSettled(puts)
      const [winner, ...others] = results.flatMap(({status}, index) =>
        status === 'fulfilled' ? [index] : [],
      )
      expect(others).toEqual([])
      for (const result of results)
        if (result.status === 'rejected') expect(result.reason).toMatchObject({trouble: 'exists'})
      expect((await read('x')).equals(Buffer.alloc(100_000, winner))).toBe(true)
    })

    test('the tier is what was asked for', async () => {
      const cool = await open({connectionString: server.connectionString, tier: 'Cool'})
      await cool.put('put', Buffer.from('x'), create(), never)
      await (await stage('parts', [Buffer.from('x')], create(), cool)).complete(never)
      for (const name of ['put', 'parts'])
        expect((await container.getBlobClient(name).getProperties()).accessTier).toBe('Cool')
    })

    test('what is read often is not put into the archive tier', async () => {
      const archiving = await open({connectionString: server.connectionString, tier: 'Archive'})
      await archiving.put('often', Buffer.from('x'), {...create(), readOften: true}, never)
      await archiving.put('seldom', Buffer.from('x'), create(), never)
      expect((await read('often')).toString()).toBe('x')
      await expect(read('seldom')).rejects.toMatchObject({trouble: 'failed'})
    })

    test('an archived object says how to get it back', async () => {
      await client.put('x', Buffer.from('x'), create(), never)
      await container.getBlobClient('x').setAccessTier('Archive')
      const failure = await read('x').catch((error: unknown) => error)
      expect(failure).toMatchObject({trouble: 'failed', message: expect.stringContaining('BlobArchived')})
      expect((failure as StoreError).suggestions.join()).toContain('az storage blob set-tier')
    })

    test('an object on which there is a lease stays', async () => {
      await client.put('x', Buffer.from('x'), create(), never)
      const lease = container.getBlobClient('x').getBlobLeaseClient()
      await lease.acquireLease(-1)
      await expect(client.remove('x', never)).rejects.toMatchObject({trouble: 'locked'})
      await lease.releaseLease()
    })

    test('more objects than a page holds are listed once each, discarded ones not at all', async () => {
      const names = Array.from({length: 10}, (_, index) => `many/${index}`)
      for (const name of names) await client.put(name, Buffer.from('x'), create(), never)
      for (const index of [2, 3, 4, 5])
        await container
          .getBlockBlobClient(`many/${index}`)
          .upload('', 0, {metadata: {dbbakdiscarded: 'true'}})
      const access = {connectionString: server.connectionString}
      const paging = await openAzureClient(containerName, access, requestOptions, 3)
      opened.push(paging)
      expect((await paging.list('many/', undefined, never)).objects).toHaveLength(2)
      expect((await list('many/', paging)).map(({name}) => name)).toEqual(
        [0, 1, 6, 7, 8, 9].map((index) => `many/${index}`),
      )
    })
  })

  describe('names', () => {
    const comesBack = async (name: string) => {
      await client.put(name, Buffer.from('put'), create(), never)
      expect(await client.head(name, never)).toMatchObject({name})
      expect((await read(name)).toString()).toBe('put')
      expect((await list()).map((object) => object.name)).toEqual([name])
      expect((await list(name)).map((object) => object.name)).toEqual([name])
      await client.remove(name, never)
      expect(await everything()).toEqual([])
      const upload = await stage(name, [Buffer.from('in '), Buffer.from('parts')])
      expect(await client.unfinished(name, never)).toMatchObject({size: 8})
      await upload.complete(never)
      expect((await read(name)).toString()).toBe('in parts')
      await client.remove(name, never)
      expect(await everything()).toEqual([])
    }

    test.each([
      'with space',
      ' at the ends ',
      'a+b&c=d%20e#f?g;h,i@j:k',
      '%2e%2e/%2F/%',
      'grüße/файл/ファイル-😀',
      'e\u0301 \u00e9',
      'quote\'"`$(id);|<>*',
      '.hidden/~',
      `${'l'.repeat(255)}/${'l'.repeat(255)}`,
    ])('%j comes back as it was', comesBack)

    emulated('with dots at the end of a part', () => {
      test.each(['..a/b..', '...', 'dots./in./the middle', 'trailing.'])('%j comes back as it was', comesBack)
    })

    test.each(['..', '../x', 'a/../../other/x', './a', 'a/.'])(
      '%j, which a URL would lose, leads nowhere',
      async (name) => {
        const refusal = {trouble: 'failed'}
        await expect(client.put(name, Buffer.from('x'), create(), never)).rejects.toMatchObject(refusal)
        await expect(client.startUpload(name, create(), never)).rejects.toMatchObject(refusal)
        expect(await client.head(name, never).catch(() => undefined)).toBeUndefined()
        await expect(read(name)).rejects.toThrow(StoreError)
        await client.remove(name, never).catch(() => {})
        expect(await everything()).toEqual([])
      },
    )

    emulated('behind a server that drops dots at the end, as Azure does', () => {
      test('nothing is trusted to a name that has some', async () => {
        const proxy = await startProxy(server.port!, {
          toServer: (chunk) => replaceText(chunk, /^([A-Z]+ \/[^ ?]+?)\.+([ ?])/gm, '$1$2'),
        })
        // The signature covers the path, so only a SAS lets the changed one through.
        const dropping = await open(sasThrough(proxy))
        await client.put('shop', Buffer.from('precious'), create(), never)
        for (const name of ['shop.', 'shop..']) {
          await expect(dropping.put(name, Buffer.from('x'), create(false), never)).rejects.toMatchObject({
            trouble: 'failed',
            message: expect.stringContaining('dot'),
          })
          await expect(dropping.startUpload(name, create(), never)).rejects.toMatchObject({trouble: 'failed'})
          expect(await dropping.head(name, never)).toBeUndefined()
          await expect(read(name, {}, dropping)).rejects.toMatchObject({trouble: 'missing'})
          expect(await dropping.unfinished(name, never)).toBeUndefined()
          await dropping.discardUnfinished(name, never)
          await dropping.remove(name, never)
        }
        expect(await everything()).toEqual(['shop'])
        expect((await read('shop')).toString()).toBe('precious')
        await proxy.close()
      })
    })

    function sasThrough(proxy: Proxy): AzureOptions {
      return {...sasOptions('racwdl'), endpoint: `http://127.0.0.1:${proxy.port}/${server.account}`}
    }
  })

  describe('an upload in parts', () => {
    test('is invisible until it is complete, whatever the order of its parts', async () => {
      const bytes = randomBytes(3 * mebibyte + 5)
      const options = create()
      const upload = await client.startUpload('x', options, never)
      const parts = [0, 1, 2, 3].map((index) => ({
        number: index + 1,
        offset: index * mebibyte,
        bytes: bytes.subarray(index * mebibyte, (index + 1) * mebibyte),
        last: index === 3,
      }))
      for (const part of parts.toReversed()) await upload.part(part, never)
      expect(await client.head('x', never)).toBeUndefined()
      expect(await list()).toEqual([])
      await expect(read('x')).rejects.toMatchObject({trouble: 'missing'})
      const before = Date.now()
      const unfinished = await client.unfinished('x', never)
      expect(unfinished?.size).toBe(bytes.length)
      expect(Math.abs(unfinished!.activeAt!.getTime() - before)).toBeLessThan(60_000)
      const stored = await upload.complete(never)
      expect(stored).toMatchObject({name: 'x', size: bytes.length})
      expect(await client.head('x', never)).toEqual({...stored, token: options.token})
      expect((await read('x')).equals(bytes)).toBe(true)
      expect(await client.unfinished('x', never)).toBeUndefined()
    })

    test('of nothing gives an empty object', async () => {
      const upload = await stage('none', [])
      expect(await upload.complete(never)).toMatchObject({size: 0})
      const empty = await stage('empty', [Buffer.alloc(0)])
      expect(await empty.complete(never)).toMatchObject({size: 0})
      expect((await list()).map(({name, size}) => [name, size])).toEqual([
        ['empty', 0],
        ['none', 0],
      ])
    })

    test('takes a part again, and completes again', async () => {
      const upload = await stage('x', [Buffer.from('one '), Buffer.from('two')])
      await upload.part({number: 1, offset: 0, bytes: Buffer.from('one '), last: false}, never)
      const stored = await upload.complete(never)
      expect(await upload.complete(never)).toMatchObject(stored)
      expect((await read('x')).toString()).toBe('one two')
      const replacing = await stage('x', [Buffer.from('three')], create(false))
      await replacing.complete(never)
      expect(await replacing.complete(never)).toMatchObject({size: 5})
      expect((await read('x')).toString()).toBe('three')
    })

    test('of which a part was never sent is not completed', async () => {
      const upload = await client.startUpload('x', create(), never)
      await upload.part({number: 2, offset: mebibyte, bytes: Buffer.from('x'), last: true}, never)
      await expect(upload.complete(never)).rejects.toMatchObject({trouble: 'failed'})
      expect(await list()).toEqual([])
    })

    emulated('whose answers get lost', () => {
      test('is completed, and told so the next time', async () => {
        let cut = true
        const proxy = await startProxy(server.port!, {
          toClient: (chunk, {asked}) => (cut && asked.includes('comp=blocklist') ? undefined : chunk),
        })
        const lossy = await open({connectionString: through(proxy)})
        const upload = await stage('x', [Buffer.from('hello')], create(), lossy)
        await expect(upload.complete(never)).rejects.toMatchObject({trouble: 'transient'})
        cut = false
        const stored = await upload.complete(never)
        expect(stored).toMatchObject({name: 'x', size: 5})
        expect((await client.head('x', never))?.etag).toBe(stored.etag)
        await proxy.close()
      })
    })

    test('loses to another one that was faster, and changes nothing', async () => {
      const slow = await stage('x', [Buffer.from('slow'), Buffer.from('er')])
      const fast = await stage('x', [Buffer.from('fast')])
      const stored = await fast.complete(never)
      await expect(slow.complete(never)).rejects.toMatchObject({trouble: 'exists'})
      await slow.abort(never)
      expect(await client.head('x', never)).toMatchObject({etag: stored.etag})
      expect((await read('x')).toString()).toBe('fast')
      expect(await client.unfinished('x', never)).toBeUndefined()
    })

    test('is gone when its blocks were dropped', async () => {
      const upload = await stage('x', [Buffer.from('hello')])
      await client.discardUnfinished('x', never)
      expect(await everything()).toEqual([])
      await expect(upload.complete(never)).rejects.toMatchObject({trouble: 'gone'})
      const replacing = await stage('y', [Buffer.from('hello')], create(false))
      await (await stage('y', [Buffer.from('other')], create(false))).complete(never)
      await expect(replacing.complete(never)).rejects.toMatchObject({trouble: 'gone'})
      expect((await read('y')).toString()).toBe('other')
    })

    test('leaves nothing when it is aborted, also twice', async () => {
      const upload = await stage('x', [Buffer.from('one'), Buffer.from('two')])
      expect(await everything()).toEqual(['x'])
      await upload.abort(never)
      expect(await everything()).toEqual([])
      await upload.abort(never)
      await (await client.startUpload('y', create(), never)).abort(never)
      expect(await everything()).toEqual([])
      await client.put('x', Buffer.from('free'), create(), never)
    })

    test('leaves the blocks of another writer alone when it is aborted', async () => {
      const given = await stage('x', [Buffer.from('given up')])
      const kept = await stage('x', [Buffer.from('kept')])
      await given.abort(never)
      await kept.complete(never)
      expect((await read('x')).toString()).toBe('kept')
      expect(await client.unfinished('x', never)).toBeUndefined()
    })

    test('that is aborted leaves the object that has the name', async () => {
      const {etag} = await client.put('x', Buffer.from('there'), create(), never)
      const upload = await stage('x', [Buffer.from('new')], create(false))
      await upload.abort(never)
      await client.discardUnfinished('x', never)
      expect(await client.head('x', never)).toMatchObject({etag})
    })

    test('does not stand in the way of a put, nor is it one of a longer name', async () => {
      await stage('x.more', [Buffer.from('other')])
      expect(await client.unfinished('x', never)).toBeUndefined()
      await stage('x', [Buffer.from('left')])
      await client.put('x', Buffer.from('put'), create(), never)
      expect((await read('x')).toString()).toBe('put')
    })
  })

  describe('a blob that was left between dropping blocks and removing it', () => {
    beforeEach(async () => {
      await container.getBlockBlobClient('x').upload('', 0, {metadata: {dbbakdiscarded: 'true'}})
    })

    test('is no object', async () => {
      expect(await client.head('x', never)).toBeUndefined()
      await expect(read('x')).rejects.toMatchObject({trouble: 'missing'})
      expect(await list()).toEqual([])
    })

    test('does not keep anybody from using the name', async () => {
      await client.put('x', Buffer.from('put'), create(), never)
      expect((await read('x')).toString()).toBe('put')
      await container.getBlockBlobClient('y').upload('', 0, {metadata: {dbbakdiscarded: 'true'}})
      await (await stage('y', [Buffer.from('parts')])).complete(never)
      expect((await read('y')).toString()).toBe('parts')
    })

    test('is told of as an unfinished upload, and removed with it', async () => {
      expect(await client.unfinished('x', never)).toMatchObject({size: 0})
      await client.discardUnfinished('x', never)
      expect(await everything()).toEqual([])
    })

    test('of two puts over it one wins', async () => {
      const puts = [1, 2, 3].map((index) => client.put('x', Buffer.alloc(9, index), create(), never))
      const results = await Promise.allSettled(puts)
      expect(results.filter(({status}) => status === 'fulfilled')).toHaveLength(1)
      for (const result of results)
        if (result.status === 'rejected') expect(result.reason).toMatchObject({trouble: 'exists'})
    })
  })

  emulated('a bad connection', () => {
    test('bytes damaged on the way are refused by the store, and nothing is stored', async () => {
      const proxy = await startProxy(server.port!, {
        toServer: (chunk) => replaceText(chunk, /precious/g, 'PRECIOUS'),
      })
      const damaged = await open({connectionString: through(proxy)})
      await expect(damaged.put('x', Buffer.from('precious'), create(), never)).rejects.toMatchObject({
        trouble: 'transient',
        message: expect.stringContaining('Md5Mismatch'),
      })
      const upload = await damaged.startUpload('x', create(), never)
      const part = {number: 1, offset: 0, bytes: Buffer.from('precious'), last: true}
      await expect(upload.part(part, never)).rejects.toMatchObject({trouble: 'transient'})
      await proxy.close()
      expect(await everything()).toEqual([])
    })

    test('a body that breaks off fails, and never ends as if it were whole', async () => {
      const bytes = randomBytes(2 * mebibyte)
      await client.put('x', bytes, create(), never)
      const proxy = await startProxy(server.port!, {
        toClient: (chunk, {answered}) => (answered < mebibyte ? chunk : undefined),
      })
      const cutting = await open({connectionString: through(proxy)})
      const {body, size} = await cutting.get('x', whole, never)
      expect(size).toBe(bytes.length)
      const failure = await buffer(body).catch((error: unknown) => error)
      expect(failure).toMatchObject({code: 'ECONNRESET'})
      expect(cutting.explain(failure)).toMatchObject({trouble: 'transient'})
      await proxy.close()
    })

    test('a silent store is given up after a while', async () => {
      const impatient = await open({connectionString: server.connectionString}, 1000)
      await impatient.put('x', Buffer.from('x'), create(), never)
      server.pause()
      try {
        await expect(impatient.head('x', never)).rejects.toMatchObject({trouble: 'transient'})
        await expect(impatient.put('y', Buffer.alloc(8 * mebibyte), create(), never)).rejects.toMatchObject({
          trouble: 'transient',
        })
      } finally {
        server.resume()
      }
      expect(await impatient.head('x', never)).toBeDefined()
    })

    test('an abort ends every request with its reason', async () => {
      const upload = await stage('x', [Buffer.from('x')])
      server.pause()
      try {
        const stop = new AbortController()
        const reason = new Error('stopped by the user')
        const bytes = Buffer.alloc(8 * mebibyte)
        const requests = [
          client.head('x', stop.signal),
          client.get('x', whole, stop.signal),
          client.list('', undefined, stop.signal),
          client.remove('x', stop.signal),
          client.put('y', bytes, create(), stop.signal),
          client.unfinished('x', stop.signal),
          client.discardUnfinished('x', stop.signal),
          upload.part({number: 2, offset: 1, bytes, last: true}, stop.signal),
          upload.complete(stop.signal),
          upload.abort(stop.signal),
        ]
        setTimeout(() => stop.abort(reason), 100)
        for (const result of await Promise.allSettled(requests))
          expect(result).toEqual({status: 'rejected', reason})
        await expect(client.head('x', stop.signal)).rejects.toBe(reason)
      } finally {
        server.resume()
      }
    })

    test('a store that is down, and up again', async () => {
      await server.kill()
      await expect(client.put('x', Buffer.from('x'), create(), never)).rejects.toMatchObject({
        trouble: 'transient',
        message: expect.stringContaining('ECONNREFUSED'),
      })
      await server.restart()
      containerName = await server.makeContainer()
      const again = await open()
      await again.put('x', Buffer.from('x'), create(), never)
      expect(await again.head('x', never)).toMatchObject({size: 1})
    })
  })

  describe('credentials', () => {
    const secrets = /sig=[A-Za-z0-9%]|AccountKey=[A-Za-z0-9]|[A-Za-z0-9+/]{43}=/

    async function troubleOf(options: Partial<AzureOptions>): Promise<StoreError> {
      const failure: unknown = await open(options)
        .then((one) => one.put('x', Buffer.from('x'), create(), never))
        .catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(StoreError)
      const {message, suggestions} = failure as StoreError
      expect([message, ...suggestions].join('\n')).not.toMatch(secrets)
      return failure as StoreError
    }

    test('a wrong key', async () => {
      const wrong = server.connectionString.replace(/AccountKey=[^;]+/, `AccountKey=${'A'.repeat(86)}==`)
      expect(await troubleOf({connectionString: wrong})).toMatchObject({trouble: 'credentials'})
    })

    test('a container that is not there', async () => {
      containerName = 'missing-container'
      const lost = await open()
      const requests = [
        lost.put('x', Buffer.from('x'), create(), never),
        lost.head('x', never),
        lost.get('x', whole, never),
        lost.list('', undefined, never),
        lost.remove('x', never),
        lost.unfinished('x', never),
      ]
      for (const result of await Promise.allSettled(requests))
        expect(result).toMatchObject({status: 'rejected', reason: {trouble: 'missing-bucket'}})
    })

    test('a connection string with a SAS, and a SAS by itself', async () => {
      const {sas, endpoint} = sasOptions('racwdl')
      const connectionString = `BlobEndpoint=${endpoint};SharedAccessSignature=${sas}`
      for (const options of [
        {connectionString},
        {sas: `?${sas}`, endpoint},
        {sas, endpoint, account: 'any'},
      ]) {
        const one = await open(options)
        const upload = await stage('x', [Buffer.from('parts')], create(), one)
        await upload.abort(never)
        await one.put('x', Buffer.from('put'), create(), never)
        expect((await read('x', {}, one)).toString()).toBe('put')
        await one.remove('x', never)
        expect(await everything()).toEqual([])
      }
    })

    test('a SAS that may not write', async () => {
      expect(await troubleOf(sasOptions('rl'))).toMatchObject({trouble: 'denied'})
    })

    test('a SAS that may only add objects adds them, and no more', async () => {
      await client.put('taken', Buffer.from('x'), create(), never)
      const adding = await open(sasOptions('c'))
      await adding.put('x', Buffer.from('x'), create(), never)
      await expect(adding.put('taken', Buffer.from('y'), create(), never)).rejects.toMatchObject({
        trouble: expect.stringMatching(/^(exists|denied)$/), // Azure says the one, its emulator the other
      })
      await expect(adding.remove('x', never)).rejects.toMatchObject({trouble: 'denied'})
      expect((await everything()).sort()).toEqual(['taken', 'x'])
    })

    test('a SAS that has expired', async () => {
      const yesterday = new Date(Date.now() - 86_400_000)
      expect(await troubleOf(sasOptions('racwdl', yesterday))).toMatchObject({trouble: 'credentials'})
    })

    test.each([
      'nonsense',
      'AccountName=a;AccountKey=c2VjcmV0c2VjcmV0',
      'BlobEndpoint=x y;SharedAccessSignature=sv=1',
    ])('a connection string that cannot be read (%s) is not repeated', async (connectionString) => {
      const failure = await troubleOf({connectionString})
      expect([failure.trouble, failure.cause]).toEqual(['credentials', undefined])
      expect(failure.message).toBe('the connection string cannot be read')
      expect(failure.suggestions.join()).toContain('AZURE_STORAGE_CONNECTION_STRING')
    })

    test('no account and no connection string', async () => {
      const failure = await troubleOf({tier: 'Hot'})
      expect(failure.trouble).toBe('credentials')
      expect(failure.suggestions.join()).toMatch(/AZURE_STORAGE_CONNECTION_STRING.*AZURE_STORAGE_ACCOUNT/)
    })

    test.each([
      {account: 'evil.example/'},
      {account: 'a'},
      {endpoint: 'https://x.example/?sig=abc'},
      {endpoint: 'x'},
    ])('an account or endpoint that is none: %j', async (options) => {
      expect(await troubleOf({sas: 'sv=1', ...options})).toMatchObject({trouble: 'credentials'})
    })

    test('an account, and nobody who is signed in, is told soon and shortly', async () => {
      const before = Object.entries(process.env).filter(([name]) => /^(AZURE|MSI|IDENTITY|IMDS)_/.test(name))
      for (const [name] of before) delete process.env[name]
      try {
        const start = Date.now()
        const failure = await troubleOf({account: 'dbbaktestaccount'})
        expect(failure).toMatchObject({trouble: 'credentials'})
        expect(failure.message.length).toBeLessThan(200)
        expect(failure.suggestions.join()).toContain('az login')
        expect(Date.now() - start).toBeLessThan(30_000)
      } finally {
        Object.assign(process.env, Object.fromEntries(before))
      }
    })
  })

  function sasOptions(permissions: string, expiresOn = new Date(Date.now() + 3_600_000)) {
    const [, key] = /AccountKey=([^;]+)/.exec(server.connectionString)!
    const [, endpoint] = /BlobEndpoint=([^;]+)/.exec(server.connectionString) ?? []
    const sas = generateBlobSASQueryParameters(
      {
        containerName,
        permissions: ContainerSASPermissions.parse(permissions),
        startsOn: new Date(expiresOn.getTime() - 7_200_000),
        expiresOn,
      },
      new StorageSharedKeyCredential(server.account, key),
    ).toString()
    return {sas, endpoint: endpoint ?? `https://${server.account}.blob.core.windows.net`}
  }

  const through = (proxy: Proxy) => server.connectionString.replace(`:${server.port}/`, `:${proxy.port}/`)
})

interface Exchange {
  /** What the client said last. */
  asked: string
  /** Bytes of all answers of the connection so far. */
  answered: number
}

interface Tampering {
  toServer?(chunk: Buffer): Buffer
  /** Undefined cuts the connection. */
  toClient?(chunk: Buffer, exchange: Exchange): Buffer | undefined
}

interface Proxy {
  port: number
  close(): Promise<void>
}

/** Passes bytes on to a server and back, changed or not at all. */
async function startProxy(serverPort: number, tampering: Tampering): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = createConnection(serverPort, '127.0.0.1')
    const exchange: Exchange = {asked: '', answered: 0}
    const end = () => [client, upstream].forEach((socket) => socket.destroy())
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', end).on('close', end)
    }
    client.on('data', (chunk: Buffer) => {
      exchange.asked = chunk.toString('latin1')
      upstream.write(tampering.toServer?.(chunk) ?? chunk)
    })
    upstream.on('data', (chunk: Buffer) => {
      const passed = tampering.toClient ? tampering.toClient(chunk, exchange) : chunk
      exchange.answered += chunk.length
      if (passed) client.write(passed)
      else end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Leaves bytes that are no text as they are. */
function replaceText(chunk: Buffer, pattern: RegExp, replacement: string): Buffer {
  return Buffer.from(chunk.toString('latin1').replace(pattern, replacement), 'latin1')
}
