import {execFileSync} from 'node:child_process'
import {mkdir, readdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {listBackups} from '../../src/index.js'
import {needs} from '../support/needs.js'
import {forgetBackups, openRestorePlace, type RestorePlace} from '../support/restore-place.js'

let place: RestorePlace
beforeAll(async () => {
  place = await openRestorePlace()
})
afterAll(() => place.end())
beforeEach(async () => {
  await place.resetTarget()
  await place.backUp()
})
afterEach(() => forgetBackups(place))

const names = async (allKinds: boolean) => {
  const {backups} = await listBackups({env: place.env, cwd: place.folder, allKinds})
  return backups.map(({id}) => id.replace(/_.*/, ''))
}

test('a safety backup is taken, listed among all kinds only, and brings the former state back', async () => {
  const {safetyBackup, stages} = await place.restore({safetyBackup: true})

  expect(await place.state()).toBe('backup')
  expect(stages).toContainEqual(expect.objectContaining({name: 'safety-dump', status: 'done'}))
  expect(safetyBackup).toEqual({
    id: expect.stringMatching(/^target-safety_/),
    destination: expect.any(String),
    bytes: expect.any(Number),
  })
  expect(await names(false)).toEqual(['shop'])
  expect(await names(true)).toEqual(['target-safety', 'shop'])

  await place.restore({
    backup: safetyBackup!.id,
    latest: false,
    from: safetyBackup!.destination,
    verify: true,
  })
  expect(await place.state()).toBe('former')
})

test('--latest never takes a safety backup for the newest', async () => {
  await place.restore({safetyBackup: true})
  const {backup} = await place.restore({safetyBackup: true})
  expect(backup.id).toMatch(/^shop_/)
  expect(await place.state()).toBe('backup')
})

test('it goes where it is told to', async () => {
  const elsewhere = join(place.folder, 'elsewhere')
  const {safetyBackup} = await place.restore({safetyBackup: true, safetyTo: elsewhere})
  expect(await names(true)).toEqual(['shop'])
  await place.restore({backup: safetyBackup!.id, latest: false, from: elsewhere})
  expect(await place.state()).toBe('former')
})

test.each([
  [
    'without tables but with a function',
    'create function precious() returns int language sql as $$ select 1 $$',
    'done',
  ],
  ['with a large object only', 'select lo_from_bytea(1, $$x$$)', 'done'],
  ['with an empty schema', 'create schema kept', 'done'],
  ['with an extension only', 'create extension pg_trgm', 'skipped'],
  ['that is empty', 'select 1', 'skipped'],
])('a target %s: the safety dump is %s', async (_, sql, status) => {
  await place.server.dropDatabase('target')
  await place.server.createDatabase('target')
  await place.server.query(sql, 'target').catch((error: Error) => {
    if (!/not available|control file/.test(error.message)) throw error // no contrib modules here
  })
  const {stages, safetyBackup} = await place.restore({safetyBackup: true})
  expect(stages.find(({name}) => name === 'safety-dump')).toMatchObject({status})
  expect(safetyBackup === null).toBe(status === 'skipped')
})

test('without one, --force is needed as well', async () => {
  await expect(
    place.restore({safetyBackup: false, force: false, confirm: async () => {}}),
  ).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    exitCode: 2,
  })
  expect(await place.state()).toBe('former')
})

describe('a safety backup that cannot be taken', () => {
  const refused = async (safetyTo: string, confirm: () => Promise<void>) => {
    const {error, document} = await place.failingRestore({
      safetyBackup: true,
      safetyTo,
      force: false,
      confirm,
    })
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/^The safety backup could not be taken: .* Nothing was changed\.$/)
    expect(document).toMatchObject({targetState: 'unchanged', safetyBackup: null})
    expect(document.stages.slice(3).map(({status}) => status)).toEqual([
      'failed',
      'not-run',
      'not-run',
      'not-run',
    ])
    await place.quiet()
    expect(await place.state()).toBe('former')
    return error
  }

  const asRoot = needs('tmpfs', process.getuid?.() === 0 ? undefined : 'only root can mount one')
  asRoot('since the disk is full', () => {
    const small = () => join(place.folder, 'small')
    beforeEach(async () => {
      await mkdir(small(), {recursive: true})
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', small()])
    })
    const fill = () => writeFile(join(small(), 'filler'), Buffer.alloc(16 * 1024 * 1024 - 8192))
    afterEach(() => void execFileSync('umount', [small()]))

    test('is seen in the preflight', async () => {
      await fill()
      const {error} = await place.failingRestore({safetyBackup: true, safetyTo: small()})
      expect(error).toMatchObject({code: 'PREFLIGHT_FAILED', exitCode: 3})
      expect(error.message).toMatch(/SAFETY_SPACE: The safety backup needs some \d+ MB/)
    })

    test('or, where it is filled after that, stops the restore before it begins, and leaves nothing there', async () => {
      const error = await refused(small(), fill)
      expect(error.message).toMatch(/space|full/i)
      expect((await readdir(small(), {recursive: true})).filter((name) => name.includes('safety'))).toEqual(
        [],
      )
    })
  })
})
