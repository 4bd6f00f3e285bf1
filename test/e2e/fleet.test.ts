import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import pg from 'pg'
import {startReceiver} from '../support/http-receiver.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, dbbakJson, failing, startDbbak, toolSettings} from './program.js'

let server: TestServer
let folder: string
let env: Record<string, string>
const names = ['alpha', 'beta', 'delta', 'gamma']

beforeAll(async () => {
  server = await startServer()
  folder = await mkdtemp(join(tmpdir(), 'fleet-'))
  for (const name of names) {
    await server.createDatabase(name)
    await server.query(`create table t as select g from generate_series(1, ${name.length * 10}) g`, name)
  }
  env = {...(await toolSettings(server.major)), BETA_URL: server.url('beta')}
  const entry = (name: string, more = '') => `  ${name}: {url: '${server.url(name)}'${more}}\n`
  await writeFile(
    join(folder, 'dbbak.config.yaml'),
    `to: [./backups]\ndatabases:\n` +
      entry('gamma', ', destinations: [./elsewhere], label: own') +
      entry('alpha', ', format: plain') +
      `  beta: {url: "\${BETA_URL}"}\n` +
      entry('missing'),
    {mode: 0o600},
  )
})
afterAll(async () => {
  await server.stop()
  await rm(folder, {recursive: true, force: true})
})

const run = () => ({env, cwd: folder})

test('all databases of the config are backed up by their own settings, and the trouble of one touches no other', async () => {
  const document = await dbbakJson(['backup', '--all-databases', '--concurrency', '3'], run(), 4)
  expect(document).toMatchObject({succeeded: 3, failed: 1, error: {code: 'DATABASES_FAILED', exitCode: 4}})
  expect(document.databases).toMatchObject([
    {database: 'alpha', status: 'done', result: {backup: {format: 'plain', database: {name: 'alpha'}}}},
    {database: 'beta', status: 'done', result: {backup: {format: 'custom', content: {rowCount: 40}}}},
    {database: 'gamma', status: 'done', result: {backup: {label: 'own'}}},
    {database: 'missing', status: 'failed', error: {code: 'DATABASE_NOT_FOUND', exitCode: 4}},
  ])
  const files = async (name: string) => (await readdir(join(folder, name))).map((file) => file.split('_')[0])
  expect(new Set(await files('backups'))).toEqual(new Set(['.dbbak-work', 'alpha', 'beta']))
  expect(new Set(await files('elsewhere'))).toEqual(new Set(['.dbbak-work', 'gamma']))
})

test('a person gets a line for each database and one for all', async () => {
  const {stdout, exitCode} = await dbbak(['backup', '--database', 'alpha', '--database', 'missing'], run())
  expect(exitCode).toBe(4)
  expect(stdout).toMatch(
    /^✔ alpha {4}alpha_\S+, .*50 rows.*\n✖ missing {2}DATABASE_NOT_FOUND: [^]*\n2 databases: 1 done, 1 failed/,
  )
})

test('one database alone is told of as ever, and its name goes before DATABASE_URL', async () => {
  const more = {...run(), env: {...env, DATABASE_URL: server.url('delta')}}
  expect((await dbbakJson(['backup', '--database', 'alpha'], more)).backup.database.name).toBe('alpha')
  expect((await dbbakJson(['backup', '--to', join(folder, 'other')], more)).backup.database.name).toBe(
    'delta',
  )
})

test('shards are disjoint, hold everything together, and an empty one is no failure', async () => {
  const parts = await Promise.all(
    ['1/3', '2/3', '3/3'].map((shard) =>
      dbbak(['backup', '--all-databases', '--shard', shard, '--json'], run()),
    ),
  )
  const found = parts.map(({stdout}) =>
    JSON.parse(stdout).databases.map((one: {database: string}) => one.database),
  )
  expect(found).toEqual([['alpha', 'missing'], ['beta'], ['gamma']])
  const empty = await dbbakJson(['backup', '--all-databases', '--shard', '9/9'], run())
  expect(empty).toMatchObject({databases: [], succeeded: 0, failed: 0})
})

test.each([
  [['--database', 'alpah'], 'CONFIG_INVALID', 'alpha'],
  [['--all-databases', '--shard', '4/3'], 'OPTION_INVALID', '2/5'],
  [['--shard', '1/2'], 'OPTION_INVALID', '--all-databases'],
  [['--all-databases', '--database', 'alpha'], 'OPTION_INVALID', ''],
  [['--all-databases', '-d', 'postgresql://x/y'], 'OPTION_INVALID', ''],
])('%j is refused before anything is done', async (args, code, hint) => {
  const {error} = await failing(['backup', ...args], run(), {exitCode: 2, code})
  expect(error.suggestions.join()).toContain(hint)
})

describe('what was backed up, of all databases of the config', () => {
  const configured = ['alpha', 'beta', 'gamma']
  const each = (result: unknown) => configured.map((database) => ({database, status: 'done', result}))
  let config: string
  const all = (...args: string[]) => [...args, '--all-databases', '--config', config]
  beforeAll(async () => {
    config = join(folder, 'others.yaml')
    const entry = (name: string) => `  ${name}: {url: '${server.url(name)}', destinations: [./of/${name}]}\n`
    await writeFile(config, `databases:\n${configured.map(entry).join('')}`, {mode: 0o600})
    await dbbakJson(all('backup'), run())
    await dbbakJson(all('backup'), run())
  })

  test('is listed', async () => {
    const {databases} = await dbbakJson(all('list'), run())
    expect(databases).toMatchObject(each({backups: [{}, {}]}))
    const {stdout} = await dbbak(all('list'), run())
    expect(stdout).toMatch(
      /^✔ alpha {2}2 backups, the newest .* old: alpha_.*\n✔ beta [^]*\n3 databases: 3 done/,
    )
  })

  test('is verified, and the damage of one is not that of another', async () => {
    const verify = all('verify', '--all', '--level', 'checksum')
    expect((await dbbakJson(verify, run())).databases).toMatchObject(each({verdict: 'passed'}))
    expect((await dbbak(verify, run())).stdout).toContain('✔ beta   2 backups passed, none by a restore test')
    const [archive] = (await readdir(join(folder, 'of', 'beta'))).filter((name) => name.endsWith('.dump.zst'))
    const copy = await readFile(join(folder, 'of', 'beta', archive))
    await writeFile(
      join(folder, 'of', 'beta', archive),
      Buffer.concat([copy.subarray(0, -1), Buffer.from('x')]),
    )
    const {databases, error} = await dbbakJson(verify, run(), 5)
    expect(databases).toMatchObject([
      {database: 'alpha', status: 'done'},
      {database: 'beta', status: 'failed', error: {code: 'VERIFICATION_FAILED'}, result: {verdict: 'failed'}},
      {database: 'gamma', status: 'done'},
    ])
    expect(error.suggestions).toContain('Run it alone: dbbak verify --database beta')
    await writeFile(join(folder, 'of', 'beta', archive), copy)
  })

  test('is copied', async () => {
    const to = join(folder, 'copies')
    const {databases} = await dbbakJson(all('copy', '--latest', '--to', to), run())
    expect(databases).toMatchObject(each({copies: [{status: 'copied'}]}))
    const one = await dbbakJson(['list', '--from', to, '--database', 'beta', '--database', 'gamma'], run())
    expect(one.databases).toMatchObject([
      {database: 'beta', result: {backups: [{database: 'beta'}]}},
      {database: 'gamma', result: {backups: [{database: 'gamma'}]}},
    ])
    const all3 = await dbbakJson(['list', '--from', to], run())
    expect(all3.backups).toHaveLength(3)
    const mine = ['copy', '--all', '--from', to, '--database', 'beta', '--to', join(folder, 'mine')]
    expect((await dbbakJson(mine, run())).copies).toMatchObject([{name: expect.stringMatching(/^beta_/)}])
  })

  test('is pruned, never unasked', async () => {
    const prune = all('prune', '--keep-days', '0', '--keep-last', '1', '--keep-verified', '0')
    await failing(prune, run(), {exitCode: 2, code: 'CONFIRMATION_REQUIRED'})
    const plan = await dbbakJson([...prune, '--dry-run'], run())
    expect(plan.databases).toMatchObject(each({dryRun: true, removed: [{}], kept: [{}]}))
    const {stdout} = await dbbak([...prune, '--force'], run())
    expect(stdout).toMatch(/✔ gamma {2}1 removed, 1 kept, .* freed/)
    expect((await dbbakJson(all('list'), run())).databases).toMatchObject(each({backups: [{}]}))
  })

  test.each([
    [['verify', 'alpha_2026', '--all-databases'], '--latest'],
    [['verify', '--all-databases'], '--latest'],
    [['copy', '--all-databases', '--to', './x'], '--latest'],
    [['list', '--shard', '1/2'], '--all-databases'],
  ])('%j is refused before anything is done', async (args, hint) => {
    const {error} = await failing([...args, '--config', config], run(), {exitCode: 2, code: 'OPTION_INVALID'})
    expect(error.suggestions.join()).toContain(hint)
  })
})

test('without a word on which, the databases of the config file are named', async () => {
  const {error} = await failing(['backup'], run(), {exitCode: 2, code: 'DATABASE_URL_NOT_SET'})
  expect(error.suggestions[0]).toContain('--database gamma, or --all-databases')
})

test('one name that is wrong, and none of the others is backed up', async () => {
  const before = await dbbakJson(['list', '--from', 'backups'], run())
  const args = ['backup', '--database', 'alpha', '--database', 'nope']
  const {error} = await failing(args, run(), {exitCode: 2, code: 'CONFIG_INVALID'})
  expect(error.message).toContain('"nope"')
  const after = await dbbakJson(['list', '--from', 'backups'], run())
  expect(after.backups).toHaveLength(before.backups.length)
})

test('where backups of several databases lie together, the newest is that of the database that is meant', async () => {
  const to = join(folder, 'shared')
  for (const name of ['alpha', 'beta'])
    await dbbakJson(['backup', '--to', to, '-d', server.url(name)], {env, cwd: tmpdir()})
  const more = (name: string) => ({env: {...env, DATABASE_URL: server.url(name)}, cwd: tmpdir()})
  const plan = (args: string[], name: string, exitCode = 0) =>
    dbbakJson(['restore', '--latest', '--from', to, '--dry-run', ...args], more(name), exitCode)
  expect((await plan([], 'alpha')).backup.id).toMatch(/^alpha_/)
  expect((await plan(['--database', 'beta'], 'alpha')).backup.id).toMatch(/^beta_/)
  expect((await plan([], 'delta', 2)).error).toMatchObject({code: 'BACKUP_NAME_AMBIGUOUS'})
  expect((await plan(['--database', 'delta'], 'alpha', 2)).error).toMatchObject({code: 'BACKUP_NOT_FOUND'})
  const verify = async (args: string[], name: string) =>
    (await dbbakJson(['verify', '--level', 'checksum', '--from', to, ...args], more(name))).results
  expect(await verify(['--latest'], 'alpha')).toMatchObject([{id: expect.stringMatching(/^alpha_/)}])
  expect(await verify(['--latest'], 'delta')).toMatchObject([{id: expect.stringMatching(/^beta_/)}])
  expect(await verify(['--all', '--database', 'alpha'], 'delta')).toMatchObject([
    {id: expect.stringMatching(/^alpha_/)},
  ])
})

test('a shared check is told once of all, by the worst; what one database lacks stops only that one', async () => {
  const receiver = await startReceiver()
  const config = join(folder, 'notified.json')
  const url = (name: string) => `${receiver.url}/${name}`
  await writeFile(
    config,
    JSON.stringify({
      to: [join(folder, 'notified')],
      notifications: [
        {type: 'ping', url: url('shared')},
        {type: 'webhook', url: url('hook')},
      ],
      databases: {
        alpha: {url: server.url('alpha')},
        beta: {url: server.url('beta'), notifications: [{type: 'ping', url: url('beta')}]},
        delta: {url: '${DELTA_URL}', format: '${DELTA_FORMAT}'},
      },
    }),
  )
  const args = ['backup', '--all-databases', '--config', config]
  const {databases} = await dbbakJson(args, run(), 2)
  expect(databases).toMatchObject([
    {database: 'alpha', status: 'done'},
    {database: 'beta', status: 'done'},
    {database: 'delta', status: 'failed', error: {code: 'CONFIG_INVALID'}},
  ])
  expect(databases[2].error.message).toContain('databases.delta.url from ${DELTA_URL}')
  const requests = receiver.requests.splice(0)
  const pings = requests.filter(({path}) => path.startsWith('/shared'))
  expect(pings.map(({path}) => path.split('?')[0])).toEqual(['/shared/start', '/shared/fail'])
  expect(pings[1].body).toMatch(
    /^Backup of 3 databases failed\.\n[^]*alpha: done\nbeta: done\ndelta: failed: CONFIG_INVALID/,
  )
  expect(requests.map(({path}) => path.split('?')[0]).filter((path) => path.startsWith('/beta'))).toEqual([
    '/beta/start',
    '/beta',
  ])
  const hooks = requests.filter(({path}) => path === '/hook').map((request) => request.json().title as string)
  expect(hooks.sort()).toEqual([
    expect.stringMatching(/^Backup of alpha on .* succeeded$/),
    'Backup of delta failed',
  ])
  const whole = {...run(), env: {...env, DELTA_URL: server.url('delta'), DELTA_FORMAT: 'plain'}}
  await dbbakJson(args, whole)
  const paths = receiver.requests.map(({path}) => path.split('?')[0])
  expect(paths.filter((path) => path.startsWith('/shared'))).toEqual(['/shared/start', '/shared'])
  await receiver.stop()
})

test('Ctrl-C ends all of them, leaves nothing half-done, and tells what was done until then', async () => {
  const backupsOf = async (name: string) =>
    (await readdir(join(folder, 'backups'))).filter(
      (file) => file.startsWith(name) && file.endsWith('metadata.json'),
    )
  const before = (await backupsOf('beta')).length
  const blocker = new pg.Client(server.url('alpha'))
  await blocker.connect()
  await blocker.query('begin; lock table t in access exclusive mode')
  try {
    const running = startDbbak(['backup', '--database', 'alpha', '--database', 'beta', '--json'], run())
    const waits = `select from pg_locks where not granted and locktype = 'relation'`
    await until(async () => (await server.query(waits)).length > 0, 'pg_dump waits for the lock')
    await until(async () => (await backupsOf('beta')).length > before, 'the other is stored')
    running.child.kill('SIGINT')
    const {exitCode, stdout} = await running.ended
    expect(exitCode).toBe(130)
    expect(JSON.parse(stdout).databases).toMatchObject([
      {database: 'alpha'},
      {database: 'beta', status: 'done'},
    ])
  } finally {
    await blocker.end()
  }
})
