import {spawnSync} from 'node:child_process'
import {mkdtempSync, rmdirSync} from 'node:fs'
import {chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {needs} from '../support/needs.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, failing, filesAt, toolSettings} from './program.js'

let server: TestServer
let tools: Record<string, string>
let cwd: string
let to: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  // Some 12 MB that no compression makes much smaller.
  await server.psql(
    `create table noise (id int, text text); alter table noise alter column text set storage external;
     insert into noise select n, (select string_agg(md5(random()::text || n || m), '') from generate_series(1, 30) m) from generate_series(1, 12000) n`,
    'shop',
  )
  await server.createDatabase('tiny')
  await server.query('create table orders (id int); insert into orders values (1)', 'tiny')
})
afterAll(() => server?.stop())
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'bad-destination-'))
  to = join(cwd, 'backups')
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

const settings = (database = 'shop', more: Record<string, string> = {}) => ({
  env: {
    ...tools,
    DATABASE_URL: server.url(database),
    TEST_DATABASE_URL: server.url(),
    BACKUP_DIR: to,
    ...more,
  },
  cwd,
})
const formats = ['custom', 'plain', 'directory']

describe('a destination that is', () => {
  test.each(formats)('a file is refused and stays as it is (%s)', async (format) => {
    await writeFile(to, 'not a folder')
    const wanted = {exitCode: 8, code: 'DESTINATION_NOT_A_FOLDER'}
    const {error} = await failing(['backup', '--format', format], settings(), wanted)
    expect(error.message).toContain(to)
    await failing(['backup', '--format', format, '--to', join(to, 'below')], settings(), wanted)
    await failing(['list'], settings(), wanted)
    await failing(['verify', '--latest'], settings(), wanted)
    expect(await readFile(to, 'utf8')).toBe('not a folder')
  })

  test('where the system lets nobody make a folder fails at once', async () => {
    if (process.platform !== 'linux') return
    await failing(['backup', '--to', '/proc/dbbak/backups'], settings(), {
      exitCode: 8,
      code: 'DESTINATION_FAILED',
    })
  })

  test.each(['s3://bucket/prefix', 'gs://bucket', 'azblob://container/x'])(
    '%s without any credentials says what to set, and nothing is written',
    async (url) => {
      const wanted = {exitCode: 8, code: 'CREDENTIALS_REFUSED'}
      // No metadata server is asked: there is none here, and asking takes seconds.
      const env = settings('shop', {AWS_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true'})
      const {error} = await failing(['list', '--from', url], env, wanted)
      expect(error.suggestions.join()).toMatch(
        /AWS_ACCESS_KEY_ID|GOOGLE_APPLICATION_CREDENTIALS|AZURE_STORAGE/,
      )
      await failing(['backup', '--to', url], env, wanted)
      expect(await readdir(cwd)).toEqual([])
    },
    120_000,
  )

  test('--upload without a bucket that the environment names is refused', async () => {
    const {error} = await failing(['backup', '--upload'], settings(), {exitCode: 2, code: 'CONFIG_INVALID'})
    expect(error.suggestions.join()).toContain('AWS_S3_BUCKET')
  })

  test.each(['ftp://user:s3cr3t@host/x', 's3://key:s3cr3t@bucket/x', 's3://', 'file://host/x', ''])(
    '%j is refused without repeating secrets',
    async (url) => {
      const {output} = await failing(['backup', '--to', url], settings(), {
        exitCode: 2,
        code: 'DESTINATION_INVALID',
      })
      expect(output).not.toContain('s3cr3t')
    },
  )

  test('not there holds no backups: list is empty, verify and restore say so, and none of them makes it', async () => {
    expect((await dbbakJson(['list'], settings())).backups).toEqual([])
    const wanted = {exitCode: 2, code: 'BACKUP_NOT_FOUND'}
    await failing(['verify', '--latest'], settings(), wanted)
    await failing(['verify', '--all'], settings(), wanted)
    await failing(['restore', '--latest', '--force'], settings(), wanted)
    await failing(['restore', 'shop_2025', '--force'], settings(), wanted)
    await failing(['restore', '--at', '2020-01-01T00:00:00Z', '--force'], settings(), wanted)
    expect(await readdir(cwd)).toEqual([])
  })
})

describe('a folder that may not be written to', () => {
  const root = process.getuid?.() === 0
  const nobody = root ? {uid: 65534, gid: 65534} : undefined

  const asNobody = () => ({
    ...settings('tiny', {TMPDIR: join(cwd, 'temporary')}),
    ...(nobody ? {user: nobody} : {}),
  })

  test.each(formats)('takes no backup and says why (%s)', async (format) => {
    await mkdir(to)
    await lock()
    const options = asNobody()
    const {error} = await failing(['backup', '--format', format], options, {
      exitCode: 8,
      code: 'DESTINATION_READ_ONLY',
    })
    expect(error.message).toContain(to)
    expect(error.suggestions.join()).toContain(`ls -ld ${to}`)
    expect(await readdir(to)).toEqual([])
  })

  test('still shows, verifies and restores what is in it; that the result is not kept is said', async () => {
    await dbbakJson(['backup'], settings('tiny'))
    const before = await filesAt(to)
    await lock()
    const options = asNobody()
    expect((await dbbakJson(['list'], options)).backups).toHaveLength(1)
    const verified = await dbbak(['verify', '--latest', '--scratch', 'url'], options)
    expect(verified).toMatchObject({exitCode: 0, stderr: expect.stringContaining('could not be stored')})
    await server.query('delete from orders', 'tiny')
    const elsewhere = join(cwd, 'elsewhere')
    const restored = await dbbakJson(['restore', '--latest', '--force', '--safety-to', elsewhere], options)
    expect(restored.targetState).toBe('restored')
    expect(await server.query('select from orders', 'tiny')).toHaveLength(1)
    expect(await filesAt(to)).toEqual(before)
  })

  test('cannot take the safety backup: then nothing is restored', async () => {
    await dbbakJson(['backup'], settings('tiny'))
    await server.query('insert into orders values (2)', 'tiny')
    await lock()
    const options = asNobody()
    const {document} = await failing(['restore', '--latest', '--force'], options, {
      exitCode: 6,
      code: 'RESTORE_FAILED',
    })
    expect(document.targetState).toBe('rolled-back') // the copy, which was begun at the same time
    expect(await server.query('select from orders', 'tiny')).toHaveLength(2)
    await server.query('delete from orders where id = 2', 'tiny')
  })

  test('for temporary files is no reason to do without a backup', async () => {
    await mkdir(to)
    await lock()
    await chmod(join(cwd, 'temporary'), 0o555)
    await chmod(to, 0o777)
    for (const format of formats) {
      const {exitCode, stderr} = await dbbak(['backup', '--format', format], asNobody())
      expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: expect.any(String)})
    }
  })

  /** Makes the destination readable for everybody and writable for nobody. */
  async function lock() {
    await chmod(cwd, 0o755)
    if (nobody) await chown(cwd, nobody.uid, nobody.gid)
    await mkdir(join(cwd, 'temporary'))
    await chmod(join(cwd, 'temporary'), 0o777)
    for (const name of await readdir(to, {recursive: true}))
      await chmod(join(to, name), (await stat(join(to, name))).isDirectory() ? 0o555 : 0o444)
    await chmod(to, 0o555)
  }
})

describe('several destinations', () => {
  test('of which one fails: the others get their backup, the result tells which, and the exit code is 8', async () => {
    await writeFile(to, 'not a folder')
    const good = ['one', 'two'].map((name) => join(cwd, name))
    for (const format of formats) {
      const args = ['backup', '--format', format, '--to', good[0], '--to', to, '--to', good[1]]
      const document = await dbbakJson(args, settings('tiny'), 8)
      expect(document.error).toMatchObject({code: 'DESTINATION_FAILED', exitCode: 8})
      expect(document.destinations).toEqual([
        {destination: good[0], status: 'stored'},
        {
          destination: to,
          status: 'failed',
          error: expect.objectContaining({code: 'DESTINATION_NOT_A_FOLDER'}),
        },
        {destination: good[1], status: 'stored'},
      ])
      for (const from of good) {
        const verified = await dbbakJson(
          ['verify', document.backup.id, '--from', from, '--level', 'archive'],
          settings('tiny'),
        )
        expect(verified.verdict).toBe('passed')
      }
    }
  })

  test.each(
    formats.flatMap((format) => ['./backups', 'link', 'linked/backups'].map((other) => [format, other])),
  )(
    'that are one and the same: the second is refused, the first has its backup (%s, %s)',
    async (format, other) => {
      await symlink('backups', join(cwd, 'link'))
      await symlink('.', join(cwd, 'linked'))
      const twice = ['--to', to, '--to', `${cwd}/${other}`]
      const document = await dbbakJson(['backup', '--format', format, ...twice], settings('tiny'), 8)
      expect(document.error.exitCode).toBe(8)
      expect(document.destinations.map(({status}: {status: string}) => status)).toEqual(['stored', 'failed'])
      expect((await dbbakJson(['list'], settings())).backups).toHaveLength(1)
      expect((await dbbakJson(['verify', '--latest', '--level', 'archive'], settings())).verdict).toBe(
        'passed',
      )
    },
  )
})

test('backups that run at the same time into one destination all complete', async () => {
  const runs = await Promise.all(
    formats.flatMap((format) =>
      [0, 1].map(() => dbbak(['backup', '--format', format, '--json'], settings('shop'))),
    ),
  )
  expect(runs.map(({exitCode, stderr}) => ({exitCode, stderr}))).toEqual(
    runs.map(() => ({exitCode: 0, stderr: expect.any(String)})),
  )
  const {backups, incomplete} = await dbbakJson(['list', '--incomplete'], settings())
  expect(backups.map(({id}: {id: string}) => id).sort()).toEqual(
    runs.map(({stdout}) => JSON.parse(stdout).backup.id).sort(),
  )
  expect(incomplete).toEqual([])
  const verified = await dbbakJson(['verify', '--all', '--level', 'archive'], settings())
  expect(verified.results.map(({verdict}: {verdict: string}) => verdict)).toEqual(Array(6).fill('passed'))
})

needs('tmpfs', whyNoTmpfs())('a destination of 4 MB', () => {
  beforeEach(async () => {
    await mkdir(to)
    mount(to, 4)
  })
  afterEach(() => void spawnSync('umount', [to]))
  const wanted = {exitCode: 8, code: 'DESTINATION_FULL'}

  test.each(formats)('that gets full keeps what it had, and nothing of what failed (%s)', async (format) => {
    const {backup} = await dbbakJson(['backup'], settings('tiny'))
    const before = await filesAt(to)
    const {error} = await failing(['backup', '--format', format], settings(), wanted)
    expect(error.message).toMatch(/\d+ bytes free/)
    expect(error.message).toContain(to)
    expect(await filesAt(to)).toEqual(before)
    expect((await dbbakJson(['list', '--incomplete'], settings())).incomplete).toEqual([])
    expect((await dbbakJson(['verify', backup.id, '--level', 'archive'], settings())).verdict).toBe('passed')
    expect((await dbbak(['backup', '--format', format], settings('tiny'))).exitCode).toBe(0)
  })

  test('with no room left for the manifest keeps nothing of the backup', async () => {
    for (const format of formats) {
      const room = (await dbbakJson(['backup', '--format', format], settings('tiny'))).bytes
      const free = () =>
        Number(
          spawnSync('stat', ['-f', '-c', '%a %S', to])
            .stdout.toString()
            .split(' ')
            .reduce((a, b) => String(Number(a) * Number(b))),
        )
      const page = 4096
      // Room for the archive's pages and its work file, but not for one more.
      const pages = Math.ceil(room / page) + (format === 'directory' ? 1 : 0)
      const before = await filesAt(to)
      await writeFile(join(to, 'ballast'), Buffer.alloc(free() - pages * page))
      const {error} = await dbbakJson(['backup', '--format', format], settings('tiny'), 8)
      expect(error.code).toBe('DESTINATION_FULL')
      await rm(join(to, 'ballast'))
      expect(await filesAt(to)).toEqual(before)
    }
  })

  test('beside one that has room: that one has the backup, the full one nothing of it', async () => {
    const roomy = join(cwd, 'roomy')
    for (const format of formats) {
      const document = await dbbakJson(
        ['backup', '--format', format, '--to', to, '--to', roomy],
        settings(),
        8,
      )
      expect(document.destinations.map(({status}: {status: string}) => status)).toEqual(['failed', 'stored'])
      expect(await filesAt(to)).toEqual({})
      const verified = await dbbakJson(
        ['verify', '--latest', '--from', roomy, '--level', 'archive'],
        settings(),
      )
      expect(verified.verdict).toBe('passed')
    }
  })

  test('that is mounted read-only takes nothing and loses nothing', async () => {
    await dbbakJson(['backup'], settings('tiny'))
    const before = await filesAt(to)
    spawnSync('mount', ['-o', 'remount,ro', to])
    for (const format of formats)
      await failing(['backup', '--format', format], settings('tiny'), {
        exitCode: 8,
        code: 'DESTINATION_READ_ONLY',
      })
    const doctor = await failing(['doctor'], settings('tiny'), {exitCode: 3, code: 'PREFLIGHT_FAILED'})
    expect(doctor.output).toContain('DESTINATION_READ_ONLY')
    expect(await filesAt(to)).toEqual(before)
    expect((await dbbakJson(['list'], settings())).backups).toHaveLength(1)
  })
})

function mount(folder: string, megabytes: number): string | false {
  const {status, stderr, error} = spawnSync('mount', [
    '-t',
    'tmpfs',
    '-o',
    `size=${megabytes}m`,
    'tmpfs',
    folder,
  ])
  return (
    status !== 0 &&
    (String(error?.message ?? stderr)
      .trim()
      .split('\n')[0] ||
      'mount failed')
  )
}

function whyNoTmpfs(): string | false {
  const folder = mkdtempSync(join(tmpdir(), 'try-mount-'))
  const missing = mount(folder, 1)
  if (!missing) spawnSync('umount', [folder])
  rmdirSync(folder)
  return missing
}
