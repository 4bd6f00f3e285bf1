import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {spawnSync} from 'node:child_process'
import {mkdtempSync, rmdirSync} from 'node:fs'
import {mkdir, mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {copyBackups, copyError} from '../../src/library/copy-backups.js'
import {LocalStorage} from '../../src/storage/local.js'
import {needs} from '../support/needs.js'
import {contentsOf, namesAt, storeBackup} from './copy-support.js'

function mount(folder: string): string | undefined {
  const {status, stderr, error} = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder])
  return status === 0 ? undefined : String(error?.message ?? stderr).trim() || 'mount failed'
}

function whyNoTmpfs(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'dbbak-try-mount-'))
  const missing = mount(folder)
  if (missing === undefined) spawnSync('umount', [folder])
  rmdirSync(folder)
  return missing
}

needs('tmpfs', whyNoTmpfs())('a copy to a file system of 2 MiB', () => {
  let folder: string
  let small: string
  let source: LocalStorage
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'copy-full-'))
    small = join(folder, 'small')
    await mkdir(small)
    mount(small)
    source = new LocalStorage(join(folder, 'from'))
  })
  afterEach(async () => {
    spawnSync('umount', [small])
    await rm(folder, {recursive: true, force: true})
  })

  const copyAll = (to: string[]) => copyBackups({env: {}, cwd: folder, from: './from', all: true, to})

  test.each(['custom', 'directory'] as const)(
    'that gets full leaves what was there whole, nothing of the rest, and the other targets get all: %s',
    async (format) => {
      const sizes = format === 'directory' ? Array<number>(30).fill(100_000) : [3_000_000]
      const newest = await storeBackup(source, {snapshotAt: '2025-01-17T00:00:00.000Z'})
      await storeBackup(source, {snapshotAt: '2025-01-16T00:00:00.000Z', format, sizes})
      await storeBackup(source, {snapshotAt: '2025-01-15T00:00:00.000Z'})
      const other = join(folder, 'other')
      const result = await copyAll([small, other])
      expect(result.copies.map(({to, status}) => `${to === small ? 'small' : 'other'} ${status}`)).toEqual([
        'small copied',
        'other copied',
        'small failed',
        'other copied',
        'small not-run',
        'other copied',
      ])
      expect(copyError(result)).toMatchObject({code: 'DESTINATION_FULL', exitCode: 8})
      const names = await namesAt(new LocalStorage(small))
      expect(names.filter((name) => !name.startsWith(newest.manifest.id))).toEqual([])
      expect(names).toHaveLength(4)
      expect(await readdir(join(small, '.dbbak-work'))).toEqual([])
      expect(await contentsOf(new LocalStorage(other))).toEqual(await contentsOf(source))
    },
  )

  test('that may not be written is told, and nothing is tried twice', async () => {
    await storeBackup(source, {snapshotAt: '2025-01-17T00:00:00.000Z'})
    await storeBackup(source, {snapshotAt: '2025-01-16T00:00:00.000Z'})
    expect(spawnSync('mount', ['-o', 'remount,ro', small]).status).toBe(0)
    const result = await copyAll([small])
    expect(result.copies.map(({status}) => status)).toEqual(['failed', 'not-run'])
    expect(copyError(result)).toMatchObject({code: 'DESTINATION_READ_ONLY', exitCode: 8})
  })

  test('of what is there already works where nothing may be written', async () => {
    await storeBackup(source, {sizes: [1000]})
    await copyAll([small])
    expect(spawnSync('mount', ['-o', 'remount,ro', small]).status).toBe(0)
    const result = await copyAll([small])
    expect(result.copies.map(({status}) => status)).toEqual(['skipped'])
    expect(copyError(result)).toBeUndefined()
  })
})
