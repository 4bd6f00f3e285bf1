import {afterEach, beforeAll, describe, expect, test} from '@jest/globals'
import {createServer, type AddressInfo} from 'node:net'
import {setTimeout as delay} from 'node:timers/promises'
import {channelsOf} from '../../src/notify/channels.js'
import type {Notice} from '../../src/notify/notice.js'
import {notify, type Delivery} from '../../src/notify/notify.js'
import {
  makeCertificate,
  startMailServer,
  type Certificate,
  type MailServerOptions,
  type TestMailServer,
} from '../support/smtp-server.js'
import {sampleFailure, sampleNotice} from './sample-notice.js'

let certificate: Certificate
beforeAll(async () => {
  certificate = await makeCertificate()
})

let server: TestMailServer | undefined
afterEach(async () => {
  await server?.stop()
  server = undefined
})
const start = async (options: MailServerOptions = {}) => (server = await startMailServer(options))

const send = async (
  smtpUrl: string,
  {
    notice = sampleFailure(),
    to = ['ops@example.com'],
    limitMs = 5000,
  }: {notice?: Notice; to?: string[]; limitMs?: number} = {},
): Promise<Delivery> => {
  const config = [
    {
      type: 'email' as const,
      smtpUrl,
      from: 'Backups <dbbak@example.com>',
      to,
      on: ['success' as const, 'failure' as const],
    },
  ]
  const [delivery] = await notify(notice, channelsOf(config, {}), {limitMs})
  return delivery
}

const login = {user: 'dbbak', password: 's3cr3t-Pässword@:/'}
const loginIn = encodeURIComponent(login.user) + ':' + encodeURIComponent(login.password)

describe('a mail', () => {
  test('reaches everybody, as text and as HTML, marked as written by a program', async () => {
    const {port, mails} = await start()
    const to = ['ops@example.com', 'The DBA <dba@example.com>']
    expect(await send(`smtp://127.0.0.1:${port}`, {to})).toMatchObject({channel: 'email', status: 'sent'})
    expect(mails).toMatchObject([
      {from: 'dbbak@example.com', to: ['ops@example.com', 'dba@example.com'], secure: false},
    ])
    const {raw} = mails[0]
    expect(raw).toMatch(/^Subject: \[dbbak\] Backup of shop on db\.internal failed\r$/m)
    expect(raw).toMatch(/^From: Backups <dbbak@example\.com>\r$/m)
    expect(raw).toMatch(/^Auto-Submitted: auto-generated\r$/m)
    expect(raw).toMatch(/^X-Dbbak-Event: backup\r$/m)
    expect(raw).toMatch(/^Content-Type: multipart\/alternative/m)
    expect(raw).toMatch(/^Content-Type: text\/plain/m)
    expect(raw).toMatch(/^Content-Type: text\/html/m)
    expect(raw).toContain('Code: SERVER_UNREACHABLE (exit 4)')
  })

  test('cannot be given a header by the name of a database', async () => {
    const {port, mails} = await start()
    const name = 'x\r\nBcc: victim@example.com\r\n\r\nforged'
    await send(`smtp://127.0.0.1:${port}`, {notice: sampleNotice({database: {host: 'h', name}})})
    const [head] = mails[0].raw.split('\r\n\r\n', 1)
    expect(head).not.toMatch(/^(Bcc|forged)/im)
    expect(mails[0].to).toEqual(['ops@example.com'])
  })
})

describe('a login', () => {
  test('that is right lets in', async () => {
    const {port, mails} = await start({login})
    expect(await send(`smtp://${loginIn}@127.0.0.1:${port}`)).toMatchObject({status: 'sent'})
    expect(mails).toMatchObject([{user: 'dbbak'}])
  })

  test('that is refused is told without the login', async () => {
    const {port, mails} = await start({login: {...login, password: 'another'}})
    const delivery = await send(`smtp://${loginIn}@127.0.0.1:${port}`)
    expect(delivery).toMatchObject({status: 'failed', reason: 'the mail server refused the login (535)'})
    expect(mails).toEqual([])
  })

  test('is never sent unencrypted to a server that offers no encryption', async () => {
    const {port, mails} = await start({login})
    const delivery = await send(`smtp://${loginIn}@127.0.0.1:${port}?tls=required`)
    expect(delivery).toMatchObject({
      status: 'failed',
      reason: 'no encrypted connection to the mail server could be made (STARTTLS)',
    })
    expect(mails).toEqual([])
  })
})

describe('encryption', () => {
  test.each(['?tls=required', '?tls=if-offered'])(
    'with a certificate that nobody signed is turned down (%s)',
    async (query) => {
      const {port, mails} = await start({login, certificate})
      const delivery = await send(`smtp://${loginIn}@127.0.0.1:${port}${query}`)
      expect(delivery).toMatchObject({
        status: 'failed',
        reason: 'the TLS certificate of the mail server is not accepted (DEPTH_ZERO_SELF_SIGNED_CERT)',
      })
      expect(mails).toEqual([])
    },
  )

  test('from the first byte on, too', async () => {
    const {port, mails} = await start({certificate, secure: true})
    expect(await send(`smtps://127.0.0.1:${port}`)).toMatchObject({
      status: 'failed',
      reason: 'the TLS certificate of the mail server is not accepted (DEPTH_ZERO_SELF_SIGNED_CERT)',
    })
    expect(mails).toEqual([])
  })

  test('is not asked of this machine, whose certificate is seldom one to check', async () => {
    const {port, mails} = await start({certificate})
    expect(await send(`smtp://127.0.0.1:${port}`)).toMatchObject({status: 'sent'})
    expect(mails).toMatchObject([{secure: false}])
  })
})

describe('trouble that passes', () => {
  test('of a server that is busy is waited for', async () => {
    const {port, mails} = await start({busy: 2})
    expect(await send(`smtp://127.0.0.1:${port}`)).toMatchObject({status: 'sent'})
    expect(mails).toHaveLength(1)
  })

  test('of one recipient is waited for, and the others get one mail alone', async () => {
    const {port, mails} = await start({greylisted: ['ops@example.com']})
    const to = ['The Ops <ops@example.com>', 'dba@example.com']
    expect(await send(`smtp://127.0.0.1:${port}`, {to})).toMatchObject({status: 'sent'})
    expect(mails.map((mail) => mail.to)).toEqual([['dba@example.com'], ['ops@example.com']])
    const ids = mails.map(({raw}) => /^Message-ID: (.*)\r$/m.exec(raw)?.[1])
    expect(ids[0]).toBe(ids[1])
  })

  test('of a server that starts up is waited for', async () => {
    const {port} = await start()
    await server!.stop()
    const sending = send(`smtp://127.0.0.1:${port}`)
    await delay(300)
    const {mails} = await start({port})
    expect(await sending).toMatchObject({status: 'sent'})
    expect(mails).toHaveLength(1)
  })

  test('not in time is told as it is', async () => {
    const {port, mails} = await start({busy: 9})
    const startMs = performance.now()
    expect(await send(`smtp://127.0.0.1:${port}`, {limitMs: 1500})).toMatchObject({
      status: 'failed',
      reason: 'the mail server refused the sender or the recipients (451)',
    })
    expect(performance.now() - startMs).toBeLessThan(3000)
    expect(mails).toEqual([])
  })
})

describe('a mail server that fails', () => {
  test('by refusing all recipients', async () => {
    const {port} = await start({refused: ['ops@example.com']})
    expect(await send(`smtp://127.0.0.1:${port}`)).toMatchObject({
      status: 'failed',
      reason: 'the mail server refused the sender or the recipients (550)',
    })
  })

  test('by refusing some recipients still serves the others', async () => {
    const {port, mails} = await start({refused: ['ops@example.com']})
    expect(
      await send(`smtp://127.0.0.1:${port}`, {to: ['ops@example.com', 'dba@example.com']}),
    ).toMatchObject({
      status: 'failed',
      reason: 'the mail server refused some of the recipients',
    })
    expect(mails).toMatchObject([{to: ['dba@example.com']}])
  })

  test('by not being there', async () => {
    const {port} = await start()
    await server!.stop()
    server = undefined
    expect(await send(`smtp://127.0.0.1:${port}`)).toMatchObject({
      status: 'failed',
      reason: 'the mail server could not be reached or broke off (ECONNREFUSED)',
    })
  })

  test('by never answering takes its time limit and no longer, and its connection is ended', async () => {
    const closed: Promise<unknown>[] = []
    const silent = createServer((socket) => {
      closed.push(
        new Promise((resolve) =>
          socket
            .on('error', () => {})
            .resume()
            .once('close', resolve),
        ),
      )
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    try {
      const {port} = silent.address() as AddressInfo
      const startMs = performance.now()
      expect(await send(`smtp://127.0.0.1:${port}`, {limitMs: 1500})).toMatchObject({
        status: 'failed',
        reason: 'the mail server gave no answer in time',
      })
      expect(performance.now() - startMs).toBeLessThan(20_000)
      expect(closed).toHaveLength(1)
      await Promise.all(closed)
    } finally {
      silent.close()
    }
  })

  test('by never confirming a message', async () => {
    const {port} = await start({silentAfterData: true})
    expect(await send(`smtp://127.0.0.1:${port}`, {limitMs: 1500})).toMatchObject({
      status: 'failed',
      reason: 'the mail server gave no answer in time',
    })
  })
})
