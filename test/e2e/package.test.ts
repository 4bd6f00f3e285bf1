import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {glob, mkdir, readFile, symlink, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {readmeBlocks} from '../support/readme.js'
import {outputOf, runCommand} from '../support/run-command.js'
import {startServer, type TestServer} from '../support/servers.js'
import {installPackage, type InstalledPackage} from './installed-package.js'
import {toolSettings} from './program.js'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
const timeoutMs = 900_000
const {version} = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8'))

let installed: InstalledPackage
let server: TestServer
let env: Record<string, string | undefined>
beforeAll(async () => {
  ;[installed, server] = await Promise.all([installPackage(), startServer()])
  env = {...installed.env, ...(await toolSettings(server.major))}
  await server.createDatabase('shop')
  await server.query('create table orders as select generate_series(1, 1234) as id', 'shop')
}, timeoutMs)
afterAll(async () => {
  await server?.stop()
  await installed?.remove()
}, timeoutMs)

describe('the package', () => {
  test('beside dist/ holds what is needed to run and to understand it, and nothing else', () => {
    expect(installed.packed.filter((path) => !path.startsWith('dist/'))).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'bin/run.cmd',
      'bin/run.js',
      'oclif.manifest.json',
      'package.json',
    ])
  })

  test('has in dist/ each source as JavaScript and as types, and nothing else', async () => {
    const wanted: string[] = []
    for await (const path of glob('**/*.ts', {cwd: join(installed.sources, 'src')})) {
      const name = `dist/${path.replace(/\.ts$/, '')}`
      wanted.push(`${name}.js`, `${name}.d.ts`)
    }
    expect(installed.packed.filter((path) => path.startsWith('dist/'))).toEqual(wanted.sort())
  })

  test('brings no package that only development needs', async () => {
    const brought = await readFile(join(installed.project, 'node_modules', '.package-lock.json'), 'utf8')
    const {devDependencies} = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8'))
    const names = Object.keys(JSON.parse(brought).packages).map((path) => path.replace('node_modules/', ''))
    expect(names).toContain('dbbak')
    const tools = Object.keys(devDependencies).filter((name) => !name.startsWith('@types/'))
    expect(tools.filter((name) => names.includes(name))).toEqual([])
  })
})

describe('the installed program', () => {
  const dbbak = (args: string[], more: Record<string, string> = {}) =>
    runCommand(join(installed.project, 'node_modules', '.bin', 'dbbak'), args, {
      cwd: installed.project,
      env: {...env, ...more},
    })

  test('tells its version to npx', async () => {
    const npx = runCommand('npx', ['--no', '--', 'dbbak', '--version'], {cwd: installed.project, env})
    expect(await npx).toMatchObject({exitCode: 0, stdout: expect.stringContaining(`dbbak/${version} `)})
  })

  test('lists its commands, each with a help of its own, and warns of nothing', async () => {
    const {exitCode, stdout, stderr} = await dbbak(['--help'])
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''})
    for (const command of ['backup', 'list', 'verify', 'restore', 'doctor', 'demo']) {
      expect(stdout).toMatch(new RegExp(`^  ${command} +\\S`, 'm'))
      const help = await dbbak([command, '--help'])
      expect(help).toMatchObject({
        exitCode: 0,
        stderr: '',
        stdout: expect.stringMatching(/USAGE[^]*EXIT STATUS/),
      })
    }
  })

  test('takes and lists a backup', async () => {
    const taken = await dbbak(['backup', '--json'], {DATABASE_URL: server.url('shop')})
    const {backup} = JSON.parse(taken.stdout)
    expect(backup).toMatchObject({
      tool: {name: 'dbbak', version},
      content: {tables: [{name: 'orders', rows: 1234}]},
    })
    const {backups} = JSON.parse((await dbbak(['list', '--json'])).stdout)
    expect(backups).toMatchObject([
      {id: backup.id, location: `${join(installed.project, 'backups')}/${backup.files[0].path}`},
    ])
  })
})

describe('the library', () => {
  const [example, functions] = readmeBlocks('Library', 'ts')

  test("the README's example runs", async () => {
    const folder = join(installed.project, 'from the library')
    await writeFile(join(installed.project, 'example.mjs'), example)
    const output = await outputOf(process.execPath, ['example.mjs'], {
      cwd: installed.project,
      env: {...env, DATABASE_URL: server.url('shop'), BACKUP_DIR: folder},
    })
    expect(output).toMatch(/^shop_\S+Z [1-9]\d* 1234\n$/)
  })

  test(
    "the README's functions run, one after the other",
    async () => {
      const folder = join(installed.project, 'by functions')
      const values = {databaseUrl: server.url('shop'), target: await server.createDatabase('copy')}
      const program = [
        `const {databaseUrl, target} = ${JSON.stringify(values)}`,
        'const {signal} = new AbortController()',
        'let reported = 0',
        'const report = (bytes) => { reported = bytes }',
        functions.replaceAll("'/var/backups'", JSON.stringify(folder)),
        'console.log(JSON.stringify({verdict, targetState, count: backups.length, same: backups[0].id === backup.id, reported}))',
      ]
      await writeFile(join(installed.project, 'functions.mjs'), program.join('\n'))
      const output = await outputOf(process.execPath, ['functions.mjs'], {
        cwd: installed.project,
        env: {...env, TEST_DATABASE_URL: server.url()},
      })
      const result = JSON.parse(output)
      expect(result).toEqual({
        verdict: 'passed',
        targetState: 'restored',
        count: 1,
        same: true,
        reported: expect.any(Number),
      })
      expect(result.reported).toBeGreaterThan(0)
      expect(await server.query('select count(*)::int as rows from orders', 'copy')).toEqual([{rows: 1234}])
    },
    timeoutMs,
  )

  test('its types hold in a strict project that checks every declaration', async () => {
    const declared = [
      'declare const databaseUrl: string, target: string, signal: AbortSignal',
      'declare function report(bytes: number): void',
    ].join('\n')
    await typeScriptProject({'example.ts': example, 'functions.ts': `${functions}\n${declared}`})
    const {exitCode, stdout} = await typeCheck()
    expect({exitCode, stdout}).toEqual({exitCode: 0, stdout: ''})
  })

  test('its types refuse what does not exist', async () => {
    await typeScriptProject({
      'option.ts': example.replace("'custom'", "'tar'"),
      'result.ts': example.replace('rowCount', 'rows'),
    })
    const {exitCode, stdout} = await typeCheck()
    expect(exitCode).toBe(2)
    expect(stdout).toMatch(/option\.ts.*TS2322/)
    expect(stdout).toMatch(/result\.ts.*TS2339/)
  })

  let projects = 0
  let folder: string

  /** Where the example would be written by hand: a project with TypeScript and Node's types. */
  async function typeScriptProject(files: Record<string, string>): Promise<void> {
    folder = join(installed.project, `typescript ${++projects}`)
    await mkdir(join(folder, 'node_modules', '@types'), {recursive: true})
    await symlink(
      join(checkout, 'node_modules', '@types', 'node'),
      join(folder, 'node_modules', '@types', 'node'),
    )
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      module: 'nodenext',
      moduleResolution: 'nodenext',
      target: 'es2022',
      noEmit: true,
      types: ['node'],
    }
    await writeFile(join(folder, 'package.json'), '{"type": "module"}')
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({compilerOptions, include: ['*.ts']}))
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  }

  const typeCheck = () =>
    runCommand(process.execPath, [join(checkout, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.'], {
      cwd: folder,
      env,
    })
})

test('in a checkout `npm ci` makes `npx dbbak` the program that was built from it', async () => {
  const {sources: cwd} = installed // packing has run `prepare`, as `npm ci` does
  const linked = await runCommand(join(cwd, 'node_modules', '.bin', 'dbbak'), ['--version'], {cwd, env})
  const npx = await runCommand('npx', ['--no', '--', 'dbbak', '--version'], {cwd, env})
  for (const {exitCode, stdout} of [linked, npx])
    expect({exitCode, stdout}).toEqual({exitCode: 0, stdout: expect.stringContaining(`dbbak/${version} `)})
})
