import {afterAll, afterEach, beforeAll, describe, expect, test} from '@jest/globals'
import {delimiter, dirname, join} from 'node:path'
import type {BackupOptions, Manifest} from '../../src/index.js'
import {createFeatureRich} from '../support/feature-rich.js'
import {readmeBlocks} from '../support/readme.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'
import {outputOf} from '../support/run-command.js'
import {comparableDump, dumpDifferences} from '../support/same-dump.js'
import {startServer, type TestServer} from '../support/servers.js'

/** The backup and the database of the README's commands. */
const exampleId = 'shop_2025-01-15T14-30-00-000Z'
const exampleDatabase = 'shop_new'

/** The README's commands, one a line, and those that a test has run. */
const commands = readmeBlocks('Recovery without dbbak', 'sh')
  .join('\n')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
const shellOption = 'set -o pipefail'
const used = new Set([shellOption])

let place: RoundTrip
beforeAll(async () => {
  place = await openRoundTrip()
  await createFeatureRich(place.server, 'Shop "1"')
})
afterAll(() => place?.end())
afterEach(() => place.server.dropDatabase('by hand'))

const archives: [program: string, ending: string, options: BackupOptions][] = [
  ['zstd', '.dump.zst', {format: 'custom'}],
  ['pg_restore', '.dump', {format: 'custom', compress: 'gzip'}],
  ['pg_restore', '.dump', {format: 'custom', compress: 'none'}],
  ['pg_restore', '.dir', {format: 'directory'}],
  ['pg_restore', '.dir', {format: 'directory', compress: 'none'}],
  ['zstd', '.sql.zst', {format: 'plain'}],
  ['gzip', '.sql.gz', {format: 'plain', compress: 'gzip'}],
  ['psql', '.sql', {format: 'plain', compress: 'none'}],
]

describe("the README's commands, with stock tools alone,", () => {
  test.each(archives)(
    'by %s restore *%s (%j) to what pg_dump cannot tell from the source',
    async (program, ending, options) => {
      const manifest = await place.backUp('Shop "1"', options)
      await type('createdb', '', manifest.id)
      await type(program, ending, manifest.id)
      expect(await place.differences('Shop "1"', 'by hand')).toEqual([])
    },
  )

  test.each(archives)(
    '(%s, *%s, %j) find the checksums of the manifest',
    async (_program, ending, options) => {
      const {id, files} = await place.backUp('Shop "1"', options)
      expect(files.length).toBeGreaterThan(0)
      for (const {path, sha256} of files)
        expect(await type('sha256sum', '.dump.zst', id, {[`${id}.dump.zst`]: path})).toBe(
          `${sha256}  ${path}\n`,
        )
      expect(files.every(({path}) => path.startsWith(`${id}${ending}`))).toBe(true)
    },
  )

  describe('on another server', () => {
    let other: TestServer
    let manifest: Manifest
    beforeAll(async () => {
      other = await startServer({major: place.server.major})
      await place.server.query(
        `alter role reader connection limit 7; grant reader to "wr'iter" with admin option`,
      )
      manifest = await place.backUp('Shop "1"', {globals: true})
    })
    afterAll(() => other?.stop())

    test('make the roles first, as they were and without their passwords, and then the database', async () => {
      await place.server.query(`alter role reader password 'precious'`)
      await type('psql', '.globals.sql', manifest.id, {}, other)
      expect(await rolesOf(other)).toEqual(await rolesOf(place.server))
      expect(
        await other.query('select rolname from pg_authid where rolname = $$reader$$ and rolpassword is null'),
      ).toHaveLength(1)
      // A tablespace has a folder, which is made by hand; this one lies inside the server's own.
      await other.psql(`set allow_in_place_tablespaces = on; create tablespace "other ""disk""" location ''`)
      await type('createdb', '', manifest.id, {}, other)
      await type('zstd', '.dump.zst', manifest.id, {}, other)
      const [source, copy] = [await place.server.describe('Shop "1"'), await other.describe('by hand')]
      const {tools} = place
      expect(dumpDifferences(await comparableDump(tools, source), await comparableDump(tools, copy))).toEqual(
        [],
      )
    })
  })

  test('are all tried here', () => {
    expect(commands[0]).toBe(shellOption)
    expect(commands.filter((command) => !used.has(command))).toEqual([])
  })
})

test.each([
  ['.dump.zst', {format: 'custom'}],
  ['.sql.zst', {format: 'plain'}],
] as const)('a restore by hand of a *%s that was cut off is seen to fail', async (ending, options) => {
  const {id} = await place.backUp('Shop "1"', options)
  await outputOf('truncate', ['--size=-20', join(place.backups, `${id}${ending}`)])
  await type('createdb', '', id)
  await expect(type('zstd', ending, id)).rejects.toThrow(/ended with [1-9]/)
})

/** Types one of the README's commands in the folder of the backups. @returns what it printed */
async function type(
  program: string,
  ending: string,
  id: string,
  others: Record<string, string> = {},
  server = place.server,
): Promise<string> {
  const words = ending === '' ? [program, exampleDatabase] : [program, `${exampleId}${ending}`]
  const fitting = commands.filter((line) => {
    const [first, ...rest] = line.split(/[\s=]+/)
    return first === words[0] && rest.includes(words[1])
  })
  expect({words, fitting}).toEqual({words, fitting: [expect.any(String)]})
  used.add(fitting[0])
  let command = fitting[0].replaceAll(exampleId, id).replaceAll(exampleDatabase, `'by hand'`)
  for (const [from, to] of Object.entries(others)) command = command.replaceAll(from, to)
  return outputOf('bash', ['-c', `${shellOption}\n${command}`], {
    cwd: place.backups,
    env: await environmentOf(server),
  })
}

/** What somebody sets who works by hand. */
async function environmentOf({connection}: TestServer): Promise<Record<string, string | undefined>> {
  const path = [dirname(place.tools.dump), process.env.PATH].join(delimiter)
  return connection.toolEnvironment({PATH: path, HOME: place.backups})
}

async function rolesOf(server: TestServer): Promise<unknown> {
  const roles = await server.query(`
    select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
           (select array_agg(g.rolname || case when m.admin_option then '*' else '' end order by g.rolname)
              from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid) as member_of
    from pg_roles r order by rolname`)
  expect(roles.length).toBeGreaterThan(10)
  return roles
}
