// How long it takes until dbbak is there, beside a Node that does nothing, in turn in one run.
//
//   npm run build && node test/bench/start-up.js
//   BENCH_RUNS=31 node test/bench/start-up.js           more rounds than fifteen
//   BENCH_FOLDER=/mnt/backups node test/bench/start-up.js     a folder of yours, instead of ten generated backups
//
// Prints milliseconds: median, minimum, maximum.
import {spawnSync} from 'node:child_process'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'

const rounds = Number(process.env.BENCH_RUNS ?? 15)
const program = fileURLToPath(new URL('../../bin/run.js', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'dbbak-start-up-'))
const folder = process.env.BENCH_FOLDER ?? work

try {
  if (folder === work) for (let day = 10; day < 20; day++) writeBackup(day)
  const contestants = {
    'node -e 0': ['-e', '0'],
    'dbbak --version': [program, '--version'],
    'dbbak list': [program, 'list', '--from', folder],
    'dbbak list --json': [program, 'list', '--from', folder, '--json'],
  }
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]))
  for (let round = 0; round <= rounds; round++)
    for (const [name, args] of Object.entries(contestants)) {
      const milliseconds = timeOf(args)
      if (round > 0) times[name].push(milliseconds) // the first round fills the caches
    }
  for (const [name, values] of Object.entries(times)) console.log(`${name.padEnd(18)} ${shown(values)}`)
} finally {
  rmSync(work, {recursive: true, force: true})
}

function timeOf(args) {
  const start = performance.now()
  const {status, stderr} = spawnSync(process.execPath, args, {encoding: 'utf8', cwd: work})
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`)
  return performance.now() - start
}

function shown(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const ms = (value) => value.toFixed(0).padStart(4)
  return `${ms(sorted[Math.floor(sorted.length / 2)])} ms (${ms(sorted[0])} to ${ms(sorted.at(-1))})`
}

/** What `list` takes for a backup of that day. */
function writeBackup(day) {
  const id = `shop_2025-01-${day}T14-30-00-000Z`
  const path = `${id}.dump.zst`
  const at = `2025-01-${day}T14:30:00.000Z`
  const table = (n) => ({
    schema: 'public',
    name: `table_${n}`,
    rows: n * 1000,
    bytes: n * 8192,
    checksum: null,
  })
  const manifest = {
    formatVersion: 1,
    id,
    kind: 'backup',
    tool: {name: 'dbbak', version: '0.1.0'},
    startedAt: at,
    snapshotAt: at,
    finishedAt: at,
    durationMs: 1,
    label: null,
    database: {
      name: 'shop',
      host: 'db.internal',
      port: 5432,
      serverVersion: '15.18',
      systemIdentifier: '1',
      encoding: 'UTF8',
      collate: 'C',
      ctype: 'C',
      localeProvider: 'libc',
      owner: 'app',
      sizeBytes: 1,
    },
    client: {pgDumpVersion: '15.18'},
    format: 'custom',
    compression: {algorithm: 'zstd', level: 1, by: 'dbbak'},
    encryption: null,
    selection: null,
    files: [{path, bytes: 4, sha256: '0'.repeat(64)}],
    uncompressedBytes: 4,
    content: {
      level: 'counts',
      tables: Array.from({length: 50}, (_, n) => table(n)),
      tableCount: 50,
      rowCount: 1,
      sequences: [],
      extensions: [],
      largeObjects: 0,
      roles: [],
    },
  }
  writeFileSync(join(folder, path), 'dump')
  writeFileSync(join(folder, `${path}.metadata.json`), JSON.stringify(manifest))
}
