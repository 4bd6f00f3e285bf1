import {chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {existsSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {toolsForDump, type ClientTools} from '../../src/postgres/client-tools.js'
import {
  dbbak,
  dbbakJson,
  expectNoSecret,
  failing,
  filesAt,
  processesOf,
  secret,
  startDbbak,
  toolSettings,
} from '../e2e/program.js'
import {until} from '../support/processes.js'
import {startServer, type TestServer} from '../support/servers.js'

let server: TestServer
let real: ClientTools
let cwd: string
let to: string
let temporary: string

beforeAll(async () => {
  server = await startServer({overTcp: true})
  const {DBBAK_PG_BIN: pgBin} = await toolSettings(server.major)
  real = await toolsForDump(server.major, {env: process.env, pgBin})
  await server.createDatabase('shop')
  await server.psql(
    `create table orders (id int primary key, note text); insert into orders select n, md5(n::text) from generate_series(1, 20000) n;
     create table customers (id int, name text); insert into customers select n, 'customer ' || n from generate_series(1, 500) n;
     create table nobody (id int); select lo_from_bytea(4711, repeat('large', 50000)::bytea) \\g /dev/null`,
    'shop',
  )
  await server.query(`create role clerk superuser login password '${secret}'`)
})
afterAll(() => server?.stop())
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'lying-'))
  to = join(cwd, 'backups')
  temporary = join(cwd, 'temporary')
  await mkdir(temporary)
})
afterEach(() => rm(cwd, {recursive: true, force: true, maxRetries: 10}))

/**
 * Client tools whose pg_dump is a script: `$real "$@"` is the true one, `$out` the folder that it is to write to in
 * the directory format, `$nap` a time to sleep that tells our sleeping processes from others.
 */
async function lyingTools(script: string): Promise<ReturnType<typeof settings>> {
  const folder = join(cwd, 'lying')
  await mkdir(folder)
  const head = `#!/bin/sh
real=${real.dump}
nap=${nap}
case "$1" in --version) exec $real --version ;; esac
for argument do case "$argument" in --file=*) out=\${argument#--file=} ;; esac; done
`
  await writeFile(join(folder, 'pg_dump'), `${head}${script}\n`)
  for (const name of ['pg_restore', 'psql', 'pg_dumpall'])
    await writeFile(join(folder, name), `#!/bin/sh\nexec ${join(real.folder, name)} "$@"\n`)
  for (const name of await readdir(folder)) await chmod(join(folder, name), 0o755)
  return settings({DBBAK_PG_BIN: folder})
}

const nap = `601.${process.pid}`
const settings = (more: Record<string, string> = {}) => ({
  env: {
    DBBAK_PG_BIN: real.folder,
    DATABASE_URL: server.url('shop', 'clerk', secret),
    BACKUP_DIR: to,
    TMPDIR: temporary,
    ...more,
  },
  cwd,
})

/** Nothing that a later run, or anybody, could take for a backup; and nothing that goes on. */
async function expectNothingLeft(): Promise<void> {
  expect(await filesAt(to)).toEqual({})
  expect(await readdir(temporary)).toEqual([])
  const {backups, problems, incomplete} = await dbbakJson(['list', '--incomplete', '--all-kinds'], settings())
  expect({backups, problems, incomplete}).toEqual({backups: [], problems: [], incomplete: []})
  await until(
    async () => (await processesOf(cwd)).length + (await processesOf(nap)).length === 0,
    'no process is left',
  )
  await until(async () => {
    const left = await server.query(
      `select pid from pg_stat_activity where datname = 'shop' and backend_type = 'client backend'
       union all select pid from pg_locks where locktype = 'advisory'`,
    )
    return left.length === 0
  }, 'no session and no lock is left')
}

const half = (from: string) => `bytes=$(wc -c < ${from}); head -c $((bytes / 2)) ${from}`
type Lie = [what: string, script: string, code: string, says: RegExp]

const streamLies: Lie[] = [
  [
    'fails after its last byte',
    '$real "$@"; echo "pg_dump: error: the last thing went wrong" >&2; exit 1',
    'DUMP_FAILED',
    /the last thing went wrong/,
  ],
  ['fails without a word', 'exit 3', 'DUMP_FAILED', /exit code 3.*said nothing/],
  ['fails in the middle', '$real "$@" | head -c 5000; exit 1', 'DUMP_FAILED', /exit code 1/],
  ['is killed in the middle', '$real "$@" | head -c 5000; kill -KILL $$', 'DUMP_FAILED', /SIGKILL/],
  ['is killed before it begins', 'kill -SEGV $$', 'DUMP_FAILED', /SIGSEGV/],
  ['writes nothing and is pleased with it', 'exit 0', 'DUMP_EMPTY', /wrote nothing/],
  [
    'writes half and is pleased with it',
    `$real "$@" > "$0.whole"; ${half('"$0.whole"')}`,
    'DUMP_FAILED',
    /before its end/,
  ],
  ['writes all but its last bytes', '$real "$@" | head -c -200', 'DUMP_FAILED', /before its end/],
  ['writes something else', 'echo "Dear user, here is your dump:"; $real "$@"', 'DUMP_FAILED', /not a dump/],
  ['writes its first word only', '$real "$@" | head -c 2', 'DUMP_FAILED', /before its end/],
  ['writes noise', 'head -c 100000 /dev/urandom', 'DUMP_FAILED', /not a dump/],
  [
    'writes noise after a good beginning',
    '$real "$@" | head -c 4000; head -c 100000 /dev/zero | tr "\\\\000" "x"',
    'DUMP_FAILED',
    /not a dump|before its end/,
  ],
  [
    'writes something after its end',
    '$real "$@"; head -c 3000 /dev/zero',
    'DUMP_FAILED',
    /not a dump|before its end/,
  ],
  [
    'closes its output and fails later',
    '$real "$@"; exec >&-; sleep 1; exit 9',
    'DUMP_FAILED',
    /exit code 9/,
  ],
  [
    'says the password as it fails',
    `echo "pg_dump: error: could not connect with password $PGPASSWORD" >&2; exit 1`,
    'DUMP_FAILED',
    /could not connect with/,
  ],
  [
    'says more than anybody wants to read',
    'yes "pg_dump: warning: nonsense" | head -n 100000 >&2; exit 1',
    'DUMP_FAILED',
    /nonsense/,
  ],
]

describe.each(['custom', 'plain'])('a pg_dump in %s format that', (format) => {
  test.each(streamLies)('%s leaves no backup', async (_, script, code, says) => {
    const options = await lyingTools(script)
    const document = await dbbakJson(['backup', '--format', format], options, 4)
    expect(document.error).toMatchObject({code, message: expect.stringMatching(says)})
    expect(document.error.message.length).toBeLessThan(500)
    expectNoSecret(JSON.stringify(document))
    await expectNothingLeft()
  })

  test('does its work is believed (so that what is above fails for its lie alone)', async () => {
    const options = await lyingTools('exec $real "$@"')
    for (const compress of ['zstd', 'gzip', 'none'])
      expect((await dbbak(['backup', '--format', format, '--compress', compress], options)).exitCode).toBe(0)
  })
})

const folderLies: Lie[] = [
  ['fails after its last byte', '$real "$@"; exit 1', 'DUMP_FAILED', /exit code 1/],
  [
    'is killed in the middle',
    'mkdir "$out"; echo data > "$out/1.dat"; kill -KILL $$',
    'DUMP_FAILED',
    /SIGKILL/,
  ],
  ['makes no folder and is pleased with it', 'exit 0', 'DUMP_EMPTY', /wrote nothing/],
  ['leaves its folder empty', 'mkdir "$out"', 'DUMP_EMPTY', /wrote nothing/],
  ['leaves out its table of contents', '$real "$@"; rm "$out/toc.dat"', 'DUMP_FAILED', /before its end/],
  [
    'cuts its table of contents',
    `$real "$@"; mv "$out/toc.dat" "$0.whole"; (${half('"$0.whole"')}) > "$out/toc.dat"`,
    'DUMP_FAILED',
    /before its end/,
  ],
  [
    'writes a table of contents that is none',
    '$real "$@"; echo nonsense > "$out/toc.dat"',
    'DUMP_FAILED',
    /not a dump/,
  ],
  [
    'leaves out a table',
    '$real "$@"; rm $(ls "$out"/*.dat* | grep -v toc | head -n 1)',
    'DUMP_FAILED',
    /before its end/,
  ],
]

describe('a pg_dump in directory format that', () => {
  test.each(folderLies)('%s leaves no backup', async (_, script, code, says) => {
    const options = await lyingTools(script)
    const {error} = await failing(['backup', '--format', 'directory'], options, {exitCode: 4, code})
    expect(error.message).toMatch(says)
    await expectNothingLeft()
  })
})

describe.each(['custom', 'plain', 'directory'])('a pg_dump in %s format that hangs', (format) => {
  const deaf = 'trap "" TERM INT; touch "$0.hangs"; while :; do sleep $nap; done'

  async function startHanging(script: string) {
    const running = startDbbak(['backup', '--format', format, '--json'], await lyingTools(script))
    await until(() => existsSync(join(cwd, 'lying', 'pg_dump.hangs')), 'pg_dump hangs')
    return running
  }

  test.each([
    ['at its beginning', 'touch "$0.hangs"; sleep $nap'],
    ['after its last byte', '$real "$@"; touch "$0.hangs"; sleep $nap'],
    ['after its output is closed', '$real "$@"; exec >&-; touch "$0.hangs"; sleep $nap'],
  ])('%s is ended with the program', async (_, script) => {
    const {child, ended} = await startHanging(script)
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({exitCode: 143})
    await expectNothingLeft()
  })

  if (format === 'plain') return // is run as for custom

  test('and is deaf to signals is killed in the end', async () => {
    const {child, ended} = await startHanging(deaf)
    child.kill('SIGTERM')
    expect(await ended).toMatchObject({exitCode: 143})
    await expectNothingLeft()
  })

  test('and is deaf to signals does not hold up somebody who presses Ctrl-C twice', async () => {
    const {child, ended} = await startHanging(deaf)
    child.kill('SIGINT')
    await delay(600) // sooner, it would count as one
    const start = performance.now()
    child.kill('SIGINT')
    expect(await ended).toMatchObject({exitCode: 130})
    expect(performance.now() - start).toBeLessThan(8000) // pg_dump would be given ten seconds
    await until(async () => (await processesOf(nap)).length === 0, 'pg_dump is gone')
    expect((await dbbak(['backup', '--format', format], settings())).exitCode).toBe(0)
    expect((await dbbakJson(['list', '--incomplete'], settings())).incomplete).toEqual([])
  })
})

test('for people, and with --verbose, no more of a failing pg_dump is told than it may say', async () => {
  const options = await lyingTools('echo "pg_dump: error: password $PGPASSWORD is wrong" >&2; exit 1')
  const {output} = await failing(['backup'], options, {exitCode: 4, code: 'DUMP_FAILED'})
  expectNoSecret(output)
})

test('a pg_dump that says another version than it has is found out before it dumps', async () => {
  const options = await lyingTools('exit 0')
  await writeFile(join(cwd, 'lying', 'pg_dump'), '#!/bin/sh\necho "a version of my own"\n')
  await failing(['backup'], options, {exitCode: 4, code: 'CLIENT_TOOLS_NOT_FOUND'})
  await expectNothingLeft()
})

/** The tools lift it themselves, but only by their second statement, which a short one does not let them get to. */
test('a statement_timeout of the database is lifted from the start of the tools’ sessions, and only there', async () => {
  const options = await lyingTools('exit 1')
  for (const tool of ['pg_dump', 'pg_dumpall']) {
    const script = `#!/bin/sh\necho "${tool} $PGOPTIONS" >> ${cwd}/started\nexec ${join(real.folder, tool)} "$@"\n`
    await writeFile(join(cwd, 'lying', tool), script)
  }
  /** Each start of a tool during a backup, with its PGOPTIONS. */
  const startedWith = async () => {
    const asked = await readFile(join(cwd, 'started'), 'utf8').catch(() => '')
    expect((await dbbak(['backup', '--globals'], options)).exitCode).toBe(0)
    return (await readFile(join(cwd, 'started'), 'utf8')).slice(asked.length).trim().split('\n')
  }
  for (const line of await startedWith()) expect(line).not.toContain('statement_timeout')
  await server.query(`alter database shop set statement_timeout = '1h'`)
  try {
    const lines = await startedWith()
    for (const tool of ['pg_dump', 'pg_dumpall']) expect(lines).toContain(`${tool} -c statement_timeout=0`)
  } finally {
    await server.query('alter database shop reset statement_timeout')
  }
})
