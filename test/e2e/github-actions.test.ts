import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, expectNoSecret, secret, toolSettings, type Ended} from './program.js'

let server: TestServer
let folder: string
let runs = 0
beforeAll(async () => {
  server = await startServer({overTcp: true})
  folder = await mkdtemp(join(tmpdir(), 'github-'))
  await server.createDatabase('shop')
  await server.query(
    `create table orders as select generate_series(1, 10) as id; create role keeper login superuser password '${secret}'`,
    'shop',
  )
})
afterAll(async () => {
  await server?.stop()
  if (folder) await rm(folder, {recursive: true})
})

/** Runs a command as a step of a job, and gives what the step's page would show too. */
async function step(
  args: string[],
  url = server.url('shop', 'keeper', secret),
): Promise<Ended & {summary: string}> {
  const file = join(folder, `summary-${++runs}.md`)
  const run = await dbbak(args, {
    env: {
      ...(await toolSettings(server.major)),
      GITHUB_ACTIONS: 'true',
      CI: 'true',
      GITHUB_STEP_SUMMARY: file,
      DATABASE_URL: url,
      TEST_DATABASE_URL: server.url('postgres', 'keeper', secret),
      BACKUP_DIR: join(folder, 'backups'),
    },
  })
  const summary = await readFile(file, 'utf8')
  for (const text of [run.stdout, run.stderr, summary]) {
    expectNoSecret(text)
    expect(text).not.toContain('\u001b')
  }
  return {...run, summary}
}

/** The workflow commands of a log. */
const commandsIn = (log: string): string[] => log.split('\n').filter((line) => line.startsWith('::'))

/** The cells of the rows of a Markdown table, without its head. */
const rowsOf = (summary: string): string[][] =>
  summary
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (Step|---)/.test(line))
    .map((line) => line.slice(2, -2).split(' | '))

test('a backup gets a summary with a table of what was done', async () => {
  const {exitCode, stdout, stderr, summary} = await step(['backup'])
  expect(exitCode).toBe(0)
  expect(commandsIn(stderr)).toEqual([])
  expect(stdout).toMatch(/^\S shop_\S+Z\n/)
  expect(summary).toMatch(/^### dbbak backup: done in \d/)
  expect(summary).toContain('| Step | Result |\n| --- | --- |\n')
  expect(rowsOf(summary)).toContainEqual([
    expect.stringMatching(/Dumping shop$/),
    expect.stringMatching(/ in \d/),
  ])
})

test('the stages of a restore are groups, each closed before the next', async () => {
  await step(['backup'])
  const {exitCode, stderr, summary} = await step(['restore', '--latest', '--force'])
  expect(exitCode).toBe(0)
  const groups = commandsIn(stderr)
  expect(groups.filter((_, index) => index % 2 === 0)).toEqual([
    '::group::2/7 Verify',
    '::group::5/7 Restore', // the safety dump goes on meanwhile, and is told in it
    '::group::6/7 Table checks',
  ])
  expect(groups.filter((_, index) => index % 2 === 1)).toEqual(Array(3).fill('::endgroup::'))
  const told = rowsOf(summary).map(([what]) => what)
  for (const stage of ['1/7 Preflight', '2/7 Verify', '4/7 Safety dump', '5/7 Restore', '6/7 Table checks'])
    expect(told).toContainEqual(expect.stringContaining(stage))
})

test('a failure is an annotation on one line, and stands in the summary with what to do', async () => {
  const {exitCode, stderr, summary} = await step(['backup'], server.url('ship', 'keeper', secret))
  expect(exitCode).toBe(4)
  expect(commandsIn(stderr)).toEqual([
    expect.stringMatching(/^::error title=dbbak DATABASE_NOT_FOUND::.*ship.*$/),
  ])
  expect(summary).toMatch(/^### dbbak backup: failed \(DATABASE_NOT_FOUND, exit 4\) in /)
  expect(summary).toMatch(/^- \S/m)
})

test('a message of several lines is still one annotation, and none that a name smuggled in', async () => {
  const name = 'two\n::error::forged'
  await server.createDatabase(name)
  const {exitCode, stderr, stdout, summary} = await step(
    ['restore', '--latest', '--force', '--critical-table', name],
    server.url(name, 'keeper', secret),
  )
  expect(exitCode).not.toBe(0)
  const annotations = commandsIn(stderr + stdout).filter((line) => !/^::(end)?group::/.test(line))
  expect(annotations).toEqual([expect.stringMatching(/^::error title=dbbak [A-Z_]+::/)])
  expect(summary).not.toMatch(/^::/m)
})

test('under --json the document is alone on stdout', async () => {
  const {exitCode, stdout, summary} = await step(['backup', '--json'])
  expect(exitCode).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({backup: {database: {name: 'shop'}}})
  expect(summary).toContain('### dbbak backup: done')
})

test('without a summary file, or with one that cannot be written, the backup is taken all the same', async () => {
  for (const file of ['', join(folder, 'missing', 'summary.md')]) {
    const {exitCode} = await dbbak(['backup', '--to', join(folder, 'other')], {
      env: {
        ...(await toolSettings(server.major)),
        GITHUB_ACTIONS: 'true',
        GITHUB_STEP_SUMMARY: file,
        DATABASE_URL: server.url('shop'),
      },
    })
    expect(exitCode).toBe(0)
  }
})
