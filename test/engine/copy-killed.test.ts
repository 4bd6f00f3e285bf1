import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtemp, readdir, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {listBackups} from '../../src/library/list-backups.js'
import {copyBackups} from '../../src/library/copy-backups.js'
import type {CatalogEntry} from '../../src/engine/catalog.js'
import {LocalStorage} from '../../src/storage/local.js'
import {compiled} from '../support/compiled.js'
import {contentsOf, storeBackup} from './copy-support.js'

let folder: string
let source: LocalStorage
let target: LocalStorage
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'copy-killed-'))
  source = new LocalStorage(join(folder, 'from'))
  target = new LocalStorage(join(folder, 'to'))
})
afterEach(() => rm(folder, {recursive: true, force: true}))

const sizes = Array.from({length: 12}, (_, index) => 700_000 + index)
const run = () => ({env: {}, cwd: folder, from: './from'})

/** When the process halts to be killed: a line of its program, in which `halt()` never comes back. */
const moments = {
  'in the midst of a file': `get: async (key, options) => {
    const stream = await from.get(key, options)
    return key.endsWith('3007.dat') ? stream.compose(async function* (chunks) {
      for await (const chunk of chunks) { yield chunk; await halt() }
    }) : stream
  }`,
  'between files': `get: (key, options) => key.endsWith('3007.dat') ? halt() : from.get(key, options)`,
  'before the manifest': `put: (key, ...rest) => key.endsWith('.metadata.json') ? halt() : to.put(key, ...rest)`,
  'after the manifest': `put: (key, ...rest) => key.endsWith('.verification.json') ? halt() : to.put(key, ...rest)`,
}

/** Copies in a process of its own, and kills that at the moment. */
async function killCopy(moment: keyof typeof moments, entry: CatalogEntry): Promise<void> {
  const module = async (name: string) => JSON.stringify(pathToFileURL(await compiled(name)).href)
  const script = join(folder, 'copy.mjs')
  await writeFile(
    script,
    `
    import {LocalStorage} from ${await module('storage/local')}
    import {readCatalog} from ${await module('engine/catalog')}
    import {copyBackup} from ${await module('engine/copy/copy-backup')}
    const from = new LocalStorage(${JSON.stringify(join(folder, 'from'))})
    const to = new LocalStorage(${JSON.stringify(join(folder, 'to'))})
    const keepAlive = setInterval(() => {}, 1000)
    const halt = () => new Promise(() => process.stdout.write('halted\\n'))
    const overlay = {${moments[moment]}}
    const changed = (store, names) => new Proxy(store, {
      get: (_, name) => names.includes(name) && overlay[name]
        ? overlay[name] : typeof store[name] === 'function' ? store[name].bind(store) : store[name],
    })
    const [entry] = (await readCatalog(from)).backups
    await copyBackup(changed(from, ['get']), changed(to, ['put']), entry, {events: {}, signal: new AbortController().signal})
    process.stdout.write('ended\\n')
    `,
  )
  const child = spawn(process.execPath, [script], {stdio: ['ignore', 'pipe', 'inherit']})
  const ended = once(child, 'exit')
  const [text] = (await once(child.stdout, 'data')) as [Buffer]
  expect(text.toString()).toBe('halted\n')
  child.kill('SIGKILL')
  expect(await ended).toEqual([null, 'SIGKILL'])
  expect(entry.archive).toMatch(/\.dir$/)
}

test.each(Object.keys(moments) as (keyof typeof moments)[])(
  'a copy that is killed %s is no backup before its manifest is there, and the next finishes it',
  async (moment) => {
    const entry = await storeBackup(source, {format: 'directory', sizes})
    await killCopy(moment, entry)
    const left = await listBackups({env: {}, cwd: folder, from: './to', incomplete: true})
    expect(left.problems).toEqual([])
    expect(left.backups).toHaveLength(moment === 'after the manifest' ? 1 : 0)
    expect((left.incomplete ?? []).length > 0).toBe(moment !== 'after the manifest')

    const {copies} = await copyBackups({...run(), all: true, to: ['./to']})
    expect(copies).toMatchObject([{status: moment === 'after the manifest' ? 'skipped' : 'copied'}])
    // What was there whole was not sent again.
    if (moment === 'before the manifest') expect(copies[0]?.bytes).toBe(0)
    const wanted = Object.entries(await contentsOf(source)).filter(
      ([key]) => moment !== 'after the manifest' || !key.endsWith('.verification.json'),
    )
    expect(await contentsOf(target)).toEqual(Object.fromEntries(wanted))
    const there = await listBackups({env: {}, cwd: folder, from: './to', incomplete: true})
    expect(there).toMatchObject({backups: [{id: entry.manifest.id}], problems: [], incomplete: []})
    expect(await readdir(join(folder, 'to', '.dbbak-work'))).toEqual([])
  },
)
