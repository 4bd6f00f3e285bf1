import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
import {transactionCommand} from '../../src/postgres/transaction-commands.js'
import {ClientMessages, ServerMessages} from '../../src/postgres/wire-messages.js'
import {
  greeting,
  int32,
  message,
  readStartup,
  readyForQuery,
  type TransactionStatus,
} from '../../src/postgres/wire.js'

/** Cuts bytes into pieces at the given places. */
function pieces(bytes: Buffer, cuts: number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  const edges = [0, ...places, bytes.length]
  return edges.slice(1).map((end, index) => bytes.subarray(edges[index], end))
}

interface Heard {
  passed: Buffer
  seen: string[]
  goodbyes: number
  nonsense: number
}

/** What comes through when a client's bytes arrive in pieces; queries that begin with "keep" are kept back. */
async function through(chunks: Buffer[]): Promise<Heard> {
  const heard = {seen: [] as string[], goodbyes: 0, nonsense: 0}
  const messages = new ClientMessages({
    passQuery: (sql) => {
      heard.seen.push(sql)
      return !sql.startsWith('keep')
    },
    goodbye: () => heard.goodbyes++,
    nonsense: () => heard.nonsense++,
  })
  const passed: Buffer[] = []
  messages.on('data', (chunk: Buffer) => passed.push(chunk))
  for (const chunk of chunks) messages.write(chunk)
  await new Promise<void>((resolve) => messages.end(resolve))
  return {...heard, passed: Buffer.concat(passed)}
}

const query = (sql: string) => message('Q', sql)
const copyData = (bytes: Uint8Array) => message('d', Buffer.from(bytes))

const clientMessage = fc.oneof(
  fc.string({unit: 'grapheme', maxLength: 40}).map((sql) => query(sql.replaceAll('\0', ''))),
  fc.string({maxLength: 20}).map((sql) => query(`keep ${sql.replaceAll('\0', '')}`)),
  fc.uint8Array({maxLength: 300}).map(copyData),
  fc.integer({min: 4080, max: 4200}).map((length) => query('x'.repeat(length))),
  fc.constantFrom(
    message('c'),
    message('f', 'no more'),
    message('S'),
    message('P', '', 'select 1', int32(0)),
  ),
)

describe('what a client says', () => {
  test('comes through unharmed however its bytes are cut, but for what is kept back', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(clientMessage, {maxLength: 20}),
        fc.array(fc.nat(), {maxLength: 60}),
        async (messages, cuts) => {
          const isKept = (bytes: Buffer) =>
            bytes.toString('latin1', 0, 1) === 'Q' &&
            bytes.includes('keep ', 5) &&
            bytes.indexOf('keep ', 5) === 5
          const {passed, nonsense} = await through(pieces(Buffer.concat(messages), cuts))
          expect(nonsense).toBe(0)
          expect(passed.equals(Buffer.concat(messages.filter((bytes) => !isKept(bytes))))).toBe(true)
        },
      ),
      {numRuns: 300},
    )
  })

  test('every short query is seen whole, byte by byte too; nothing else is', async () => {
    const all = Buffer.concat([query('select 1'), copyData(query('keep out')), query('ünï ✓'), message('c')])
    const heard = await through(pieces(all, [...all.keys()]))
    expect(heard.seen).toEqual(['select 1', 'ünï ✓'])
    expect(heard.passed.equals(all)).toBe(true)
  })

  test('a query that looks like the end of the world inside COPY data is data', async () => {
    const data = copyData(Buffer.concat([message('X'), query('keep'), Buffer.from([0xff, 0xff, 0xff, 0xff])]))
    const heard = await through([data])
    expect(heard).toMatchObject({seen: [], goodbyes: 0, nonsense: 0})
    expect(heard.passed.equals(data)).toBe(true)
  })

  test('a goodbye is not passed on', async () => {
    const heard = await through([query('a'), message('X').subarray(0, 2), message('X').subarray(2)])
    expect(heard.goodbyes).toBe(1)
    expect(heard.passed.equals(query('a'))).toBe(true)
  })

  test.each([0, 3, -1, -2_147_483_648])(
    'a length of %d is nonsense, and nothing after it is passed on',
    async (length) => {
      const heard = await through([query('a'), Buffer.concat([Buffer.from('Q'), int32(length)]), query('b')])
      expect(heard.nonsense).toBe(1)
      expect(heard.seen).toEqual(['a'])
      expect(heard.passed.equals(query('a'))).toBe(true)
    },
  )

  test('a statement of 100 MB goes by without being held in memory', async () => {
    const part = Buffer.alloc(1 << 16, 0x78)
    const parts = 1600
    const messages = new ClientMessages({passQuery: () => false, goodbye: () => {}, nonsense: () => {}})
    let passed = 0
    let mostWaiting = 0
    messages.on('data', (chunk: Buffer) => {
      passed += chunk.length
    })
    messages.write(Buffer.concat([Buffer.from('Q'), int32(4 + parts * part.length)]))
    for (let sent = 0; sent < parts; sent++) {
      if (!messages.write(part)) await new Promise((resolve) => messages.once('drain', resolve))
      mostWaiting = Math.max(mostWaiting, 5 + (sent + 1) * part.length - passed)
    }
    expect(passed).toBe(5 + parts * part.length)
    expect(mostWaiting).toBeLessThan(1 << 20)
  })
})

describe('what a server says', () => {
  const serverMessage = fc.oneof(
    fc.constantFrom<TransactionStatus>('I', 'T', 'E').map(readyForQuery),
    fc.uint8Array({maxLength: 100}).map((bytes) => message('D', Buffer.from(bytes))),
    fc.constantFrom(
      message('C', 'SELECT 1'),
      message('N', 'SNOTICE'),
      message('1'),
      message('G', Buffer.from([0, 0, 0])),
    ),
  )

  const collected = (statuses: TransactionStatus[] = []) => {
    const messages = new ServerMessages((status) => statuses.push(status))
    const passed: Buffer[] = []
    messages.on('data', (chunk: Buffer) => passed.push(chunk))
    return {messages, statuses, passed: () => Buffer.concat(passed)}
  }

  test('comes through unharmed however it is cut, and every status is noted', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(serverMessage, {maxLength: 20}),
        fc.array(fc.nat(), {maxLength: 60}),
        async (all, cuts) => {
          const {messages, statuses, passed} = collected()
          for (const chunk of pieces(Buffer.concat(all), cuts)) messages.write(chunk)
          await new Promise<void>((resolve) => messages.end(resolve))
          expect(passed().equals(Buffer.concat(all))).toBe(true)
          expect(statuses).toEqual(
            all.filter((bytes) => bytes[0] === 0x5a).map((bytes) => bytes.toString('latin1', 5)),
          )
        },
      ),
      {numRuns: 300},
    )
  })

  test('an answer of our own never gets into the middle of a message', async () => {
    const notice = message('N', 'a notice that comes in two parts')
    const own = message('C', 'SET')
    for (let cut = 0; cut <= notice.length; cut++) {
      const {messages, passed} = collected()
      messages.write(notice.subarray(0, cut))
      messages.answer(own)
      messages.write(notice.subarray(cut))
      await new Promise<void>((resolve) => messages.end(resolve))
      const expected = cut === 0 ? [own, notice] : [notice, own]
      expect(passed().equals(Buffer.concat(expected))).toBe(true)
    }
  })

  test('is ready when it has answered what it was asked, whatever else it says unasked', async () => {
    const {messages} = collected()
    expect(messages.isReady).toBe(true)
    messages.asked()
    messages.write(message('E', 'an error'))
    expect(messages).toMatchObject({isReady: false, hasFailed: true})
    messages.write(readyForQuery('E'))
    expect(messages).toMatchObject({isReady: true, hasFailed: true})
    messages.write(message('S', 'TimeZone', 'UTC'))
    expect(messages.isReady).toBe(true)
    messages.asked()
    expect(messages).toMatchObject({isReady: false, hasFailed: false})
  })
})

describe('a first message', () => {
  const startup = (code: number, rest = Buffer.alloc(0)) =>
    Buffer.concat([int32(8 + rest.length), int32(code), rest])
  const kinds = {start: 196_608, cancel: 80_877_102, ssl: 80_877_103, gss: 80_877_104, old: 131_072}

  test.each([
    ['start', kinds.start],
    ['start', 196_610],
    ['cancel', kinds.cancel],
    ['refuse-encryption', kinds.ssl],
    ['refuse-encryption', kinds.gss],
    ['unknown', kinds.old],
    ['unknown', 0],
  ])('%s: %d', (kind, code) => {
    const bytes = startup(code, Buffer.from('user\0app\0\0'))
    expect(readStartup(Buffer.concat([bytes, Buffer.from('more')]))).toEqual({kind, length: bytes.length})
    for (let end = 0; end < bytes.length; end++)
      expect(readStartup(bytes.subarray(0, end)).kind).toBe('incomplete')
  })

  test.each([0, 7, -1, 10_001, 2_000_000_000])('a length of %d is none that a client sends', (length) => {
    expect(readStartup(Buffer.concat([int32(length), int32(kinds.start)])).kind).toBe('unknown')
  })

  test('the greeting holds each parameter and ends with the status', () => {
    const bytes = greeting({server_version: '15.1', TimeZone: 'UTC'}, 'T')
    expect(bytes.includes('server_version\0' + '15.1\0')).toBe(true)
    expect(bytes.subarray(-6).equals(readyForQuery('T'))).toBe(true)
  })
})

describe('transaction commands', () => {
  test.each([
    ['BEGIN', 'BEGIN'],
    ['begin work;', 'BEGIN'],
    ['BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY', 'BEGIN'],
    ['Start  Transaction;', 'START TRANSACTION'],
    ['START TRANSACTION READ WRITE', 'START TRANSACTION'],
    ['COMMIT', 'COMMIT'],
    ['  \n COMMIT ; \n', 'COMMIT'],
    ['commit work', 'COMMIT'],
    ['COMMIT AND NO CHAIN', 'COMMIT'],
    ['END', 'COMMIT'],
    ['end transaction;', 'COMMIT'],
    ['-- a comment\nCOMMIT -- another', 'COMMIT'],
    ['/* a * comment */ COMMIT; /* another */', 'COMMIT'],
    ['ROLLBACK', 'ROLLBACK'],
    ['ABORT WORK;', 'ROLLBACK'],
    ['rollback and chain', 'ROLLBACK'],
  ])('%j is %s', (sql, command) => {
    expect(transactionCommand(sql)).toBe(command)
  })

  test.each([
    "COMMIT PREPARED 'x'",
    'ROLLBACK TO SAVEPOINT a',
    "ROLLBACK PREPARED 'x'",
    "PREPARE TRANSACTION 'x'",
    'COMMIT; SELECT 1',
    'SELECT 1; COMMIT',
    'BEGINNING',
    "COMMENT ON TABLE a IS 'COMMIT'",
    'CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC SELECT 1; END',
    'CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ begin COMMIT; end $$',
    "SELECT 'COMMIT'",
    '-- COMMIT',
    '',
  ])('%j is none', (sql) => {
    expect(transactionCommand(sql)).toBeUndefined()
  })

  test.each(['begin ', '/*', '--\n', 'begin read ', ' ', '/* */', '-- -', 'commit /*', 'begin , '])(
    'a statement of 4 kB of %j is told apart before anybody gives up',
    (part) => {
      expect(transactionCommand(part.repeat(4096 / part.length) + '!')).toBeUndefined()
    },
  )
})
