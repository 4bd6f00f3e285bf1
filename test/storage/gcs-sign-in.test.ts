import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {execFileSync} from 'node:child_process'
import {generateKeyPairSync} from 'node:crypto'
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {createServer, type IncomingMessage, type Server} from 'node:http'
import {createServer as createTlsServer} from 'node:https'
import {connect, type AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {text} from 'node:stream/consumers'
import {getCACertificates, setDefaultCACertificates} from 'node:tls'
import {openGcsClient} from '../../src/storage/gcs/gcs-client.js'
import type {ObjectClient} from '../../src/storage/objects/object-client.js'
import type {GcsOptions} from '../../src/storage/objects/store-options.js'
import {startGcsServer, type GcsServer} from '../support/gcs-server/index.js'

const {signal} = new AbortController()
const create = {ifAbsent: true, token: 'token-1'}
let folder: string
let storage: GcsServer
let bucket: string
/** What the token endpoint says next, and what it was sent. */
let answers: {status: number; body: object}[]
let asked: {url: string; headers: IncomingMessage['headers']; body: string}[]
let tokens: Server
let tokenUrl: string
const clients: ObjectClient[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dbbak-gcs-sign-in-'))
  storage = await startGcsServer({token: 'right-token'})
  tokens = createServer(answerToken)
  tokenUrl = await listen(tokens)
})
beforeEach(() => {
  bucket = storage.makeBucket()
  answers = []
  asked = []
})
afterEach(async () => {
  storage.clearFaults()
  for (const client of clients.splice(0)) await client.close()
})
afterAll(async () => {
  await storage.stop()
  await new Promise((resolve) => tokens.close(resolve))
  await rm(folder, {recursive: true, force: true})
})

function answerToken(request: IncomingMessage, response: import('node:http').ServerResponse): void {
  void text(request).then((body) => {
    asked.push({url: request.url ?? '', headers: request.headers, body})
    const fallback = {
      status: 200,
      body: {
        access_token: 'right-token',
        expires_in: 3600,
        token_type: 'Bearer',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      },
    }
    const {status, body: answer} = answers.shift() ?? fallback
    response.writeHead(status, {'content-type': 'application/json', 'metadata-flavor': 'Google'})
    response.end(JSON.stringify(answer))
  })
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function open(options: GcsOptions, env: Record<string, string> = {}): Promise<ObjectClient> {
  const request = {retryForMs: 1000, stallMs: 5000, env: {METADATA_SERVER_DETECTION: 'none', ...env}}
  const client = await openGcsClient(bucket, {endpoint: storage.endpoint, ...options}, request)
  clients.push(client)
  return client
}

const failure = (client: ObjectClient) => client.head('x', signal).catch((error: unknown) => error)

/** Workload identity federation: a token of somebody else's is exchanged. */
async function identityFile(name = 'identity.json'): Promise<string> {
  const subject = join(folder, 'subject-token')
  await writeFile(subject, 'subject-secret')
  const file = join(folder, name)
  const config = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `${tokenUrl}/v1/token`,
    credential_source: {file: subject},
  }
  await writeFile(file, JSON.stringify(config))
  return file
}

describe('workload identity', () => {
  test('a token is got once, and used for every request', async () => {
    const client = await open({keyFile: await identityFile()})
    await client.put('x', Buffer.from('content'), create, signal)
    expect(await client.head('x', signal)).toMatchObject({size: 7})
    expect(asked).toHaveLength(1)
    expect(asked[0].body).toContain('subject-secret')
  })

  test('GOOGLE_APPLICATION_CREDENTIALS and the sign-in of gcloud are found, with their project for quota', async () => {
    const file = await identityFile()
    const quota = {GOOGLE_CLOUD_QUOTA_PROJECT: 'payer'}
    const byVariable = await open({}, {GOOGLE_APPLICATION_CREDENTIALS: file, ...quota})
    expect(await byVariable.head('x', signal)).toBeUndefined()
    expect(storage.seen.at(-1)!.headers['x-goog-user-project']).toBe('payer')
    await identityFile('application_default_credentials.json')
    const bySignIn = await open({}, {CLOUDSDK_CONFIG: folder})
    expect(await bySignIn.head('x', signal)).toBeUndefined()
    expect(asked).toHaveLength(2)
  })

  test('a wrong token is a matter of credentials, with what to do', async () => {
    answers.push({status: 200, body: {access_token: 'wrong-token', expires_in: 3600}})
    const error = await failure(await open({keyFile: await identityFile()}))
    expect(error).toMatchObject({
      trouble: 'credentials',
      message: expect.stringContaining('Invalid Credentials'),
    })
    expect(error).toMatchObject({
      suggestions: expect.arrayContaining(['gcloud auth application-default login']),
    })
  })

  test('a token that was good and is refused is got anew', async () => {
    const client = await open({keyFile: await identityFile()})
    await client.head('x', signal)
    storage.inject({
      on: 'objects.get',
      do: 'answer',
      status: 401,
      reason: 'authError',
      message: 'Invalid Credentials',
    })
    expect(await failure(client)).toMatchObject({trouble: 'transient'})
    expect(await client.head('x', signal)).toBeUndefined()
    expect(asked).toHaveLength(2)
  })

  test.each([
    ['credentials', 400, {error: 'invalid_grant', error_description: 'The token is expired.'}],
    [
      'clock-skew',
      400,
      {
        error: 'invalid_grant',
        error_description:
          'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
      },
    ],
    ['transient', 503, {error: 'temporarily_unavailable'}],
  ])('a refusal by the token endpoint is %s', async (trouble, status, body) => {
    answers.push({status, body})
    const client = await open({keyFile: await identityFile()})
    const error = (await failure(client)) as Error
    expect(error).toMatchObject({trouble})
    expect(error.message).toMatch(/^signing in to Google Cloud failed/)
    expect(JSON.stringify([error.message, error.cause])).not.toContain('secret')
    expect(asked).toHaveLength(1)
    expect(await client.head('x', signal)).toBeUndefined()
  })

  test('a token endpoint that is not there is transient; an abort does not wait for it', async () => {
    const gone = createServer()
    const url = await listen(gone)
    await new Promise((resolve) => gone.close(resolve))
    const file = await identityFile('gone.json')
    await writeFile(file, (await readFile(file, 'utf8')).replace(tokenUrl, url))
    expect(await failure(await open({keyFile: file}))).toMatchObject({trouble: 'transient'})
    const silent = createServer(() => {})
    const silentUrl = await listen(silent)
    await writeFile(file, (await readFile(file, 'utf8')).replace(url, silentUrl))
    const stop = new AbortController()
    const reason = new Error('stopped')
    const client = await open({keyFile: file})
    const impatient = await openGcsClient(
      bucket,
      {endpoint: storage.endpoint, keyFile: file},
      {retryForMs: 0, stallMs: 300, env: {}},
    )
    clients.push(impatient)
    expect(await failure(impatient)).toMatchObject({trouble: 'transient'})
    setTimeout(() => stop.abort(reason), 100)
    await expect(client.head('x', stop.signal)).rejects.toBe(reason)
    silent.closeAllConnections()
    await new Promise((resolve) => silent.close(resolve))
  })
})

describe('a service account', () => {
  let proxy: Server
  let proxyUrl: string
  let google: ReturnType<typeof createTlsServer>
  const trusted = getCACertificates('default')

  // The library asks Google's own token endpoint whatever the key file says: a proxy leads it to ours, over TLS.
  beforeAll(async () => {
    const [key, cert] = [join(folder, 'tls.key'), join(folder, 'tls.crt')]
    const subject = [
      '-subj',
      '/CN=oauth2.googleapis.com',
      '-addext',
      'subjectAltName=DNS:oauth2.googleapis.com',
    ]
    const form = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert]
    execFileSync('openssl', [...form, ...subject], {stdio: 'ignore'})
    const certificate = await readFile(cert, 'utf8')
    google = createTlsServer({key: await readFile(key), cert: certificate}, answerToken)
    const googleUrl = new URL(await listen(google))
    proxy = createServer()
    proxy.on('connect', (request, socket) => {
      asked.push({url: request.url ?? '', headers: request.headers, body: ''})
      const onward = connect(Number(googleUrl.port), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
        onward.pipe(socket).pipe(onward)
      })
      onward.on('error', () => socket.destroy())
      socket.on('error', () => onward.destroy())
    })
    proxyUrl = await listen(proxy)
    setDefaultCACertificates([...trusted, certificate])
  })
  afterAll(async () => {
    setDefaultCACertificates(trusted)
    for (const server of [proxy, google as unknown as Server]) {
      server.closeAllConnections()
      server.close()
    }
  })

  const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048})
  const pem = privateKey.export({type: 'pkcs8', format: 'pem'})
  const keyFile = async (content: object) => {
    const file = join(folder, 'key.json')
    await writeFile(
      file,
      JSON.stringify({type: 'service_account', project_id: 'p', client_email: 'backup@p.iam', ...content}),
    )
    return file
  }

  test('a key file gets a token for a signed assertion, by the proxy', async () => {
    const env = {HTTPS_PROXY: proxyUrl}
    const client = await open({keyFile: await keyFile({private_key: pem})}, env)
    expect(await client.head('x', signal)).toBeUndefined()
    expect(asked.map(({url}) => url)).toEqual(['oauth2.googleapis.com:443', '/token'])
    const assertion = new URLSearchParams(asked[1].body).get('assertion')!
    const claims = JSON.parse(Buffer.from(assertion.split('.')[1], 'base64url').toString()) as object
    expect(claims).toMatchObject({iss: 'backup@p.iam', scope: expect.stringContaining('devstorage')})
  })

  test('a refused key is a matter of credentials, and the assertion is told to nobody', async () => {
    answers.push({
      status: 400,
      body: {error: 'invalid_grant', error_description: 'Invalid grant: account not found'},
    })
    const client = await open({keyFile: await keyFile({private_key: pem})}, {HTTPS_PROXY: proxyUrl})
    const error = (await failure(client)) as Error
    expect(error).toMatchObject({
      trouble: 'credentials',
      message: expect.stringContaining('account not found'),
    })
    expect(error.cause).toBeUndefined()
  })

  test.each([
    ['that is not there', async () => join(folder, 'missing.json')],
    ['without a key', () => keyFile({})],
    [
      'with a broken key',
      () => keyFile({private_key: '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n'}),
    ],
    [
      'that is no JSON',
      async () => {
        await writeFile(join(folder, 'text.json'), 'c2VjcmV0')
        return join(folder, 'text.json')
      },
    ],
  ])('a key file %s is a matter of credentials', async (_name, file) => {
    const error = (await failure(await open({keyFile: await file()}, {HTTPS_PROXY: proxyUrl}))) as Error
    expect(error).toMatchObject({trouble: 'credentials'})
    expect(error.message).not.toContain('c2Vjcm')
  })
})

describe('without a file', () => {
  test('nothing is found: credentials, and it is said quickly', async () => {
    const began = performance.now()
    // Nobody listens there; elsewhere the address may swallow what is sent, for which there is a limit.
    const client = await open(
      {},
      {HOME: folder, METADATA_SERVER_DETECTION: '', GCE_METADATA_HOST: '127.0.0.1:9'},
    )
    expect(await failure(client)).toMatchObject({
      trouble: 'credentials',
      message: expect.stringContaining('no Google Cloud credentials were found'),
      suggestions: expect.arrayContaining(['gcloud auth application-default login']),
    })
    expect(performance.now() - began).toBeLessThan(3000)
  })

  test('a metadata server that never answers is given up after three seconds', async () => {
    const silent = createServer(() => {})
    const host = (await listen(silent)).replace('http://', '')
    const began = performance.now()
    const client = await open({}, {HOME: folder, METADATA_SERVER_DETECTION: '', GCE_METADATA_HOST: host})
    expect(await failure(client)).toMatchObject({trouble: 'credentials'})
    expect(performance.now() - began).toBeLessThan(6000)
    silent.closeAllConnections()
    await new Promise((resolve) => silent.close(resolve))
  })

  test("the machine's own service account is asked of the metadata server", async () => {
    const host = tokenUrl.replace('http://', '')
    process.env.GCE_METADATA_HOST = host // the library looks nowhere else
    try {
      const client = await open({}, {HOME: folder, METADATA_SERVER_DETECTION: '', GCE_METADATA_HOST: host})
      expect(await client.head('x', signal)).toBeUndefined()
      expect(asked.at(-1)!.url).toMatch(/^\/computeMetadata\/v1\/instance\/service-accounts\/default\/token/)
    } finally {
      delete process.env.GCE_METADATA_HOST
    }
  })

  test('an emulator is asked without credentials', async () => {
    const bare = await startGcsServer()
    const name = bare.makeBucket()
    const client = await openGcsClient(
      name,
      {emulator: bare.endpoint},
      {retryForMs: 0, stallMs: 1000, env: {}},
    )
    await client.head('x', signal)
    expect(bare.seen[0].headers.authorization).toBeUndefined()
    await client.close()
    await bare.stop()
  })
})

describe('what Google Cloud Storage refuses', () => {
  test.each([
    ['throttled', 429, 'rateLimitExceeded', 'The rate of requests is too high.'],
    ['throttled', 403, 'rateLimitExceeded', 'Rate Limit Exceeded'],
    ['throttled', 403, 'userRateLimitExceeded', 'User Rate Limit Exceeded'],
    ['full', 403, 'quotaExceeded', 'Quota exceeded'],
    ['denied', 403, 'forbidden', 'backup@p.iam does not have storage.objects.get access.'],
    [
      'denied',
      403,
      'accountDisabled',
      'The billing account for the owning project is disabled in state absent',
    ],
    ['denied', 403, 'insufficientPermissions', 'Insufficient Permission'],
    ['locked', 403, 'retentionPolicyNotMet', "Object is subject to bucket's retention policy"],
    ['transient', 408, 'requestTimeout', 'Request timeout'],
    ['transient', 409, 'conflict', 'Conflict'],
    ['transient', 500, 'internalError', 'Internal'],
    ['transient', 502, 'badGateway', 'Bad Gateway'],
    ['transient', 503, 'backendError', 'Backend Error'],
    ['transient', 504, 'gatewayTimeout', 'Gateway Timeout'],
    ['failed', 400, 'invalid', 'Invalid argument.'],
    ['failed', 404, '', 'This page was not found by the proxy'],
    ['missing-bucket', 404, 'notFound', 'The specified bucket does not exist.'],
  ])('is %s: %d %s', async (trouble, status, reason, message) => {
    const client = await open({keyFile: await identityFile()})
    storage.inject({on: 'objects.get', do: 'answer', status, reason, message})
    expect(await failure(client)).toMatchObject({trouble, message: expect.stringContaining(message)})
  })

  test('how long to wait is passed on', async () => {
    const client = await open({keyFile: await identityFile()})
    storage.inject({on: 'objects.get', do: 'answer', status: 429, headers: {'retry-after': '7'}})
    expect(await failure(client)).toMatchObject({trouble: 'throttled', retryAfterMs: 7000})
  })

  test('neither tokens nor session URIs are repeated', async () => {
    const client = await open({keyFile: await identityFile()})
    const message =
      'PUT /o?uploadType=resumable&upload_id=AHmUCY0secret&x=1 with Bearer ya29.secret-token failed'
    storage.inject({on: 'objects.get', do: 'answer', status: 400, message})
    const error = (await failure(client)) as Error
    expect(error.message).toBe(
      'PUT /o?uploadType=resumable&upload_id=…&x=1 with Bearer … failed (HTTP 400 backendError)',
    )
  })

  test('what is no refusal at all is explained too', async () => {
    const client = await open({})
    expect(client.explain(Object.assign(new Error('x'), {code: 'ECONNRESET'}))).toMatchObject({
      trouble: 'transient',
    })
    expect(client.explain(new Error('odd'))).toMatchObject({trouble: 'failed', message: 'odd'})
  })
})
