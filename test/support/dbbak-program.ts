import {spawn, type ChildProcess, type StdioOptions} from 'node:child_process'
import {cp, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {compiled} from './compiled.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The program as a user has it, made from the sources as they are now: run as a process, by its command line. */
export interface DbbakProgram {
  /** Its entry point, for `node`. */
  bin: string
  /** Starts it; its streams are pipes unless said otherwise. */
  start(args: string[], options?: ProgramOptions): ChildProcess
  run(args: string[], options?: ProgramOptions): Promise<Ended>
  remove(): Promise<void>
}

export interface ProgramOptions {
  /** Added to a plain environment, in which nothing of the machine's own settings is. */
  env?: Record<string, string | undefined>
  cwd?: string
  stdio?: StdioOptions
}

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

export async function dbbakProgram(): Promise<DbbakProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'program-'))
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  await cp(dirname(dirname(await compiled('cli/main'))), join(folder, 'dist'), {recursive: true})
  await writeFile(join(folder, 'package.json'), await readFile(join(root, 'package.json')))
  const bin = join(folder, 'run.js')
  await writeFile(bin, `import {main} from './dist/cli/main.js'\nawait main(import.meta.url)\n`)
  const start = (args: string[], {env, cwd = folder, stdio = 'pipe'}: ProgramOptions = {}) =>
    spawn(process.execPath, [bin, ...args], {cwd, stdio, env: {...plainEnvironment(), ...env}})
  return {
    bin,
    start,
    run: (args, options) => ended(start(args, options)),
    remove: () => rm(folder, {recursive: true, force: true}),
  }
}

/** Waits for a process and gives what it wrote. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const written = {stdout: '', stderr: ''}
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => (written[name] += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({code, ...written}))
  })
}

function plainEnvironment(): Record<string, string | undefined> {
  const {PATH, HOME, TMPDIR} = process.env
  return {PATH, HOME, TMPDIR, NODE_ENV: 'production'}
}
