import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {existsSync} from 'node:fs'
import {mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {guardian} from '../../src/support/guardian.js'
import {compiled} from '../support/compiled.js'
import {isAlive, until} from '../support/processes.js'

/** A program that registers what it is told, starts a group of two sleeping processes and waits. */
const owner = (module: string, folder: string, more: string) => `
  import {spawn} from 'node:child_process'
  import {writeFileSync} from 'node:fs'
  import {createGuardian} from ${JSON.stringify(pathToFileURL(module).href)}
  const guardian = createGuardian()
  const folder = ${JSON.stringify(folder)}
  const start = (script) => spawn('/bin/sh', ['-c', script], {detached: true, stdio: 'ignore'})
  ${more}
  setInterval(() => {}, 1000)
`
const tree = (file: string) => `sleep 600 & echo "$$ $!" > ${file}; wait`

describe('guardian', () => {
  let folder: string
  let children: ChildProcess[]

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dbbak-guardian-test-'))
    children = []
  })
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, {recursive: true, force: true})
  })

  async function startOwner(more: string): Promise<ChildProcess> {
    const script = join(folder, 'owner.mjs')
    await writeFile(script, owner(await compiled('support/guardian'), folder, more))
    const child = spawn(process.execPath, [script], {stdio: ['ignore', 'inherit', 'inherit']})
    children.push(child)
    await until(() => existsSync(join(folder, 'ready')), 'the owner is ready')
    return child
  }

  async function pidsIn(file: string): Promise<number[]> {
    return (await readFile(join(folder, file), 'utf8')).trim().split(' ').map(Number)
  }

  const ready = `setTimeout(() => writeFileSync(folder + '/ready', ''), 500)`

  test('ends process groups and removes folders when its process is killed with SIGKILL', async () => {
    const strange = join(folder, `a  b'"$(touch x)*;`)
    await mkdir(join(strange, 'deep'), {recursive: true})
    const child = await startOwner(`
      guardian.group(start(${JSON.stringify(tree(join(folder, 'pids')))}).pid)
      guardian.folder(${JSON.stringify(strange)})
      ${ready}`)
    const pids = await pidsIn('pids')
    expect(pids.map(isAlive)).toEqual([true, true])
    child.kill('SIGKILL')
    await until(() => !pids.some(isAlive) && !existsSync(strange), 'everything is gone')
    expect(existsSync(join(folder, 'owner.mjs'))).toBe(true)
  })

  test('kills a group that does not listen to SIGTERM', async () => {
    const child = await startOwner(`
      guardian.group(start(${JSON.stringify(`trap '' TERM; ${tree(join(folder, 'pids'))}; while :; do sleep 1; done`)}).pid)
      ${ready}`)
    const pids = await pidsIn('pids')
    child.kill('SIGKILL')
    await until(() => !pids.some(isAlive), 'the stubborn group is gone')
  })

  test('asks a group of kind postgres with SIGQUIT', async () => {
    const child = await startOwner(`
      guardian.group(start(${JSON.stringify(
        `trap 'echo quit > ${folder}/how; exit' QUIT; trap 'echo term > ${folder}/how; exit' TERM; echo $$ > ${folder}/pids; while :; do sleep 0.1; done`,
      )}).pid, 'postgres')
      ${ready}`)
    child.kill('SIGKILL')
    await until(() => existsSync(join(folder, 'how')), 'the group was asked to end')
    expect((await readFile(join(folder, 'how'), 'utf8')).trim()).toBe('quit')
  })

  test('leaves alone what was unregistered, and others of the same kind not', async () => {
    const kept = join(folder, 'kept')
    const removed = join(folder, 'removed')
    await Promise.all([mkdir(kept), mkdir(removed)])
    const child = await startOwner(`
      const group = start(${JSON.stringify(tree(join(folder, 'pids')))})
      guardian.folder(${JSON.stringify(removed)})
      const keepFolder = guardian.folder(${JSON.stringify(kept)})
      const keepGroup = guardian.group(group.pid)
      keepFolder(); keepGroup(); keepGroup()
      ${ready}`)
    const pids = await pidsIn('pids')
    child.kill('SIGKILL')
    await until(() => !existsSync(removed), 'the registered folder is gone')
    expect(existsSync(kept)).toBe(true)
    expect(pids.map(isAlive)).toEqual([true, true])
    process.kill(-pids[0], 'SIGKILL')
  })

  test('lets its process end, and ends with it', async () => {
    const script = join(folder, 'owner.mjs')
    await writeFile(
      script,
      owner(
        await compiled('support/guardian'),
        folder,
        `
      const watched = folder + '/watched'
      guardian.folder(watched)
    `,
      ).replace('setInterval(() => {}, 1000)', ''),
    )
    const child = spawn(process.execPath, [script], {stdio: 'inherit'})
    children.push(child)
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  test('holds none of the descriptors that its process was given', async () => {
    const script = join(folder, 'owner.mjs')
    await writeFile(
      script,
      owner(await compiled('support/guardian'), folder, `guardian.folder(folder + '/watched'); ${ready}`),
    )
    const child = spawn(process.execPath, [script], {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']})
    children.push(child)
    await until(() => existsSync(join(folder, 'ready')), 'the owner is ready')
    const listing = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(child.pid)]).toString()
    const pid = Number(/^ *(\d+) .*dbbak-guardian/m.exec(listing)?.[1])
    // What a shell can give has one digit; beyond that is the test runner's own.
    expect((await readdir(`/proc/${pid}/fd`)).filter((fd) => Number(fd) < 10).sort()).toEqual(['0', '1', '2'])
  })

  test('outlives its own death: what it was told is told to the next one', async () => {
    const watched = join(folder, 'watched')
    await mkdir(watched)
    const child = await startOwner(`
      import {execFileSync} from 'node:child_process'
      guardian.folder(${JSON.stringify(watched)})
      const mine = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]).toString()
      const pid = Number(/^ *(\\d+) .*dbbak-guardian/m.exec(mine)[1])
      process.kill(pid, 'SIGKILL')
      setTimeout(() => guardian.folder(folder + '/another'), 300)
      setTimeout(() => writeFileSync(folder + '/ready', ''), 600)`)
    child.kill('SIGKILL')
    await until(() => !existsSync(watched), 'the folder is gone')
  })

  test.each(['/', '//', '/home', '/home/', 'relative/path', '/a/../..', '/tmp/a\nfolder /etc/x', '/tmp/a/'])(
    'refuses to watch over %j',
    (path) => {
      expect(() => guardian().folder(path)).toThrow('Not a folder that could be watched')
    },
  )

  test.each([0, 1, -5, NaN, 1.5])('refuses to watch over group %p', (pgid) => {
    expect(() => guardian().group(pgid)).toThrow('Not a process group that could be watched')
  })
})
