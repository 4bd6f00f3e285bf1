import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {chmod, copyFile, mkdir, mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {connect} from '../../src/postgres/connect.js'
import {describeConnection, type ConnectionEnvironment} from '../../src/postgres/connection.js'
import {
  missingOpenssl,
  passwordOf,
  placeFromLibpq,
  placeFromPg,
  placeFromTools,
  plainEnvironment,
  startConnectionServer,
  turnTlsOn,
  type ConnectionServer,
} from './connection-server.js'

const missing = await missingOpenssl()
const withCertificates = missing === undefined ? describe : describe.skip

let up: ConnectionServer
let from: ConnectionEnvironment

const url = (role: string, query: string, host = 'localhost') =>
  `postgresql://${role}:${passwordOf(role)}@${host}:${up.port}/postgres?connect_timeout=20&${query.replaceAll('FOLDER', up.folder)}`

/** `tls`, `plain`, or `refused`: what comes of a connection. */
const outcome = (place: Promise<{tls: boolean}>): Promise<string> =>
  place.then(
    ({tls}) => (tls ? 'tls' : 'plain'),
    () => 'refused',
  )

async function expectOutcome(text: string, expected: string, environment = from): Promise<void> {
  const outcomes = {
    libpq: await outcome(placeFromLibpq(text, environment)),
    tools: await outcome(placeFromTools(text, environment, 'environment')),
    pg: await outcome(placeFromPg(text, environment)),
  }
  expect(outcomes).toEqual({libpq: expected, tools: expected, pg: expected})
}

const modes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']

withCertificates(`TLS as libpq does it${missing === undefined ? '' : ` [skipped: ${missing}]`}`, () => {
  beforeAll(async () => {
    up = await startConnectionServer()
    from = plainEnvironment({}, await mkdtemp(join(tmpdir(), 'dbbak-home-')))
  })
  afterAll(async () => {
    await rm(from.homeFolder, {recursive: true})
    await up.stop()
  })

  describe('a server without TLS', () => {
    const expected = ['plain', 'plain', 'plain', 'refused', 'refused', 'refused']
    test.each(modes.map((mode, i) => [mode, expected[i]]))('sslmode=%s is %s', async (mode, result) => {
      await expectOutcome(url('app', `sslmode=${mode}`), result)
    })

    test('says that it offers none', async () => {
      await expect(placeFromPg(url('app', 'sslmode=require'), from)).rejects.toMatchObject({
        code: 'TLS_FAILED',
        message: expect.stringContaining('the server does not offer TLS'),
      })
    })
  })

  describe('a server with TLS', () => {
    beforeAll(async () => {
      await turnTlsOn(up)
    })

    test.each([
      ['app', ['plain', 'plain', 'tls', 'tls', 'refused', 'refused']],
      ['tls_only', ['refused', 'tls', 'tls', 'tls', 'refused', 'refused']],
      ['plain_only', ['plain', 'plain', 'plain', 'refused', 'refused', 'refused']],
    ])('no root certificate, role %s: %p by sslmode', async (role, expected) => {
      for (const [i, mode] of modes.entries()) await expectOutcome(url(role, `sslmode=${mode}`), expected[i])
    })

    test.each([
      ['sslmode=require&sslrootcert=FOLDER/ca.crt', 'tls'],
      ['sslmode=verify-ca&sslrootcert=FOLDER/ca.crt', 'tls'],
      ['sslmode=verify-full&sslrootcert=FOLDER/ca.crt', 'tls'],
      ['sslmode=prefer&sslrootcert=FOLDER/ca.crt', 'tls'],
      ['sslmode=require&sslrootcert=FOLDER/strange.crt', 'refused'],
      ['sslmode=verify-ca&sslrootcert=FOLDER/strange.crt', 'refused'],
      ['sslmode=prefer&sslrootcert=FOLDER/strange.crt', 'plain'],
      ['sslmode=require&sslrootcert=FOLDER/absent.crt', 'tls'],
      ['sslmode=verify-ca&sslrootcert=FOLDER/absent.crt', 'refused'],
      ['sslmode=require&ssl_max_protocol_version=TLSv1.2', 'tls'],
      ['ssl=true', 'tls'],
      ['requiressl=1', 'tls'],
      ['sslmode=require&channel_binding=require', 'tls'],
      ['sslmode=disable&channel_binding=require', 'refused'],
      ['sslmode=require&channel_binding=disable', 'tls'],
    ])('%s: %s', async (query, expected) => {
      await expectOutcome(url('app', query), expected)
    })

    test('verify-full wants the name in the certificate, verify-ca does not', async () => {
      const root = 'sslrootcert=FOLDER/ca.crt'
      await expectOutcome(url('app', `sslmode=verify-ca&${root}`, '127.0.0.1'), 'tls')
      await expectOutcome(url('app', `sslmode=verify-full&${root}`, '127.0.0.1'), 'refused')
      await expectOutcome(url('app', `sslmode=verify-full&${root}&hostaddr=127.0.0.1`), 'tls')
      await expectOutcome(
        url('app', `sslmode=verify-full&${root}&hostaddr=127.0.0.1`, 'other.example'),
        'refused',
      )
    })

    test('channel binding is demanded before a password is sent', async () => {
      await expectOutcome(url('clear', 'sslmode=require'), 'tls')
      await expectOutcome(url('clear', 'sslmode=require&channel_binding=require'), 'refused')
      await expectOutcome(url('open', 'sslmode=require&channel_binding=require'), 'refused')
      await expect(placeFromPg(url('clear', 'channel_binding=require'), from)).rejects.toMatchObject({
        code: 'AUTHENTICATION_FAILED',
        message: expect.stringContaining('channel_binding=require'),
      })
    })

    test('require_auth is obeyed by pg', async () => {
      expect(await outcome(placeFromPg(url('app', 'require_auth=scram-sha-256'), from))).toBe('tls')
      expect(await outcome(placeFromPg(url('clear', 'require_auth=scram-sha-256,md5'), from))).toBe('refused')
      expect(await outcome(placeFromPg(url('clear', 'require_auth=!password'), from))).toBe('refused')
      expect(await outcome(placeFromPg(url('open', 'require_auth=none'), from))).toBe('tls')
      expect(await outcome(placeFromPg(url('open', 'require_auth=!none'), from))).toBe('refused')
    })

    test('a client certificate and its key', async () => {
      const files = (name: string) => `sslcert=FOLDER/${name}.crt&sslkey=FOLDER/${name}.key`
      await expectOutcome(url('with_cert', `sslmode=require&${files('client')}`), 'tls')
      await expectOutcome(url('with_cert', `sslmode=require&${files('other')}`), 'refused')
      await expectOutcome(url('with_cert', 'sslmode=require'), 'refused')
      await expectOutcome(
        url('with_cert', 'sslmode=require&sslcert=FOLDER/client.crt&sslkey=FOLDER/no.key'),
        'refused',
      )
      await expectOutcome(url('with_cert', 'sslmode=require&sslcert=FOLDER/no.crt'), 'refused')
    })

    test('a private key that others may read is refused', async () => {
      const open = join(up.folder, 'open.key')
      await copyFile(join(up.folder, 'client.key'), open)
      await chmod(open, 0o644)
      const text = url('with_cert', `sslmode=require&sslcert=FOLDER/client.crt&sslkey=${open}`)
      await expectOutcome(text, 'refused')
      await expect(placeFromPg(text, from)).rejects.toMatchObject({
        code: 'TLS_FAILED',
        suggestions: [`chmod 600 ${open}`],
      })
    })

    test('the usual files in ~/.postgresql are found', async () => {
      const home = await mkdtemp(join(tmpdir(), 'dbbak-home-'))
      await mkdir(join(home, '.postgresql'))
      const place = (name: string) => join(home, '.postgresql', name)
      const environment = plainEnvironment({}, home)
      await copyFile(join(up.folder, 'client.crt'), place('postgresql.crt'))
      await copyFile(join(up.folder, 'client.key'), place('postgresql.key'))
      await expectOutcome(url('with_cert', 'sslmode=require'), 'tls', environment)
      await copyFile(join(up.folder, 'ca.crt'), place('root.crt'))
      await expectOutcome(url('app', 'sslmode=verify-full'), 'tls', environment)
      await copyFile(join(up.folder, 'strange.crt'), place('root.crt'))
      await expectOutcome(url('app', 'sslmode=require'), 'refused', environment)
      await rm(home, {recursive: true})
    })

    test('sslrootcert=system trusts what the system trusts, and no more', async () => {
      const text = url('app', 'sslrootcert=system')
      const trusting = plainEnvironment({SSL_CERT_FILE: join(up.folder, 'ca.crt')}, from.homeFolder)
      for (const [environment, expected] of [
        [trusting, 'tls'],
        [from, 'refused'],
      ] as const) {
        expect(await outcome(placeFromPg(text, environment))).toBe(expected)
        expect(await outcome(placeFromTools(text, environment, 'environment'))).toBe(expected)
      }
      const description = await describeConnection(text, trusting, 'test')
      expect(description.setting('sslmode')).toBe('verify-full')
    })

    test('the description that connect gives back makes a client that works at once', async () => {
      for (const role of ['tls_only', 'plain_only']) {
        for (const mode of ['prefer', 'allow']) {
          const first = await connect(await describeConnection(url(role, `sslmode=${mode}`), from, 'test'))
          await first.client.end()
          const {ssl} = first.description.clientConfig()
          expect(Boolean(ssl)).toBe(role === 'tls_only')
        }
      }
    })

    test('a wrong password is said once, and is not taken for a lack of TLS', async () => {
      const text = url('app', 'sslmode=prefer').replace(passwordOf('app'), 'wrong-one')
      const before = await failedLogins()
      await expect(placeFromPg(text, from)).rejects.toMatchObject({code: 'AUTHENTICATION_FAILED'})
      if (before !== undefined) expect(await failedLogins()).toBe(before + 1)
    })
  })
})

async function failedLogins(): Promise<number | undefined> {
  const {logFile} = up.server
  if (logFile === undefined) return undefined
  const {readFile} = await import('node:fs/promises')
  return (await readFile(logFile, 'utf8')).split('password authentication failed for user "app"').length
}
