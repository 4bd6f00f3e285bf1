import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {createHash, randomBytes} from 'node:crypto'
import {gzipSync} from 'node:zlib'
import {crc32c} from '../support/gcs-server/checksums.js'
import {startGcsServer, startGcsServerProcess, type GcsServer} from '../support/gcs-server/index.js'

// Each sentence is one of cloud.google.com/storage/docs (json_api, performing-resumable-uploads, resumable-uploads,
// uploading-objects, request-preconditions, object-lock, transcoding), not one that our client happens to need.
let server: GcsServer
let bucket: string
const kib256 = 256 * 1024

beforeAll(async () => {
  server = await startGcsServer()
})
beforeEach(() => {
  bucket = server.makeBucket()
  server.clearFaults()
})
afterAll(() => server.stop())

interface Options {
  headers?: Record<string, string>
  body?: string | Buffer
}

/** Whatever JSON came. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = any
type Answer = Omit<Response, 'json'> & {json(): Promise<Json>}

function ask(method: string, path: string, {headers, body}: Options = {}): Promise<Answer> {
  const url = path.startsWith('http') ? path : `${server.endpoint}${path}`
  return fetch(url, {method, headers, body: body as string, redirect: 'manual'})
}

const objectPath = (name: string) => `/storage/v1/b/${bucket}/o/${encodeURIComponent(name)}`
const media = (name: string, body: string | Buffer, query = '', headers: Record<string, string> = {}) =>
  ask('POST', `/upload/storage/v1/b/${bucket}/o?uploadType=media&name=${encodeURIComponent(name)}${query}`, {
    body,
    headers: {'content-type': 'text/plain', ...headers},
  })
const resource = async (name: string) =>
  (await (await ask('GET', objectPath(name))).json()) as Record<string, string>
const textOf = async (name: string) => (await ask('GET', `${objectPath(name)}?alt=media`)).text()
const reason = async (response: Answer) => (await response.json()).error.errors[0].reason as string

function related(metadata: object, content: Buffer | string): Options {
  const head = `--b o\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n${JSON.stringify(metadata)}\r\n--b o\r\n`
  const body = Buffer.concat([
    Buffer.from(`${head}Content-Type: image/jpeg\r\n\r\n`),
    Buffer.from(content),
    Buffer.from('\r\n--b o--'),
  ])
  return {body, headers: {'content-type': 'multipart/related; boundary="b o"'}}
}
const multipart = (metadata: object, content: Buffer | string, query = '') =>
  ask('POST', `/upload/storage/v1/b/${bucket}/o?uploadType=multipart${query}`, related(metadata, content))

async function session(name: string, query = '', options: Options = {}): Promise<string> {
  const path = `/upload/storage/v1/b/${bucket}/o?uploadType=resumable&name=${name}${query}`
  const response = await ask('POST', path, options)
  expect(response.status).toBe(200)
  return response.headers.get('location')!
}
const chunk = (
  uri: string,
  range: string,
  body: string | Buffer = '',
  headers: Record<string, string> = {},
) => ask('PUT', uri, {body, headers: {'content-range': `bytes ${range}`, ...headers}})

describe('checksums', () => {
  test('CRC32C is that of the published test vectors, in pieces too', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
    expect(crc32c(Buffer.from('6789'), crc32c(Buffer.from('12345')))).toBe(0xe3069283)
  })
})

describe('simple and multipart uploads', () => {
  test('a media upload makes an object named by the query, of the Content-Type', async () => {
    const response = await media('folder/a b', 'content')
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      kind: 'storage#object',
      name: 'folder/a b',
      bucket,
      size: '7',
      contentType: 'text/plain',
      storageClass: 'STANDARD',
      metageneration: '1',
      md5Hash: createHash('md5').update('content').digest('base64'),
    })
    expect(await textOf('folder/a b')).toBe('content')
  })

  test('a multipart upload takes metadata and content in one request', async () => {
    const content = Buffer.concat([randomBytes(700_000), Buffer.from('\r\n--b'), randomBytes(700_000)])
    const response = await multipart({name: 'x', metadata: {color: 'red'}, storageClass: 'NEARLINE'}, content)
    const stored = (await response.json()) as object
    expect(stored).toMatchObject({
      name: 'x',
      metadata: {color: 'red'},
      storageClass: 'NEARLINE',
      contentType: 'image/jpeg',
    })
    const read = await (await ask('GET', `${objectPath('x')}?alt=media`)).arrayBuffer()
    expect(Buffer.from(read).equals(content)).toBe(true)
  })

  test('a crc32c or md5Hash in the metadata that is not that of the content is refused with 400, and nothing is stored', async () => {
    for (const wrong of [{crc32c: 'AAAAAA=='}, {md5Hash: '1B2M2Y8AsgTpgAmY7PhCfg=='}]) {
      const response = await multipart({name: 'x', ...wrong}, 'content')
      expect(response.status).toBe(400)
      expect(await reason(response)).toBe('invalid')
    }
    expect((await ask('GET', objectPath('x'))).status).toBe(404)
    const right = {crc32c: (await (await media('y', 'content')).json()).crc32c as string}
    expect((await multipart({name: 'x', ...right}, 'content')).status).toBe(200)
  })

  test('a wrong X-Goog-Hash is refused with 400', async () => {
    expect((await media('x', 'content', '', {'x-goog-hash': 'crc32c=AAAAAA=='})).status).toBe(400)
    expect(
      (await media('x', '', '', {'x-goog-hash': 'crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg=='})).status,
    ).toBe(200)
  })

  test('an upload replaces an existing object, which gets a new generation', async () => {
    const first = await (await media('x', 'first')).json()
    const second = await (await media('x', 'second')).json()
    expect(second.generation).not.toBe(first.generation)
    expect(await textOf('x')).toBe('second')
  })

  test('kmsKeyName, customTime and storageClass are kept; a malformed key or class is refused', async () => {
    const key = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'
    const customTime = '2026-01-02T03:04:05Z'
    await multipart({name: 'x', customTime, storageClass: 'ARCHIVE'}, 'c', `&kmsKeyName=${key}`)
    expect(await resource('x')).toMatchObject({
      kmsKeyName: `${key}/cryptoKeyVersions/1`,
      customTime,
      storageClass: 'ARCHIVE',
    })
    expect((await media('y', 'c', '&kmsKeyName=k')).status).toBe(400)
    expect((await multipart({name: 'y', storageClass: 'COLD'}, 'c')).status).toBe(400)
  })

  test('names are at most 1,024 bytes of UTF-8, without line breaks, not "." or ".."', async () => {
    for (const name of ['ü'.repeat(513), 'a\nb', '.', '..']) expect((await media(name, 'x')).status).toBe(400)
    expect((await media('ü'.repeat(512), 'x')).status).toBe(200)
  })
})

describe('resumable uploads', () => {
  test('chunks are answered 308 with the range that is persisted, the last one 200 with the object', async () => {
    const content = randomBytes(kib256 * 2 + 10)
    const uri = await session('x')
    const first = await chunk(uri, `0-${kib256 - 1}/*`, content.subarray(0, kib256))
    expect([first.status, first.headers.get('range')]).toEqual([308, `bytes=0-${kib256 - 1}`])
    expect((await ask('GET', objectPath('x'))).status).toBe(404)
    const second = await chunk(uri, `${kib256}-${2 * kib256 - 1}/*`, content.subarray(kib256, 2 * kib256))
    expect(second.headers.get('range')).toBe(`bytes=0-${2 * kib256 - 1}`)
    const last = await chunk(
      uri,
      `${2 * kib256}-${content.length - 1}/${content.length}`,
      content.subarray(2 * kib256),
    )
    expect(last.status).toBe(200)
    expect(await last.json()).toMatchObject({
      name: 'x',
      size: String(content.length),
      md5Hash: createHash('md5').update(content).digest('base64'),
    })
  })

  test('the whole content may come in a single request', async () => {
    expect((await ask('PUT', await session('x'), {body: 'content'})).status).toBe(200)
    expect(await textOf('x')).toBe('content')
  })

  test('a chunk that is no multiple of 256 KiB is persisted up to one; one smaller than 256 KiB is refused', async () => {
    const uri = await session('x')
    const response = await chunk(uri, `0-${kib256 + 99}/*`, Buffer.alloc(kib256 + 100))
    expect([response.status, response.headers.get('range')]).toEqual([308, `bytes=0-${kib256 - 1}`])
    expect((await chunk(uri, `${kib256}-${kib256 + 99}/*`, Buffer.alloc(100))).status).toBe(400)
  })

  test('without a persisted byte there is no Range header', async () => {
    const response = await chunk(await session('x'), '*/*')
    expect([response.status, response.headers.has('range')]).toEqual([308, false])
  })

  test('the status is asked for with bytes */TOTAL or bytes */*', async () => {
    const uri = await session('x')
    await chunk(uri, `0-${kib256 - 1}/*`, Buffer.alloc(kib256))
    for (const range of ['*/*', `*/${kib256 + 5}`]) {
      const response = await chunk(uri, range)
      expect([response.status, response.headers.get('range')]).toEqual([308, `bytes=0-${kib256 - 1}`])
    }
  })

  test('the total alone ends an upload of which everything is persisted, an empty one too', async () => {
    const uri = await session('x')
    await chunk(uri, `0-${kib256 - 1}/*`, Buffer.alloc(kib256))
    expect((await chunk(uri, `*/${kib256}`)).status).toBe(200)
    expect((await chunk(await session('empty'), '*/0')).status).toBe(200)
    expect(await resource('empty')).toMatchObject({size: '0', crc32c: 'AAAAAA=='})
  })

  test('a completed session answers a status check with 200 and the object', async () => {
    const uri = await session('x')
    await chunk(uri, '0-6/7', 'content')
    const response = await chunk(uri, '*/7')
    expect([response.status, (await response.json()).name]).toEqual([200, 'x'])
  })

  test('bytes that were persisted already are ignored when they are sent again', async () => {
    const content = randomBytes(kib256 * 2)
    const uri = await session('x')
    await chunk(uri, `0-${kib256 - 1}/*`, content.subarray(0, kib256))
    expect((await chunk(uri, `0-${content.length - 1}/${content.length}`, content)).status).toBe(200)
    expect((await resource('x')).md5Hash).toBe(createHash('md5').update(content).digest('base64'))
  })

  test('an offset beyond what is persisted is answered 503', async () => {
    const response = await chunk(await session('x'), '262144-524287/*', Buffer.alloc(kib256))
    expect(response.status).toBe(503)
    expect(await response.text()).toMatch(/exceeds already uploaded size of 0 byte/)
  })

  test('a session that is cancelled answers 499, and is gone then', async () => {
    const uri = await session('x')
    expect((await ask('DELETE', uri)).status).toBe(499)
    expect((await chunk(uri, '*/*')).status).toBe(410)
    expect((await ask('DELETE', uri)).status).toBe(410)
  })

  test('an expired session is answered 410 or 404', async () => {
    for (const status of [404, 410]) {
      const uri = await session('x')
      server.sessions.forgetAll(status)
      expect((await chunk(uri, '0-6/7', 'content')).status).toBe(status)
    }
  })

  test('preconditions hold when the session begins and when the object is made', async () => {
    const uri = await session('x', '&ifGenerationMatch=0')
    await media('x', 'other')
    expect((await chunk(uri, '0-6/7', 'content')).status).toBe(412)
    expect(await textOf('x')).toBe('other')
    const path = `/upload/storage/v1/b/${bucket}/o?uploadType=resumable&name=x&ifGenerationMatch=0`
    expect((await ask('POST', path)).status).toBe(412)
  })

  test('checksums of the metadata, or of X-Goog-Hash with the last request, are compared', async () => {
    const described = {headers: {'content-type': 'application/json'}, body: '{"crc32c": "AAAAAA=="}'}
    expect((await chunk(await session('x', '', described), '0-6/7', 'content')).status).toBe(400)
    const uri = await session('x')
    expect((await chunk(uri, '0-6/7', 'content', {'x-goog-hash': 'crc32c=AAAAAA=='})).status).toBe(400)
    expect((await ask('GET', objectPath('x'))).status).toBe(404)
  })

  test('a total that differs from X-Upload-Content-Length is refused', async () => {
    const uri = await session('x', '', {headers: {'x-upload-content-length': '9'}})
    expect((await chunk(uri, '0-6/7', 'content')).status).toBe(400)
  })

  test('metadata of the first request is that of the object', async () => {
    const body = JSON.stringify({contentType: 'image/png', metadata: {a: 'b'}})
    const uri = await session('x', '', {body, headers: {'content-type': 'application/json'}})
    await chunk(uri, '0-6/7', 'content')
    expect(await resource('x')).toMatchObject({contentType: 'image/png', metadata: {a: 'b'}})
  })

  test('a connection that breaks within a chunk leaves what had arrived, in whole blocks', async () => {
    const uri = await session('x')
    server.inject({on: 'session.chunk', do: 'break-off', bytes: kib256 * 2})
    await expect(chunk(uri, `0-${kib256 * 4 - 1}/*`, Buffer.alloc(kib256 * 4))).rejects.toThrow()
    expect((await chunk(uri, '*/*')).headers.get('range')).toBe(`bytes=0-${kib256 * 2 - 1}`)
  })
})

describe('reading', () => {
  test('alt=media gives the content with its hash, generation and ETag', async () => {
    const {generation, crc32c: crc, md5Hash} = await (await media('x', 'content')).json()
    for (const path of [
      `${objectPath('x')}?alt=media`,
      `/download${objectPath('x')}?alt=media`,
      `/b/${bucket}/o/x?alt=media`,
    ]) {
      const response = await ask('GET', path)
      expect(await response.text()).toBe('content')
      expect(response.headers.get('x-goog-hash')).toBe(`crc32c=${crc},md5=${md5Hash}`)
      expect(response.headers.get('x-goog-generation')).toBe(generation)
      expect(response.headers.get('etag')).not.toBeNull()
    }
  })

  test.each([
    ['bytes=2-4', 206, 'nte', 'bytes 2-4/7'],
    ['bytes=5-', 206, 'nt', 'bytes 5-6/7'],
    ['bytes=5-100', 206, 'nt', 'bytes 5-6/7'],
    ['bytes=-3', 206, 'ent', 'bytes 4-6/7'],
    ['nonsense', 200, 'content', null],
  ])('a range %s gives %d', async (range, status, text, contentRange) => {
    await media('x', 'content')
    const response = await ask('GET', `${objectPath('x')}?alt=media`, {headers: {range}})
    expect([response.status, await response.text(), response.headers.get('content-range')]).toEqual([
      status,
      text,
      contentRange,
    ])
  })

  test('a range beyond the end is answered 416 with the size', async () => {
    await media('x', 'content')
    const response = await ask('GET', `${objectPath('x')}?alt=media`, {headers: {range: 'bytes=7-'}})
    expect([response.status, response.headers.get('content-range')]).toEqual([416, 'bytes */7'])
  })

  test('gzip content is unpacked for who does not accept gzip', async () => {
    await multipart({name: 'x', contentEncoding: 'gzip'}, gzipSync('content'))
    const unpacked = await ask('GET', `${objectPath('x')}?alt=media`, {
      headers: {'accept-encoding': 'identity'},
    })
    expect([await unpacked.text(), unpacked.headers.has('content-encoding')]).toEqual(['content', false])
    const packed = await ask('GET', `${objectPath('x')}?alt=media`, {headers: {'accept-encoding': 'gzip'}})
    expect(packed.headers.get('content-encoding')).toBe('gzip')
  })

  test('fields selects parts of an answer', async () => {
    await media('x', 'content')
    const one = await ask('GET', `${objectPath('x')}?fields=name,size`)
    expect(await one.json()).toEqual({name: 'x', size: '7'})
    const page = await ask('GET', `/storage/v1/b/${bucket}/o?fields=nextPageToken,items(name,size)`)
    expect(await page.json()).toEqual({items: [{name: 'x', size: '7'}]})
  })

  test('errors have a code, a message and a reason; a missing object and bucket are told apart', async () => {
    expect(await (await ask('GET', objectPath('missing'))).json()).toEqual({
      error: {
        code: 404,
        message: `No such object: ${bucket}/missing`,
        errors: [{message: `No such object: ${bucket}/missing`, domain: 'global', reason: 'notFound'}],
      },
    })
    const response = await ask('GET', '/storage/v1/b/no-such-bucket/o')
    expect((await response.json()).error.message).toBe('The specified bucket does not exist.')
    const download = await ask('GET', `${objectPath('missing')}?alt=media`)
    expect([download.status, await download.text()]).toEqual([404, `No such object: ${bucket}/missing`])
  })
})

describe('listing', () => {
  const list = async (query = '') => (await ask('GET', `/storage/v1/b/${bucket}/o?${query}`)).json()
  const names = (page: Json) => (page.items ?? []).map(({name}: {name: string}) => name) as string[]

  test('objects come in order of their names, an empty bucket without items', async () => {
    expect(await list()).toEqual({kind: 'storage#objects'})
    for (const name of ['b', '\u{1f600}', '\ufb01', 'a/b', 'a-b', 'B']) await media(name, 'x')
    expect(names(await list())).toEqual(['B', 'a-b', 'a/b', 'b', '\ufb01', '\u{1f600}'])
  })

  test('the documented example of delimiter and prefix', async () => {
    for (const name of ['a/b', 'a/c', 'd', 'e', 'e/f', 'e/g/h']) await media(name, 'x')
    const top = await list('delimiter=/')
    expect([names(top), top.prefixes]).toEqual([
      ['d', 'e'],
      ['a/', 'e/'],
    ])
    const below = await list('delimiter=/&prefix=e/')
    expect([names(below), below.prefixes]).toEqual([['e/f'], ['e/g/']])
  })

  test('pages go on at nextPageToken, and prefixes count', async () => {
    for (const name of ['a/1', 'a/2', 'b', 'c/1', 'd']) await media(name, 'x')
    const seen: unknown[] = []
    for (let token = ''; ;) {
      const page = await list(`maxResults=1&delimiter=/&pageToken=${token}`)
      seen.push(...names(page), ...(page.prefixes ?? []))
      if (!page.nextPageToken) break
      token = page.nextPageToken
    }
    expect(seen).toEqual(['a/', 'b', 'c/', 'd'])
  })

  test('startOffset is included, endOffset is not', async () => {
    for (const name of ['a', 'b', 'c', 'd']) await media(name, 'x')
    expect(names(await list('startOffset=b&endOffset=d'))).toEqual(['b', 'c'])
  })

  test('a page has no more than 1,000 objects', async () => {
    for (let at = 0; at < 1001; at += 77)
      await Promise.all(
        Array.from({length: Math.min(77, 1001 - at)}, (_, index) => media(`o${at + index}`, 'x')),
      )
    expect(names(await list('maxResults=5000'))).toHaveLength(1000)
  })
})

describe('preconditions, changing and deleting', () => {
  test('ifGenerationMatch that does not hold is 412, 0 means that there is no object', async () => {
    const {generation} = await (await media('x', 'first', '&ifGenerationMatch=0')).json()
    const refused = await media('x', 'second', '&ifGenerationMatch=0')
    expect([refused.status, await reason(refused)]).toEqual([412, 'conditionNotMet'])
    expect((await ask('DELETE', `${objectPath('x')}?ifGenerationMatch=1`)).status).toBe(412)
    expect((await ask('GET', `${objectPath('x')}?alt=media&ifGenerationMatch=1`)).status).toBe(412)
    expect((await media('x', 'second', `&ifGenerationMatch=${generation}`)).status).toBe(200)
  })

  test('of many uploads with ifGenerationMatch=0 at once, one succeeds', async () => {
    const answers = await Promise.all(Array.from({length: 8}, () => media('x', 'c', '&ifGenerationMatch=0')))
    expect(answers.map(({status}) => status).sort()).toEqual([200, 412, 412, 412, 412, 412, 412, 412])
  })

  test('ifGenerationNotMatch that does not hold is 304', async () => {
    const {generation} = await (await media('x', 'first')).json()
    expect((await ask('GET', `${objectPath('x')}?ifGenerationNotMatch=${generation}`)).status).toBe(304)
    expect((await ask('GET', `${objectPath('x')}?ifGenerationNotMatch=1`)).status).toBe(200)
  })

  test('a patch changes metadata and metageneration, not the generation; null removes', async () => {
    const before = await (await multipart({name: 'x', metadata: {a: '1', b: '2'}}, 'c')).json()
    const patch = (body: object, query = '') =>
      ask('PATCH', `${objectPath('x')}${query}`, {
        body: JSON.stringify(body),
        headers: {'content-type': 'application/json'},
      })
    expect((await patch({metadata: {a: null, c: '3'}}, '?ifMetagenerationMatch=1')).status).toBe(200)
    const {generation} = before
    expect(await resource('x')).toMatchObject({generation, metageneration: '2', metadata: {b: '2', c: '3'}})
    expect((await patch({}, '?ifMetagenerationMatch=1')).status).toBe(412)
  })

  test('a deleted object is gone; deleting a missing one is 404', async () => {
    await media('x', 'c')
    expect((await ask('DELETE', objectPath('x'))).status).toBe(204)
    expect((await ask('DELETE', objectPath('x'))).status).toBe(404)
  })

  test('a generation that is not the live one is not found', async () => {
    const {generation} = await (await media('x', 'c')).json()
    expect((await ask('GET', `${objectPath('x')}?generation=${generation}`)).status).toBe(200)
    expect((await ask('DELETE', `${objectPath('x')}?generation=1`)).status).toBe(404)
  })

  test.each([
    ['temporaryHold', {temporaryHold: true}, 'objectUnderActiveHold'],
    ['eventBasedHold', {eventBasedHold: true}, 'objectUnderActiveHold'],
    [
      'retention',
      {retention: {mode: 'Locked', retainUntilTime: '2999-01-01T00:00:00Z'}},
      'retentionPolicyNotMet',
    ],
  ])('an object under %s can be neither deleted nor replaced', async (_name, attributes, expected) => {
    await multipart({name: 'x', ...attributes}, 'first')
    for (const refused of [await ask('DELETE', objectPath('x')), await media('x', 'second')])
      expect([refused.status, await reason(refused)]).toEqual([403, expected])
    expect(await textOf('x')).toBe('first')
  })

  test("a bucket's retention policy holds its objects for a time, which the object tells", async () => {
    bucket = server.makeBucket(undefined, {retentionPolicy: {retentionPeriod: '3600'}})
    await media('x', 'first')
    expect(Date.parse((await resource('x')).retentionExpirationTime)).toBeGreaterThan(Date.now() + 3_500_000)
    expect(await reason(await ask('DELETE', objectPath('x')))).toBe('retentionPolicyNotMet')
  })
})

describe('buckets and access', () => {
  test('a bucket is made once: the second time 409', async () => {
    const name = `${bucket}-2`
    const make = () =>
      ask('POST', '/storage/v1/b?project=p', {
        body: JSON.stringify({name}),
        headers: {'content-type': 'application/json'},
      })
    expect((await make()).status).toBe(200)
    expect(await reason(await make())).toBe('conflict')
    expect((await (await ask('GET', `/storage/v1/b/${name}`)).json()).name).toBe(name)
    expect((await ask('GET', '/storage/v1/b/no-such-bucket')).status).toBe(404)
  })

  test('no token or a wrong one is 401; a session URI needs none', async () => {
    const guarded = await startGcsServer({token: 'right'})
    try {
      const name = guarded.makeBucket()
      const url = `${guarded.endpoint}/upload/storage/v1/b/${name}/o?uploadType=resumable&name=x`
      expect(await reason(await ask('POST', url))).toBe('required')
      expect(await reason(await ask('POST', url, {headers: {authorization: 'Bearer wrong'}}))).toBe(
        'authError',
      )
      const begun = await ask('POST', url, {headers: {authorization: 'Bearer right'}})
      expect((await chunk(begun.headers.get('location')!, '0-6/7', 'content')).status).toBe(200)
    } finally {
      await guarded.stop()
    }
  })
})

describe('the server as a process', () => {
  test('objects and sessions survive a kill; a paused server says nothing until it is resumed', async () => {
    const own = await startGcsServerProcess('kept')
    try {
      const upload = `${own.endpoint}/upload/storage/v1/b/kept/o`
      await ask('POST', `${upload}?uploadType=media&name=x`, {body: 'content'})
      const begun = await ask('POST', `${upload}?uploadType=resumable&name=y`)
      const uri = begun.headers.get('location')!
      const content = randomBytes(kib256 + 3)
      await chunk(uri, `0-${kib256 - 1}/*`, content.subarray(0, kib256))
      await own.kill()
      await expect(ask('GET', own.endpoint)).rejects.toThrow()
      await own.restart()
      expect((await chunk(uri, '*/*')).headers.get('range')).toBe(`bytes=0-${kib256 - 1}`)
      const last = await chunk(uri, `${kib256}-${kib256 + 2}/${kib256 + 3}`, content.subarray(kib256))
      expect((await last.json()).md5Hash).toBe(createHash('md5').update(content).digest('base64'))
      own.pause()
      const answer = ask('GET', `${own.endpoint}/storage/v1/b/kept/o/x?alt=media`)
      const first = await Promise.race([
        answer,
        new Promise((resolve) => setTimeout(resolve, 300, 'silence')),
      ])
      expect(first).toBe('silence')
      own.resume()
      expect(await (await answer).text()).toBe('content')
    } finally {
      await own.stop()
    }
  })
})
