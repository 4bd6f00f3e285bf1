import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {createServer, type Server} from 'node:http'
import type {AddressInfo} from 'node:net'
import {openAzureClient} from '../../src/storage/azure/azure-client.js'
import {explainAzure} from '../../src/storage/azure/azure-errors.js'
import type {ObjectClient} from '../../src/storage/objects/object-client.js'
import {StoreError} from '../../src/storage/objects/store-error.js'

const never = new AbortController().signal
const signature = 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0cyE='
const sas = `sv=2024-11-04&sp=rw&sig=${encodeURIComponent(signature)}`

interface Answer {
  status: number
  code?: string
  message?: string
  /** What Azure adds for whoever could not be authenticated. */
  detail?: string
  headers?: Record<string, string>
  body?: string
}

/** Errors in the form that the Blob service's documentation gives, which the emulator cannot be made to send. */
describe('what the Blob service answers', () => {
  let server: Server
  let client: ObjectClient
  let answer: Answer
  let requests: number

  beforeAll(async () => {
    server = createServer((request, response) => {
      requests++
      request.resume().on('end', () => {
        const {status, code, headers} = answer
        response.writeHead(status, {
          'content-type': 'application/xml',
          ...(code && {'x-ms-error-code': code}),
          ...headers,
        })
        response.end(request.method === 'HEAD' ? undefined : bodyOf(answer))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    client = await openAzureClient('box', {endpoint, sas}, {retryForMs: 0, stallMs: 10_000, env: {}})
  })
  beforeEach(() => {
    requests = 0
  })
  afterAll(async () => {
    await client.close()
    await new Promise((resolve) => server.close(resolve))
  })

  async function failure(given: Answer, request: 'put' | 'head' = 'put'): Promise<StoreError> {
    answer = given
    const work =
      request === 'head'
        ? client.head('x', never)
        : client.put('x', Buffer.from('x'), {ifAbsent: false, token: 't'}, never)
    const error = await work.then(
      () => new Error('it succeeded'),
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(StoreError)
    expect(requests).toBe(1)
    const everything = `${(error as StoreError).message} ${(error as StoreError).suggestions.join(' ')}`
    expect(everything).not.toContain(signature.slice(0, 20))
    expect(everything).not.toMatch(/sig=\w/)
    return error as StoreError
  }

  test.each([
    [403, 'AuthenticationFailed', 'credentials'],
    [403, 'InvalidAuthenticationInfo', 'credentials'],
    [401, 'NoAuthenticationInformation', 'credentials'],
    [403, 'KeyBasedAuthenticationNotPermitted', 'credentials'],
    [401, 'SomethingNew', 'credentials'],
    [403, 'AuthorizationFailure', 'denied'],
    [403, 'AuthorizationPermissionMismatch', 'denied'],
    [403, 'AuthorizationSourceIPMismatch', 'denied'],
    [403, 'AuthorizationProtocolMismatch', 'denied'],
    [403, 'InsufficientAccountPermissions', 'denied'],
    [403, 'AccountIsDisabled', 'denied'],
    [409, 'PublicAccessNotPermitted', 'denied'],
    [403, 'SomethingNew', 'denied'],
    [404, 'ContainerNotFound', 'missing-bucket'],
    [409, 'ContainerBeingDeleted', 'missing-bucket'],
    [403, 'UnauthorizedBlobOverwrite', 'exists'],
    [409, 'BlobAlreadyExists', 'exists'],
    [400, 'InvalidBlockList', 'gone'],
    [503, 'ServerBusy', 'throttled'],
    [429, 'TooManyRequests', 'throttled'],
    [500, 'InternalError', 'transient'],
    [500, 'OperationTimedOut', 'transient'],
    [502, 'SomethingNew', 'transient'],
    [504, 'SomethingNew', 'transient'],
    [408, 'SomethingNew', 'transient'],
    [400, 'Md5Mismatch', 'transient'],
    [400, 'Crc64Mismatch', 'transient'],
    [409, 'AccountSizeLimitExceeded', 'full'],
    [403, 'AccountQuotaExceeded', 'full'],
    [507, 'SomethingNew', 'full'],
    [409, 'BlobImmutableDueToPolicy', 'locked'],
    [412, 'LeaseIdMissing', 'locked'],
    [409, 'SnapshotsPresent', 'locked'],
    [409, 'BlobArchived', 'failed'],
    [409, 'BlobBeingRehydrated', 'failed'],
    [400, 'InvalidBlobOrBlock', 'failed'],
    [400, 'InvalidHeaderValue', 'failed'],
    [501, 'NotImplemented', 'failed'],
  ])('%i %s is %s, after one attempt', async (status, code, trouble) => {
    const error = await failure({status, code, message: 'It is so.'})
    expect([error.trouble, error.message]).toEqual([trouble, `${code}: It is so`])
  })

  test.each([
    [404, 'ContainerNotFound', 'missing-bucket'],
    [403, 'AuthorizationPermissionMismatch', 'denied'],
    [503, 'ServerBusy', 'throttled'],
    [403, 'AuthenticationFailed', 'credentials'],
  ])('%i %s in answer to a HEAD, which has no body, is %s', async (status, code, trouble) => {
    const error = await failure({status, code}, 'head')
    expect([error.trouble, error.message]).toEqual([trouble, code])
  })

  test('a clock that is wrong', async () => {
    const error = await failure({
      status: 403,
      code: 'AuthenticationFailed',
      message: 'Server failed to authenticate the request.',
      detail: 'Request date header too old: Mon, 01 Jan 2024 00:00:00 GMT',
    })
    expect(error.trouble).toBe('clock-skew')
  })

  test('a SAS that has expired, said in words', async () => {
    const error = await failure({
      status: 403,
      code: 'AuthenticationFailed',
      message: 'Server failed to authenticate the request.',
      detail: `Signature not valid in the specified time frame: Start [Mon] - Expiry [Tue] - Current [Wed] ${sas}`,
    })
    expect(error.trouble).toBe('credentials')
    expect(error.message).toContain('the SAS has expired')
  })

  test('signatures that Azure quotes are not repeated', async () => {
    const error = await failure({
      status: 403,
      code: 'AuthenticationFailed',
      message: `The MAC signature found in the HTTP request '${signature}' is not the one computed for https://a.blob.core.windows.net/c/x?${sas}`,
      detail: `Server used following string to sign: ${sas}`,
    })
    expect(error.message).toMatch(/^AuthenticationFailed: The MAC signature found/)
    expect(error.cause).toBeUndefined()
  })

  test('only the first line is told', async () => {
    const message = 'The server is busy.\nRequestId:1-2-3\nTime:2024-01-01T00:00:00Z'
    expect((await failure({status: 503, code: 'ServerBusy', message})).message).toBe(
      'ServerBusy: The server is busy',
    )
  })

  test('how long Azure asks to wait', async () => {
    const busy = {status: 503, code: 'ServerBusy'}
    expect((await failure({...busy, headers: {'retry-after': '7'}})).retryAfterMs).toBe(7000)
    requests = 0
    expect((await failure({...busy, headers: {'retry-after-ms': '250'}})).retryAfterMs).toBe(250)
    requests = 0
    const inAMinute = new Date(Date.now() + 60_000).toUTCString()
    const {retryAfterMs} = await failure({...busy, headers: {'retry-after': inAMinute}})
    expect(retryAfterMs).toBeGreaterThan(50_000)
    expect(retryAfterMs).toBeLessThanOrEqual(60_000)
    requests = 0
    expect((await failure(busy)).retryAfterMs).toBeUndefined()
  })

  test('what is no answer of Azure, of a proxy for example', async () => {
    const html = '<html><body><h1>502 Bad Gateway</h1></body></html>'
    expect(await failure({status: 502, body: html, headers: {'content-type': 'text/html'}})).toMatchObject({
      trouble: 'transient',
      message: 'HTTP 502',
    })
    requests = 0
    expect(await failure({status: 403, body: 'Blocked by policy'})).toMatchObject({trouble: 'denied'})
    requests = 0
    expect(await failure({status: 503, body: ''})).toMatchObject({trouble: 'transient', message: 'HTTP 503'})
  })

  describe('of what it holds on to', () => {
    const nextYear = new Date(Date.now() + 365 * 86_400_000)
    nextYear.setMilliseconds(0)
    const container = (headers: Record<string, string>): Answer => ({status: 200, headers})
    const immutable = container({'x-ms-immutable-storage-with-versioning-enabled': 'true'})
    const policy = {
      'x-ms-immutability-policy-until-date': nextYear.toUTCString(),
      'x-ms-immutability-policy-mode': 'locked',
    }

    test.each([
      ['a policy', policy, {until: nextYear, by: expect.stringMatching(/^immutability policy locked$/i)}],
      ['a hold', {'x-ms-legal-hold': 'true'}, {until: undefined, by: 'legal hold'}],
      ['nothing', {}, undefined],
      [
        'a policy that has ended',
        {...policy, 'x-ms-immutability-policy-until-date': new Date(0).toUTCString()},
        undefined,
      ],
    ] as [string, Record<string, string>, unknown][])('by %s of a blob', async (_, headers, lock) => {
      answer = immutable
      const {keepsVersions, warnings, lockOf} = await client.protection(never)
      expect([keepsVersions, warnings]).toEqual([true, []])
      answer = {status: 200, headers}
      expect(await lockOf!('x', never)).toEqual(lock)
      expect(requests).toBe(2)
    })

    test('by the container, without a request for each blob', async () => {
      answer = container({'x-ms-has-legal-hold': 'true'})
      const {lockOf} = await client.protection(never)
      expect(await lockOf!('x', never)).toEqual({until: undefined, by: 'legal hold of the container'})
      answer = container({})
      expect(await client.protection(never)).toEqual({keepsVersions: false, warnings: []})
      expect(requests).toBe(2)
    })

    test('who may not ask is told, and is not in the way', async () => {
      answer = {status: 403, code: 'AuthorizationPermissionMismatch'}
      const {keepsVersions, warnings, lockOf} = await client.protection(never)
      expect([keepsVersions, lockOf]).toEqual([undefined, undefined])
      expect(warnings).toEqual([expect.stringContaining('azblob://box')])
    })
  })
})

describe('what is thrown elsewhere', () => {
  const named = (name: string, message: string, more: object = {}) =>
    Object.assign(new Error(message), {name, ...more})

  test.each([
    ['RestError', 'socket hang up', {code: 'ECONNRESET'}, 'transient'],
    ['RestError', 'getaddrinfo ENOTFOUND a.blob.core.windows.net', {code: 'ENOTFOUND'}, 'transient'],
    ['RestError', 'something', {code: 'REQUEST_SEND_ERROR', cause: new Error('socket hang up')}, 'transient'],
    ['RestError', 'Error reading response as text: aborted', {code: 'PARSE_ERROR'}, 'transient'],
    ['RestError', 'self-signed certificate', {code: 'DEPTH_ZERO_SELF_SIGNED_CERT'}, 'failed'],
    ['AbortError', 'The operation was aborted.', {}, 'transient'],
    ['Error', 'Data corruption failure: received less data than required', {}, 'transient'],
    ['Error', 'aborted', {code: 'ECONNRESET'}, 'transient'],
    ['TypeError', 'x is not a function', {}, 'failed'],
  ])('%s: %s', (name, message, more, trouble) => {
    expect(explainAzure(named(name, message, more)).trouble).toBe(trouble)
  })

  test('what is a StoreError already', () => {
    const error = new StoreError('locked', 'x')
    expect(explainAzure(error)).toBe(error)
  })

  const long = 'Tried in vain.\n'.repeat(40)
  const refused = named('AuthenticationError', long, {
    statusCode: 401,
    errorResponse: {errorDescription: 'AADSTS7000215: Invalid client secret provided. Trace ID: 1-2\r\nmore'},
  })

  test('credentials that are nowhere', () => {
    for (const error of [
      named('CredentialUnavailableError', long),
      named('AggregateAuthenticationError', long, {errors: [named('CredentialUnavailableError', long)]}),
    ]) {
      const told = explainAzure(error)
      expect(told).toMatchObject({trouble: 'credentials', message: expect.stringContaining('no credentials')})
      expect(told.message.length).toBeLessThan(120)
      expect(told.suggestions.join()).toContain('AZURE_STORAGE_ACCOUNT')
    }
  })

  test('credentials that Entra refuses, in its words', () => {
    for (const error of [refused, named('AggregateAuthenticationError', long, {errors: [refused]})])
      expect(explainAzure(error)).toMatchObject({
        trouble: 'credentials',
        message: 'signing in to Azure failed: AADSTS7000215: Invalid client secret provided.',
      })
  })

  test('Entra when it is down, or busy', () => {
    expect(explainAzure(named('AuthenticationError', 'x', {statusCode: 503})).trouble).toBe('transient')
    expect(explainAzure(named('AuthenticationError', 'x', {statusCode: 429})).trouble).toBe('throttled')
  })
})

function bodyOf({code, message = '', detail, body}: Answer): string {
  if (body !== undefined || code === undefined) return body ?? ''
  const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const more =
    detail === undefined ? '' : `<AuthenticationErrorDetail>${escaped(detail)}</AuthenticationErrorDetail>`
  return `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${escaped(message)}</Message>${more}</Error>`
}
