import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import {runCommand} from '../support/run-command.js'
import {startServer, type TestServer} from '../support/servers.js'
import {dbbak, toolSettings} from './program.js'

const program = fileURLToPath(new URL('../../bin/run.js', import.meta.url))

/** Each costs between 70 and 300 ms. */
const cloud = ['@aws-sdk/', '@smithy/', '@azure/', '@google-cloud/']
const heavy = [...cloud, 'ora', '@inquirer/', 'zx', 'pg']

let server: TestServer
let folder: string
let env: Record<string, string>
beforeAll(async () => {
  server = await startServer()
  folder = await mkdtemp(join(tmpdir(), 'start-up-'))
  const backups = join(folder, 'backups')
  env = {...(await toolSettings(server.major)), DATABASE_URL: server.url(), BACKUP_DIR: backups}
  for (const format of ['custom', 'directory']) {
    const {exitCode} = await dbbak(['backup', '--format', format], {env})
    expect(exitCode).toBe(0)
  }
  await writeFile(
    join(folder, 'record.mjs'),
    `import {registerHooks} from 'node:module'
     import {appendFileSync} from 'node:fs'
     const note = (url) => appendFileSync(process.env.LOADED, url + '\\n')
     registerHooks({load(url, context, next) { note(url); return next(url, context) }})`,
  )
})
afterAll(async () => {
  await server?.stop()
  if (folder) await rm(folder, {recursive: true})
})

let records = 0

/** Runs the built program and gives what it printed, and every module that it loaded. */
async function loadedBy(args: string[], onTerminal = false): Promise<{stdout: string; modules: string[]}> {
  const LOADED = join(folder, `loaded-${++records}`)
  const recorder = pathToFileURL(join(folder, 'record.mjs')).href
  const node = [process.execPath, '--import', recorder, program, ...args]
  const [command, ...rest] = onTerminal ? ['script', '-qec', node.map(quoted).join(' '), '/dev/null'] : node
  const {PATH, TMPDIR} = process.env
  const {exitCode, stdout, stderr} = await runCommand(command, rest, {
    cwd: folder,
    env: {PATH, TMPDIR, HOME: folder, TERM: 'xterm', ...env, LOADED},
  })
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''})
  const modules = (await readFile(LOADED, 'utf8')).trim().split('\n')
  expect(modules.some((url) => url.includes('/node_modules/@oclif/core/'))).toBe(true)
  return {stdout, modules}
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Those of the packages that a module of was loaded. */
const packagesIn = (modules: string[], names: string[]): string[] =>
  names.filter((name) => modules.some((url) => url.includes(`/node_modules/${name.replace(/\/?$/, '/')}`)))

describe('listing a local folder', () => {
  test('loads no cloud SDK, and neither ora, inquirer, zx nor pg', async () => {
    const {stdout, modules} = await loadedBy(['list'])
    expect(stdout.match(/^postgres_/gm)).toHaveLength(2)
    expect(packagesIn(modules, heavy)).toEqual([])
  })

  test('loads none of them on a terminal either', async () => {
    const {stdout, modules} = await loadedBy(['list', '--all-kinds', '--incomplete'], true)
    expect(stdout.match(/^postgres_/gm)).toHaveLength(2)
    expect(packagesIn(modules, heavy)).toEqual([])
  })

  test('loads the module of no other command', async () => {
    const {modules} = await loadedBy(['list', '--json'])
    const commands = modules.flatMap((url) => /\/dist\/commands\/(\w+)\.js$/.exec(url)?.[1] ?? [])
    expect(commands).toEqual(['list'])
  })
})

test('a backup to a local folder loads no cloud SDK; that it loads pg is seen', async () => {
  const {modules} = await loadedBy(['backup', '--quiet'])
  expect(packagesIn(modules, cloud)).toEqual([])
  expect(packagesIn(modules, ['pg'])).toEqual(['pg'])
})
