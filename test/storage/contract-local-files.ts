import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {mkdtemp, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {text} from 'node:stream/consumers'
import {keys, leftovers, type Current} from './contract-support.js'

export function describeLocalFiles(current: Current): void {
  let elsewhere: string
  beforeEach(async () => {
    elsewhere = await mkdtemp(join(tmpdir(), 'dbbak-adopt-'))
  })
  afterEach(() => rm(elsewhere, {recursive: true, force: true}))

  const fileWith = async (folder: string, content: string): Promise<string> => {
    const path = join(folder, 'prepared')
    await writeFile(path, content, {mode: 0o644})
    return path
  }

  test('a file of the work folder becomes an object, and the file is gone', async () => {
    const store = current()
    const file = await fileWith(await store.workFolder!(), 'prepared')
    expect(await keys(store)).toEqual([])
    expect(await store.adopt!('dir/toc.dat', file)).toMatchObject({key: 'dir/toc.dat', size: 8})
    expect(await text(await store.get('dir/toc.dat'))).toBe('prepared')
    await expect(stat(file)).rejects.toMatchObject({code: 'ENOENT'})
    expect(await keys(store)).toEqual(['dir/toc.dat'])
  })

  test('an object can be read as a local file', async () => {
    const store = current()
    await store.put('dir/toc.dat', Readable.from(['content']))
    expect(await readFile((await store.fileFor!('dir/toc.dat'))!, 'utf8')).toBe('content')
    expect(await store.fileFor!('dir/missing')).toBeUndefined()
    await expect(store.fileFor!('../outside')).rejects.toMatchObject({code: 'OBJECT_NAME_INVALID'})
  })

  test('a file from anywhere is adopted', async () => {
    const store = current()
    await store.adopt!('adopted', await fileWith(elsewhere, 'from elsewhere'))
    expect(await text(await store.get('adopted'))).toBe('from elsewhere')
  })

  test('adopt is write-once like put, and a refusal leaves the file', async () => {
    const store = current()
    await store.put('taken', Readable.from(['first']))
    const file = await fileWith(elsewhere, 'second')
    await expect(store.adopt!('taken', file)).rejects.toMatchObject({code: 'OBJECT_EXISTS'})
    await expect(store.adopt!('../outside', file)).rejects.toMatchObject({code: 'OBJECT_NAME_INVALID'})
    const reason = new Error('stopped')
    await expect(store.adopt!('new', file, {signal: AbortSignal.abort(reason)})).rejects.toBe(reason)
    expect(await text(await store.get('taken'))).toBe('first')
    expect(await keys(store)).toEqual(['taken'])
    expect(await readFile(file, 'utf8')).toBe('second')
    await store.adopt!('taken', file, {overwrite: true})
    expect(await text(await store.get('taken'))).toBe('second')
  })

  test('the work folder is empty, private, outside the objects, and stays the same until it is closed', async () => {
    const store = current()
    const folder = await store.workFolder!()
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    expect(await store.workFolder!()).toBe(folder)
    await writeFile(join(folder, 'half'), 'x')
    expect(await keys(store)).toEqual([])
    expect(await leftovers(store)).toEqual([])
    expect(await store.sweep()).toEqual([])
    await rm(join(folder, 'half'))
    await store.close()
    await expect(stat(folder)).rejects.toMatchObject({code: 'ENOENT'})
  })

  test('it knows how much can still be stored', async () => {
    expect(await current().freeBytes!()).toBeGreaterThan(0)
  })
}
