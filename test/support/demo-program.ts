import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {chmod, mkdtemp, readdir, rm} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {findClientTools} from '../../src/postgres/client-tools.js'
import {cacheFolder} from '../../src/postgres/scratch/package-cache.js'
import {clientTools18, testCacheEnv} from './client-tools-18.js'

const program = fileURLToPath(new URL('../../bin/run.js', import.meta.url))

/** The built program with a folder of its own for everything that it makes. */
export interface DemoProgram {
  /** Where the demo's folders are made, and nothing else. */
  folder: string
  start(args: string[], env?: Record<string, string>): RunningDemo
  /** Folders and processes of it that are still there. */
  leftovers(): Promise<string[]>
  remove(): Promise<void>
}

export interface RunningDemo {
  child: ChildProcess
  /** What it has written to stdout so far. */
  told(): string
  ended: Promise<{code: number | null; stdout: string; stderr: string}>
}

/** The folder of client tools to use: undefined where installed ones are found, else 18's; or why there are none. */
export async function demoTools(): Promise<{pgBin?: string | undefined; missing?: string | undefined}> {
  if ((await findClientTools({env: process.env})).length > 0) return {}
  const {folder, missing} = await clientTools18()
  return {pgBin: folder, missing}
}

export async function demoProgram(pgBin: string | undefined): Promise<DemoProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'demo-'))
  await chmod(folder, 0o711) // a server that root starts runs as somebody else
  const {PATH, HOME} = process.env
  const own = {
    PATH,
    HOME,
    TMPDIR: folder,
    DBBAK_CACHE_DIR: cacheFolder(testCacheEnv(), homedir()),
    ...(pgBin ? {DBBAK_PG_BIN: pgBin} : {}),
    // What the user has set must not matter: the demo never goes near it.
    DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/precious',
    BACKUP_DIR: '/proc/precious',
    PGHOST: '127.0.0.1',
    PGDATABASE: 'precious',
  }
  return {
    folder,
    start: (args, env) =>
      watch(
        spawn(process.execPath, [program, 'demo', ...args], {
          cwd: '/',
          env: {...own, ...env},
          detached: true,
        }),
      ),
    leftovers: async () => [...(await readdir(folder)), ...processesWith(folder)],
    remove: () => rm(folder, {recursive: true, force: true}),
  }
}

function watch(child: ChildProcess): RunningDemo {
  let [stdout, stderr] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<Awaited<RunningDemo['ended']>>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({code, stdout, stderr}))
  })
  return {child, told: () => stdout, ended}
}

/** Processes that have the folder in their arguments or their environment, as the demo's children do. */
export function processesWith(folder: string): string[] {
  const all = execFileSync('ps', ['axeww', '-o', 'command='], {maxBuffer: 1 << 28}).toString()
  return all.split('\n').filter((line) => line.includes(folder))
}
