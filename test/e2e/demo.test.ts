import {chmod, mkdir, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {findClientTools} from '../../src/postgres/client-tools.js'
import {
  demoProgram,
  demoTools,
  processesWith,
  type DemoProgram,
  type RunningDemo,
} from '../support/demo-program.js'
import {needs} from '../support/needs.js'
import {until} from '../support/processes.js'

const {pgBin, missing} = await demoTools()
const describeDemo = needs('pg18-tools', missing)
const timeoutMs = 300_000

let program: DemoProgram
let running: RunningDemo | undefined
beforeEach(async () => {
  program = await demoProgram(pgBin)
})
afterEach(async () => {
  running?.child.kill('SIGKILL')
  await running?.ended
  running = undefined
  await program.remove()
})

function start(args: string[], env?: Record<string, string>): RunningDemo {
  running = program.start(args, env)
  return running
}

describeDemo('dbbak demo', () => {
  test(
    'tells the whole story with every command, recovers, and leaves nothing behind',
    async () => {
      const {code, stdout, stderr} = await start(['--download']).ended
      expect({code, stderr}).toEqual({code: 0, stderr: expect.stringContaining('Dumping shop')})
      const story = [
        /^\d\/\d A shop/,
        /^\$ dbbak backup$/,
        /^\$ dbbak list$/,
        /^shop_\S+\.dump/,
        /^\$ dbbak verify --latest/,
        /Data integrity/,
        /UPDATE order_items SET unit_price = 9\.99;/,
        /DROP TABLE customers CASCADE;/,
        /table customers +25,000 rows +gone/,
        /^\$ dbbak restore --latest --verify$/,
        /customers +25,000 rows +25,000 rows/,
        /Recovered/,
        /Recovery \(RTO\) +\d/,
        /export DATABASE_URL=/,
      ]
      const lines = stdout.split('\n')
      const places = story.map((pattern) => lines.findIndex((line) => pattern.test(line)))
      expect(places).not.toContain(-1)
      expect(places).toEqual([...places].sort((one, other) => one - other))
      expect(stdout).not.toContain('\u001b')
      await nothingIsLeft()
    },
    timeoutMs,
  )

  test(
    'gives one document with --json, and nothing else on stdout',
    async () => {
      const {code, stdout} = await start(['--json', '--download']).ended
      expect(code).toBe(0)
      const document = JSON.parse(stdout)
      expect(document).toMatchObject({recovered: true, database: {name: 'shop', rows: expect.any(Number)}})
      expect(
        document.steps.map(({name, command}: {name: string; command: string}) => [name, command]),
      ).toEqual([
        ['server', null],
        ['shop', null],
        ['backup', 'dbbak backup'],
        ['list', 'dbbak list'],
        ['verify', expect.stringMatching(/^dbbak verify --latest/)],
        ['accident', null],
        ['damage', null],
        ['restore', 'dbbak restore --latest --verify'],
        ['proof', null],
      ])
      const [, shop, backup, , verify, , damage, restore, proof] = document.steps
      expect(backup.result.backup.content.rowCount).toBe(document.database.rows)
      expect(verify.result).toMatchObject({verdict: 'passed', results: [{level: 'restore'}]})
      expect(damage.differences.length).toBeGreaterThan(3)
      expect(restore.result.targetState).toBe('restored')
      expect(proof.after).toEqual(shop.state)
      expect(document.measured.rtoSeconds).toBeGreaterThan(0)
      await nothingIsLeft()
    },
    timeoutMs,
  )

  test.each([
    'A throw-away server',
    'A shop',
    '$ dbbak backup',
    '$ dbbak verify',
    'The accident',
    '$ dbbak restore',
  ])(
    'leaves nothing behind when Ctrl-C comes after "%s"',
    async (moment) => {
      const demo = start(['--download'])
      await until(() => demo.told().includes(moment), `the demo says ${moment}`, timeoutMs)
      process.kill(-demo.child.pid!, 'SIGINT') // as a terminal does: to the whole group
      const {code, stderr} = await demo.ended
      expect({code, stderr}).toEqual({code: 130, stderr: expect.stringContaining('INTERRUPTED')})
      await nothingIsLeft()
    },
    timeoutMs,
  )

  test(
    'leaves nothing behind when it is killed',
    async () => {
      const demo = start(['--download'])
      await until(() => demo.told().includes('$ dbbak verify'), 'the demo verifies', timeoutMs)
      expect(processesWith(program.folder)).not.toEqual([])
      demo.child.kill('SIGKILL')
      await demo.ended
      await nothingIsLeft()
    },
    timeoutMs,
  )

  test(
    'fails when the database that came back is not the one that was',
    async () => {
      const forged = await forgingTools(join(program.folder, 'forged'))
      const {code, stdout} = await start(['--json', '--download'], {DBBAK_PG_BIN: forged}).ended
      const {error, recovered, differences, steps} = JSON.parse(stdout)
      expect({code, recovered, error}).toEqual({
        code: 1,
        recovered: false,
        error: expect.objectContaining({code: 'DEMO_FAILED', message: expect.stringContaining('customers')}),
      })
      expect(differences).toContainEqual(expect.objectContaining({kind: 'content', name: 'customers'}))
      expect(steps.at(-1).name).toBe('restore')
    },
    timeoutMs,
  )
})

test('without client tools says so and how to get them, before anything is fetched or started', async () => {
  const none = join(program.folder, 'none')
  for (const args of [[], ['--scratch', 'embedded', '--download'], ['--scratch', 'local']]) {
    const {code, stdout, stderr} = await start(args, {DBBAK_PG_BIN: none}).ended
    expect({code, stdout}).toEqual({code: 3, stdout: ''})
    expect(stderr).toMatch(/not found[\s\S]*CLIENT_TOOLS_NOT_FOUND[\s\S]*Install/)
  }
  const {code, stdout} = await start(['--json'], {DBBAK_PG_BIN: none}).ended
  expect(code).toBe(3)
  expect(JSON.parse(stdout)).toMatchObject({error: {code: 'CLIENT_TOOLS_NOT_FOUND', exitCode: 3}})
  expect(await program.leftovers()).toEqual([])
})

test('with client tools that are older than any server to be had, names what it found', async () => {
  const old = join(program.folder, 'old')
  await mkdir(old)
  for (const tool of ['pg_dump', 'pg_restore', 'psql'])
    await writeFile(join(old, tool), `#!/bin/sh\necho '${tool} (PostgreSQL) 9.6'\n`, {mode: 0o755})
  for (const args of [['--download'], ['--scratch', 'embedded']]) {
    const {code, stdout, stderr} = await start(args, {DBBAK_PG_BIN: old}).ended
    expect({code, stdout}).toEqual({code: 3, stdout: ''})
    expect(stderr).toMatch(/found 9\.6 in [\s\S]*CLIENT_TOOLS_TOO_OLD/)
  }
})

async function nothingIsLeft(): Promise<void> {
  let left: string[] = []
  await until(async () => (left = await program.leftovers()).length === 0, 'nothing is left').catch(() => {})
  expect(left).toEqual([])
}

/** Client tools whose pg_dump changes a name in what it writes: row counts stay right, and the values do not. */
async function forgingTools(folder: string): Promise<string> {
  const real = (await findClientTools({env: process.env, pgBin})).at(-1)!
  await mkdir(folder)
  for (const tool of [real.restore, real.psql, real.dumpAll])
    await symlink(tool, join(folder, tool.split('/').at(-1)!))
  const script = `#!/bin/sh\n"${real.dump}" "$@" | LC_ALL=C sed 's/Lovelace/Lovelorn/g'\n`
  await writeFile(join(folder, 'pg_dump'), script)
  await chmod(join(folder, 'pg_dump'), 0o755)
  return folder
}
