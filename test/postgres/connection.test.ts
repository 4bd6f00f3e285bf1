import {describe, expect, test} from '@jest/globals'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {
  describeConnection,
  variablesNameADatabase,
  type ConnectionDescription,
} from '../../src/postgres/connection.js'
import {frameworkParameters} from '../../src/postgres/connection-parameters.js'
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

describe('what a description says', () => {
  test('redacted is user, host, port and database', async () => {
    const shown = async (text: string) => (await described(text)).redacted()
    expect(await shown('postgres://app:secret@db.internal/shop')).toBe('app@db.internal:5432/shop')
    expect(await shown('postgres://app:secret@[::1]:5433/shop')).toBe('app@[::1]:5433/shop')
    expect(await shown('postgres://app@a/shop?host=x')).toBe('app@x:5432/shop')
    expect(await shown('postgres://app@%2Frun%2Fpg/shop')).toBe('app@/run/pg:5432/shop')
    expect(await shown('postgres://app@h/a%0A%1B[31m')).toBe('app@h:5432/a\\x0a\\x1b[31m')
  })

  test('defaults are libpq’s', async () => {
    const description = await described(undefined)
    expect(description).toMatchObject({user: 'me', database: 'me', port: 5432, source: 'DATABASE_URL'})
    expect(description.host).toMatch(process.platform === 'win32' ? /localhost/ : /^\//)
    expect(description.setting('sslmode')).toBe('prefer')
    expect(await described('postgres://app@h')).toMatchObject({user: 'app', database: 'app'})
  })

  test('several hosts, each with its port', async () => {
    const hosts = async (text: string) =>
      (await described(text)).hosts.map(({host, port}) => `${host}:${port}`)
    expect(await hosts('postgres://a:1,b,[::1]:3/x')).toEqual(['a:1', 'b:5432', '::1:3'])
    expect(await hosts('postgres://a,b/x?port=7')).toEqual(['a:7', 'b:7'])
    expect(await hosts('host=a,b port=1,2')).toEqual(['a:1', 'b:2'])
  })

  test('one that is made from another leaves it as it was', async () => {
    const description = await described('postgres://app:secret@a:1,b:2/shop')
    const other = description.withDatabase('other').withHost({host: 'b', port: 2})
    expect(other.redacted()).toBe('app@b:2/other')
    expect(description.redacted()).toBe('app@a:1,b:2/shop')
    expect((await credentials(other)).password).toBe('secret')
    expect(() => Object.assign(description, {database: 'x'})).toThrow(TypeError)
  })

  test('blanks and line ends around it do not count', async () => {
    expect((await described(' postgres://app@h/shop\n')).redacted()).toBe('app@h:5432/shop')
  })

  test('what drivers and frameworks add is ignored', async () => {
    for (const name of frameworkParameters) {
      expect(
        (await described(`postgres://app@h/shop?${name}=1&application_name=x`)).setting('application_name'),
      ).toBe('x')
    }
    expect((await described('postgres://h/d?sslmode=no-verify')).setting('sslmode')).toBe('require')
    expect((await described('postgres://h/d?ssl=false')).setting('sslmode')).toBe('disable')
  })

  test('variables name a database when one of the decisive ones is set', () => {
    expect(variablesNameADatabase({PGHOST: 'h'})).toBe(true)
    expect(variablesNameADatabase({PGSERVICE: 's'})).toBe(true)
    expect(variablesNameADatabase({PGUSER: 'u', PGHOST: ''})).toBe(false)
  })
})

describe('what is wrong is said, with a way out', () => {
  test.each([
    ['postgres://app@h/d?hots=x', 'no connection parameter hots (did you mean host?)', ''],
    ['postgres://app@h/d?database=x', 'did you mean dbname?', ''],
    ['host=h usr=app', 'did you mean user?', ''],
    ['postgres://app@h/d?sslmode=required', 'sslmode must be one of disable, allow', 'sslmode=require'],
    [
      'postgresql+psycopg2://app:pw@h/d',
      'begins with postgresql+psycopg2://',
      'Write postgresql:// in place',
    ],
    ['jdbc:postgresql://h/d', 'begins with jdbc:postgresql://', 'Write postgresql:// in place'],
    ['mysql://app:pw@h/d', 'begins with mysql://', 'postgresql://user@host'],
    ['"postgres://app@h/d"', 'begins with a quotation mark', 'Remove'],
    ['shop', 'neither a URL nor', 'postgresql://user@host'],
    ['postgres://::1/d', 'port is not a number', '[::1]'],
    ['postgres://[::1/d', 'IPv6', '[::1]'],
    ['postgres://app:100%@h/d', 'the password has a %', '% as %25'],
    ['postgres://app:%FF@h/d', 'not UTF-8', '%25'],
    ['postgres://app:p@ss/word@h/d', 'an @ after the first /', '@ as %40'],
    ['postgres://app:pass/word@h/d', 'an @ after the first /', '/ as %2F'],
    ['postgres://app:pass/word', 'port is not a number', '/ as %2F'],
    ['host=h password=my secret', 'character 20 is not followed by =', "password='my secret'"],
    ["host=h password='my secret", 'not closed', "'my secret'"],
    ['host=a,b port=1,2,3', '2 hosts but 3 ports', 'postgresql://'],
    ['host=h connect_timeout=soon', 'connect_timeout must be a whole number', ''],
    ['postgres://h/d?sslnegotiation=direct', 'sslnegotiation=direct needs', 'sslmode=require'],
    ['postgres://h/d?sslrootcert=system&sslmode=require', 'verify-full only', 'sslmode=verify-full'],
    ['service=absent', 'no service "absent"', '[absent]'],
  ])('%s', async (text, message, suggestion) => {
    const error = await refusal(text)
    expect(error.message).toContain('DATABASE_URL cannot be used: ')
    expect(error.message).toContain(message)
    expect(error.suggestions.join('\n')).toContain(suggestion)
    expect(error.suggestions.length).toBeGreaterThan(0)
  })

  test('a raw @ in user or password can mean only one thing', async () => {
    expect(await credentials(await described('postgres://app:p@ss:w#rd@h:1/d'))).toEqual({
      host: 'h',
      port: 1,
      user: 'app',
      database: 'd',
      password: 'p@ss:w#rd',
    })
    expect(await credentials(await described('postgres://app@tenant:pw@h/d'))).toMatchObject({
      user: 'app@tenant',
      password: 'pw',
    })
    expect((await described('postgres://app:pw@h/d?user=app@tenant')).user).toBe('app@tenant')
  })
})

describe('the environment of the client tools', () => {
  const inherited = {
    PATH: '/bin',
    HOME: '/home/me',
    PGHOST: 'old',
    PGPASSWORD: 'old',
    PGSERVICE: 'old',
    PGSYSCONFDIR: '/x',
    PGOPTIONS: '-c x=1',
    PGCLIENTENCODING: 'LATIN1',
    PGTZ: 'x',
  }

  test('has no PG* variable but those of the description', async () => {
    const description = await described('postgres://app:secret@h:1/shop?sslmode=require')
    expect(description.toolEnvironment(inherited)).toEqual({
      PATH: '/bin',
      HOME: '/home/me',
      LC_MESSAGES: 'C',
      PGHOST: 'h',
      PGPORT: '1',
      PGUSER: 'app',
      PGPASSWORD: 'secret',
      PGDATABASE: 'shop',
      PGSSLMODE: 'require',
      PGCONNECT_TIMEOUT: '30',
    })
  })

  test('passes on every setting that has a variable, and the files by their whole path', async () => {
    const query =
      'options=-c%20a%3Db&application_name=n&channel_binding=require&target_session_attrs=read-write&gssencmode=disable&sslrootcert=ca.crt&sslcert=c.crt&sslkey=c.key&sslmode=verify-full&sslnegotiation=direct&connect_timeout=7&client_encoding=LATIN1'
    expect((await described(`postgres://app@a:1,b:2/shop?${query}`)).toolEnvironment({})).toMatchObject({
      PGHOST: 'a,b',
      PGPORT: '1,2',
      PGOPTIONS: '-c a=b',
      PGAPPNAME: 'n',
      PGCHANNELBINDING: 'require',
      PGTARGETSESSIONATTRS: 'read-write',
      PGGSSENCMODE: 'disable',
      PGSSLMODE: 'verify-full',
      PGSSLNEGOTIATION: 'direct',
      PGSSLROOTCERT: join(process.cwd(), 'ca.crt'),
      PGSSLCERT: join(process.cwd(), 'c.crt'),
      PGSSLKEY: join(process.cwd(), 'c.key'),
      PGCONNECT_TIMEOUT: '7',
    })
    expect((await described(`postgres://h/d?client_encoding=LATIN1`)).toolEnvironment({})).not.toHaveProperty(
      'PGCLIENTENCODING',
    )
  })

  test('makes the messages English and leaves the encoding alone', async () => {
    const environment = async (locale: Record<string, string>) =>
      (await described('postgres://h/d')).toolEnvironment(locale)
    expect(await environment({LC_ALL: 'de_DE.UTF-8', LANGUAGE: 'de', LANG: 'fr_FR.UTF-8'})).toMatchObject({
      LC_CTYPE: 'de_DE.UTF-8',
      LC_MESSAGES: 'C',
      LANG: 'fr_FR.UTF-8',
    })
    expect(Object.keys(await environment({LC_ALL: 'de_DE.UTF-8', LANGUAGE: 'de'}))).not.toEqual(
      expect.arrayContaining(['LC_ALL']),
    )
    expect(await environment({LC_CTYPE: 'de_DE.UTF-8'})).toMatchObject({
      LC_CTYPE: 'de_DE.UTF-8',
      LC_MESSAGES: 'C',
    })
  })

  test('keepalives, which have no variable, go with the database argument', async () => {
    expect((await described("host=h dbname='it\\'s' keepalives_idle=30")).databaseArgument()).toBe(
      "dbname='it\\'s' keepalives_idle='30'",
    )
  })

  test('a password file is handed on where the hosts have different passwords', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dbbak-pass-'))
    const file = join(folder, 'pass')
    await writeFile(file, 'a:*:*:*:one\nb:*:*:*:two\n', {mode: 0o600})
    const description = await described('postgres://app@a,b/shop', {PGPASSFILE: file})
    expect(description.toolEnvironment({})).toMatchObject({PGPASSFILE: file})
    expect(description.toolEnvironment({})).not.toHaveProperty('PGPASSWORD')
    expect(description.withHost({host: 'b', port: 5432}).toolEnvironment({})).toMatchObject({
      PGPASSWORD: 'two',
    })
    await rm(folder, {recursive: true})
  })

  test('says where the client tools or dbbak cannot follow', async () => {
    const warnings = async (query: string) => (await described(`postgres://h/d?${query}`)).warnings
    expect(await warnings('sslpassword=x')).toEqual([expect.stringContaining('sslpassword')])
    expect(await warnings('requirepeer=postgres')).toEqual([expect.stringContaining('requirepeer')])
    expect(await warnings('sslmode=require')).toEqual([])
  })
})
