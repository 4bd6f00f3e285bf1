import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {mkdtemp, readFile, realpath, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {delimiter, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {needs} from '../support/needs.js'
import {runCommand} from '../support/run-command.js'

const program = fileURLToPath(new URL('../../bin/run.js', import.meta.url))
const {engines, version} = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))

/** One line: what is needed, what there is, and both ways out. */
const sentence = (node: string) =>
  new RegExp(
    `^dbbak needs Node\\.js \\S.*, and this is ${node.replaceAll('.', '\\.')}: install Node 24 .*nvm install 24.*, or run \`npx -p node@24 -p dbbak dbbak\`.*\\.\\n$`,
  )

const old = await oldNode()
needs('old-node', old ? undefined : 'every node on this machine is new enough')(
  `a Node that is too old (${old?.version})`,
  () => {
    test.each([[[]], [['--version']], [['backup', '--to', '/nowhere']]])(
      'gets one sentence with the ways out, for %j',
      async (args) => {
        const run = await runCommand(old!.path, [program, ...args])
        expect(run).toEqual({exitCode: 2, stdout: '', stderr: expect.stringMatching(sentence(old!.version))})
      },
    )

    test('gets a document under --json', async () => {
      const {exitCode, stdout, stderr} = await runCommand(old!.path, [program, 'list', '--json'])
      expect({exitCode, stderr}).toEqual({exitCode: 2, stderr: ''})
      expect(JSON.parse(stdout)).toEqual({
        error: {
          code: 'NODE_TOO_OLD',
          message: expect.stringContaining(`this is ${old!.version}.`),
          suggestions: [expect.stringContaining('install Node 24'), expect.stringContaining('npx')],
          exitCode: 2,
        },
      })
    })
  },
)

describe('the range of package.json', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'old-node-'))
    await writeFile(
      join(folder, 'pretend.cjs'),
      `const node = process.env.PRETENDED_NODE
       Object.defineProperty(process, 'versions', {value: {...process.versions, node}})
       Object.defineProperty(process, 'version', {value: 'v' + node})`,
    )
  })
  afterAll(() => rm(folder, {recursive: true}))

  const runAs = (node: string) =>
    runCommand(process.execPath, ['-r', join(folder, 'pretend.cjs'), program, '--version'], {
      env: {PATH: process.env.PATH, PRETENDED_NODE: node},
    })

  test('is the one that the versions below are chosen for', () => {
    expect(engines.node).toBe('^22.22.2 || ^24.15.0 || >=26.0.0')
  })

  test.each([
    '22.22.2',
    '22.22.10',
    '22.100.0',
    '24.15.0',
    '24.21.3',
    '26.0.0',
    '26.0.1',
    '27.0.0-nightly',
    '100.0.0',
  ])('takes %s', async (node) => {
    const {exitCode, stdout} = await runAs(node)
    expect({exitCode, stdout}).toEqual({exitCode: 0, stdout: expect.stringContaining(`dbbak/${version} `)})
  })

  test.each([
    '9.11.2',
    '20.20.2',
    '22.22.1',
    '22.9.9',
    '23.0.0',
    '23.11.1',
    '24.14.9',
    '24.9.20',
    '25.100.0',
  ])('refuses %s', async (node) => {
    expect(await runAs(node)).toEqual({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(sentence(`v${node}`)),
    })
  })
})

/** A Node before 22 that can run a module at all, among those of PATH and the system. */
async function oldNode(): Promise<{path: string; version: string} | undefined> {
  const folders = new Set([...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'])
  for (const folder of folders) {
    const path = await realpath(join(folder, 'node')).catch(() => undefined)
    if (path === undefined) continue
    const nodeVersion = (await runCommand(path, ['--version'])).stdout.trim()
    const major = Number(/^v(\d+)\./.exec(nodeVersion)?.[1])
    if (major >= 14 && major < 22) return {path, version: nodeVersion}
  }
  return undefined
}
