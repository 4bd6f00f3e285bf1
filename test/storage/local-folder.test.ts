import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {spawnSync} from 'node:child_process'
import {existsSync} from 'node:fs'
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {text} from 'node:stream/consumers'
import {destinationError} from '../../src/storage/local-errors.js'
import {LocalStorage} from '../../src/storage/local.js'
import {keys, leftovers, unfinished} from './contract-support.js'

let parent: string
let root: string
let store: LocalStorage

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'dbbak-folder-'))
  root = join(parent, 'backups')
  store = new LocalStorage(root)
})
afterEach(async () => {
  await store.close()
  await rm(parent, {recursive: true, force: true})
})

const put = (key: string, content: string, options = {}) => store.put(key, Readable.from([content]), options)
/** Root may read everything. */
async function asUser<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return work()
  process.seteuid?.(65534)
  try {
    return await work()
  } finally {
    process.seteuid?.(0)
  }
}
const modeOf = async (path: string) => (await stat(path)).mode & 0o777

describe('the folder of a local destination', () => {
  test('is not made by anything that only reads', async () => {
    await store.head('a/b')
    await expect(store.get('a/b')).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND'})
    expect(await keys(store)).toEqual([])
    expect(await leftovers(store)).toEqual([])
    expect(await store.sweep()).toEqual([])
    await store.remove('a/b')
    expect(await store.freeBytes()).toBeGreaterThan(0)
    expect(existsSync(root)).toBe(false)
  })

  test.each(['.Trashes', '.Spotlight-V100', 'System Volume Information', 'lost+found'])(
    'may be the top of a disk, where %s is closed to its users',
    async (name) => {
      await put('shop.dump', 'x')
      const closed = join(root, name)
      await mkdir(closed, {mode: 0o000})
      await Promise.all([chmod(parent, 0o755), chmod(root, 0o755)])
      expect(await asUser(() => keys(store))).toEqual(['shop.dump'])
      await rename(closed, join(root, 'shop.dir'))
      await expect(asUser(() => keys(store))).rejects.toMatchObject({code: 'DESTINATION_FAILED'})
    },
  )

  test('holds files that stock tools find under the key as their path', async () => {
    await put('shop.dir/toc.dat', 'table of contents')
    expect(await readFile(join(root, 'shop.dir', 'toc.dat'), 'utf8')).toBe('table of contents')
  })

  test('and all that is in it is for its owner alone, whatever the umask', async () => {
    const before = process.umask(0)
    try {
      await put('shop.dir/toc.dat', 'x')
      await put('shop.dir/again', 'x', {overwrite: true})
      const prepared = join(await store.workFolder(), 'prepared')
      await writeFile(prepared, 'x', {mode: 0o666})
      await store.adopt('shop.dir/adopted', prepared)
    } finally {
      process.umask(before)
    }
    const folders = [root, join(root, 'shop.dir'), join(root, '.dbbak-work'), await store.workFolder()]
    expect(await Promise.all(folders.map(modeOf))).toEqual(folders.map(() => 0o700))
    const files = ['toc.dat', 'again', 'adopted'].map((name) => join(root, 'shop.dir', name))
    expect(await Promise.all(files.map(modeOf))).toEqual(files.map(() => 0o600))
  })

  test('loses the folders of a key with its last object', async () => {
    await put('shop.dir/part/1', 'x')
    await put('shop.dir/toc.dat', 'x')
    await store.remove('shop.dir/part/1')
    expect(await readdir(join(root, 'shop.dir'))).toEqual(['toc.dat'])
    await store.remove('shop.dir/toc.dat')
    expect(await readdir(root)).toEqual(['.dbbak-work'])
    expect(await readdir(join(root, '.dbbak-work'))).toEqual([])
  })

  test('may lie behind a symbolic link', async () => {
    await mkdir(join(parent, 'disk'))
    await symlink(join(parent, 'disk'), root)
    await put('a/b', 'x')
    expect(await readFile(join(parent, 'disk', 'a', 'b'), 'utf8')).toBe('x')
    expect(await keys(store)).toEqual(['a/b'])
  })

  test('lists only what can be got: no pipes, no links, no names that are refused', async () => {
    await put('object', 'x')
    await writeFile(join(root, 'line\nbreak'), 'x')
    await symlink('object', join(root, 'latest'))
    spawnSync('mkfifo', [join(root, 'pipe')])
    expect(await keys(store)).toEqual(['object'])
    await expect(store.get('pipe')).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND'})
    await expect(store.get('latest')).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND'})
  })

  test('a file where a folder is needed, and a folder where a file is, are names that are taken', async () => {
    await put('a', 'x')
    await put('b/c', 'x')
    await expect(put('a/b', 'y')).rejects.toMatchObject({code: 'OBJECT_EXISTS'})
    await expect(put('b', 'y')).rejects.toMatchObject({code: 'OBJECT_EXISTS'})
    await expect(put('b', 'y', {overwrite: true})).rejects.toMatchObject({code: 'OBJECT_EXISTS'})
    expect(await keys(store)).toEqual(['a', 'b/c'])
  })

  test('a put that fails or is aborted leaves no file anywhere', async () => {
    await put('a/taken', 'x')
    const failing = unfinished('half')
    const aborted = unfinished('half')
    const stop = new AbortController()
    const puts = [store.put('b/failing', failing), store.put('b/aborted', aborted, {signal: stop.signal})]
    const settled = Promise.allSettled([...puts, put('a/taken', 'y'), put('../x', 'y')])
    failing.destroy(new Error('broke'))
    setTimeout(() => stop.abort(new Error('stopped')), 50)
    expect((await settled).map(({status}) => status)).toEqual(Array(4).fill('rejected'))
    expect(await readdir(root, {recursive: true})).toEqual(
      expect.arrayContaining(['.dbbak-work', 'a', join('a', 'taken')]),
    )
    expect(await readdir(root, {recursive: true})).toHaveLength(3)
  })

  test('a put whose work file is taken away fails and stores nothing', async () => {
    const source = unfinished('half')
    const running = store.put('a/b', source)
    const folder = join(root, '.dbbak-work')
    while (!existsSync(folder) || (await readdir(folder)).length === 0)
      await new Promise((later) => setTimeout(later, 10))
    await rm(folder, {recursive: true})
    source.push(null)
    await expect(running).rejects.toMatchObject({code: 'DESTINATION_FAILED'})
    expect(await keys(store)).toEqual([])
    await put('a/b', 'works again')
  })
})

describe('a symbolic link below the folder leads nowhere', () => {
  let outside: string
  beforeEach(async () => {
    outside = join(parent, 'outside')
    await mkdir(outside)
    await writeFile(join(outside, 'secret'), 'secret')
    await put('object', 'x')
    await symlink(outside, join(root, 'link'))
    await symlink(join(outside, 'secret'), join(root, 'file-link'))
    await symlink(join(outside, 'not-there'), join(root, 'dangling'))
  })
  const expectOutsideUntouched = async () => {
    expect(await readdir(outside)).toEqual(['secret'])
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('secret')
  }

  test('for reading', async () => {
    expect(await keys(store)).toEqual(['object'])
    expect(await keys(store, 'link/')).toEqual([])
    for (const key of ['link/secret', 'file-link', 'link', 'dangling']) {
      expect(await store.head(key)).toBeUndefined()
      await expect(store.get(key)).rejects.toMatchObject({code: 'OBJECT_NOT_FOUND'})
    }
  })

  test('for writing', async () => {
    for (const key of ['link/new', 'link/deep/new', 'link/secret', 'dangling/new']) {
      await expect(put(key, 'x')).rejects.toMatchObject({code: 'OBJECT_NAME_INVALID'})
      await expect(put(key, 'x', {overwrite: true})).rejects.toMatchObject({code: 'OBJECT_NAME_INVALID'})
    }
    await expect(put('file-link', 'x')).rejects.toMatchObject({code: 'OBJECT_EXISTS'})
    await expect(put('dangling', 'x')).rejects.toMatchObject({code: 'OBJECT_EXISTS'})
    await expectOutsideUntouched()
  })

  test('for overwriting: the link itself is replaced', async () => {
    await put('file-link', 'new', {overwrite: true})
    await put('dangling', 'new', {overwrite: true})
    expect((await lstat(join(root, 'file-link'))).isFile()).toBe(true)
    expect(await text(await store.get('dangling'))).toBe('new')
    await expectOutsideUntouched()
  })

  test('for removing', async () => {
    for (const key of ['link/secret', 'file-link', 'link']) await store.remove(key)
    await expectOutsideUntouched()
  })

  test('also in the place of the work folder', async () => {
    const dead = 'put_somewhere_00000000_1_1_abcdef'
    const longAgo = new Date('2020-01-01')
    await rm(join(root, '.dbbak-work'), {recursive: true})
    await symlink(outside, join(root, '.dbbak-work'))
    await writeFile(join(outside, dead), 'x')
    await utimes(join(outside, dead), longAgo, longAgo)
    expect(await leftovers(store)).toEqual([])
    expect(await store.sweep()).toEqual([])
    await expect(put('new', 'x')).rejects.toMatchObject({code: 'OBJECT_NAME_INVALID'})
    await expect(store.workFolder()).rejects.toMatchObject({code: 'OBJECT_NAME_INVALID'})
    await rm(join(outside, dead))
    await expectOutsideUntouched()
  })
})

describe('a destination that is no folder', () => {
  test.each(['a file', 'below a file'])('because it is %s is refused by all operations', async (where) => {
    await writeFile(root, 'I am a file')
    if (where === 'below a file') store = new LocalStorage(join(root, 'x'))
    const refusal = {
      code: 'DESTINATION_NOT_A_FOLDER',
      exitCode: 8,
      suggestions: expect.arrayContaining([expect.stringContaining('ls -ld')]),
    }
    const source = unfinished('x')
    await expect(store.put('a', source)).rejects.toMatchObject(refusal)
    expect(source.destroyed).toBe(true)
    await expect(put('a/b', 'x', {overwrite: true})).rejects.toMatchObject(refusal)
    await expect(store.get('a')).rejects.toMatchObject(refusal)
    await expect(store.head('a')).rejects.toMatchObject(refusal)
    await expect(store.remove('a/b')).rejects.toMatchObject(refusal)
    await expect(keys(store)).rejects.toMatchObject(refusal)
    await expect(keys(store, 'a/')).rejects.toMatchObject(refusal)
    await expect(store.workFolder()).rejects.toMatchObject(refusal)
    expect(await readFile(root, 'utf8')).toBe('I am a file')
  })
})

describe('an error of the system', () => {
  test.each([
    ['ENOSPC', 'write', 'DESTINATION_FULL'],
    ['EDQUOT', 'write', 'DESTINATION_FULL'],
    ['EACCES', 'write', 'DESTINATION_READ_ONLY'],
    ['EPERM', 'write', 'DESTINATION_READ_ONLY'],
    ['EROFS', 'write', 'DESTINATION_READ_ONLY'],
    ['EACCES', 'read', 'DESTINATION_FAILED'],
    ['ENAMETOOLONG', 'write', 'OBJECT_NAME_INVALID'],
    ['EIO', 'write', 'DESTINATION_FAILED'],
    ['EIO', 'read', 'DESTINATION_FAILED'],
    ['ESTALE', 'read', 'DESTINATION_FAILED'],
  ] as const)('%s on %s means %s, with the path, a way out and the cause', async (code, doing, expected) => {
    const cause = Object.assign(new Error(`${code}: it failed`), {code, syscall: 'x'})
    expect(await destinationError(cause, {root: '/var/my backups', doing})).toMatchObject({
      code: expected,
      message: expect.stringContaining('/var/my backups'),
      suggestions: expect.arrayContaining([expect.stringMatching(/./)]),
      cause,
    })
  })

  test('a path in a command to type is quoted for the shell', async () => {
    const cause = Object.assign(new Error('no space'), {code: 'ENOSPC', syscall: 'write'})
    const error = await destinationError(cause, {root: "/it's full", doing: 'write'})
    expect(error).toMatchObject({suggestions: expect.arrayContaining(["df -h '/it'\\''s full'"])})
  })
})
