// Default `dbbak backup` beside `pg_dump -Fc` of the same database, in turn in one run.
//
//   npm run bench                          a throw-away server with some 1 GB of generated data
//   DATABASE_URL=… npm run bench           a database of yours
//   BENCH_RUNS=9 npm run bench             more rounds than five
//
// Prints seconds (median, minimum, maximum), archive sizes, dbbak's own peak memory, and the ratio round by round.
import {mkdtempSync, readdirSync, rmSync, statSync} from 'node:fs'
import {homedir, tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {$} from 'zx'
import {findClientTools} from '../../dist/postgres/client-tools.js'
import {openScratchServer} from '../../dist/postgres/scratch/scratch.js'
import {median, peakMemory, timed} from './measure.js'

const rounds = Number(process.env.BENCH_RUNS ?? 5)
const work = mkdtempSync(join(tmpdir(), 'dbbak-bench-'))
const program = fileURLToPath(new URL('../../bin/run.js', import.meta.url))
const shown = (values) =>
  `${median(values).toFixed(2)} s (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`

const data = `
  create table accounts (id int primary key, branch int, balance int, filler char(84));
  insert into accounts select g, g % 40, 0, '' from generate_series(1, 3000000) g;
  create table events (id bigint generated always as identity primary key, at timestamptz not null, kind text, payload jsonb);
  insert into events (at, kind, payload)
    select '2025-01-01'::timestamptz + g * interval '7 seconds', (array['view', 'cart', 'order', 'pay', 'ship'])[1 + g % 5],
           jsonb_build_object('user', g * 7919 % 100003, 'session', md5(g::text), 'path', '/products/' || g * 31 % 5000 || '/detail',
             'agent', 'Mozilla/5.0 (X11; Linux x64) ' || g % 97, 'price', round((g * 13 % 10007) / 7.0, 2))
      from generate_series(1, 1500000::bigint) g;
  create index on events (at);
  create index on events using gin ((payload -> 'user'));
  analyze`

const [tools] = (await findClientTools({env: process.env})).reverse()
let server
let connection = process.env.DATABASE_URL
try {
  if (!connection) {
    server = await openScratchServer({kind: 'auto', major: 15, env: process.env, homeFolder: homedir()})
    const environment = server.connection.toolEnvironment(process.env)
    await run(tools.psql, ['-q', '-v', 'ON_ERROR_STOP=1', '-c', data], environment)
    connection = undefined
    Object.assign(process.env, environment)
  }
  const memory = peakMemory(work)
  const results = {pgDump: [], dbbak: [], rss: []}
  for (let round = 0; round <= rounds; round++) {
    const dump = join(work, 'reference.dump')
    const pgDump = await timed(() =>
      run(tools.dump, ['-Fc', '-f', dump, ...(connection ? [`--dbname=${connection}`] : [])]),
    )
    rmSync(join(work, 'backups'), {recursive: true, force: true})
    const dbbak = await timed(() =>
      run(process.execPath, [...memory.options, program, 'backup', '--quiet', '--json'], {
        ...process.env,
        BACKUP_DIR: join(work, 'backups'),
      }),
    )
    if (round === 0) continue // a warm-up: caches on both sides
    results.pgDump.push(pgDump)
    results.dbbak.push(dbbak)
    results.rss.push(memory.last())
  }
  const archive = readdirSync(join(work, 'backups')).find((name) => name.endsWith('.dump.zst'))
  const sizes = [join(work, 'reference.dump'), join(work, 'backups', archive)].map((file) =>
    (statSync(file).size / 1e6).toFixed(1),
  )
  console.log(`pg_dump ${tools.version} -Fc     ${shown(results.pgDump)}, ${sizes[0]} MB`)
  console.log(
    `dbbak backup         ${shown(results.dbbak)}, ${sizes[1]} MB, peak memory ${Math.max(...results.rss).toFixed(0)} MB`,
  )
  console.log(
    `ratio dbbak/pg_dump  ${median(results.dbbak.map((s, i) => s / results.pgDump[i])).toFixed(2)} (median of ${rounds} rounds)`,
  )
} finally {
  await server?.stop()
  rmSync(work, {recursive: true, force: true})
}

async function run(command, args, env = process.env) {
  await $({env, quiet: true})`${command} ${args}`
}
