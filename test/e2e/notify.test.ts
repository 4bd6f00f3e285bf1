import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {existsSync} from 'node:fs'
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {startReceiver, type HttpReceiver, type Json} from '../support/http-receiver.js'
import {isAlive, until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'
import {makeCertificate, startMailServer} from '../support/smtp-server.js'
import {
  dbbak,
  dbbakJson,
  expectNoSecret,
  filesAt,
  secret,
  secretArgumentsDuring,
  startDbbak,
  toolSettings,
} from './program.js'

let server: TestServer
let tools: Record<string, string>
let receiver: HttpReceiver
let cwd: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  tools = await toolSettings(server.major)
  await server.createDatabase('shop')
  await server.psql(
    'create table orders (id int); insert into orders select generate_series(1, 1000)',
    'shop',
  )
})
afterAll(() => server?.stop())
beforeEach(async () => {
  receiver = await startReceiver()
  cwd = await mkdtemp(join(tmpdir(), 'notify-'))
})
afterEach(async () => {
  await receiver.stop()
  await rm(cwd, {recursive: true, force: true, maxRetries: 10})
})

const to = () => join(cwd, 'backups')
const settings = (more: Record<string, string | undefined> = {}) => ({
  env: {...tools, DATABASE_URL: server.url('shop'), BACKUP_DIR: to(), ...more},
  cwd,
})
const inSecret = encodeURIComponent(secret)
const everyChannel = () => ({
  DBBAK_SLACK_WEBHOOK_URL: `${receiver.url}/slack/${inSecret}`,
  DBBAK_DISCORD_WEBHOOK_URL: `${receiver.url}/discord/${inSecret}`,
  DBBAK_PAGERDUTY_ROUTING_KEY: 'R'.repeat(32),
  DBBAK_PAGERDUTY_URL: `${receiver.url}/pagerduty`,
  DBBAK_WEBHOOK_URL: `${receiver.url}/webhook/${inSecret}`,
  DBBAK_WEBHOOK_SECRET: secret,
  DBBAK_PING_URL: `${receiver.url}/ping`,
})
const paths = () => receiver.requests.map(({path}) => path.split('?')[0].replace(`/${inSecret}`, '')).sort()
const webhooks = (): Json[] =>
  receiver.requests.filter(({path}) => path.startsWith('/webhook')).map((request) => request.json())
const unreachable = 'postgresql://app@127.0.0.1:1/shop'
const config = (text: string) => writeFile(join(cwd, 'dbbak.config.yaml'), text)

describe('a backup', () => {
  test('that succeeds is told to those who want to know, from variables alone', async () => {
    const {backup} = await dbbakJson(['backup'], settings(everyChannel()))
    expect(paths()).toEqual(['/pagerduty', '/ping', '/ping/start', '/webhook'])
    expect(webhooks()).toMatchObject([
      {
        type: 'backup.success',
        database: {name: 'shop'},
        destinations: [to()],
        figures: {rows: 1000, tables: 1},
        facts: expect.arrayContaining([{label: 'Backup', value: backup.id}]),
      },
    ])
  })

  test('that fails is told to everybody, and no secret is in anything that is printed, sent or an argument', async () => {
    const run = settings({...everyChannel(), DATABASE_URL: unreachable, PGPASSWORD: secret})
    let output = ''
    const seen = await secretArgumentsDuring(async () => {
      const {exitCode, stdout, stderr} = await dbbak(['backup', '--verbose', '--json'], run)
      expect(exitCode).toBe(4)
      output = stdout + stderr
    })
    expect(seen).toEqual([])
    expectNoSecret(output)
    expect(paths()).toEqual(['/discord', '/pagerduty', '/ping/fail', '/ping/start', '/slack', '/webhook'])
    expectNoSecret(receiver.requests.map(({body, headers}) => body + JSON.stringify(headers)).join())
    expect(webhooks()).toMatchObject([
      {
        type: 'backup.failure',
        database: {host: '127.0.0.1', name: 'shop'},
        error: {code: 'SERVER_UNREACHABLE'},
      },
    ])
  })

  test('ends as it would have ended where nobody can be told, with a warning that names no address', async () => {
    receiver.answer({status: 403})
    const run = await dbbak(['backup'], settings(everyChannel()))
    expect(run.exitCode).toBe(0)
    for (const channel of ['pagerduty', 'webhook', 'ping'])
      expect(run.stderr).toContain(`A notice did not get through to ${channel}: it answered 403.`)
    expectNoSecret(run.stdout + run.stderr)
    expect(run.stderr).not.toContain(receiver.url)
    expect(Object.keys(await filesAt(to()))).toHaveLength(2)
  })

  test.each([
    ['SIGTERM', 143, 'TERMINATED'],
    ['SIGINT', 130, 'INTERRUPTED'],
  ] as const)('that %s ends is told as interrupted', async (signal, exitCode, code) => {
    await config(`hooks: {beforeBackup: 'echo $$ > pid; sleep 1000'}`)
    const {child, ended} = startDbbak(['backup', '--json'], settings(everyChannel()))
    await until(() => existsSync(join(cwd, 'pid')), 'the hook runs')
    child.kill(signal)
    const run = await ended
    expect(run.exitCode).toBe(exitCode)
    expect(JSON.parse(run.stdout).error.code).toBe(code)
    expect(webhooks()).toMatchObject([{type: 'backup.failure', error: {code, exitCode}}])
    expect(paths()).toContain('/ping/fail')
    expect(isAlive(Number(await readFile(join(cwd, 'pid'), 'utf8')))).toBe(false)
    expect(await filesAt(to())).toEqual({})
  })

  test('is told as the config file says, with secrets from the environment', async () => {
    await config(`
notifications:
  - {type: slack, url: '\${ALERTS}/alerts', on: [failure]}
  - {type: slack, url: '\${ALERTS}/log', on: [success], name: log}
  - {type: webhook, url: '\${ALERTS}/webhook', events: [restore]}
`)
    await dbbakJson(['backup'], settings({ALERTS: receiver.url}))
    expect(paths()).toEqual(['/log'])
    await dbbakJson(['backup'], settings({ALERTS: receiver.url, DATABASE_URL: unreachable}), 4)
    expect(paths()).toEqual(['/alerts', '/log'])
  })

  test('is not begun with a mistyped setting, which is named', async () => {
    await config('notifications: [{type: slack, url: https://x, evnts: [backup]}]')
    const {error} = await dbbakJson(['backup'], settings(), 2)
    expect(error).toMatchObject({code: 'CONFIG_INVALID'})
    expect(error.message).toContain('unknown key "notifications.0.evnts" (did you mean "events"?)')
  })

  test('is told by mail, over a connection whose certificate is checked', async () => {
    const certificate = await makeCertificate()
    await writeFile(join(cwd, 'ca.pem'), certificate.authority)
    const login = {user: 'dbbak', password: secret}
    const mailServer = await startMailServer({login, certificate})
    const mail = {
      DBBAK_SMTP_URL: `smtp://dbbak:${inSecret}@127.0.0.1:${mailServer.port}?tls=required`,
      DBBAK_MAIL_FROM: 'dbbak@example.com',
      DBBAK_MAIL_TO: 'ops@example.com',
      DBBAK_NOTIFY_ON: 'failure,success',
    }
    const distrusting = await dbbak(['backup'], settings(mail))
    expect(distrusting.exitCode).toBe(0)
    expect(distrusting.stderr).toContain('the TLS certificate of the mail server is not accepted')
    expect(mailServer.mails).toEqual([])
    const trusting = await dbbak(['backup'], settings({...mail, NODE_EXTRA_CA_CERTS: join(cwd, 'ca.pem')}))
    await mailServer.stop()
    expect(trusting.exitCode).toBe(0)
    expect(mailServer.mails).toMatchObject([{secure: true, user: 'dbbak', to: ['ops@example.com']}])
    expectNoSecret(mailServer.mails[0].raw + distrusting.stderr + trusting.stderr)
  })
})

describe('a verification that does not pass', () => {
  test('is told as a failure', async () => {
    await dbbakJson(['backup', '--name', 'x'], settings())
    const archive = Object.keys(await filesAt(to())).find((name) => !name.endsWith('.json'))!
    await writeFile(join(to(), archive), 'damaged')
    await dbbakJson(['verify', '--latest', '--level', 'checksum'], settings(everyChannel()), 5)
    expect(webhooks()).toMatchObject([
      {type: 'verify.failure', destinations: [to()], error: {code: 'VERIFICATION_FAILED', exitCode: 5}},
    ])
  })
})

describe('hooks', () => {
  test('run around a backup; what they print does not get into the document', async () => {
    await config(`
hooks:
  beforeBackup: echo before on stdout
  afterBackup: echo after on stdout; cat > result.json; echo $DBBAK_OUTCOME $DBBAK_BACKUP_ID > outcome
`)
    const run = await dbbak(['backup', '--json', '--verbose'], settings())
    expect(run.exitCode).toBe(0)
    const document = JSON.parse(run.stdout)
    expect(run.stderr).toContain('beforeBackup: before on stdout')
    expect(run.stderr).toContain('afterBackup: after on stdout')
    expect(JSON.parse(await readFile(join(cwd, 'result.json'), 'utf8'))).toEqual(document)
    expect(await readFile(join(cwd, 'outcome'), 'utf8')).toBe(`success ${document.backup.id}\n`)
  })

  test('before a backup that fail stop it before anything is stored, and the failure is told', async () => {
    await config(`hooks: {beforeBackup: [sh, -c, 'exit 9'], afterBackup: touch after}`) // half a maintenance mode is to be left too
    const {error} = await dbbakJson(['backup'], settings(everyChannel()), 4)
    expect(error).toMatchObject({code: 'HOOK_FAILED', exitCode: 4})
    expect(await filesAt(to())).toEqual({})
    expect(existsSync(join(cwd, 'after'))).toBe(true)
    expect(webhooks()).toMatchObject([{type: 'backup.failure', error: {code: 'HOOK_FAILED'}}])
  })

  test('before a restore that fail leave the target alone; those after it get its result', async () => {
    await dbbakJson(['backup'], settings())
    await config(`hooks: {beforeRestore: exit 9}`)
    await server.psql('delete from orders where id > 500', 'shop')
    const {error} = await dbbakJson(['restore', '--latest', '--force'], settings(), 3)
    expect(error).toMatchObject({code: 'HOOK_FAILED', exitCode: 3})
    expect(await server.query('select count(*)::int as n from orders', 'shop')).toEqual([{n: 500}])
    await config(`hooks: {afterRestore: 'cat > result.json; exit 1'}`)
    const run = await dbbak(['restore', '--latest', '--force', '--json'], settings(everyChannel()))
    expect(run.exitCode).toBe(0)
    expect(run.stderr).toContain('The hook afterRestore ended with exit code 1.')
    expect(JSON.parse(await readFile(join(cwd, 'result.json'), 'utf8'))).toEqual(JSON.parse(run.stdout))
    expect(webhooks()).toMatchObject([{type: 'restore.success', database: {name: 'shop'}}])
    expect(await server.query('select count(*)::int as n from orders', 'shop')).toEqual([{n: 1000}])
  })

  test('do not run in a dry run, and nobody is told of it', async () => {
    await dbbakJson(['backup'], settings())
    await config(`hooks: {beforeBackup: touch ran, beforeRestore: touch ran}`)
    await dbbakJson(['backup', '--dry-run'], settings(everyChannel()))
    await dbbakJson(['restore', '--latest', '--dry-run'], settings(everyChannel()))
    expect(existsSync(join(cwd, 'ran'))).toBe(false)
    expect(receiver.requests).toEqual([])
  })
})
