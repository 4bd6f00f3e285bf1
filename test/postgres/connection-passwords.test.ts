import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {inspect} from 'node:util'
import {describeConnection, type ConnectionDescription} from '../../src/postgres/connection.js'
import {conninfoPair} from '../../src/postgres/conninfo.js'
import {DbbakError} from '../../src/support/errors.js'

const nowhere = {homeFolder: '/nonexistent', userName: 'me'}

const described = (
  text: string | undefined,
  env: Record<string, string> = {},
): Promise<ConnectionDescription> => describeConnection(text, {env, ...nowhere}, 'DATABASE_URL')

async function refusal(text: string): Promise<DbbakError> {
  const error: unknown = await described(text).catch((caught: unknown) => caught)
  if (!(error instanceof DbbakError)) throw new Error(`Not refused: ${text}`)
  expect(error.code).toBe('DATABASE_URL_INVALID')
  return error
}

/** What a client would be given, the password included. */
async function credentials(description: ConnectionDescription) {
  const {host, port, user, database, password} = description.clientConfig('plain')
  const given = typeof password === 'function' ? await password() : password
  return {host, port, user, database, password: given}
}

const everythingShown = (description: ConnectionDescription): string =>
  [
    description.redacted(),
    String(description),
    JSON.stringify(description),
    inspect(description, {depth: 10, showHidden: true}),
    description.databaseArgument(),
    inspect(description.clientConfig('plain')),
    ...description.warnings,
  ].join('\n')

const text = fc.string({unit: 'grapheme', minLength: 1, maxLength: 30}).filter((word) => !word.includes('\0'))
const binaryText = fc
  .string({unit: 'binary', minLength: 1, maxLength: 30})
  .filter((word) => !word.includes('\0'))
const anyText = fc.oneof(
  text,
  binaryText,
  fc.string({unit: fc.constantFrom(...`@:/?#[]%&=+ '"\\,$a1é€`), minLength: 1}),
)

describe('whatever the names and the password are', () => {
  test('encoded into a URL they come back', async () => {
    await fc.assert(
      fc.asyncProperty(anyText, anyText, anyText, async (user, password, database) => {
        const encode = encodeURIComponent
        const url = `postgresql://${encode(user)}:${encode(password)}@h:5433/${encode(database)}`
        const inQuery = `postgresql://h:5433/?user=${encode(user)}&password=${encode(password)}&dbname=${encode(database)}`
        const expected = {host: 'h', port: 5433, user, password, database}
        // Blanks around the text are cut off, but none can be left after encoding.
        expect(await credentials(await described(url))).toEqual(expected)
        expect(await credentials(await described(inQuery))).toEqual(expected)
      }),
      {numRuns: 500},
    )
  })

  test('quoted in a conninfo string they come back, and so do they from the variables', async () => {
    await fc.assert(
      fc.asyncProperty(anyText, anyText, anyText, async (user, password, database) => {
        const expected = {host: 'h', port: 5432, user, password, database}
        const pairs = [
          conninfoPair('user', user),
          conninfoPair('password', password),
          conninfoPair('dbname', database),
        ]
        expect(await credentials(await described(`host=h ${pairs.join(' ')}`))).toEqual(expected)
        const variables = {PGHOST: 'h', PGUSER: user, PGPASSWORD: password, PGDATABASE: database}
        const description = await described(undefined, variables)
        expect(await credentials(description)).toEqual(expected)
        expect(description.toolEnvironment({PGDATABASE: 'x', PATH: '/bin'})).toMatchObject({
          ...variables,
          PATH: '/bin',
        })
        expect((await described(description.databaseArgument())).database).toBe(database)
      }),
      {numRuns: 500},
    )
  })

  test('a password file gives the password back, escaped', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dbbak-pass-'))
    const file = join(folder, 'pass')
    const oneLine = anyText.filter((word) => !/[\r\n]/.test(word) && word !== '*')
    await fc.assert(
      fc.asyncProperty(oneLine, oneLine, oneLine, async (user, password, database) => {
        const escape = (word: string) => word.replace(/[\\:]/g, '\\$&')
        await writeFile(file, `h:5432:${escape(database)}:${escape(user)}:${escape(password)}\n`, {
          mode: 0o600,
        })
        const description = await described(undefined, {
          PGHOST: 'h',
          PGUSER: user,
          PGDATABASE: database,
          PGPASSFILE: file,
        })
        expect((await credentials(description)).password).toBe(password)
      }),
      {numRuns: 200},
    )
    await rm(folder, {recursive: true})
  })

  test('nothing that is shown contains the password', async () => {
    const marker = 'Xq7Zk'
    const password = fc.tuple(anyText, anyText).map(([before, after]) => `${before}${marker}${after}`)
    await fc.assert(
      fc.asyncProperty(password, async (secret) => {
        const url = `postgresql://app:${encodeURIComponent(secret)}@h/shop?sslpassword=${encodeURIComponent(secret)}`
        expect(everythingShown(await described(url))).not.toContain(marker)
        expect(everythingShown(await described('postgres://h/shop', {PGPASSWORD: secret}))).not.toContain(
          marker,
        )
      }),
      {numRuns: 200},
    )
  })

  test('no error contains the password, however it is put into the text', async () => {
    const marker = 'Xq7Zk'
    const password = fc.tuple(anyText, anyText).map(([before, after]) => `${before}${marker}${after}`)
    const broken = fc.constantFrom(
      (secret: string) => `postgres://app:${secret}@h:port/shop`,
      (secret: string) => `postgres://app:${secret}@h/shop?hots=1`,
      (secret: string) => `postgres://app:${secret}@h/shop?sslmode=none`,
      (secret: string) => `postgres://h/shop?password=${secret}&hots=1`,
      (secret: string) => `postgres://h/shop?user=app&password=${secret}`,
      (secret: string) => `postgres://app:${secret}@h:1,2:3:4/shop`,
      (secret: string) => `mysql://app:${secret}@h/shop`,
      (secret: string) => `"postgres://app:${secret}@h/shop"`,
      (secret: string) => `host=h password=${secret} usr=x`,
      (secret: string) => `host=h password='${secret}' usr=x`,
      (secret: string) => `host=h password=${secret}`,
      (secret: string) => `app:${secret}@h/shop`,
    )
    await fc.assert(
      fc.asyncProperty(broken, password, async (write, secret) => {
        const error: unknown = await described(write(secret)).catch((caught: unknown) => caught)
        if (!(error instanceof DbbakError)) return // understood after all: what is shown then is the next test's business
        expect(inspect([error.message, error.suggestions, error.details, error.cause])).not.toContain(marker)
      }),
      {numRuns: 2000},
    )
  })

  test.each([
    'host=h password=my Xq7Zk=secret',
    `host=h password=''Xq7Zk=secret' usr=x`,
    `host=h password='my' Xq7Zk=secret' usr=x`,
    'postgres://h/d?password=my&Xq7Zk=secret',
    'postgres://app:my@h?Xq7Zk=secret@db/shop',
  ])('the rest of a password is not repeated as an unknown parameter: %s', async (url) => {
    const error = await refusal(url)
    expect(inspect([error.message, error.suggestions])).not.toContain('Xq7Zk')
    expect(error.message).toContain('a parameter that libpq does not know')
  })

  test('nor in brackets, as a host', async () => {
    const {message, suggestions} = await refusal('postgres://app:@[Xq7Zk?],@h/shop')
    expect(inspect([message, suggestions])).not.toContain('Xq7Zk')
  })

  test('a raw password that is understood is not taken for something else', async () => {
    const marker = 'Xq7Zk'
    const raw = fc.string({unit: fc.constantFrom(...'@:?#[]&=+ ,a1'), maxLength: 6})
    await fc.assert(
      fc.asyncProperty(raw, raw, async (before, after) => {
        const url = `postgres://app:${before}${marker}${after}@h/shop`
        const description = await described(url).catch(() => undefined)
        if (description !== undefined) expect(everythingShown(description)).not.toContain(marker)
      }),
      {numRuns: 2000},
    )
  })
})
