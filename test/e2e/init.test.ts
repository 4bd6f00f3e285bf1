import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {parse} from 'yaml'
import {workflowPath} from '../../src/library/init/github/workflow.js'
import {startServer, type TestServer} from '../support/servers.js'
import {controlC, down, enter, onTerminal, type Answer} from '../support/terminal.js'
import {repository} from '../support/workflow-steps.js'
import {
  dbbak,
  dbbakJson,
  expectNoSecret,
  failing,
  filesAt,
  secret,
  secretArgumentsDuring,
  toolSettings,
  type Json,
} from './program.js'

let server: TestServer
let env: Record<string, string>
let folder: string
beforeAll(async () => {
  server = await startServer({overTcp: true})
  await server.createDatabase('shop')
  await server.query(
    `create table orders (id int); create role keeper login superuser password '${secret}'`,
    'shop',
  )
  env = {...(await toolSettings(server.major)), DBBAK_RETRY_FOR: '1s'}
})
afterAll(() => server?.stop())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'init-'))
  await chmod(folder, 0o755) // a service of root's is another user's
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const url = () => server.url('shop', 'keeper', secret)
const init = (args: string[], exitCode = 0): Promise<Json> =>
  dbbakJson(['init', '--yes', ...(args.includes('--dir') ? [] : ['--dir', folder]), ...args], {env}, exitCode)
const text = (name: string) => readFile(join(folder, name), 'utf8')
const configName = 'dbbak.config.yaml'

describe('by options alone', () => {
  test('tries the database and the destination, and writes a config file without any secret', async () => {
    const result = await init(['-d', url()])
    expect(result.files).toEqual([{path: join(folder, configName), status: 'written'}])
    expect(result.variables).toEqual([
      {name: 'DATABASE_URL', purpose: expect.any(String), isSecret: true, isOptional: false, isSet: false},
    ])
    expect(result.checks.every(({status}: Json) => status === 'ok')).toBe(true)
    expect(result.checks).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          name: 'database',
          message: expect.stringContaining(`PostgreSQL ${server.major}`),
        }),
        expect.objectContaining({
          name: 'size',
          message: expect.stringMatching(/^\d+\.\d MB in the database/),
        }),
        expect.objectContaining({name: 'tools for this server'}),
        expect.objectContaining({
          name: 'destination',
          message: expect.stringContaining(join(folder, 'backups')),
        }),
      ]),
    )
    expect(parse(await text(configName))).toEqual({
      to: ['./backups'],
      format: 'custom',
      globals: true,
      retentionDays: 30,
    })
    expect((await stat(join(folder, configName))).mode & 0o777).toBe(0o600)
    expect(Object.keys(await filesAt(folder))).toEqual([configName])
  })

  test('what it wrote is what the other commands then go by', async () => {
    await init(['--to', './safe', '--format', 'plain', '--keep-days', '7', '-d', url()])
    const options = {env: {...env, DATABASE_URL: url()}, cwd: folder}
    const {backup} = await dbbakJson(['backup'], options)
    expect(backup.format).toBe('plain')
    expect(backup.files.map(({path}: Json) => path)).toContain(`${backup.id}.globals.sql`)
    expect(Object.keys(await filesAt(join(folder, 'safe'))).sort()[0]).toContain(backup.id)
    // Also where the database's variable is not set.
    const {backups} = await dbbakJson(['list'], {env, cwd: folder})
    expect(backups).toHaveLength(1)
  })

  test('all that can be asked for is written, and no secret is in any of it, in the output or in an argument', async () => {
    const all = ['--github', '--cron', '--systemd', '--kubernetes', '--docker', '--railway']
    const options = {
      env: {...env, DATABASE_URL: url(), TEST_DATABASE_URL: server.url('postgres', 'keeper', secret)},
    }
    let output = ''
    const seen = await secretArgumentsDuring(async () => {
      const run = await dbbak(['init', '--yes', '--dir', folder, ...all], options)
      expect({exitCode: run.exitCode, stderr: run.stderr}).toEqual({exitCode: 0, stderr: ''})
      output = run.stdout
    })
    expect(seen).toEqual([])
    expectNoSecret(output)
    const names = Object.keys(await filesAt(folder))
    expect(names).toEqual(
      [
        workflowPath,
        'dbbak-backup.service',
        'dbbak-backup.timer',
        'dbbak-cronjob.yaml',
        'dbbak.Dockerfile',
        configName,
        'dbbak.crontab',
        'dbbak.env',
        'dbbak.railway.json',
      ].sort(),
    )
    for (const name of names) expectNoSecret(await text(name))
    expect((await stat(join(folder, 'dbbak.env'))).mode & 0o777).toBe(0o600)
    expect(await text(workflowPath)).toBe(await readFile(join(repository, workflowPath), 'utf8'))
    expect(await text('dbbak.Dockerfile')).toContain(`ARG PG_MAJOR=${server.major}\n`)
    expect(output).toMatch(/^✔ test database +\S/m)
    expect(output).toContain('\nNext:\n')
    expect(output).toContain('the variables that they need are set here')
  })

  test('a schedule of its own is in everything that has one', async () => {
    await init(['--github', '--cron', '--systemd', '--kubernetes', '--railway', '--schedule', '30 1 * * 7'])
    expect(await text(workflowPath)).toContain("- cron: '30 1 * * 0' # back up")
    expect(await text('dbbak.crontab')).toMatch(/^30 1 \* \* 0 export PATH=/m)
    expect(await text('dbbak-backup.timer')).toContain('\nOnCalendar=Sun *-*-* 01:30:00 UTC\n')
    expect(await text('dbbak-cronjob.yaml')).toContain('schedule: 30 1 * * 0\n')
    expect(JSON.parse(await text('dbbak.railway.json')).deploy.cronSchedule).toBe('30 1 * * 0')
  })

  test('in a folder of a repository, the workflow is written to its top', async () => {
    await mkdir(join(folder, '.git'))
    const below = join(folder, 'services', 'db')
    const {files} = await init(['--github', '--dir', below])
    expect(files.map(({path}: Json) => path)).toEqual([join(below, configName), join(folder, workflowPath)])
    expect(await text(workflowPath)).toContain("working-directory: 'services/db'\n")
    const odd = ['init', '--yes', '--github', '--dir', join(folder, "it's")]
    await failing(odd, {env}, {exitCode: 2, code: 'OPTION_INVALID'})
  })

  test('a database and a bucket that cannot be reached are told, and the files written all the same', async () => {
    const result = await dbbakJson(
      ['init', '--yes', '--dir', folder, '-d', 'postgresql://keeper@127.0.0.1:1/shop', '--to', 's3://shop/x'],
      {
        env: {
          ...env,
          AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:1',
          AWS_ACCESS_KEY_ID: 'key',
          AWS_SECRET_ACCESS_KEY: secret,
        },
      },
    )
    expect(
      result.checks.map(({name, status, message}: Json) => [name, status, message.split(':')[0]]),
    ).toEqual([
      ['database', 'error', 'SERVER_UNREACHABLE'],
      ['destination', 'error', 'DESTINATION_UNREACHABLE'],
    ])
    expect(result.files[0].status).toBe('written')
    expect(parse(await text(configName)).to).toEqual(['s3://shop/x'])
  })

  test('a test server that is production itself is told', async () => {
    const {checks} = await init(['-d', url(), '--test-database-url', url()])
    expect(checks).toContainEqual(
      expect.objectContaining({
        name: 'test database',
        status: 'error',
        message: expect.stringContaining('TEST_DATABASE_IS_PRODUCTION'),
      }),
    )
  })
})

describe('what is there already', () => {
  test('is unchanged where it is the same', async () => {
    await init(['--cron'])
    await writeFile(join(folder, 'dbbak.env'), "DATABASE_URL='mine'\n")
    await chmod(join(folder, 'dbbak.env'), 0o644)
    const {files} = await init(['--cron'])
    expect(files.map(({status}: Json) => status)).toEqual(['unchanged', 'unchanged', 'kept'])
    expect((await stat(join(folder, 'dbbak.env'))).mode & 0o777).toBe(0o600)
    expect(files[2].access).toBe('closed')
    const forced = await init(['--cron', '--force'])
    expect(forced.files.map(({status}: Json) => status)).toEqual(['unchanged', 'unchanged', 'kept'])
    expect(await text('dbbak.env')).toBe("DATABASE_URL='mine'\n")
  })

  test('is not replaced without --force, and then nothing else is written either', async () => {
    await writeFile(join(folder, configName), 'format: plain # mine\n')
    const options = {env: {...env, DATABASE_URL: url()}}
    const args = ['init', '--yes', '--dir', folder, '--docker']
    const {error} = await failing(args, options, {exitCode: 2, code: 'CONFIRMATION_REQUIRED'})
    expect(error.suggestions.join('\n')).toContain('--force')
    expect(Object.keys(await filesAt(folder))).toEqual([configName])
    expect(await text(configName)).toBe('format: plain # mine\n')
    const {files} = await init(['--docker', '--force'])
    expect(files.map(({status}: Json) => status)).toEqual(['written', 'written'])
    expect(await text(configName)).not.toContain('mine')
  })

  test('a config file that is broken can be replaced', async () => {
    await writeFile(join(folder, configName), 'to: [${NOWHERE}]\nformatt: custom\n')
    const run = await dbbak(['init', '--yes', '--force'], {env, cwd: folder})
    expect({exitCode: run.exitCode, stderr: run.stderr}).toEqual({exitCode: 0, stderr: ''})
    expect(parse(await text(configName)).format).toBe('custom')
  })

  test.each([
    ['dbbak.config.json', '{}'],
    ['package.json', '{"dbbak": {}}'],
  ])('%s: a second config file is not made', async (name, content) => {
    await writeFile(join(folder, name), content)
    const args = ['init', '--yes', '--dir', folder, '--force']
    await failing(args, {env}, {exitCode: 2, code: 'CONFIG_INVALID'})
    expect(Object.keys(await filesAt(folder))).toEqual([name])
  })
})

describe('wrong usage', () => {
  test.each([
    ['no terminal, and no --yes', [], 'CONFIRMATION_REQUIRED'],
    ['a schedule that is none', ['--yes', '--schedule', '0 2 * *'], 'OPTION_INVALID'],
    ['a destination that is none', ['--yes', '--to', 'ftp://host/x'], 'DESTINATION_INVALID'],
    ['days that are none', ['--yes', '--keep-days', '0'], 'OPTION_INVALID'],
  ])('%s', async (_, args, code) => {
    await failing(['init', '--dir', folder, ...args], {env}, {exitCode: 2, code})
    expect(await readdir(folder)).toEqual([])
  })
})

describe('by questions', () => {
  /** Runs init on a terminal of its own, and answers its questions. */
  function answer(args: string[], answers: Answer[], more: Record<string, string> = {}) {
    const program = process.env.DBBAK_TEST_PROGRAM ?? join(repository, 'bin/run.js')
    const command = [process.execPath, program, 'init', '--dir', folder, ...args]
    const quoted = command.map((word) => `'${word}'`).join(' ')
    return onTerminal(quoted, answers, {env: {HOME: folder, ...env, ...more}, cwd: folder})
  }

  test('each answer is tried as it is given, a bad one can be given again, and the files are written at the end', async () => {
    const {screen, exitCode} = await answer(
      [],
      [
        [/Database URL .*:/, `postgresql://keeper@127.0.0.1:1/shop${enter}`],
        [/SERVER_UNREACHABLE[^]*Take it all the same\?/, enter],
        [/Database URL .*:/, url() + enter],
        [/✔ size[^]*Kind of place:/, enter],
        [/Folder:/, enter],
        [/✔ destination[^]*Another place/, enter],
        [/Format of the archive:/, down + enter],
        [/Days:/, `${'\b'.repeat(2)}14${enter}`],
        [/Where restore tests run:/, enter],
        [/Write files for/, `${down} ${enter}`],
        [/When, as five fields/, enter],
        [/Write these files\?/, enter],
      ],
    )
    expect({exitCode, screen}).toEqual({exitCode: 0, screen})
    expectNoSecret(screen)
    expect(parse(await text(configName))).toEqual({
      to: ['./backups'],
      format: 'directory',
      jobs: 2,
      globals: true,
      retentionDays: 14,
    })
    expect(Object.keys(await filesAt(folder))).toEqual([configName, 'dbbak.crontab', 'dbbak.env'])
  })

  test('what options and the environment say is not asked', async () => {
    const {exitCode} = await answer(
      ['--to', './safe', '--format', 'custom', '--keep-days', '3', '--docker'],
      [
        [/Where restore tests run:/, enter],
        [/Write these files\?/, enter],
      ],
      {DATABASE_URL: url()},
    )
    expect(exitCode).toBe(0)
    expect(parse(await text(configName))).toEqual({
      to: ['./safe'],
      format: 'custom',
      globals: true,
      retentionDays: 3,
    })
  })

  test('what is there is replaced only after a question', async () => {
    await writeFile(join(folder, configName), '# mine\n')
    const args = ['--to', './safe', '--format', 'custom', '--keep-days', '3', '--docker']
    const {screen, exitCode} = await answer(
      args,
      [
        [/Where restore tests run:/, enter],
        [/is there already, with other content\. Replace it\?/, enter],
        [/Write this file\?/, enter],
      ],
      {DATABASE_URL: url()},
    )
    expect(exitCode).toBe(0)
    expect(screen).toContain('kept as it is')
    expect(await text(configName)).toBe('# mine\n')
  })

  test('what cannot be is refused before the first question', async () => {
    await writeFile(join(folder, 'dbbak.config.json'), '{}')
    const {screen, exitCode} = await answer([], [])
    expect({exitCode, screen}).toEqual({exitCode: 2, screen: expect.stringContaining('CONFIG_INVALID')})
    expect(screen).not.toContain('Database URL')
  })

  test('a no at the end, or Ctrl-C before it, writes nothing', async () => {
    const args = ['--to', './safe', '--format', 'custom', '--keep-days', '3', '--docker']
    for (const answers of [
      [
        [/Where restore tests run:/, enter],
        [/Write these files\?/, `n${enter}`],
      ],
      [[/Where restore tests run:/, controlC]],
    ] as Answer[][]) {
      const {screen, exitCode} = await answer(args, answers, {DATABASE_URL: url()})
      expect({exitCode, screen}).toEqual({
        exitCode: 130,
        screen: expect.stringContaining('nothing was changed'),
      })
      expect(await readdir(folder)).toEqual([])
    }
  })
})
