import {describe, expect, test} from '@jest/globals'
import {z} from 'zod'
import {hooksSchema, notificationsSchema, notifyKeysAt} from '../../src/library/notify-schema.js'
import {channelsOf, setUpChannels} from '../../src/notify/channels.js'
import type {ChannelConfig, NotificationsConfig} from '../../src/notify/config.js'
import {mailServerOf} from '../../src/notify/mail-server.js'
import {runUrlOf} from '../../src/notify/run-url.js'
import {DbbakError} from '../../src/support/errors.js'
import {sampleFailure, sampleNotice} from './sample-notice.js'

const slackUrl = 'https://hooks.slack.com/services/T0/B0/s3cr3t'
const everything = {
  DBBAK_SLACK_WEBHOOK_URL: slackUrl,
  DBBAK_DISCORD_WEBHOOK_URL: 'https://discord.com/api/webhooks/1/s3cr3t',
  DBBAK_PAGERDUTY_ROUTING_KEY: 's3cr3t'.repeat(5),
  DBBAK_SMTP_URL: 'smtps://user:s3cr3t@mail.example.com',
  DBBAK_MAIL_FROM: 'Backups <dbbak@example.com>',
  DBBAK_MAIL_TO: 'ops@example.com, dba@example.com',
  DBBAK_WEBHOOK_URL: 'https://hooks.example.com/?token=s3cr3t',
  DBBAK_WEBHOOK_SECRET: 's3cr3t',
  DBBAK_PING_URL: 'https://hc-ping.com/s3cr3t',
}
const namesOf = (config: NotificationsConfig | undefined, env = {}) =>
  channelsOf(config, env).map(({name}) => name)

describe('the channels', () => {
  test('are none without settings', () => expect(namesOf(undefined)).toEqual([]))

  test('are those of the environment without a config file', () => {
    expect(namesOf(undefined, everything)).toEqual([
      'slack',
      'discord',
      'pagerduty',
      'email',
      'webhook',
      'ping',
    ])
  })

  test('of a variable stand in for those of its kind in the file', () => {
    const file: NotificationsConfig = [
      {type: 'slack', url: slackUrl, name: 'alerts'},
      {type: 'slack', url: slackUrl, name: 'log'},
      {type: 'ping', url: 'https://hc-ping.com/x'},
    ]
    expect(namesOf(file)).toEqual(['alerts', 'log', 'ping'])
    expect(namesOf(file, {DBBAK_SLACK_WEBHOOK_URL: slackUrl})).toEqual(['ping', 'slack'])
  })

  test('of one kind are told apart by a number', () => {
    const one: ChannelConfig = {type: 'slack', url: slackUrl}
    expect(namesOf([one, {...one, name: 'alerts'}, one])).toEqual(['slack', 'alerts', 'slack 2'])
  })

  test('get what DBBAK_NOTIFY_ON says, except where the file says otherwise or it would break them', () => {
    const env = {...everything, DBBAK_NOTIFY_ON: 'success'}
    const wanting = (notice: ReturnType<typeof sampleNotice>, file?: NotificationsConfig) =>
      channelsOf(file, env).flatMap((channel) => (channel.wants(notice) ? channel.name : []))
    expect(wanting(sampleFailure())).toEqual(['pagerduty', 'ping'])
    expect(wanting(sampleNotice())).toEqual(['slack', 'discord', 'pagerduty', 'email', 'webhook', 'ping'])
    const file: NotificationsConfig = [{type: 'discord', url: slackUrl, on: ['failure'], name: 'own'}]
    const own = channelsOf(file, {...env, DBBAK_DISCORD_WEBHOOK_URL: ''}).find(({name}) => name === 'own')!
    expect([own.wants(sampleFailure()), own.wants(sampleNotice())]).toEqual([true, false])
  })

  test('of the environment get the events of DBBAK_NOTIFY_EVENTS', () => {
    const env = {DBBAK_PING_URL: 'https://hc-ping.com/x', DBBAK_NOTIFY_EVENTS: 'verify, drill'}
    const [ping] = channelsOf(undefined, env)
    expect(['backup', 'verify', 'drill'].map((event) => ping.wants(sampleNotice({event} as never)))).toEqual([
      false,
      true,
      true,
    ])
  })
})

describe('a setting that cannot be used is named, and its value is not shown', () => {
  const bad: [string, Record<string, string>, string][] = [
    ['a URL of another kind', {DBBAK_SLACK_WEBHOOK_URL: 'ftp://x/s3cr3t'}, 'DBBAK_SLACK_WEBHOOK_URL'],
    ['no URL', {DBBAK_PING_URL: 's3cr3t'}, 'DBBAK_PING_URL'],
    [
      'a routing key with a space',
      {DBBAK_PAGERDUTY_ROUTING_KEY: 's3cr3t s3cr3t'},
      'DBBAK_PAGERDUTY_ROUTING_KEY',
    ],
    ['a sender that is no address', {...everything, DBBAK_MAIL_FROM: 's3cr3t'}, 'DBBAK_MAIL_FROM'],
    ['a sender with a line break', {...everything, DBBAK_MAIL_FROM: 's3cr3t\nBcc: <a@b>'}, 'DBBAK_MAIL_FROM'],
    ['a mail server by another scheme', {...everything, DBBAK_SMTP_URL: 'https://s3cr3t'}, 'DBBAK_SMTP_URL'],
    [
      'a mail server with TLS switched off',
      {...everything, DBBAK_SMTP_URL: 'smtp://a:s3cr3t@b/?tls.rejectUnauthorized=false'},
      'DBBAK_SMTP_URL',
    ],
    [
      'a secret that is not base64',
      {...everything, DBBAK_WEBHOOK_SECRET: 'whsec_s3cr3t!'},
      'DBBAK_WEBHOOK_SECRET',
    ],
    ['an outcome that there is not', {...everything, DBBAK_NOTIFY_ON: 'failure,s3cr3t'}, 'DBBAK_NOTIFY_ON'],
    ['an event that there is not', {...everything, DBBAK_NOTIFY_EVENTS: 's3cr3t'}, 'DBBAK_NOTIFY_EVENTS'],
  ]
  test.each(bad)('%s', (_, env, variable) => {
    const error = failureOf(() => channelsOf(undefined, env))
    expect(error).toMatchObject({code: 'CONFIG_INVALID', exitCode: 2, details: {place: variable}})
    expect(error.message).toMatch(new RegExp(`^The notifications cannot be set up: ${variable} .*\\.$`))
    expect(JSON.stringify([error.message, error.suggestions])).not.toContain('s3cr3t')
  })

  test('one of the config file by its place', () => {
    const file: NotificationsConfig = [
      {type: 'slack', url: slackUrl},
      {type: 'webhook', url: slackUrl, headers: {'X-Bad': 's3cr3t\r\nX-Forged: 1'}},
    ]
    const error = failureOf(() => channelsOf(file, {}))
    expect(error.details).toEqual({place: 'notifications.1.headers'})
    expect(error.message).not.toContain('s3cr3t')
  })
})

test.each(['DBBAK_MAIL_FROM', 'DBBAK_MAIL_TO'])(
  'mail for which %s is not set is nobody to tell',
  (variable) => {
    const {channels, unset} = setUpChannels(undefined, {...everything, [variable]: ''})
    expect(channels.map(({kind}) => kind)).not.toContain('email')
    expect(unset).toMatchObject([{name: 'email', reason: `${variable} is not set`}])
  },
)

function failureOf(work: () => unknown): DbbakError {
  try {
    work()
  } catch (error) {
    if (error instanceof DbbakError) return error
  }
  throw new Error('It did not fail as it should.')
}

describe('the URL of a mail server', () => {
  test.each([
    [
      'smtps://u:p%40ss@mail.example.com',
      {host: 'mail.example.com', port: 465, tls: 'from-the-start', user: 'u', password: 'p@ss'},
    ],
    [
      'smtp://u:p@mail.example.com',
      {host: 'mail.example.com', port: 587, tls: 'required', user: 'u', password: 'p'},
    ],
    ['smtp://relay.internal', {host: 'relay.internal', port: 25, tls: 'if-offered'}],
    ['smtp://relay.internal:2525?tls=required', {host: 'relay.internal', port: 2525, tls: 'required'}],
    ['smtp://localhost', {host: 'localhost', port: 25, tls: 'never'}],
    ['smtp://u:p@127.0.0.1:1025', {host: '127.0.0.1', port: 1025, tls: 'never', user: 'u', password: 'p'}],
    ['smtp://[::1]:25?tls=if-offered', {host: '::1', port: 25, tls: 'if-offered'}],
  ])('%s', (url, server) => expect(mailServerOf(url)).toEqual(server))

  test.each([
    'mail.example.com',
    'smtp://',
    'smtp://u:%zz@host',
    'smtp://host?tls=maybe',
    'smtp://host?pool=true',
  ])('%s is refused', (url) => expect(mailServerOf(url)).toEqual(expect.any(String)))
})

describe('the page of the run', () => {
  test.each([
    [
      {GITHUB_SERVER_URL: 'https://github.com', GITHUB_REPOSITORY: 'shop/db', GITHUB_RUN_ID: '42'},
      'https://github.com/shop/db/actions/runs/42',
    ],
    [{CI_JOB_URL: 'https://gitlab.example.com/shop/-/jobs/42'}, 'https://gitlab.example.com/shop/-/jobs/42'],
    [{BUILD_URL: 'https://user:s3cr3t@jenkins.example.com/job/1/'}, 'https://jenkins.example.com/job/1/'],
    [
      {
        SYSTEM_COLLECTIONURI: 'https://dev.azure.com/shop/',
        SYSTEM_TEAMPROJECT: 'The Shop',
        BUILD_BUILDID: '42',
      },
      'https://dev.azure.com/shop/The%20Shop/_build/results?buildId=42',
    ],
    [{BUILD_URL: 'javascript:alert(1)'}, undefined],
    [{}, undefined],
  ])('is found (%#)', (env, url) => expect(runUrlOf(env)).toBe(url))
})

describe('the schema of the config file', () => {
  test('takes every kind of channel', () => {
    const config = [
      {type: 'slack', url: slackUrl, on: ['failure', 'success'], events: ['backup']},
      {type: 'discord', url: slackUrl, name: 'the team'},
      {type: 'pagerduty', routingKey: 'x', severity: 'critical'},
      {type: 'email', smtpUrl: 'smtp://localhost', from: 'a@example.com', to: ['b@example.com']},
      {type: 'webhook', url: slackUrl, secret: 'x', headers: {a: 'b'}},
      {type: 'ping', url: slackUrl, on: ['start', 'failure']},
    ]
    expect(notificationsSchema.parse(config)).toEqual(config)
  })

  test.each([
    [[{type: 'slak', url: 'x'}], [0, 'type']],
    [[{type: 'slack'}], [0, 'url']],
    [[{type: 'slack', url: 'x', on: ['failed']}], [0, 'on', 0]],
    [[{type: 'slack', url: 'x', uri: 'x'}], [0]],
  ])('names the place of a fault (%#)', (config, path) => {
    expect(notificationsSchema.safeParse(config).error?.issues.map((issue) => issue.path)).toEqual([path])
  })

  test('knows the keys of each kind', () => {
    const config = {notifications: [{type: 'slack'}, {type: 'pagerduty'}]}
    expect(notifyKeysAt(['notifications', '1'], config)).toEqual(
      expect.arrayContaining(['routingKey', 'severity', 'events']),
    )
    expect(notifyKeysAt(['notifications', '0'], config)).not.toContain('routingKey')
    expect(notifyKeysAt(['hooks'], {})).toEqual([
      'beforeBackup',
      'afterBackup',
      'beforeRestore',
      'afterRestore',
    ])
    expect(notifyKeysAt(['s3'], {})).toBeUndefined()
  })

  test.each([
    {beforeBackup: 'pause.sh'},
    {afterBackup: ['notify', '--done']},
    {beforeRestore: {run: 'x', timeout: '5min'}, afterRestore: {run: ['x', 'y']}},
  ])('takes hooks in every form (%#)', (hooks) => expect(hooksSchema.parse(hooks)).toEqual(hooks))

  test.each([
    {beforeBackup: ''},
    {beforeBackup: []},
    {before: 'x'},
    {beforeBackup: {timeout: '1s'}},
    {beforeBackup: 1},
  ])('refuses what is no hook (%#)', (hooks) => expect(hooksSchema.safeParse(hooks).success).toBe(false))

  test('can be published for editors', () => {
    const schema = z.toJSONSchema(z.object({notifications: notificationsSchema, hooks: hooksSchema}))
    expect(JSON.stringify(schema)).toContain('"const":"pagerduty"')
  })
})
