import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {compiled} from '../support/compiled.js'
import {fixtureProgram, type FixtureProgram} from './fixture-program.js'

/** Each of these costs between 70 and 300 ms, for nothing while only help is wanted. */
const heavy = [
  'ora',
  '@inquirer/prompts',
  'pg',
  'zx',
  'zod',
  'yaml',
  '@aws-sdk/client-s3',
  '@google-cloud/storage',
  '@azure/storage-blob',
]

let program: FixtureProgram
beforeAll(async () => {
  program = await fixtureProgram({simple: {run: `this.log('done')`}})
  await writeFile(
    join(program.folder, 'record.mjs'),
    `import {registerHooks} from 'node:module'
     import {appendFileSync} from 'node:fs'
     registerHooks({load(url, context, next) { appendFileSync(process.env.LOADED, url + '\\n'); return next(url, context) }})`,
  )
})
afterAll(() => program.remove())

/** The packages that a run loaded a module of. */
async function loadedBy(args: string[], env: Record<string, string> = {}): Promise<string[]> {
  const record = join(program.folder, 'loaded')
  await rm(record, {force: true})
  const nodeOptions = ['--import', pathToFileURL(join(program.folder, 'record.mjs')).href]
  const {code, stderr} = await program.run(args, {nodeOptions, env: {LOADED: record, ...env}})
  expect({code, stderr}).toEqual({code: 0, stderr: ''})
  const modules = (await readFile(record, 'utf8')).split('\n')
  expect(modules.some((url) => url.includes('@oclif/core'))).toBe(true)
  return heavy.filter((name) => modules.some((url) => url.includes(`/node_modules/${name}/`)))
}

test('our base command alone loads nothing heavy', async () => {
  expect(await loadedBy(['simple'])).toEqual([])
})

test('the recorder would notice', async () => {
  await writeFile(join(program.folder, 'heavy.mjs'), `import 'ora'\nimport 'zod'`)
  const import_ = `--import=${pathToFileURL(join(program.folder, 'heavy.mjs')).href}`
  const record = join(program.folder, 'loaded-heavy')
  const nodeOptions = ['--import', pathToFileURL(join(program.folder, 'record.mjs')).href, import_]
  await program.run(['simple'], {nodeOptions, env: {LOADED: record}})
  expect(await readFile(record, 'utf8')).toMatch(/node_modules\/ora\/[\s\S]*node_modules\/zod\//)
})

test.each([['--help'], ['--version'], ['backup', '--help']])(
  'the real commands load nothing heavy for %s %s',
  async (...args) => {
    await rm(join(program.folder, 'commands'), {recursive: true})
    await symlink(
      join(dirname(await compiled('cli/main')), '..', 'commands'),
      join(program.folder, 'commands'),
    )
    expect(await loadedBy(args.filter((arg) => arg !== undefined))).toEqual([])
  },
)
