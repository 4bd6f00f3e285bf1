// A backup to, and everything else from, each kind of destination beside a local folder, in turn in one run.
//
//   npm run build && node test/bench/destinations.js        a throw-away server with 1.1 GB of generated data; servers of
//                                                           S3 (Ceph), Azure (Azurite) and Google as the tests start them
//   DATABASE_URL=… node test/bench/destinations.js s3://bucket/bench gs://bucket/bench      yours, with your credentials
//   BENCH_RUNS=3 …                                          more rounds than one
//
// Prints seconds (median) and the highest peak of dbbak's own memory in MB. What it stores at a destination of yours is left
// there; nothing is restored into a database of yours.
import {mkdtempSync, readFileSync, rmSync} from 'node:fs'
import {registerHooks} from 'node:module'
import {homedir, tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import ts from 'typescript'
import {$} from 'zx'
import {findClientTools} from '../../dist/postgres/client-tools.js'
import {openScratchServer} from '../../dist/postgres/scratch/scratch.js'
import {median, peakMemory, timed} from './measure.js'

const rounds = Number(process.env.BENCH_RUNS ?? 1)
const work = mkdtempSync(join(tmpdir(), 'dbbak-destinations-'))
const program = fileURLToPath(new URL('../../bin/run.js', import.meta.url))
const memory = peakMemory(work)
const given = process.argv.slice(2).map((destination) => ({name: destination, destination, env: {}}))

/** Rows of many types, most of which do not compress well: 1.1 GB with its indexes. */
const data = `
  create table customers (id uuid primary key, name text, email text, since date);
  insert into customers select md5('c' || g)::uuid, 'Customer ' || g, md5(g::text) || '@example.com', date '2020-01-01' + g % 2000
    from generate_series(1, 450000) g;
  create table orders (id bigint primary key, customer uuid, at timestamptz, total numeric(12, 2), note jsonb);
  insert into orders select g, md5('c' || (1 + g % 450000))::uuid, '2024-01-01'::timestamptz + g * interval '11 seconds',
      round((g::bigint * 7919 % 1000003) / 100.0, 2), jsonb_build_object('ref', md5(g::text), 'lines', g % 9)
    from generate_series(1, 2200000) g;
  create table lines (id bigint primary key, at bigint, product int, price numeric(10, 2), hash text);
  insert into lines select g, 1 + g % 2200000, g % 50000, round((g::bigint * 104729 % 100003) / 100.0, 2), md5('l' || g)
    from generate_series(1, 4500000) g;
  create index on orders (customer); create index on lines (at);
  analyze`

let server
const stops = []
try {
  const target = await databases()
  const rows = []
  for (const place of [{name: 'local', destination: join(work, 'local'), env: {}}, ...(await stores())])
    rows.push([place.name, await tryOut(place, target)])
  const steps = Object.keys(rows[0][1])
  const width = Math.max(...rows.map(([name]) => name.length))
  console.log(`${''.padEnd(width)}  ${steps.map((step) => step.padStart(12)).join('')}   (s / MB)`)
  for (const [name, figures] of rows)
    console.log(`${name.padEnd(width)}  ${steps.map((step) => figures[step].padStart(12)).join('')}`)
} finally {
  for (const stop of stops.reverse()) await stop()
  await server?.stop()
  rmSync(work, {recursive: true, force: true})
}

/** The environment of the database that is backed up, and of the empty one that it is restored into. */
async function databases() {
  if (process.env.DATABASE_URL) return {source: process.env}
  server = await openScratchServer({kind: 'auto', major: 15, env: process.env, homeFolder: homedir()})
  const [tools] = (await findClientTools({env: process.env})).reverse()
  const source = server.connection.toolEnvironment(process.env)
  const psql = (...args) => $({env: source, quiet: true})`${tools.psql} -q -v ON_ERROR_STOP=1 ${args}`
  await psql('-c', data)
  await psql('-c', 'create database restored')
  return {source, restored: {...source, PGDATABASE: 'restored'}}
}

/** Those that are given, or servers of the three protocols. */
async function stores() {
  if (given.length > 0) return given
  registerHooks({resolve: resolveTests, load: loadTests})
  const {clouds} = await import('../support/clouds.ts')
  const found = []
  for (const {name, missing, open} of clouds) {
    const why = missing()
    if (why !== undefined) {
      console.log(`${name}: left out, ${why}`)
      continue
    }
    const cloud = await open(true)
    stops.push(() => cloud.stop())
    found.push({name, destination: cloud.newDestination(), env: cloud.env})
  }
  return found
}

async function tryOut({destination, env}, {source, restored}) {
  const steps = {
    backup: [['backup', '--to', destination], source],
    list: [['list', '--from', destination], source],
    verify: [['verify', '--latest', '--from', destination, '--level', 'restore'], source],
    ...(restored && {
      restore: [['restore', '--latest', '--from', destination, '--force', '--no-safety-backup'], restored],
    }),
    copy: [['copy', '--latest', '--from', destination, '--to', join(work, 'copy')], source],
  }
  const figures = Object.fromEntries(Object.keys(steps).map((step) => [step, {seconds: [], peaks: []}]))
  for (let round = 0; round < rounds; round++)
    for (const [step, [args, database]] of Object.entries(steps)) {
      rmSync(join(work, 'copy'), {recursive: true, force: true})
      const run = $({env: {...database, ...env}, quiet: true, cwd: work})
      const command = [...memory.options, program, ...args, '--quiet']
      figures[step].seconds.push(await timed(() => run`${process.execPath} ${command}`))
      figures[step].peaks.push(memory.last())
    }
  return Object.fromEntries(
    Object.entries(figures).map(([step, {seconds, peaks}]) => [
      step,
      `${median(seconds).toFixed(1)} / ${Math.max(...peaks).toFixed(0)}`,
    ]),
  )
}

/** The tests' servers are TypeScript, and what they import is named as it is when compiled. */
function resolveTests(specifier, context, next) {
  const isOurs = specifier.startsWith('.') && context.parentURL?.includes('/test/')
  if (!isOurs) return next(specifier, context)
  if (specifier.includes('/src/')) return next(specifier.replace('/src/', '/dist/'), context)
  return next(specifier.replace(/\.js$/, '.ts'), context)
}

function loadTests(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context)
  const text = readFileSync(fileURLToPath(url), 'utf8')
  const compilerOptions = {
    module: ts.ModuleKind.ESNext,
    target: ts.ScriptTarget.ES2023,
    verbatimModuleSyntax: true,
  }
  const {outputText} = ts.transpileModule(text, {compilerOptions})
  return {format: 'module', source: outputText, shortCircuit: true}
}
