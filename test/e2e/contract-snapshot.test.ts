/* eslint-disable @typescript-eslint/no-explicit-any -- documents are looked into as scripts do it */
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {Client} from 'pg'
import {runCommand} from '../support/run-command.js'
import {startServer, type TestServer} from '../support/servers.js'
import {expectSnapshot, shapeOf} from '../support/snapshots.js'
import {dbbak, toolSettings} from './program.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('what can be typed', () => {
  test('commands, arguments, flags and exit codes are those of before', async () => {
    const {commands} = JSON.parse(await readFile(join(root, 'oclif.manifest.json'), 'utf8'))
    await expectSnapshot(
      'commands',
      Object.fromEntries(Object.values<any>(commands).map((c) => [c.id, surfaceOf(c)])),
    )
  })

  /** What scripts and fingers know; not the wording of descriptions. */
  function surfaceOf({summary, args, flags, exitCodes, aliases, hidden}: any) {
    const known = [
      'char',
      'type',
      'options',
      'multiple',
      'required',
      'default',
      'exclusive',
      'allowNo',
      'helpValue',
      'aliases',
      'min',
      'max',
    ]
    const pick = (one: any) =>
      Object.fromEntries(
        known.filter((key) => one[key] !== undefined && one[key] !== false).map((key) => [key, one[key]]),
      )
    const all = (ones: any) =>
      Object.fromEntries(Object.values<any>(ones ?? {}).map((one) => [one.name, pick(one)]))
    return {summary, args: all(args), flags: all(flags), exitCodes, aliases, ...(hidden ? {hidden} : {})}
  }
})

describe('oclif.manifest.json', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'manifest-'))
    for (const name of ['package.json', 'oclif.manifest.json']) await cp(join(root, name), join(folder, name))
    await mkdir(join(folder, 'bin'))
    await cp(join(root, 'bin', 'check-manifest.js'), join(folder, 'bin', 'check-manifest.js'))
    await cp(join(root, 'dist'), join(folder, 'dist'), {recursive: true})
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  })
  afterAll(() => rm(folder, {recursive: true}))

  const check = (at: string) => runCommand(process.execPath, [join(at, 'bin', 'check-manifest.js')])

  test('is what the commands are, and the check leaves it alone', async () => {
    const file = join(root, 'oclif.manifest.json')
    const before = await stat(file)
    expect(await check(root)).toEqual({
      exitCode: 0,
      stdout: 'oclif.manifest.json is up to date.\n',
      stderr: '',
    })
    expect((await stat(file)).mtimeMs).toBe(before.mtimeMs)
  })

  test.each<[string, (manifest: any) => void, RegExp]>([
    ['a command is missing', ({commands}) => delete commands.verify, /stale \(command verify\)/],
    ['a command is no more', ({commands}) => (commands.dump = commands.list), /stale \(command dump\)/],
    ['a flag is new', ({commands}) => delete commands.list.flags.limit, /stale \(command list\)/],
    ['the version is new', (manifest) => (manifest.version = '0.0.1'), /stale \(version\)/],
  ])('is found to be stale where %s', async (_, change, message) => {
    const file = join(folder, 'oclif.manifest.json')
    const manifest = JSON.parse(await readFile(join(root, 'oclif.manifest.json'), 'utf8'))
    change(manifest)
    await writeFile(file, JSON.stringify(manifest))
    const {exitCode, stderr} = await check(folder)
    expect({exitCode, stderr}).toEqual({exitCode: 1, stderr: expect.stringMatching(message)})
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(manifest)
  })

  test.each([
    ['no file', undefined],
    ['no JSON', '{'],
    ['something else', '[]'],
  ])('is found to be stale where there is %s', async (_, text) => {
    const file = join(folder, 'oclif.manifest.json')
    await rm(file)
    if (text !== undefined) await writeFile(file, text)
    const {exitCode, stderr} = await check(folder)
    expect({exitCode, stderr}).toEqual({exitCode: 1, stderr: expect.stringContaining('npm run manifest')})
    await writeFile(file, '{}')
  })
})

describe('what --json prints', () => {
  let server: TestServer
  let folder: string
  let env: Record<string, string>
  beforeAll(async () => {
    server = await startServer({overTcp: true})
    folder = await mkdtemp(join(tmpdir(), 'snapshot-'))
    const url = await server.createDatabase('shop')
    env = {
      ...(await toolSettings(server.major)),
      DATABASE_URL: url,
      TEST_DATABASE_URL: server.url(),
      BACKUP_DIR: folder,
    }
    await server.query(
      `create table orders (id serial primary key, paid boolean);
       insert into orders (paid) select true from generate_series(1, 100);
       create materialized view paid as select count(*) from orders where paid;
       create role app; create table owned (a int); alter table owned owner to app;
       select lo_from_bytea(0, 'large')`,
      'shop',
    )
  })
  afterAll(async () => {
    await server?.stop()
    if (folder) await rm(folder, {recursive: true})
  })

  /** Runs a command, also with --verbose; both must print one document, laid out, and nothing else to stdout. */
  async function documentOf(
    args: string[],
    exitCode = 0,
    changed: Record<string, string> = {},
  ): Promise<any> {
    let document: unknown
    for (const more of [[], ['--verbose']]) {
      const run = await dbbak([...args, '--json', ...more], {env: {...env, ...changed}})
      if (run.exitCode !== exitCode)
        throw new Error(`dbbak ${args.join(' ')} ended with ${run.exitCode}:\n${run.stdout}${run.stderr}`)
      document = JSON.parse(run.stdout)
      expect(run.stdout).toBe(`${JSON.stringify(document, undefined, 2)}\n`)
    }
    return document
  }

  test('backup', async () => {
    const document = await documentOf([
      'backup',
      '--globals',
      '--label',
      'before 42',
      '--exclude-table',
      'nothing_such',
    ])
    await expectSnapshot('backup', shapeOf(document))
    expect(document).toMatchObject({
      backup: {formatVersion: 1, kind: 'backup', label: 'before 42'},
      destinations: [{destination: folder, status: 'stored'}],
    })
    const [manifest] = (await readdir(folder)).filter(
      (name) => name === `${document.backup.files[0].path}.metadata.json`,
    )
    expect(JSON.parse(await readFile(join(folder, manifest), 'utf8'))).toEqual(document.backup)
  })

  test('backup, where one destination of two fails', async () => {
    const document = await documentOf(['backup', '--to', folder, '--to', '/dev/null'], 8)
    await expectSnapshot('backup-one-destination-failed', shapeOf(document))
    expect(document.destinations.map(({status}: {status: string}) => status)).toEqual(['stored', 'failed'])
  })

  test('backup --verify', async () => {
    const document = await documentOf(['backup', '--verify', 'restore'])
    await expectSnapshot('backup-verify', shapeOf(document))
  })

  test('backup --dry-run', async () => {
    await expectSnapshot('backup-dry-run', shapeOf(await documentOf(['backup', '--dry-run'])))
  })

  test('verify', async () => {
    const document = await documentOf(['verify', '--latest', '--level', 'restore'])
    await expectSnapshot('verify', shapeOf(document))
    expect(document.results[0].checks).toEqual(
      [
        'file-exists',
        'metadata-valid',
        'checksum-valid',
        'archive-readable',
        'restore-test',
        'data-integrity',
      ].map((name) => ({name, status: 'passed'})),
    )
  })

  test('restore --dry-run', async () => {
    const document = await documentOf(['restore', '--latest', '--dry-run'])
    await expectSnapshot('restore-dry-run', shapeOf(document))
    expect(document.targetState).toBe('unchanged')
  })

  test('restore', async () => {
    const document = await documentOf(['restore', '--latest', '--force', '--verify'])
    await expectSnapshot('restore', shapeOf(document))
    expect(document.stages.map(({name}: {name: string}) => name)).toEqual([
      'preflight',
      'verify',
      'confirm',
      'safety-dump',
      'restore',
      'table-checks',
      'rollback',
    ])
    expect(document).toMatchObject({
      strategy: 'swap',
      targetState: 'restored',
      safetyBackup: {destination: folder},
    })
  })

  test('list', async () => {
    await writeFile(join(folder, 'other_2025-01-15T14-30-00-000Z.dump'), 'left by a killed run')
    const document = await documentOf(['list', '--all-kinds', '--incomplete'])
    await expectSnapshot('list', shapeOf(document))
    const times = document.backups.map(({snapshotAt}: {snapshotAt: string}) => snapshotAt)
    expect(times).toEqual([...times].sort().reverse())
  })

  test('doctor', async () => {
    await expectSnapshot('doctor', shapeOf(await documentOf(['doctor'])))
  })

  test('doctor, where something is wrong', async () => {
    await expectSnapshot('doctor-unhealthy', shapeOf(await documentOf(['doctor', '--to', '/dev/null'], 3)))
  })

  test('restore, stopped by preflight', async () => {
    const session = new Client({connectionString: env.DATABASE_URL})
    session.on('error', () => {}) // the server goes first when a test fails
    await session.connect()
    try {
      const document = await documentOf(['restore', '--latest', '--force'], 3)
      await expectSnapshot('restore-preflight-failed', shapeOf(document))
      expect(document).toMatchObject({
        stages: [{name: 'preflight', status: 'failed'}, ...Array(6).fill({status: 'not-run'})],
        findings: [{code: 'ACTIVE_CONNECTIONS', severity: 'error'}],
        targetState: 'unchanged',
      })
    } finally {
      await session.end()
    }
  })

  test('restore, rolled back', async () => {
    const document = await documentOf(['restore', '--latest', '--force', '--critical-table', 'nowhere'], 6)
    await expectSnapshot('restore-rolled-back', shapeOf(document))
    expect(document).toMatchObject({targetState: 'rolled-back', error: {code: 'TABLE_CHECKS_FAILED'}})
  })

  test('verify, of what is damaged', async () => {
    const {backups} = await documentOf(['list'])
    await truncate(backups[0].location, 100)
    const document = await documentOf(['verify', backups[0].id, '--level', 'restore'], 5)
    await expectSnapshot('verify-failed', shapeOf(document))
  })

  test('a command that fails before it has anything to tell', async () => {
    const document = await documentOf(['backup'], 2, {DATABASE_URL: ''})
    await expectSnapshot('error', shapeOf(document))
    expect(document.error).toMatchObject({code: 'DATABASE_URL_NOT_SET', exitCode: 2})
  })

  test.each([[['list', '--bogus']], [['bogus']], [['list', '--limit', 'many']]])(
    'a call that is wrong: %j',
    async (args) => {
      await expectSnapshot('error', shapeOf(await documentOf(args, 2)))
    },
  )
})
