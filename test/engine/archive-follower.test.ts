import {execFile, spawn} from 'node:child_process'
import {mkdtemp, readdir, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {buffer} from 'node:stream/consumers'
import {promisify} from 'node:util'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {parseContents} from '../../src/engine/archive/archive-contents.js'
import {ArchiveFollower} from '../../src/engine/archive/archive-follower.js'
import {NotAnArchive} from '../../src/engine/archive/archive-toc.js'
import {findClientTools, type ClientTools} from '../../src/postgres/client-tools.js'
import {clientTools18} from '../support/client-tools-18.js'
import {startServer, type TestServer} from '../support/servers.js'

/** Every pg_dump that can be had here: each major writes its own version of the format. */
const installed = await findClientTools({env: process.env})
const {folder: folder18} = await clientTools18()
const newest = folder18 === undefined ? [] : await findClientTools({env: process.env, pgBin: folder18})

let server: TestServer
let folder: string

beforeAll(async () => {
  server = await startServer()
  folder = await mkdtemp(join(tmpdir(), 'follower-'))
  await server.createDatabase('shop')
  await server.psql(
    `create table orders (id int primary key, note text); insert into orders select n, repeat(md5(n::text), n % 50) from generate_series(1, 3000) n;
     create table nobody (id int); create view everybody as select * from orders; create materialized view kept as select count(*) from orders;
     create function f() returns int language sql as 'select 1'; comment on table orders is 'a comment';
     create table parts (id int) partition by range (id); create table part partition of parts for values from (0) to (100); insert into parts values (7);
     select lo_from_bytea(0, repeat('large', n * 9000)::bytea) from generate_series(0, 4) n \\g /dev/null`,
    'shop',
  )
  await server.createDatabase('bare')
})
afterAll(async () => {
  await server?.stop()
  await rm(folder, {recursive: true, force: true})
})

async function dump({dump: program}: ClientTools, database: string, args: string[]): Promise<Buffer> {
  const connection = await server.describe(database)
  const child = spawn(program, ['--format=custom', ...args, `--dbname=${connection.databaseArgument()}`], {
    env: connection.toolEnvironment(process.env),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return buffer(child.stdout)
}

/** What the follower says of bytes that come in pieces of this size, all in one and the same memory. */
function follow(bytes: Buffer, pieceBytes = 65_536): 'whole' | 'not whole' | 'no archive' {
  const follower = new ArchiveFollower()
  const memory = Buffer.alloc(pieceBytes)
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const length = bytes.copy(memory, 0, at, at + pieceBytes)
      follower.take(memory.subarray(0, length))
      if (bytes.length < 200_000) memory.fill(0xee)
    }
  } catch (error) {
    if (error instanceof NotAnArchive) return 'no archive'
    throw error
  }
  return follower.isWhole ? 'whole' : 'not whole'
}

describe.each([...installed, ...newest].map((tools) => [tools.version, tools] as const))(
  'an archive of pg_dump %s',
  (_, tools) => {
    const isTooOld = () => tools.major < server.major
    const kinds: [string, string, string[]][] = [
      ['uncompressed', 'shop', ['--compress=0']],
      ['compressed', 'shop', ['--compress=6']],
      ['of definitions only', 'shop', ['--schema-only', '--compress=0']],
      ['of rows only', 'shop', ['--data-only', '--compress=0']],
      ['without large objects', 'shop', ['--no-blobs', '--compress=0']],
      ['of an empty database', 'bare', ['--compress=0']],
    ]
    test.each(kinds)(
      '%s is whole at its end and nowhere before, in pieces of any size',
      async (kind, database, args) => {
        if (isTooOld()) return
        const archive = await dump(tools, database, args)
        for (const pieceBytes of [1, 2, 7, 4096, 65_536, archive.length])
          expect(follow(archive, pieceBytes)).toBe('whole')
        const cuts = [
          0,
          1,
          4,
          5,
          11,
          ...Array.from({length: 60}, (_value, index) => archive.length - 1 - index),
        ]
        for (let cut = 100; cut < archive.length; cut += Math.max(1, Math.floor(archive.length / 150)))
          cuts.push(cut)
        // Of an archive without data only the table of contents can be cut.
        const undetected = cuts.filter(
          (cut) => cut < archive.length && follow(archive.subarray(0, cut)) === 'whole',
        )
        expect({kind, undetected}).toEqual({kind, undetected: []})
      },
    )

    test('with anything before or behind it is none', async () => {
      if (isTooOld()) return
      const archive = await dump(tools, 'shop', ['--compress=0'])
      expect(follow(Buffer.concat([Buffer.from('Hello'), archive]))).toBe('no archive')
      for (const more of ['x', 'xxxxxxxxxx', '\0', '\0'.repeat(100)])
        expect(follow(Buffer.concat([archive, Buffer.from(more)]))).not.toBe('whole')
      expect(follow(Buffer.concat([archive, archive]))).toBe('no archive')
    })

    test('in the directory format names its files', async () => {
      if (isTooOld()) return
      const connection = await server.describe('shop')
      const path = join(folder, `dump-${tools.version}`)
      await promisify(execFile)(
        tools.dump,
        ['--format=directory', `--file=${path}`, `--dbname=${connection.databaseArgument()}`],
        {
          env: connection.toolEnvironment(process.env),
        },
      )
      const toc = await readFile(join(path, 'toc.dat'))
      const contents = parseContents(toc)
      if (contents === undefined || contents === 'unknown') throw new Error(`It was not read: ${contents}`)
      const found = await readdir(path)
      for (const name of contents.fileNames) expect(found.some((file) => file.startsWith(name))).toBe(true)
      expect(contents.fileNames.length).toBeGreaterThanOrEqual(4)
      expect(parseContents(toc.subarray(0, toc.length - 1))).toBeUndefined()
      expect(parseContents(Buffer.concat([toc, Buffer.from('x')]))).toBeUndefined()
    })
  },
)

test('an archive of a format that is not known yet is let through: nothing can be said of it', () => {
  const future = Buffer.from('PGDMP\x01\x63\x00\x04\x08\x01 and whatever comes then', 'latin1')
  expect(follow(future)).toBe('whole')
  expect(follow(future, 1)).toBe('whole')
})

test('a length out of all proportion does not make it wait for that many bytes', () => {
  const header = Buffer.from('PGDMP\x01\x0e\x00\x04\x08\x01', 'latin1')
  expect(
    follow(
      Buffer.concat([header, Buffer.alloc(8 * 5), Buffer.from([0, 255, 255, 255, 127]), Buffer.alloc(1000)]),
    ),
  ).toBe('no archive')
})
