import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {connect} from '../../src/postgres/connect.js'
import {
  openScratchServer,
  type ScratchOptions,
  type ScratchServer,
} from '../../src/postgres/scratch/scratch.js'
import {findServerPrograms} from '../../src/postgres/scratch/server-programs.js'
import {needs} from '../support/needs.js'
import {startServer} from '../support/servers.js'

const [programs] = await findServerPrograms(process.env)
const describeInstalled = needs(
  'installed-server',
  programs ? undefined : 'no PostgreSQL server is installed',
)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'scratch-'))
})
afterEach(async () => {
  await rm(folder, {recursive: true, force: true})
})

/** An empty cache, so that no server from npm is found. */
const open = (more: Partial<ScratchOptions>) =>
  openScratchServer({
    kind: 'auto',
    major: programs?.major ?? 15,
    env: {...process.env, DBBAK_CACHE_DIR: join(folder, 'cache')},
    homeFolder: folder,
    ...more,
  })

async function databaseOf({connection}: ScratchServer): Promise<string> {
  const {client} = await connect(connection)
  const {rows} = await client.query<{name: string}>('select current_database() as name')
  await client.end()
  return rows[0].name
}

describeInstalled('a scratch server on this machine', () => {
  test.each(['auto', 'local'] as const)('is what %s takes', async (kind) => {
    const activities: string[] = []
    const server = await open({
      kind,
      events: {activityEnded: (activity, {ok}) => activities.push(`${activity}: ${ok}`)},
    })
    try {
      expect(server).toMatchObject({kind: 'local', major: programs.major})
      expect(server.describe()).toMatch(/^PostgreSQL [\d.]+ on this machine \(\/.*\)$/)
      expect(await databaseOf(server)).toBe('postgres')
      expect(activities).toEqual(['Starting a scratch server: true'])
    } finally {
      await server.stop()
    }
    await expect(connect(server.connection)).rejects.toMatchObject({code: 'SERVER_UNREACHABLE'})
  })

  test('is also one of a newer version than needed', async () => {
    const server = await open({kind: 'local', major: 13})
    await server.stop()
    expect(server.major).toBeGreaterThanOrEqual(13)
  })

  test('is not one of an older version: what is there is said', async () => {
    const opening = open({kind: 'local', major: 99})
    await expect(opening).rejects.toMatchObject({
      code: 'SCRATCH_NOT_AVAILABLE',
      message: expect.stringContaining(`only PostgreSQL ${programs.version} in ${programs.binFolder}`),
    })
  })

  test('shows its password nowhere', async () => {
    const server = await open({kind: 'local'})
    const text = JSON.stringify(server) + server.describe() + server.connection.redacted()
    const password = server.connection.toolEnvironment({}).PGPASSWORD
    await server.stop()
    expect(password.length).toBeGreaterThan(20)
    expect(text).not.toContain(password)
  })
})

describe('a scratch server given by a URL', () => {
  test('is taken before all others, and left running', async () => {
    const given = await startServer()
    try {
      const url = await given.createDatabase('given')
      const server = await open({testDatabaseUrl: await given.describe('given')})
      expect(server).toMatchObject({kind: 'url', major: given.major})
      expect(await databaseOf(server)).toBe('given')
      await server.stop()
      expect(await given.query('select 1 as one', 'given')).toEqual([{one: 1}])
      expect(url).toContain('given')
    } finally {
      await given.stop()
    }
  })

  test('that is not given is an error of its own', async () => {
    await expect(open({kind: 'url'})).rejects.toMatchObject({code: 'TEST_DATABASE_URL_NOT_SET'})
  })
})

describe('no scratch server', () => {
  test('says everything that was tried, and how to get one', async () => {
    const error = await open({
      major: 18,
      env: {PATH: '/nonexistent', TMPDIR: tmpdir(), DBBAK_CACHE_DIR: folder},
    }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({code: 'SCRATCH_NOT_AVAILABLE', exitCode: 11})
    const {message, suggestions} = error as {message: string; suggestions: string[]}
    expect(message).toMatch(/TEST_DATABASE_URL.*PostgreSQL.*npm/)
    expect(suggestions.length).toBeGreaterThanOrEqual(3)
  })

  test.each(['none', 'docker'] as const)('is what %s gives', async (kind) => {
    await expect(open({kind})).rejects.toMatchObject({code: 'SCRATCH_NOT_AVAILABLE'})
  })
})
