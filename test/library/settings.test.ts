import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {chmod, chown, mkdir, mkdtemp, realpath, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {configJsonSchema} from '../../src/library/config-schema.js'
import {nearestName} from '../../src/support/nearest-name.js'
import {forEachDatabase} from '../../src/library/fleet.js'
import {redactSecrets} from '../../src/library/redaction.js'
import {describeSettings, loadSettings} from '../../src/library/settings.js'

let folder: string
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'dbbak-settings-')))
  await mkdir(join(folder, '.git')) // whatever lies above is none of the tests' business
})
afterEach(() => rm(folder, {recursive: true}))

const write = (name: string, text: string) => writeFile(join(folder, name), text)
const load = (from: Partial<Parameters<typeof loadSettings>[0]> = {}) =>
  loadSettings({env: {}, cwd: folder, ...from})
/** The error, or undefined where there was none. */
const failure = (from?: Parameters<typeof load>[0]) =>
  load(from).then(
    () => undefined,
    (error: unknown) => error,
  )

describe('where a setting comes from', () => {
  test('flag before variable before config file before default', async () => {
    expect((await load()).retentionDays).toEqual({value: 30, source: 'default'})
    await write('dbbak.config.yaml', 'retentionDays: 7\n')
    expect((await load()).retentionDays).toEqual({value: 7, source: 'dbbak.config.yaml'})
    const env = {RETENTION_DAYS: '14'}
    expect((await load({env})).retentionDays).toEqual({value: 14, source: 'RETENTION_DAYS'})
    expect((await load({env, flags: {'keep-days': 21}})).retentionDays).toEqual({
      value: 21,
      source: '--keep-days',
    })
  })

  test('without anything there are defaults, and the rest is not set', async () => {
    const settings = await load()
    expect(settings.databaseUrl).toEqual({value: undefined, source: 'not set'})
    expect(settings.backupDir).toEqual({value: './backups', source: 'default'})
    expect(settings.destinations).toEqual({value: ['./backups'], source: 'default'})
    expect(settings.configFile).toEqual({value: undefined, source: 'not set'})
  })

  test("without a URL libpq's own variables are named", async () => {
    const {databaseUrl} = await load({env: {PGHOST: 'db', PGDATABASE: 'shop'}})
    expect(databaseUrl).toEqual({value: undefined, source: 'PGHOST, PGDATABASE'})
  })

  test('backups go to --to, else to what the file says, else to the local destination', async () => {
    expect((await load({env: {BACKUP_DIR: '/mnt/a'}})).destinations).toEqual({
      value: ['/mnt/a'],
      source: 'BACKUP_DIR',
    })
    await write('dbbak.config.json', '{"to": ["s3://bucket/x", "copies"]}')
    const expected = {value: ['s3://bucket/x', join(folder, 'copies')], source: 'dbbak.config.json'}
    // BACKUP_DIR names the local destination; it must not silently take the bucket away
    expect((await load({env: {BACKUP_DIR: '/mnt/a'}})).destinations).toEqual(expected)
    expect((await load({flags: {to: []}})).destinations).toEqual(expected)
    expect((await load({flags: {to: ['/mnt/b']}})).destinations).toEqual({value: ['/mnt/b'], source: '--to'})
  })

  test('an empty variable is not set', async () => {
    expect((await load({env: {BACKUP_DIR: '', DATABASE_URL: '', DBBAK_CONFIG: ''}})).backupDir.source).toBe(
      'default',
    )
  })

  test('a number that is none is refused by the name of its source', async () => {
    for (const days of ['soon', '0', '-1', '1.5']) {
      expect(await failure({env: {RETENTION_DAYS: days}})).toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('RETENTION_DAYS'),
      })
    }
  })

  test("doctor's lines show every setting and no password", async () => {
    await write('dbbak.config.yaml', 'testDatabaseUrl: postgresql://t:SECRET2@h/t\n')
    const lines = describeSettings(
      await load({env: {DATABASE_URL: 'postgres://app:SECRET1@db/shop?sslpassword=SECRET3'}}),
    )
    expect(lines).toContainEqual({
      name: 'databaseUrl',
      value: 'postgres://app:***@db/shop?sslpassword=***',
      source: 'DATABASE_URL',
    })
    expect(lines).toContainEqual({
      name: 'testDatabaseUrl',
      value: 'postgresql://t:***@h/t',
      source: 'dbbak.config.yaml',
    })
    expect(lines).toContainEqual({name: 'pgBin', value: '-', source: 'not set'})
    expect(JSON.stringify(lines)).not.toContain('SECRET')
  })
})

describe('finding the config file', () => {
  const contents = {
    'dbbak.config.yaml': 'name: found\n',
    'dbbak.config.yml': 'name: found\n',
    'dbbak.config.json': '{"name": "found"}',
    'dbbak.config.js': 'module.exports = {name: "found"}\n',
    'dbbak.config.mjs': 'export default {name: "found"}\n',
    'package.json': '{"dbbak": {"name": "found"}}',
  }

  test.each(Object.entries(contents))('%s is found, from a folder below too', async (name, text) => {
    await write(name, text)
    const cwd = join(folder, 'a', 'b')
    await mkdir(cwd, {recursive: true})
    const settings = await load({cwd})
    expect(settings.name).toEqual({value: 'found', source: name})
    expect(settings.configFile).toEqual({value: join(folder, name), source: 'found'})
  })

  test('the search ends at a repository', async () => {
    await write('dbbak.config.yaml', 'name: outer\n')
    const repository = join(folder, 'repository')
    await mkdir(join(repository, '.git'), {recursive: true})
    expect((await load({cwd: repository})).name.source).toBe('not set')
  })

  test('a package.json without the key is passed by', async () => {
    await write('dbbak.config.yaml', 'name: found\n')
    const cwd = join(folder, 'package')
    await mkdir(cwd)
    await writeFile(join(cwd, 'package.json'), '{"name": "other"}')
    expect((await load({cwd})).name.value).toBe('found')
  })

  test('two in one folder are one too many', async () => {
    await write('dbbak.config.yaml', 'name: a\n')
    await write('dbbak.config.json', '{"name": "b"}')
    expect(await failure()).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/dbbak\.config\.yaml, dbbak\.config\.json/),
    })
    expect((await load({config: 'dbbak.config.json'})).name.value).toBe('b')
  })

  test('--config goes before DBBAK_CONFIG, and both before the search', async () => {
    await write('dbbak.config.yaml', 'name: searched\n')
    await write('one.yaml', 'name: one\n')
    await write('two.conf', 'name: two\n')
    const env = {DBBAK_CONFIG: 'one.yaml'}
    expect((await load({env})).name).toEqual({value: 'one', source: 'one.yaml'})
    expect((await load({env, config: 'two.conf'})).name.value).toBe('two')
  })

  test('a named file that does not exist is an error that says who named it', async () => {
    const expected = (by: string) => ({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`nowhere.yaml (named by ${by})`),
    })
    expect(await failure({config: 'nowhere.yaml'})).toMatchObject(expected('--config'))
    expect(await failure({env: {DBBAK_CONFIG: 'nowhere.yaml'}})).toMatchObject(expected('DBBAK_CONFIG'))
  })

  const asRoot = process.getuid?.() === 0 ? test : test.skip
  asRoot("a stranger's file where everybody can write is not read, unless it is named", async () => {
    await write('dbbak.config.mjs', 'export default {name: "evil"}\n')
    await chown(join(folder, 'dbbak.config.mjs'), 65534, 65534)
    await chmod(folder, 0o1777)
    expect(await failure()).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('another user'),
    })
    expect((await load({config: 'dbbak.config.mjs'})).name.value).toBe('evil')
  })
})

describe('what is in the config file', () => {
  test('relative paths start at the file, URLs and absolute paths stay', async () => {
    await write(
      'dbbak.config.yaml',
      'backupDir: data/backups\npgBin: /usr/lib/pg\nto: [./x, gs://b/p, /mnt/y]\n',
    )
    const cwd = join(folder, 'below')
    await mkdir(cwd)
    const settings = await load({cwd})
    expect(settings.backupDir.value).toBe(join(folder, 'data/backups'))
    expect(settings.pgBin.value).toBe('/usr/lib/pg')
    expect(settings.destinations.value).toEqual([join(folder, 'x'), 'gs://b/p', '/mnt/y'])
  })

  test('~ is the home folder', async () => {
    await write(
      'dbbak.config.yaml',
      `backupDir: ~/backups
pgBin: "~"
to: [~/b, ./~, s3://b/~, '\${WHERE}']
gcs: {keyFile: ~/key.json}
`,
    )
    const env = {HOME: '/home/app', WHERE: '~/c'}
    const settings = await load({env})
    expect(settings.backupDir.value).toBe('/home/app/backups')
    expect(settings.pgBin.value).toMatch(/^\/home\/app\/?$/)
    expect(settings.destinations.value).toEqual(['/home/app/b', join(folder, '~'), 's3://b/~', '/home/app/c'])
    expect(settings.stores.gcs.keyFile).toBe('/home/app/key.json')
  })

  test('what monitors and backups are to hold to may be set for all and for one', async () => {
    await write(
      'dbbak.config.yaml',
      'maxAge: 26h\nmaxSizeChange: 50%\nglobals: true\ndatabases: {shop: {url: x, maxAge: 2h, maxVerifiedAge: 3d, globals: false}}\n',
    )
    const values = async (from: Parameters<typeof load>[0]) => {
      const {maxAge, maxVerifiedAge, maxSizeChange, globals} = await load(from)
      return [maxAge, maxVerifiedAge, maxSizeChange, globals].map(({value}) => value)
    }
    expect(await values({})).toEqual(['26h', undefined, '50%', true])
    expect(await values({database: 'shop'})).toEqual(['2h', '3d', '50%', false])
    expect(await values({database: 'shop', flags: {'max-age': '1h', globals: true}})).toEqual([
      '1h',
      '3d',
      '50%',
      true,
    ])
  })

  test('${NAME} is the value from the environment, $${ a plain ${', async () => {
    await write(
      'dbbak.config.yaml',
      'databaseUrl: postgres://app:${PASSWORD}@h/db\nretentionDays: ${DAYS}\nlabel: "$${not}"\n',
    )
    const settings = await load({env: {PASSWORD: 'a$&b', DAYS: '9'}})
    expect(settings.databaseUrl.value).toBe('postgres://app:a$&b@h/db')
    expect(settings.retentionDays.value).toBe(9)
    expect(settings.label.value).toBe('${not}')
  })

  const valueOf = (setting: {value: unknown}) => {
    try {
      return setting.value
    } catch (error) {
      return error
    }
  }

  test.each([{}, {MISSING: ''}])('a variable that is not set stops whoever needs it (%j)', async (env) => {
    await write(
      'dbbak.config.yaml',
      'databaseUrl: postgres://app:${MISSING}@h/db\nformat: ${MISSING}\njobs: 2\n',
    )
    const settings = await load({env})
    expect(settings.jobs.value).toBe(2)
    for (const [key, setting] of Object.entries({databaseUrl: settings.databaseUrl, format: settings.format}))
      expect(valueOf(setting)).toMatchObject({
        code: 'CONFIG_INVALID',
        message: `dbbak.config.yaml takes ${key} from \${MISSING}, but MISSING is not set or empty.`,
      })
    expect((await load({env, flags: {'database-url': 'postgres://h/db'}})).databaseUrl.value).toMatch('h/db')
    expect(describeSettings(settings)).toContainEqual(
      expect.objectContaining({name: 'databaseUrl', value: '(not set)'}),
    )
  })

  test('one that a database needs stops that one alone, and nothing of another stands in for it', async () => {
    await write(
      'dbbak.config.yaml',
      `retentionDays: 7
to: ['s3://all/\${BUCKET}']
s3: {endpoint: '\${ENDPOINT}'}
databases:
  shop: {url: '\${SHOP}', retention: {days: '\${KEEP}'}, compress: '\${HOW}'}
  crm: {url: postgres://h/crm, destinations: [/mnt/crm]}
`,
    )
    const crm = await load({database: 'crm'})
    expect([crm.databaseUrl.value, crm.destinations.value]).toEqual(['postgres://h/crm', ['/mnt/crm']])
    expect(crm.retentionDays.value).toBe(7)
    expect(crm.stores.gcs).toBeDefined()
    expect(() => crm.stores.s3).toThrow('s3.endpoint')
    const shop = await load({database: 'shop'})
    for (const key of ['databaseUrl', 'destinations', 'retentionDays', 'retention', 'compress'] as const)
      expect(valueOf(shop[key])).toMatchObject({code: 'CONFIG_INVALID'})
    expect(valueOf(shop.retentionDays)).toMatchObject({
      message: expect.stringContaining('databases.shop.retention.days'),
    })
    const all = await load({
      database: 'shop',
      env: {SHOP: 'postgres://h/s', KEEP: '9', HOW: 'gzip', BUCKET: 'x'},
    })
    expect([all.databaseUrl.value, all.retentionDays.value]).toEqual(['postgres://h/s', 9])
  })

  test('one that is a number or a yes or no is taken as such', async () => {
    await write(
      'dbbak.config.yaml',
      `upload: '\${UPLOAD}'
retention: {days: '\${KEEP}', daily: '\${KEEP}', timeZone: Europe/Berlin}
databases: {shop: {url: x, jobs: '\${KEEP}', retention: {last: '\${KEEP}'}}}
`,
    )
    const env = {UPLOAD: 'false', KEEP: '9'}
    const [all, shop] = [await load({env}), await load({env, database: 'shop'})]
    expect(all.retention.value).toEqual({days: 9, daily: 9, timeZone: 'Europe/Berlin'})
    expect([all.upload.value, shop.jobs.value, shop.retention.value]).toEqual([false, 9, {last: 9}])
    expect(describeSettings(all)).toContainEqual({
      name: 'retention',
      value: 'days: 9, daily: 9, timeZone: Europe/Berlin',
      source: 'dbbak.config.yaml',
    })
    expect(await failure({env: {...env, KEEP: 'nine'}})).toMatchObject({code: 'CONFIG_INVALID'})
  })

  test('what else is wrong is told all the same', async () => {
    await write(
      'dbbak.config.yaml',
      'formt: ${X}\ndatabases: {shop: {url: "${Y}", jobs: none, zzz: "${Z}"}}\n',
    )
    const {message} = (await failure()) as Error
    for (const part of ['"formt" (did you mean "format"?)', 'databases.shop.jobs', '"databases.shop.zzz"'])
      expect(message).toContain(part)
  })

  test('hooks and notifications are those of the database, where it has its own', async () => {
    await write(
      'dbbak.config.yaml',
      `notifications: [{type: slack, url: '\${SLACK}'}]
hooks: {beforeBackup: all, afterBackup: all, afterRestore: 'x \${GAP}'}
databases:
  shop: {url: x, notifications: [{type: ping, url: '\${PING}', name: own}], hooks: {beforeBackup: own}}
  crm: {url: x}
`,
    )
    const [shop, crm] = [await load({database: 'shop'}), await load({database: 'crm', env: {SLACK: 's'}})]
    expect(shop.hooks).toMatchObject({beforeBackup: 'own', afterBackup: 'all'})
    expect(() => shop.hooks?.afterRestore).toThrow('hooks.afterRestore')
    expect(shop.notifications).toMatchObject([
      {name: 'own', place: 'databases.shop.notifications.0', unset: {key: 'url', variable: 'PING'}},
    ])
    expect(crm.notifications).toEqual([{type: 'slack', url: 's', place: 'notifications.0'}])
    const hook = {DBBAK_WEBHOOK_URL: 'SECRET', DBBAK_WEBHOOK_SECRET: 'whsec_SECRET'}
    expect(describeSettings(crm, hook).at(-2)?.value).toBe(
      'slack, webhook (signed by the base64 after whsec_)',
    )
    const lines = describeSettings(shop, {DBBAK_SLACK_WEBHOOK_URL: 'SECRET'})
    expect(lines.slice(-3)).toEqual([
      {name: 'retention', value: '-', source: 'not set'},
      {
        name: 'notifications',
        value: 'own (PING is not set), slack',
        source: 'dbbak.config.yaml, DBBAK_SLACK_WEBHOOK_URL',
      },
      {name: 'hooks', value: 'beforeBackup, afterBackup, afterRestore', source: 'dbbak.config.yaml'},
    ])
  })

  test.each([
    ['backup-dir: x', 'unknown key "backup-dir" (did you mean "backupDir"?)'],
    ['formt: custom', 'unknown key "formt" (did you mean "format"?)'],
    ['databasez: {}', 'unknown key "databasez" (did you mean "databases"?)'],
    ['zzz: 1', 'unknown key "zzz".'],
    ['retentionDays: soon', 'retentionDays: '],
    ['retentionDays: 0', 'retentionDays: '],
    ['format: tar', 'format: invalid option: expected one of "custom"|"plain"|"directory"'],
    ['compress: brotli', 'compress: expected zstd, gzip, lz4 or none, with an optional :LEVEL'],
    ['retention: {timeZone: Mars/Olympus}', 'retention.timeZone: is no time zone'],
    [
      'databases: {shop: {url: x, retention: {dayly: 1}}}',
      'unknown key "databases.shop.retention.dayly" (did you mean "daily"?)',
    ],
    [
      'databases: {shop: {url: x, notifications: [{type: slack, url: x, evnts: [backup]}]}}',
      '"databases.shop.notifications.0.evnts" (did you mean "events"?)',
    ],
    ['maxAge: soon', 'maxAge: is no time, such as 26h'],
    ['maxSizeChange: 50', 'maxSizeChange: '],
    ['to: /mnt/x', 'to: '],
    ['to: []', 'to: '],
    ['- a list', 'the file: '],
    ['label: ${a-b}', 'not the name of an environment variable'],
  ])('%s is refused with what is wrong', async (yaml, message) => {
    await write('dbbak.config.yaml', yaml)
    expect(await failure()).toMatchObject({code: 'CONFIG_INVALID', message: expect.stringContaining(message)})
  })

  test('an empty file sets nothing', async () => {
    await write('dbbak.config.yaml', '# nothing yet\n')
    expect((await load()).backupDir.source).toBe('default')
  })

  test.each([
    ['dbbak.config.yaml', 'name: x\ndatabaseUrl: "SECRET\n', /not valid YAML at line \d+/],
    ['dbbak.config.yaml', 'databaseUrl: *SECRET\n', /not valid YAML: an alias/],
    ['dbbak.config.json', '{"databaseUrl": "SECRET" "SECRET"}', /not valid JSON at line 1 column \d+/],
    ['dbbak.config.mjs', 'export default {', /could not be run/],
  ])('broken %s: the place is told, the line is not quoted', async (name, text, message) => {
    await write(name, text)
    const error = (await failure()) as Error
    expect(error).toMatchObject({code: 'CONFIG_INVALID', message: expect.stringMatching(message)})
    expect(error.message).not.toContain('SECRET')
  })

  test('the schema for editors knows the same keys and no others', () => {
    const schema = configJsonSchema() as {properties: object; additionalProperties: boolean}
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['databaseUrl', 'backupDir', 'to', 'lockTimeout']),
    )
    expect(schema.additionalProperties).toBe(false)
  })
})

describe('secrets', () => {
  test.each([
    ['postgres://app:pw@h/db', 'postgres://app:***@h/db'],
    ['at postgresql://app:p/w?#x@y@h:5432/db now', 'at postgresql://app:***@h:5432/db now'],
    ['postgres://:pw@h', 'postgres://:***@h'],
    ['postgres://h/db?password=pw&x=1', 'postgres://h/db?password=***&x=1'],
    ["host=h password='p w\\'x' user=u", 'host=h password=*** user=u'],
    ['AccountName=a;AccountKey=abc==;x', 'AccountName=a;AccountKey=***;x'],
    ['postgres://app@h/db and s3://bucket/prefix', 'postgres://app@h/db and s3://bucket/prefix'],
  ])('%s', (text, expected) => expect(redactSecrets(text)).toBe(expected))

  test('takes no time over a word of a million letters', () => {
    const word = 'a'.repeat(1_000_000)
    const begin = performance.now()
    expect(redactSecrets(`${word} ${word}://app:s3cr3t@db`)).toBe(`${word} ${word}://app:***@db`)
    expect(performance.now() - begin).toBeLessThan(10_000)
  })
})

test('what one of several databases failed with is told without a password', async () => {
  const fail = () => Promise.reject(new Error('postgresql://app:s3cr3t@db/shop'))
  const result = await forEachDatabase(['shop'], {concurrency: 1, doing: 'Trying'}, fail)
  expect(result.databases).toMatchObject([{error: {message: 'postgresql://app:***@db/shop'}}])
})

test('the nearest name is one that was probably meant, or none', () => {
  const known = ['backupDir', 'format', 'to', 'jobs']
  expect(nearestName('backup_dir', known)).toBe('backupDir')
  expect(nearestName('fromat', known)).toBe('format')
  expect(nearestName('job', known)).toBe('jobs')
  expect(nearestName('password', known)).toBeUndefined()
})
