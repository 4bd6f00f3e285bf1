import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {dbbak, dbbakJson, processesOf, startDbbak, toolSettings} from '../e2e/program.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'

/** DBBAK_KILL_RUNS=50 for the long version. */
const runs = Number(process.env.DBBAK_KILL_RUNS ?? 12)
/** A backup of the database below takes about this long. */
const longestDelayMs = 1800
const formats = ['custom', 'plain', 'directory']

let server: TestServer
let url: string
let folder: string
let env: Record<string, string>

beforeAll(async () => {
  server = await startServer()
  url = await server.createDatabase('killed')
  await server.query(
    `create table numbers as select g as id, md5(g::text) as a, md5((g * 2)::text) as b from generate_series(1, 900000) g;
     create table copies as select * from numbers limit 300000`,
    'killed',
  )
  folder = await mkdtemp(join(tmpdir(), 'dbbak-test-kill-'))
  const work = await mkdtemp(join(folder, 'tmp-'))
  env = {
    ...(await toolSettings(server.major)),
    DATABASE_URL: url,
    BACKUP_DIR: join(folder, 'backups'),
    TMPDIR: work,
  }
})

afterAll(async () => {
  await server?.stop()
  await rm(folder, {recursive: true, force: true})
})

interface Listed {
  backups: {name: string}[]
  problems: unknown[]
  incomplete: {name: string}[]
}

const list = () => dbbakJson<Listed>(['list', '--incomplete'], {env})

test(
  `a backup killed at any moment leaves nothing that list shows (${runs} runs)`,
  async () => {
    let killed = 0
    for (let run = 0; run < runs; run++) {
      const before = (await list()).backups.length
      const running = startDbbak(['backup', '--quiet', '--format', formats[run % formats.length]], {env})
      await Promise.race([delay(100 + Math.random() * longestDelayMs), running.ended])
      running.child.kill('SIGKILL')
      const {signal, exitCode} = await running.ended
      if (signal) killed++
      await until(nothingIsLeft, 'server and temporary folder are as they were before')
      const after = await list()
      expect(after.problems).toEqual([])
      // One more only if it had ended well, or was killed after its last write.
      const more = after.backups.length - before
      if (exitCode === 0) expect(more).toBe(1)
      else expect([0, 1]).toContain(more)
    }
    expect(killed).toBeGreaterThan(runs / 2)
  },
  60_000 + runs * 20_000,
)

test('the next run works, removes what the dead ones left, and every backup is whole', async () => {
  expect((await dbbak(['backup'], {env})).exitCode).toBe(0)
  const {incomplete} = await list()
  expect(incomplete.filter(({name}) => name.startsWith('.dbbak-work'))).toEqual([])
  const verified = await dbbakJson<{verdict: string}>(['verify', '--all', '--level', 'archive'], {env})
  expect(verified.verdict).toBe('passed')
})

/** No session, no advisory lock, no temporary folder, and no process: neither the program nor its pg_dump. */
async function nothingIsLeft(): Promise<boolean> {
  for (const marker of [folder, "dbname='killed'", 'bin/run.js backup --quiet'])
    if ((await processesOf(marker)).length > 0) return false
  const [row] = await server.query(
    `select (select count(*) from pg_stat_activity where datname = 'killed' and pid <> pg_backend_pid()) as sessions,
            (select count(*) from pg_locks where locktype = 'advisory') as locks`,
    'killed',
  )
  return Number(row?.sessions) === 0 && Number(row?.locks) === 0 && (await readdir(env.TMPDIR)).length === 0
}
