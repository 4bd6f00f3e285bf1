import {spawn, type ChildProcess} from 'node:child_process'
import {mkdir, mkdtemp, rm, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import {compiled} from '../support/compiled.js'

const nodeModules = fileURLToPath(new URL('../../node_modules', import.meta.url))

/** A little program of its own on our base command, run as a real process: exit codes and streams are the true ones. */
export interface FixtureProgram {
  folder: string
  /** Its entry point, to start it in some other way than {@link run} does. */
  bin: string
  run(args: string[], options?: RunOptions): Promise<Ended>
  start(args: string[], options?: RunOptions): ChildProcess
  remove(): Promise<void>
}

export interface RunOptions {
  env?: Record<string, string | undefined>
  nodeOptions?: string[]
  cwd?: string
}

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** @param commands the body of each command's `run`, in JavaScript, with its static members before it */
export async function fixtureProgram(
  commands: Record<string, {members?: string; run: string}>,
): Promise<FixtureProgram> {
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-fixture-'))
  await symlink(nodeModules, join(folder, 'node_modules'))
  await mkdir(join(folder, 'commands'))
  await writeFile(join(folder, 'package.json'), JSON.stringify(await packageJson()))
  for (const [name, command] of Object.entries(commands)) {
    await writeFile(join(folder, 'commands', `${name}.js`), await commandSource(command))
  }
  const bin = join(folder, 'run.js')
  await writeFile(bin, `import {main} from ${await url('cli/main')}\nawait main(import.meta.url)\n`)
  const start = (args: string[], {env, nodeOptions = [], cwd = folder}: RunOptions = {}) =>
    spawn(process.execPath, [...nodeOptions, bin, ...args], {cwd, env: {...plainEnvironment(), ...env}})
  return {
    folder,
    bin,
    start,
    run: (args, options) => ended(start(args, options)),
    remove: () => rm(folder, {recursive: true, force: true}),
  }
}

/** Waits for a process and gives what it wrote. */
export async function ended(child: ChildProcess): Promise<Ended> {
  let [stdout, stderr] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({code, stdout, stderr}))
  })
}

/** What the machine that runs the tests has set must not decide what they see. */
export function plainEnvironment(): Record<string, string | undefined> {
  const {PATH, HOME, TMPDIR} = process.env
  return {PATH, HOME, TMPDIR, NODE_ENV: 'production'}
}

async function packageJson(): Promise<unknown> {
  return {
    name: 'fixture',
    version: '1.2.3',
    type: 'module',
    oclif: {
      bin: 'dbbak',
      dirname: 'dbbak',
      commands: './commands',
      helpClass: await compiled('cli/help'),
      topicSeparator: ' ',
      exitCodes: {
        default: 1,
        failedFlagParsing: 2,
        failedFlagValidation: 2,
        nonExistentFlag: 2,
        unexpectedArgs: 2,
      },
    },
  }
}

async function commandSource({members = '', run}: {members?: string; run: string}): Promise<string> {
  return `
    import {Args, Flags} from '@oclif/core'
    import {setTimeout as delay} from 'node:timers/promises'
    import {DbbakCommand} from ${await url('cli/command')}
    import {DbbakError} from ${await url('support/errors')}
    import {activity} from ${await url('engine/events')}
    import {askToType, askYesNo} from ${await url('cli/confirm')}
    export default class Fixture extends DbbakCommand {
      static summary = 'A command for tests.'
      ${members}
      async run() {
        const {flags, args} = await this.parse(Fixture)
        ${run}
      }
    }`
}

const url = async (module: string): Promise<string> =>
  JSON.stringify(pathToFileURL(await compiled(module)).href)
