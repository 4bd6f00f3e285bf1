import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {createHmac} from 'node:crypto'
import {createServer, connect, type AddressInfo, type Socket} from 'node:net'
import {channelsOf} from '../../src/notify/channels.js'
import type {ChannelConfig} from '../../src/notify/config.js'
import type {Notice} from '../../src/notify/notice.js'
import {notify, type NotifyDeps} from '../../src/notify/notify.js'
import {startReceiver, type HttpReceiver} from '../support/http-receiver.js'
import {makeCertificate} from '../support/smtp-server.js'
import {sampleFailure, sampleNotice} from './sample-notice.js'

let receiver: HttpReceiver
beforeEach(async () => {
  receiver = await startReceiver()
})
afterEach(() => receiver.stop())

const routingKey = 'R0UTINGKEY'.repeat(3)
const all = (): ChannelConfig[] => [
  {type: 'slack', url: `${receiver.url}/slack`},
  {type: 'discord', url: `${receiver.url}/discord`},
  {type: 'pagerduty', routingKey, url: `${receiver.url}/pagerduty`},
  {type: 'webhook', url: `${receiver.url}/webhook`},
  {type: 'ping', url: `${receiver.url}/ping`},
]
const send = (config: ChannelConfig[], notice: Notice, deps: NotifyDeps = {}) =>
  notify(notice, channelsOf(config, {}), deps)
const paths = () => receiver.requests.map(({path}) => path.replace(/\?rid=.*$/, '')).sort()
const slack = (): ChannelConfig[] => [{type: 'slack', url: `${receiver.url}/secret-token`}]

describe('who is told what', () => {
  test('a failure is told to everybody', async () => {
    const deliveries = await send(all(), sampleFailure())
    expect(deliveries.map(({channel, status}) => `${channel} ${status}`)).toEqual([
      'slack sent',
      'discord sent',
      'pagerduty sent',
      'webhook sent',
      'ping sent',
    ])
    expect(paths()).toEqual(['/discord', '/pagerduty', '/ping/fail', '/slack', '/webhook'])
  })

  test('a success to those who count on one, and the incident of the failure before is closed', async () => {
    await send(all(), sampleFailure())
    await send(all(), sampleNotice())
    expect(paths().slice(0, 3)).toEqual(['/discord', '/pagerduty', '/pagerduty'])
    const [trigger, resolve] = receiver.requests
      .filter(({path}) => path === '/pagerduty')
      .map((request) => request.json())
    expect(resolve).toEqual({routing_key: routingKey, event_action: 'resolve', dedup_key: trigger.dedup_key})
    expect(paths()).toEqual(expect.arrayContaining(['/ping', '/ping/fail', '/webhook']))
    expect(receiver.requests).toHaveLength(8)
  })

  test('a beginning to pings alone', async () => {
    await send(all(), sampleNotice({outcome: 'start'}))
    expect(paths()).toEqual(['/ping/start'])
  })

  test('a check is not fed by anything but backups, and hears of what else goes wrong, unless it is to be otherwise', async () => {
    const ping: ChannelConfig = {type: 'ping', url: receiver.url}
    const told = (config: ChannelConfig, notice: Notice) => channelsOf([config], {})[0].wants(notice)
    expect(told(ping, sampleNotice())).toBe(true)
    expect(told(ping, sampleNotice({event: 'status'}))).toBe(false)
    expect(told(ping, sampleNotice({event: 'verify', outcome: 'start'}))).toBe(false)
    expect(told(ping, sampleFailure({event: 'verify'}))).toBe(true)
    expect(told(ping, sampleFailure({event: 'restore'}))).toBe(false)
    expect(told({...ping, events: ['status']}, sampleNotice({event: 'status'}))).toBe(true)
    expect(told({...ping, events: ['status']}, sampleFailure({event: 'verify'}))).toBe(false)
  })

  test('`on` and `events` choose', async () => {
    const url = `${receiver.url}/slack`
    const config: ChannelConfig[] = [{type: 'slack', url, on: ['success'], events: ['backup', 'restore']}]
    expect(await send(config, sampleFailure())).toEqual([])
    expect(await send(config, sampleNotice({event: 'prune'}))).toEqual([])
    expect(await send(config, sampleNotice())).toMatchObject([{status: 'sent'}])
    expect(receiver.requests).toHaveLength(1)
  })

  test('a test reaches everybody, closes the incident that it opens, and feeds no check', async () => {
    await send(all(), sampleNotice({isTest: true}))
    expect(paths()).toEqual(['/discord', '/pagerduty', '/pagerduty', '/ping/log', '/slack', '/webhook'])
    const events = receiver.requests
      .filter(({path}) => path === '/pagerduty')
      .map((request) => request.json())
    expect(events.map(({event_action}) => event_action)).toEqual(['trigger', 'resolve'])
    expect(events[0].payload.severity).toBe('info')
    expect(events[0].dedup_key).toBe(events[1].dedup_key)
  })
})

describe('a webhook', () => {
  /** As a receiver in another language would, from what the documentation says. */
  const isSigned = (key: Buffer | string) => {
    const [{headers, body}] = receiver.requests as [HttpReceiver['requests'][0]]
    const signed = `${headers['webhook-id'] as string}.${headers['webhook-timestamp'] as string}.${body}`
    return headers['webhook-signature'] === `v1,${createHmac('sha256', key).update(signed).digest('base64')}`
  }

  test('is sent the notice, signed over its id, its time and its body', async () => {
    const url = `${receiver.url}/hook?team=db`
    const secret = 'a secret of the receiver'
    await send([{type: 'webhook', url, secret, headers: {Authorization: 'Bearer x'}}], sampleFailure())
    const [request] = receiver.requests as [HttpReceiver['requests'][0]]
    expect(request).toMatchObject({
      method: 'POST',
      path: '/hook?team=db',
      headers: {
        'content-type': 'application/json',
        authorization: 'Bearer x',
        'idempotency-key': sampleFailure().id,
        'webhook-id': sampleFailure().id,
        'webhook-timestamp': '1736951400',
      },
    })
    expect(isSigned(secret)).toBe(true)
    expect(isSigned('another')).toBe(false)
    expect(request.body).not.toContain(secret)
    expect(request.json()).toMatchObject({
      type: 'backup.failure',
      event: 'backup',
      outcome: 'failure',
      database: {host: 'db.internal', name: 'shop'},
      destinations: ['s3://backups/shop'],
      durationMs: 252_000,
      test: false,
      error: {code: 'SERVER_UNREACHABLE', exitCode: 4},
    })
  })

  test('takes the secrets of Standard Webhooks too', async () => {
    const key = Buffer.from('0123456789abcdef0123456789abcdef')
    await send(
      [{type: 'webhook', url: receiver.url, secret: `whsec_${key.toString('base64')}`}],
      sampleNotice(),
    )
    expect(isSigned(key)).toBe(true)
  })

  test('is not signed without a secret', async () => {
    await send([{type: 'webhook', url: receiver.url}], sampleNotice())
    expect(receiver.requests[0].headers).not.toHaveProperty('webhook-signature')
  })

  test('that is tried again gets the same id, time and body', async () => {
    receiver.answer({status: 503}, {status: 200})
    await send([{type: 'webhook', url: receiver.url, secret: 'secret'}], sampleNotice())
    const [first, second] = receiver.requests as [HttpReceiver['requests'][0], HttpReceiver['requests'][0]]
    expect({...second, json: undefined}).toEqual({...first, json: undefined})
  })
})

describe('a service that fails', () => {
  test.each([
    [500, 2],
    [503, 2],
    [429, 2],
    [400, 1],
    [404, 1],
    [410, 1],
  ])('with %d is asked %d times in all', async (status, times) => {
    receiver.answer({status, headers: {'retry-after': '0'}})
    expect(await send(slack(), sampleFailure())).toEqual([
      {channel: 'slack', status: 'failed', reason: `it answered ${status}`, durationMs: expect.any(Number)},
    ])
    expect(receiver.requests).toHaveLength(times)
  })

  test.each([
    ['with 500', {status: 500, headers: {'retry-after': '0'}}],
    ['by cutting the connection', 'reset'],
  ] as const)('once %s is told the second time', async (_, behaviour) => {
    receiver.answer(behaviour, {status: 200})
    expect(await send(slack(), sampleFailure())).toMatchObject([{status: 'sent'}])
    expect(receiver.requests).toHaveLength(2)
  })

  test('is given as long as it asks for', async () => {
    receiver.answer({status: 429, headers: {'retry-after': '1'}}, {status: 200})
    const [delivery] = await send(slack(), sampleFailure())
    expect(delivery).toMatchObject({status: 'sent'})
    expect(delivery.durationMs).toBeGreaterThanOrEqual(990)
  })

  test.each(['3600', new Date(Date.now() + 3_600_000).toUTCString()])(
    'is not waited for when it asks for longer than there is (%s)',
    async (retryAfter) => {
      receiver.answer({status: 429, headers: {'retry-after': retryAfter}})
      const [delivery] = await send(slack(), sampleFailure(), {limitMs: 60_000})
      expect(delivery).toMatchObject({status: 'failed', reason: 'it answered 429'})
      expect(delivery.durationMs).toBeLessThan(30_000)
      expect(receiver.requests).toHaveLength(1)
    },
  )

  test.each(['never', 'half'] as const)(
    'by never finishing its answer (%s) takes its time limit and no longer',
    async (how) => {
      receiver.answer(how)
      const start = performance.now()
      const [delivery] = await send(slack(), sampleFailure(), {limitMs: 300})
      expect(delivery).toMatchObject({status: 'failed', reason: 'it gave no answer in time'})
      expect(performance.now() - start).toBeLessThan(9000) // without it, it would be ten seconds
    },
  )

  test('takes no time from the others', async () => {
    const silent = await startReceiver()
    silent.answer('never')
    const config: ChannelConfig[] = [
      {type: 'slack', url: silent.url},
      {type: 'discord', url: receiver.url},
    ]
    const [one, other] = await send(config, sampleFailure(), {limitMs: 8000})
    await silent.stop()
    expect([one, other]).toMatchObject([{status: 'failed'}, {channel: 'discord', status: 'sent'}])
    expect(other.durationMs).toBeLessThan(7000)
  })

  test('with a redirect is not followed', async () => {
    const elsewhere = await startReceiver()
    receiver.answer({status: 307, headers: {location: elsewhere.url}})
    expect(await send(slack(), sampleFailure())).toMatchObject([
      {status: 'failed', reason: 'it answered 307, and redirects are not followed'},
    ])
    expect(elsewhere.requests).toHaveLength(0)
    await elsewhere.stop()
  })

  test('in a word of its own is quoted, and in no other way', async () => {
    receiver.answer({status: 404, body: 'channel_is_archived'})
    expect(await send(slack(), sampleFailure())).toMatchObject([
      {reason: 'it answered 404 channel_is_archived'},
    ])
    receiver.answer({status: 403, body: `Forbidden: ${receiver.url}/secret-token`})
    expect(await send(slack(), sampleFailure())).toMatchObject([{reason: 'it answered 403'}])
  })

  test('by not being there is told by the code of the system, without its address', async () => {
    const {url, port} = receiver
    await receiver.stop()
    const config: ChannelConfig[] = [{type: 'slack', url: `${url}/secret-token`}]
    const deliveries = await send(config, sampleFailure(), {limitMs: 3000})
    expect(deliveries).toMatchObject([{reason: 'it could not be reached (ECONNREFUSED)'}])
    expect(JSON.stringify(deliveries)).not.toMatch(new RegExp(`secret-token|${port}`))
    receiver = await startReceiver()
  })

  test('with a certificate that nobody signed is told nothing, and asked once', async () => {
    const tls = await startReceiver(await makeCertificate())
    const deliveries = await send([{type: 'slack', url: `${tls.url}/secret-token`}], sampleFailure())
    await tls.stop()
    expect(deliveries).toMatchObject([
      {status: 'failed', reason: 'its TLS certificate is not accepted (DEPTH_ZERO_SELF_SIGNED_CERT)'},
    ])
    expect(deliveries[0].durationMs).toBeLessThan(900)
    expect(tls.requests).toHaveLength(0)
  })
})

describe('an interruption', () => {
  test('before leaves little time', async () => {
    receiver.answer('never')
    const start = performance.now()
    const deps = {signal: AbortSignal.abort(), interruptedLimitMs: 1500}
    expect(await send(slack(), sampleFailure(), deps)).toMatchObject([{status: 'failed'}])
    expect(performance.now() - start).toBeLessThan(9000)
    receiver.answer({status: 200})
    expect(await send(slack(), sampleFailure(), deps)).toMatchObject([{status: 'sent'}])
  })

  test('meanwhile leaves little time from then on', async () => {
    receiver.answer('never')
    const stop = new AbortController()
    const start = performance.now()
    const sending = send(slack(), sampleFailure(), {signal: stop.signal, interruptedLimitMs: 100})
    await receiver.received(1)
    stop.abort()
    expect(await sending).toMatchObject([{status: 'failed', reason: 'it gave no answer in time'}])
    expect(performance.now() - start).toBeLessThan(9000)
  })
})

describe('a proxy', () => {
  test('is asked for a tunnel to an encrypted service, whose certificate is checked through it', async () => {
    const tls = await startReceiver(await makeCertificate())
    const tunnels: string[] = []
    const proxy = createServer((socket: Socket) => {
      socket.once('data', (head: Buffer) => {
        tunnels.push(head.toString().split('\r\n', 1)[0])
        const up = connect(tls.port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
        for (const one of [up, socket]) one.on('error', () => {})
        socket.pipe(up).pipe(socket)
      })
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const env = {HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`}
    const config: ChannelConfig[] = [{type: 'slack', url: 'https://hooks.example.com/services/x'}]
    const [delivery] = await send(config, sampleFailure(), {env, limitMs: 5000})
    await tls.stop()
    await new Promise((resolve) => proxy.close(resolve))
    expect(tunnels).toEqual(['CONNECT hooks.example.com:443 HTTP/1.1'])
    expect(delivery?.reason).toMatch(/^its TLS certificate is not accepted/)
  })

  test('of the environment passed in is used, except for what NO_PROXY names', async () => {
    const tunnels: string[] = []
    const proxy = createServer((socket: Socket) => {
      socket.once('data', (head: Buffer) => {
        tunnels.push(head.toString().split('\r\n', 1)[0])
        const up = connect(receiver.port, '127.0.0.1', () => up.write(head))
        up.on('error', () => socket.destroy())
        socket.on('error', () => up.destroy())
        socket.pipe(up).pipe(socket)
      })
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const {port} = proxy.address() as AddressInfo
    const config: ChannelConfig[] = [{type: 'slack', url: 'http://hooks.example.com/services/x'}]
    const env = {HTTP_PROXY: `http://127.0.0.1:${port}`}
    expect(await send(config, sampleFailure(), {env})).toMatchObject([{status: 'sent'}])
    expect(tunnels).toEqual(['POST http://hooks.example.com/services/x HTTP/1.1'])
    const direct = [{type: 'slack' as const, url: `${receiver.url}/direct`}]
    await send(direct, sampleFailure(), {env: {...env, NO_PROXY: '127.0.0.1'}})
    expect(tunnels).toHaveLength(1)
    expect(receiver.requests.at(-1)!.path).toBe('/direct')
    await new Promise((resolve) => proxy.close(resolve))
  })
})
