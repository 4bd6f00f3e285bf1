import {execFileSync, spawn} from 'node:child_process'
import {existsSync} from 'node:fs'
import {mkdir, mkdtemp, readFile, rm, utimes, writeFile} from 'node:fs/promises'
import {hostname, tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {thisProcess} from '../../src/postgres/scratch/owner.js'
import {findServerPrograms} from '../../src/postgres/scratch/server-programs.js'
import {sweepScratch} from '../../src/postgres/scratch/sweep.js'
import {needs} from '../support/needs.js'
import {startOwner, type OwnerReport} from '../support/owner-process.js'
import {isAlive, until} from '../support/processes.js'

const installed = await findServerPrograms(process.env)
const describeInstalled = needs(
  'installed-server',
  installed.length > 0 ? undefined : 'no PostgreSQL server is installed',
)

let folder: string
let env: NodeJS.ProcessEnv

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'killed-'))
  execFileSync('chmod', ['711', folder])
  env = {...process.env, TMPDIR: folder, DBBAK_CACHE_DIR: join(folder, 'cache')}
})
afterEach(async () => {
  await rm(folder, {recursive: true, force: true, maxRetries: 10})
})

const sweep = () => sweepScratch({env, homeFolder: folder})
const isGone = ({server, guardian, folder: scratch}: OwnerReport) =>
  !isAlive(server) && !isAlive(guardian) && !existsSync(scratch)

describeInstalled('a scratch server whose owner', () => {
  test.each(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'is ended by %s is gone soon',
    async (signal) => {
      const owner = await startOwner(folder, env)
      expect(isAlive(owner.report.server)).toBe(true)
      await owner.end(signal)
      await until(() => isGone(owner.report), 'server, guardian and folder are gone')
    },
  )

  test('ends by itself without stopping it does not hold the owner up, and is gone soon', async () => {
    const owner = await startOwner(folder, env, 'clearInterval(keepAlive)')
    await until(() => owner.child.exitCode === 0, 'the owner has ended')
    await until(() => isGone(owner.report), 'server, guardian and folder are gone')
  })

  test('is killed in the middle of its start is gone soon', async () => {
    for (const delayMs of [100, 250, 400]) {
      const script = join(folder, 'starting.mjs')
      const full = await readOwnerScript()
      await writeFile(script, full)
      const child = spawn(process.execPath, [script], {env, stdio: 'ignore'})
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      child.kill('SIGKILL')
      await until(() => processesIn(folder).length === 0 && scratchIn(folder).length === 0, 'nothing is left')
    }
  })

  test('was killed together with its guardian is ended and removed by the next sweep', async () => {
    const owner = await startOwner(folder, env)
    process.kill(owner.report.guardian, 'SIGKILL')
    await owner.end('SIGKILL')
    expect(isAlive(owner.report.server)).toBe(true)
    expect(await sweep()).toEqual([owner.report.folder])
    expect(isGone(owner.report)).toBe(true)
    expect(await sweep()).toEqual([])
  })

  test('runs is left alone by a sweep', async () => {
    const owner = await startOwner(folder, env)
    expect(await sweep()).toEqual([])
    expect(isAlive(owner.report.server)).toBe(true)
    await owner.end('SIGTERM')
    await until(() => isGone(owner.report), 'server, guardian and folder are gone')
  })

  async function readOwnerScript(): Promise<string> {
    const owner = await startOwner(folder, env)
    await owner.end('SIGTERM')
    await until(() => isGone(owner.report), 'the first one is gone')
    return readFile(join(folder, 'owner.mjs'), 'utf8')
  }
})

describeInstalled('a sweep', () => {
  async function leave(name: string, owner: object | undefined): Promise<string> {
    const path = join(folder, `dbbak-scratch-${name}`)
    await mkdir(join(path, 'data'), {recursive: true})
    if (owner) await writeFile(join(path, 'owner.json'), JSON.stringify(owner))
    return path
  }
  /** A process number that no process has now. */
  const dead = async () => {
    const child = spawn(process.execPath, ['-e', ''])
    await new Promise((resolve) => child.once('exit', resolve))
    return {...(await thisProcess()), pid: child.pid}
  }

  test('removes the folder of a process that is gone, or whose number another one has now', async () => {
    const left = [
      await leave('dead', await dead()),
      await leave('reused', {...(await thisProcess()), startedAt: 'the day before'}),
    ]
    expect(await sweep()).toEqual(left.sort())
    expect(left.some(existsSync)).toBe(false)
  })

  test('leaves alone folders of other machines, of living processes, and new ones without an owner', async () => {
    const kept = [
      await leave('elsewhere', {...(await dead()), place: `not-${hostname()}`}),
      await leave('alive', await thisProcess()),
      await leave('nameless', undefined),
    ]
    expect(await sweep()).toEqual([])
    expect(kept.every(existsSync)).toBe(true)
  })

  test('removes an old folder without an owner', async () => {
    const left = await leave('nameless', undefined)
    const before = new Date(Date.now() - 2 * 3_600_000)
    await utimes(left, before, before)
    expect(await sweep()).toEqual([left])
  })

  test('does not end a process that a pid file names and that is not the server of that folder', async () => {
    const left = await leave('liar', await dead())
    const victim = spawn('sleep', ['600'], {cwd: join(left, 'data'), stdio: 'ignore'})
    await writeFile(join(left, 'data', 'postmaster.pid'), `${victim.pid}\n`)
    expect(await sweep()).toEqual([left])
    expect(isAlive(victim.pid as number)).toBe(true)
    victim.kill('SIGKILL')
  })

  test('removes what a killed fetching of a package left in the cache', async () => {
    const work = join(folder, 'cache', 'servers', 'work-1')
    await mkdir(work, {recursive: true})
    await writeFile(join(work, 'owner.json'), JSON.stringify(await dead()))
    expect(await sweep()).toEqual([work])
    expect(existsSync(work)).toBe(false)
  })
})

function processesIn(path: string): string[] {
  const lines = execFileSync('ps', ['-Ao', 'args='], {maxBuffer: 1 << 26})
    .toString()
    .split('\n')
  return lines.filter((line) => line.includes(path) && !line.includes('.mjs'))
}

function scratchIn(path: string): string[] {
  return execFileSync('ls', [path])
    .toString()
    .split('\n')
    .filter((name) => name.startsWith('dbbak-scratch-'))
}
