import {execFile, spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {promisify, stripVTControlCharacters} from 'node:util'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {until} from '../support/processes.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {dbbak, dbbakJson, failing, startDbbak} from './program.js'

let place: RestorePlace
let env: Record<string, string>
beforeAll(async () => {
  place = await openRestorePlace()
  env = {DATABASE_URL: place.server.url('target'), BACKUP_DIR: place.backups}
  await place.backUp()
})
afterAll(() => place.end())
beforeEach(() => place.resetTarget())

const unchanged = async () => {
  await place.quiet()
  expect(await place.state()).toBe('former')
}

test('dbbak restore --latest --force tells of its stages, and of the way back', async () => {
  const {exitCode, stdout, stderr} = await dbbak(['restore', '--latest', '--force', '--verify'], {env})
  expect({exitCode, stderr}).toMatchObject({exitCode: 0})
  expect(await place.state()).toBe('backup')
  for (const stage of ['preflight', 'verify', 'confirm', 'safety-dump', 'restore', 'table-checks'])
    expect(stdout).toMatch(new RegExp(`${stage} +done`))
  expect(stdout).toMatch(/rollback +skipped/)

  const [, command] = /(dbbak restore target-safety_\S+ --from \S+)/.exec(stdout)!
  const back = await dbbak([...command.split(' ').slice(1), '--force'], {env})
  expect({exitCode: back.exitCode, stderr: back.stderr}).toMatchObject({exitCode: 0})
  expect(await place.state()).toBe('former')
})

test('--json prints one document, and nothing else', async () => {
  const document = await dbbakJson(['restore', '--latest', '--force', '--no-safety-backup'], {env})
  expect(document).toMatchObject({
    backup: {id: expect.stringMatching(/^shop_/)},
    target: {host: expect.any(String), port: expect.any(Number), database: 'target'},
    strategy: 'swap',
    findings: [],
    safetyBackup: null,
    targetState: 'restored',
  })
  expect(
    document.stages.map(({name, status}: {name: string; status: string}) => `${name} ${status}`),
  ).toEqual([
    'preflight done',
    'verify done',
    'confirm done',
    'safety-dump skipped',
    'restore done',
    'table-checks done',
    'rollback skipped',
  ])
})

test('--latest tells of a newer backup that cannot be used', async () => {
  const newer = 'shop_2099-01-01T00-00-00-000Z.dump.zst.metadata.json'
  await writeFile(join(place.backups, newer), '{')
  try {
    const {exitCode, stderr} = await dbbak(['restore', '--latest', '--dry-run'], {env})
    expect(exitCode).toBe(0)
    expect(stderr).toMatch(
      /shop_\S+ is restored; shop_2099\S+ is newer and cannot be used: .*\(MANIFEST_INVALID\)/,
    )
  } finally {
    await rm(join(place.backups, newer))
  }
})

test('a failed one prints its document with the error in it', async () => {
  const args = ['restore', '--latest', '--force', '--no-safety-backup', '--critical-table', 'customers:5000']
  const {error, document, output} = await failing(args, {env}, {exitCode: 6, code: 'TABLE_CHECKS_FAILED'})
  expect(error.message).toMatch(
    /customers: expected at least 5000 rows, found 200 rows\. The target is as it was before\.$/,
  )
  expect(document).toMatchObject({targetState: 'rolled-back', backup: {}, target: {database: 'target'}})
  expect(document.stages).toContainEqual(expect.objectContaining({name: 'rollback', status: 'done'}))
  expect(output).toMatch(/6\/7 Table checks +failed after/)
  expect(output).toMatch(/7\/7 Rollback/)
  await unchanged()
})

test('a preflight that fails tells of every finding, each with what mends it', async () => {
  const databaseUrl = new URL(place.server.url('target'))
  databaseUrl.password = 'wrong'
  const options = {env: {...env, DATABASE_URL: databaseUrl.href, DBBAK_PG_BIN: tmpdir()}}
  const document = await dbbakJson(['restore', '--latest', '--force'], options, 3)
  expect(document.findings).toMatchObject([
    {code: 'AUTHENTICATION_FAILED', severity: 'error', fix: expect.any(String)},
    {code: 'CLIENT_TOOLS_NOT_FOUND', severity: 'error', fix: expect.any(String)},
  ])
  expect(document.error).toMatchObject({code: 'PREFLIGHT_FAILED', exitCode: 3})
  for (const {code, fix} of document.findings) {
    expect(document.error.message).toContain(code)
    expect(document.error.suggestions).toContain(fix)
  }
  await unchanged()
})

test('--dry-run prints the plan and changes nothing', async () => {
  const {exitCode, stdout} = await dbbak(['restore', '--latest', '--dry-run'], {env})
  expect(exitCode).toBe(0)
  expect(stdout).toMatch(/everything in it is replaced: 2 tables/)
  expect(stdout).toMatch(/A dry run: shop_\S+ could be restored into target; nothing was changed\./)
  await unchanged()
})

test('--no-safety-backup without --force is refused', async () => {
  const {error} = await failing(
    ['restore', '--latest', '--no-safety-backup'],
    {env},
    {exitCode: 2, code: 'OPTION_INVALID'},
  )
  expect(error.message).toMatch(/--force/)
  await unchanged()
})

test('without a terminal and without --force nothing is changed', async () => {
  const {error, document} = await failing(
    ['restore', '--latest'],
    {env},
    {exitCode: 2, code: 'CONFIRMATION_REQUIRED'},
  )
  expect(error.suggestions.join()).toMatch(/--force/)
  expect(document).toMatchObject({targetState: 'unchanged', safetyBackup: null})
  await unchanged()
})

test.each([['later'], ['5 apples']])('--lock-timeout %s is refused', async (text) => {
  await failing(
    ['restore', '--latest', '--force', '--lock-timeout', text],
    {env},
    {exitCode: 2, code: 'OPTION_INVALID'},
  )
  await unchanged()
})

test.each([
  ['SIGINT', 'swap', 130, 'INTERRUPTED'],
  ['SIGINT', 'in-place', 130, 'INTERRUPTED'],
  ['SIGTERM', 'swap', 143, 'TERMINATED'],
  ['SIGTERM', 'in-place', 143, 'TERMINATED'],
  ['SIGHUP', 'swap', 143, 'TERMINATED'],
] as const)(
  '%s in the middle of the restore by %s: exit code %d, and the target is as it was before',
  async (signal, strategy, exitCode, code) => {
    const args = ['--latest', '--force', '--json', '--strategy', strategy]
    const running = startDbbak(['restore', ...args], {env})
    let said = ''
    running.child.stderr!.on('data', (text: string) => (said += text))
    await until(() => said.includes('5/7'), 'the restore has begun')
    running.child.kill(signal)
    const ended = await running.ended
    const document = JSON.parse(ended.stdout)
    expect({exitCode: ended.exitCode, document}).toMatchObject({
      exitCode,
      document: {
        targetState: 'rolled-back',
        error: {code, exitCode},
      },
    })
    expect(document.error.message).toMatch(/The target is as it was before\.$/)
    await unchanged()
  },
)

const describeTerminal = process.platform === 'linux' ? describe : describe.skip
const program = process.env.DBBAK_TEST_PROGRAM ?? fileURLToPath(new URL('../../bin/run.js', import.meta.url))

describeTerminal('at a terminal', () => {
  let terminal: ChildProcess
  let seen: string
  let exit: Promise<number | null>

  beforeEach(async () => {
    const command = [process.execPath, program, 'restore', '--latest'].map((word) => `'${word}'`).join(' ')
    terminal = spawn('script', ['-qec', `stty rows 40 columns 120; exec ${command}`, '/dev/null'], {
      env: {PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, HOME: place.folder, TERM: 'xterm', ...env},
      cwd: place.folder,
    })
    seen = ''
    terminal.stdout!.on('data', (chunk: Buffer) => (seen += stripVTControlCharacters(chunk.toString())))
    exit = once(terminal, 'close').then(([code]) => code as number | null)
    await until(() => /Type RESTORE to go ahead/.test(seen), 'the question is asked')
  })
  afterEach(() => {
    terminal.kill('SIGHUP')
  })
  const type = (text: string) => terminal.stdin!.write(text)

  test('what is lost and what comes is shown, and RESTORE goes ahead', async () => {
    expect(seen).toMatch(/shop_\S+/)
    expect(seen).toMatch(/2 tables, 2,200 rows/)
    expect(seen).toMatch(/everything in it is replaced: 2 tables/)
    type('RESTORE\r')
    expect(await exit).toBe(0)
    expect(seen).toMatch(/target holds shop_\S+ again/)
    expect(await place.state()).toBe('backup')
  })

  test.each([
    ['another word', 'yes\r'],
    ['the word in small letters', 'restore\r'],
    ['nothing', '\r'],
    ['Ctrl-C', '\u0003'],
    ['half of the word and Ctrl-C', 'REST\u0003'],
  ])('%s cancels: exit code 130, and nothing is changed', async (_, keys) => {
    type(keys)
    expect(await exit).toBe(130)
    expect(seen).toMatch(/Cancelled|Interrupted/)
    expect(seen).toMatch(/[Nn]othing was changed/)
    await unchanged()
  })

  test('SIGTERM while it asks: exit code 143, and nothing is changed', async () => {
    for (const pid of await programsOf(terminal.pid!)) process.kill(pid, 'SIGTERM')
    expect(await exit).toBe(143)
    expect(seen).toMatch(/Nothing was changed/)
    await unchanged()
  })
})

/** The program's process, which the terminal has started. */
async function programsOf(parent: number): Promise<number[]> {
  const {stdout} = await promisify(execFile)('ps', ['-Ao', 'pid=,ppid=,comm='])
  const pids = stdout.split('\n').flatMap((line) => {
    const [pid, ppid, name] = line.trim().split(/\s+/)
    return Number(ppid) === parent && name !== 'script' ? [Number(pid)] : []
  })
  expect(pids).toHaveLength(1)
  return pids
}
