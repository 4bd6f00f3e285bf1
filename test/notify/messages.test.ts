import {describe, expect, test} from '@jest/globals'
import {discordMessage} from '../../src/notify/discord.js'
import {mailHtml} from '../../src/notify/email.js'
import type {Notice} from '../../src/notify/notice.js'
import {resolveEvent, triggerEvent} from '../../src/notify/pagerduty.js'
import {pingUrl} from '../../src/notify/ping.js'
import {slackMessage} from '../../src/notify/slack.js'
import {fit, plainText, titleOf} from '../../src/notify/words.js'
import {formatBytes, formatDuration} from '../../src/support/figures.js'
import type {Json} from '../support/http-receiver.js'
import {hostileFailure, sampleFailure, sampleNotice} from './sample-notice.js'

const access = {url: 'https://events.pagerduty.com/v2/enqueue', routingKey: 'R'.repeat(32)}

/** Texts of all kinds that would do harm where they are taken for markup, and one that is only long. */
const hostile = [
  '<!channel> <@U012AB3CD> &amp; *bold* _it_ ~st~ `code`',
  '@everyone @here <@&1> **b** [x](https://evil.example.com) ||s|| # h',
  '<script>alert("1")</script><img src=x onerror=alert(1)>',
  '🦑'.repeat(9000),
  '&<>'.repeat(9000),
  'a\r\nBcc: victim@example.com\n\u202e\u0007\u001b[31m',
  '`'.repeat(5000),
]

describe('what is said', () => {
  test.each([
    [sampleNotice(), 'Backup of shop on db.internal succeeded'],
    [sampleFailure(), 'Backup of shop on db.internal failed'],
    [sampleNotice({outcome: 'start'}), 'Backup of shop on db.internal began'],
    [sampleFailure({event: 'restore'}), 'Restore into shop on db.internal failed'],
    [sampleNotice({event: 'verify'}), 'Verification of the backups of shop on db.internal succeeded'],
    [
      sampleFailure({event: 'status', database: undefined}),
      'Health check of the backups at s3://backups/shop found something wrong',
    ],
    [
      sampleNotice({event: 'drill', database: undefined, destinations: []}),
      'Recovery drill with the database succeeded',
    ],
    [
      sampleFailure({error: {code: 'TERMINATED', message: 'Terminated.', suggestions: [], exitCode: 143}}),
      'Backup of shop on db.internal was interrupted',
    ],
  ])('the title tells what happened to what (%#)', (notice, title) => {
    expect(titleOf(notice)).toBe(title)
  })

  test('the text tells the error, its code, what to do, where and how long', () => {
    expect(plainText(sampleFailure({runUrl: 'https://ci.example.com/1'}))).toBe(
      `Backup of shop on db.internal failed.

The server db.internal:5432 cannot be reached.
Code: SERVER_UNREACHABLE (exit 4)

What to do:
  - See what is wrong: dbbak doctor
  - Is the server up?

Destination: s3://backups/shop
Took: 4 min 12 s
Ran on: backup-1
Run: https://ci.example.com/1
`,
    )
  })

  test('a text from a server cannot begin a line of its own', () => {
    const text = plainText(hostileFailure('x\nCode: FORGED\u2028\u202e'))
    expect(text).not.toMatch(/^Code: FORGED/m)
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u2028\u202e]/)
  })

  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [5_000_000, '5.0 MB'],
    [999_950, '1.0 MB'],
    [123_456_789_000, '123 GB'],
  ])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

  test.each([
    [412, '412 ms'],
    [9_800, '9.8 s'],
    [252_000, '4 min 12 s'],
    [3_600_000, '1 h'],
    [3_599_900, '1 h'],
    [100_000_000, '1 d 4 h'],
  ])('%d ms are %s', (ms, text) => expect(formatDuration(ms)).toBe(text))

  test('a text is cut between characters and escapes, never in them', () => {
    expect(fit('abc', 3)).toBe('abc')
    expect(fit('abcd', 3)).toBe('ab…')
    expect(fit('🦑🦑', 3)).toBe('🦑…')
    expect(fit('🦑🦑', 4)).toBe('🦑🦑')
    expect(fit('&&', 5, () => '&amp;')).toBe('…')
    expect(fit('a&&', 7, (it) => (it === '&' ? '&amp;' : it))).toBe('a&amp;…')
  })
})

const isWhole = (text: string) => !/[\ud800-\udbff](?![\udc00-\udfff])/.test(text)

describe.each(hostile)('with hostile text (%#)', (text) => {
  const notice = hostileFailure(text)

  test('Slack gets blocks within its limits, and nothing that it takes for a mention or a link', () => {
    const message: Json = slackMessage(notice)
    expect(message.blocks.length).toBeLessThanOrEqual(50)
    expect(message.text.length).toBeLessThanOrEqual(3000)
    const texts: {type: string; text: string; limit: number}[] = []
    for (const block of message.blocks) {
      if (block.type === 'header') texts.push({...block.text, limit: 150})
      else if (block.type === 'section' && block.text) texts.push({...block.text, limit: 3000})
      else if (block.type === 'section') {
        expect(block.fields.length).toBeLessThanOrEqual(10)
        texts.push(...block.fields.map((field: Json) => ({...field, limit: 2000})))
      } else if (block.type === 'context') {
        expect(block.elements[0].text).toBe(
          '<https://ci.example.com/runs/1?a=1&amp;b=&lt;2&gt;%7C3|Open the run>',
        )
      } else throw new Error(`a block of an unexpected type ${block.type}`)
    }
    expect(texts.map(({type}) => type)).toEqual([
      'plain_text',
      'plain_text',
      'plain_text',
      ...Array(10).fill('mrkdwn'),
    ])
    for (const {text: held, limit} of texts) {
      expect(held.length).toBeGreaterThan(0)
      expect(held.length).toBeLessThanOrEqual(limit)
      expect(isWhole(held)).toBe(true)
      expect(held).not.toMatch(/[<>]/)
      expect(held).not.toMatch(/&(?!amp;|lt;|gt;)/)
    }
    for (const {type, text: held} of texts.filter(({type: one}) => one === 'mrkdwn')) {
      const [heading, ...value] = held.split('\n')
      expect(heading).toMatch(/^\*[^*]+\*$/)
      expect({type, value: value.join('\n')}).toEqual({
        type,
        value: expect.not.stringMatching(/(?<!\u200b)[*~`]|(?<![\u200b\p{L}\p{N}])_/u),
      })
    }
  })

  test('Discord gets an embed within its limits that calls nobody', () => {
    const message: Json = discordMessage(notice)
    expect(message.allowed_mentions).toEqual({parse: []})
    expect(Object.keys(message).sort()).toEqual(['allowed_mentions', 'embeds'])
    expect(message.embeds).toHaveLength(1)
    const [embed] = message.embeds
    expect(embed.title.length).toBeLessThanOrEqual(256)
    expect(embed.description.length).toBeLessThanOrEqual(4096)
    expect(embed.fields.length).toBeLessThanOrEqual(25)
    expect(embed.fields.length).toBeGreaterThan(0)
    const texts = [embed.title, embed.description]
    for (const {name, value} of embed.fields) {
      expect(name.length).toBeGreaterThan(0)
      expect(name.length).toBeLessThanOrEqual(256)
      expect(value.length).toBeGreaterThan(0)
      expect(value.length).toBeLessThanOrEqual(1024)
      texts.push(name, value)
    }
    expect(texts.join('').length).toBeLessThanOrEqual(6000)
    for (const held of texts) {
      expect(isWhole(held)).toBe(true)
      expect(held).not.toMatch(/@(everyone|here)/)
      expect(held.replace(/\\[\\`*_~|<>[\]()#:-]/g, '')).not.toMatch(/[\\`*_~|<>[\]()#]/)
    }
  })

  test('PagerDuty gets an event within its limits', () => {
    const event: Json = triggerEvent(access, notice)
    expect(event.payload.summary.length).toBeGreaterThan(0)
    expect(event.payload.summary.length).toBeLessThanOrEqual(1024)
    expect(event.payload.source.length).toBeGreaterThan(0)
    expect(isWhole(event.payload.summary)).toBe(true)
    expect(event.dedup_key.length).toBeLessThanOrEqual(255)
    expect(JSON.stringify(event).length).toBeLessThan(512 * 1024)
  })

  test('a mail holds it as text alone', () => {
    const held = mailHtml(notice)
    const tags = [...held.matchAll(/<\/?([a-z0-9!]+)/g)].map(([, tag]) => tag)
    expect(new Set(tags)).toEqual(
      new Set([
        '!doctype',
        'html',
        'body',
        'h2',
        'p',
        'br',
        'small',
        'ul',
        'li',
        'table',
        'tr',
        'th',
        'td',
        'a',
      ]),
    )
    expect(held).not.toMatch(/<script|<img/i)
    expect(held).toContain('<a href="https://ci.example.com/runs/1?a=1&amp;b=&lt;2&gt;|3">')
  })
})

describe('Slack', () => {
  test('is told in the notification, the header, the message, what to do and the facts', () => {
    const message: Json = slackMessage(sampleFailure({runUrl: 'https://ci.example.com/1'}))
    expect(message.text).toBe(
      '❌ Backup of shop on db.internal failed: The server db.internal:5432 cannot be reached.',
    )
    expect(message.blocks.map((block: Json) => block.type)).toEqual([
      'header',
      'section',
      'section',
      'section',
      'context',
    ])
    expect(message.blocks[1].text.text).toBe(
      'The server db.internal:5432 cannot be reached. (SERVER_UNREACHABLE)',
    )
    expect(message.blocks[2].text.text).toBe(
      'What to do:\n• See what is wrong: dbbak doctor\n• Is the server up?',
    )
    expect(message.blocks[3].fields.map((field: Json) => field.text)).toEqual([
      '*Destination*\ns3://backups/shop',
      '*Took*\n4 min 12 s',
      '*Ran on*\nbackup-1',
    ])
  })

  test('shows names as they can be copied', () => {
    const message: Json = slackMessage(sampleNotice())
    expect(message.blocks[1].fields[0].text).toBe('*Backup*\nshop_2025-01-15T14-30-00-000Z')
  })

  test('of a success gets no section that is empty', () => {
    const message: Json = slackMessage(sampleNotice())
    expect(message.blocks.map((block: Json) => block.type)).toEqual(['header', 'section'])
    expect(message.blocks[1].fields[1].text).toBe('*Rows*\n1,234')
  })
})

describe('Discord', () => {
  test('is told in an embed in the colour of the outcome, linked to the run', () => {
    const [embed] = (discordMessage(sampleFailure({runUrl: 'https://ci.example.com/1'})) as Json).embeds
    expect(embed).toMatchObject({
      title: '❌ Backup of shop on db.internal failed',
      url: 'https://ci.example.com/1',
      color: 0xe74c3c,
      timestamp: '2025-01-15T14:30:00.000Z',
      description: expect.stringContaining('SERVER\\_UNREACHABLE'),
    })
    const [success] = (discordMessage(sampleNotice()) as Json).embeds
    expect(success).toMatchObject({color: 0x2ecc71})
    expect(success).not.toHaveProperty('description')
    expect(success.fields[1]).toEqual({name: 'Rows', value: '1,234', inline: true})
  })
})

describe('PagerDuty', () => {
  test('gets the fields of an Events API v2 trigger, and a resolve with the same key', () => {
    const failure = sampleFailure({runUrl: 'https://ci.example.com/1'})
    expect(triggerEvent(access, failure)).toEqual({
      routing_key: access.routingKey,
      event_action: 'trigger',
      dedup_key: 'dbbak/backup/db.internal/shop',
      client: 'dbbak',
      payload: {
        summary: 'Backup of shop on db.internal failed: The server db.internal:5432 cannot be reached.',
        source: 'db.internal',
        severity: 'error',
        timestamp: '2025-01-15T14:30:00.000Z',
        component: 'dbbak',
        group: 'shop',
        class: 'SERVER_UNREACHABLE',
        custom_details: {
          Error: 'The server db.internal:5432 cannot be reached.',
          Code: 'SERVER_UNREACHABLE',
          'What to do 1': 'See what is wrong: dbbak doctor',
          'What to do 2': 'Is the server up?',
          Destination: 's3://backups/shop',
          Took: '4 min 12 s',
          'Ran on': 'backup-1',
          Run: 'https://ci.example.com/1',
        },
      },
      links: [{href: 'https://ci.example.com/1', text: 'Open the run'}],
    })
    expect(resolveEvent(access, sampleNotice())).toEqual({
      routing_key: access.routingKey,
      event_action: 'resolve',
      dedup_key: 'dbbak/backup/db.internal/shop',
    })
  })

  test('gets another key for another event or database, and one that fits for a long name', () => {
    const keyOf = (changes: Partial<Notice>) =>
      resolveEvent(access, sampleNotice(changes)).dedup_key as string
    expect(keyOf({event: 'verify'})).not.toBe(keyOf({}))
    expect(keyOf({subject: 'db.internal/other'})).not.toBe(keyOf({}))
    const [one, other] = ['a', 'b'].map((end) => keyOf({subject: 'x'.repeat(400) + end}))
    expect(one).not.toBe(other)
    expect(one.length).toBeLessThanOrEqual(255)
  })

  test('a rollback that failed is critical whatever was chosen, an interruption a warning', () => {
    const severityOf = (code: string, exitCode: number, chosen?: 'info') =>
      (
        triggerEvent(
          {...access, severity: chosen},
          sampleFailure({error: {code, message: 'x.', suggestions: [], exitCode}}),
        ) as Json
      ).payload.severity
    expect(severityOf('ROLLBACK_FAILED', 7, 'info')).toBe('critical')
    expect(severityOf('TERMINATED', 143)).toBe('warning')
    expect(severityOf('DUMP_FAILED', 4, 'info')).toBe('info')
  })
})

describe('a ping', () => {
  test.each([
    ['https://hc-ping.com/uuid', sampleNotice({outcome: 'start'}), 'https://hc-ping.com/uuid/start'],
    ['https://hc-ping.com/uuid/', sampleNotice(), 'https://hc-ping.com/uuid'],
    ['https://hc-ping.com/key/slug', sampleFailure(), 'https://hc-ping.com/key/slug/fail'],
    ['https://hc-ping.com/uuid', sampleNotice({isTest: true}), 'https://hc-ping.com/uuid/log'],
  ])('goes to the address of its outcome, with the id of the run (%#)', (url, notice, expected) => {
    expect(pingUrl(url, notice)).toBe(`${expected}?rid=${notice.runId}`)
  })

  test('keeps the query of the address', () => {
    expect(pingUrl('https://status.example.com/p?key=1', sampleFailure())).toBe(
      `https://status.example.com/p/fail?key=1&rid=${sampleFailure().runId}`,
    )
  })
})
