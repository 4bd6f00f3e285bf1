import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {chmod, chown, mkdir, mkdtemp, realpath, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {configJsonSchema} from '../../src/library/config-schema.js'
import {nearestName} from '../../src/support/nearest-name.js'
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

  test.each([{}, {MISSING: ''}])('a variable that is not set is named (%j)', async (env) => {
    await write('dbbak.config.yaml', 'databaseUrl: postgres://app:${MISSING}@h/db\n')
    expect(await failure({env})).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('MISSING is not set'),
    })
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
})

test('the nearest name is one that was probably meant, or none', () => {
  const known = ['backupDir', 'format', 'to', 'jobs']
  expect(nearestName('backup_dir', known)).toBe('backupDir')
  expect(nearestName('fromat', known)).toBe('format')
  expect(nearestName('job', known)).toBe('jobs')
  expect(nearestName('password', known)).toBeUndefined()
})
