import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {spawnSync} from 'node:child_process'
import {mkdtempSync, rmSync, rmdirSync} from 'node:fs'
import {chmod, mkdtemp, readdir, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {text} from 'node:stream/consumers'
import {LocalStorage} from '../../src/storage/local.js'
import {needs} from '../support/needs.js'
import {keys, leftovers} from './contract-support.js'

const megabyte = 1024 * 1024

function mount(folder: string): string | false {
  const {status, stderr, error} = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder])
  return status === 0
    ? false
    : String(error?.message ?? stderr)
        .trim()
        .split('\n')[0] || 'mount failed'
}

function whyNoTmpfs(): string | false {
  const folder = mkdtempSync(join(tmpdir(), 'dbbak-try-mount-'))
  const missing = mount(folder)
  if (!missing) spawnSync('umount', [folder])
  rmdirSync(folder)
  return missing
}

needs('tmpfs', whyNoTmpfs())('a file system of 2 MiB', () => {
  let folder: string
  let root: string
  let store: LocalStorage
  let outside: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dbbak-mount-'))
    outside = await mkdtemp(join(tmpdir(), 'dbbak-outside-'))
    mount(folder)
    root = join(folder, 'backups')
    store = new LocalStorage(root)
  })
  afterEach(async () => {
    await store.close()
    spawnSync('umount', [folder])
    rmSync(outside, {recursive: true, force: true})
    await rm(folder, {recursive: true, force: true})
  })

  const bytes = (count: number) =>
    Readable.from(Array<Buffer>(count / 65_536).fill(Buffer.alloc(65_536, 'x')))

  test('that gets full: the put says so with the space that is free, and leaves nothing', async () => {
    await store.put('before', Readable.from(['stored before']))
    const source = bytes(5 * megabyte)
    await expect(store.put('shop.dir/large', source)).rejects.toMatchObject({
      code: 'DESTINATION_FULL',
      exitCode: 8,
      message: expect.stringMatching(/backups \(\d+ bytes free\)/),
      details: {path: root, freeBytes: expect.any(Number)},
      suggestions: expect.arrayContaining([`df -h ${root}`]),
    })
    expect(source.destroyed).toBe(true)
    expect(await keys(store)).toEqual(['before'])
    expect(await leftovers(store)).toEqual([])
    expect(await readdir(join(root, '.dbbak-work'))).toEqual([])
    expect(await store.freeBytes()).toBeGreaterThan(1.5 * megabyte)
    await store.put('shop.dir/large', bytes(megabyte))
    expect((await store.head('shop.dir/large'))?.size).toBe(megabyte)
  })

  test('a file from another file system is adopted by a copy, and stays when there is no room for it', async () => {
    const small = join(outside, 'small')
    const large = join(outside, 'large')
    await writeFile(small, 'prepared elsewhere')
    await writeFile(large, Buffer.alloc(5 * megabyte))
    expect(await store.adopt('small', small)).toMatchObject({key: 'small', size: 18})
    expect(await text(await store.get('small'))).toBe('prepared elsewhere')
    await expect(readFile(small)).rejects.toMatchObject({code: 'ENOENT'})
    await expect(store.adopt('large', large)).rejects.toMatchObject({code: 'DESTINATION_FULL'})
    expect((await stat(large)).size).toBe(5 * megabyte)
    expect(await keys(store)).toEqual(['small'])
  })

  test('that becomes read-only: puts and removals are refused, reading goes on', async () => {
    await store.put('before', Readable.from(['stored before']))
    spawnSync('mount', ['-o', 'remount,ro', folder])
    const refusal = {
      code: 'DESTINATION_READ_ONLY',
      exitCode: 8,
      message: expect.stringContaining('read-only'),
      suggestions: expect.arrayContaining([`ls -ld ${root}`]),
    }
    const source = bytes(megabyte)
    await expect(store.put('new', source)).rejects.toMatchObject(refusal)
    expect(source.destroyed).toBe(true)
    await expect(store.put('folder/new', bytes(megabyte), {overwrite: true})).rejects.toMatchObject(refusal)
    await expect(store.remove('before')).rejects.toMatchObject(refusal)
    await expect(store.workFolder()).rejects.toMatchObject(refusal)
    expect(await keys(store)).toEqual(['before'])
    expect(await text(await store.get('before'))).toBe('stored before')
  })
})

const isRoot = process.getuid?.() === 0
needs('non-root', isRoot && 'root may write anywhere')('a folder without write permission', () => {
  test('refuses a put, and is named', async () => {
    const root = await mkdtemp(join(tmpdir(), 'dbbak-denied-'))
    await chmod(root, 0o500)
    try {
      const put = new LocalStorage(root).put('new', Readable.from(['x']))
      await expect(put).rejects.toMatchObject({
        code: 'DESTINATION_READ_ONLY',
        message: expect.stringContaining(root),
      })
    } finally {
      await rm(root, {recursive: true})
    }
  })
})
