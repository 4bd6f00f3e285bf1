import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {existsSync} from 'node:fs'
import {mkdir, mkdtemp, readdir, readFile, rm, rmdir, stat, utimes, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {text} from 'node:stream/consumers'
import {LocalStorage} from '../../src/storage/local.js'
import {claimName, machineText, ownerOf, stateOf, workName} from '../../src/storage/work-owner.js'
import {compiled} from '../support/compiled.js'
import {until} from '../support/processes.js'
import {keys, leftovers} from './contract-support.js'

let root: string
let store: LocalStorage

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'dbbak-work-'))
  store = new LocalStorage(root)
})
afterEach(() => rm(root, {recursive: true, force: true}))

/** A process of its own that runs a script in which `store` is the destination. */
async function otherProcess(script: string): Promise<ChildProcess> {
  const source = `
    import {LocalStorage} from ${JSON.stringify(await compiled('storage/local'))}
    import {Readable} from 'node:stream'
    const store = new LocalStorage(${JSON.stringify(root)})
    ${script}`
  return spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

describe('the work folder', () => {
  test('is taken away by whoever made it and looked only, where nobody else has anything in it', async () => {
    const other = new LocalStorage(root)
    await store.put('a', Readable.from(['x']))
    await other.put('b', Readable.from(['x']))
    await other.tidy() // it made none
    expect(await readdir(root)).toContain('.dbbak-work')
    await other.workFolder()
    await store.tidy()
    expect(await readdir(root)).toContain('.dbbak-work')
    await other.close()
    await store.tidy()
    expect(await readdir(root)).toContain('.dbbak-work') // it is nobody's any more
  })

  test('may be taken away at any moment without a put that would fail by it', async () => {
    const tidying = async () => {
      for (let i = 0; i < 60; i++) {
        const looking = new LocalStorage(root)
        await looking.put(`look-${i}`, Readable.from(['x']))
        await looking.tidy()
      }
    }
    const putting = async (name: string) => {
      for (let i = 0; i < 60; i++) await new LocalStorage(root).put(`${name}-${i}`, Readable.from(['x']))
    }
    let done = false
    const takingAway = async () => {
      while (!done) {
        await mkdir(join(root, '.dbbak-work')).catch(() => undefined)
        await rmdir(join(root, '.dbbak-work')).catch(() => undefined)
      }
    }
    const others = takingAway()
    await Promise.all([tidying(), putting('a'), putting('b')]).finally(() => (done = true))
    await others
    expect((await readdir(root)).filter((name) => /^[ab]-/.test(name))).toHaveLength(120)
  })
})

describe('a process that is killed amid a put', () => {
  test('leaves no object; what it leaves is shown while it can be told, and the next sweep removes it', async () => {
    const child = await otherProcess(`
      const body = new Readable({read() {}})
      body.push(Buffer.alloc(1_000_000))
      setInterval(() => {}, 1000) // a stream that says nothing keeps no process alive
      await Promise.all([store.put('shop.dir/half', body), store.workFolder().then((path) => console.log(path))])`)
    const work = join(root, '.dbbak-work')
    const sizes = async () =>
      Promise.all((await readdir(work).catch(() => [])).map(async (name) => (await statOf(work, name)).size))
    const isWriting = async () => {
      const found = await sizes()
      return found.length === 2 && found.includes(1_000_000)
    }
    await until(isWriting, 'the other process writes, and has a folder')

    // While it runs, neither is a leftover.
    expect(await leftovers(store)).toEqual([])
    expect(await store.sweep()).toEqual([])
    await killed(child)

    expect(await keys(store)).toEqual([])
    expect(await leftovers(store)).toHaveLength(2)
    const removed = await store.sweep()
    expect(removed.map(({key}) => key).sort()).toEqual([
      expect.stringMatching(/^\.dbbak-work\/folder_/),
      expect.stringMatching(/^\.dbbak-work\/put_/),
    ])
    expect(removed.find(({key}) => key.includes('put_'))).toMatchObject({size: 1_000_000})
    expect(await readdir(work)).toEqual([])
    await store.put('shop.dir/half', Readable.from(['whole']))
    expect(await text(await store.get('shop.dir/half'))).toBe('whole')
  })

  test('at any moment leaves only whole objects and what a sweep removes', async () => {
    for (let round = 0; round < 6; round++) {
      const child = await otherProcess(`
        for (let number = 0; ; number++) {
          const key = '${round}/' + number
          await store.put(key, Readable.from([Buffer.alloc(200_000, key + ';'), Buffer.from('the end')]))
          console.log(key)
        }`)
      await once(child.stdout!, 'data')
      await new Promise((later) => setTimeout(later, Math.random() * 150))
      await killed(child)
      const listed = await keys(store, `${round}/`)
      expect(listed.length).toBeGreaterThan(0)
      for (const key of listed) {
        const content = await text(await store.get(key))
        expect(content.length).toBe(200_007)
        expect(content.startsWith(`${key};`) && content.endsWith('the end')).toBe(true)
      }
      await store.sweep()
      expect(await leftovers(store)).toEqual([])
    }
  })
})

describe('whose a work file is, is told by its name', () => {
  const own = ownerOf(workName('put'))!
  const nameOf = (owner: Partial<typeof own>) => {
    const {host, place, pid, start} = {...own, ...owner}
    return `put_${host}_${place}_${pid}_${start}_0123456789ab`
  }

  test('this process runs', () => {
    expect(own.pid).toBe(process.pid)
    expect(stateOf(own)).toBe('running')
  })

  test('a pid that was given to another process does not count as the old one', () => {
    // Only where start times can be asked for.
    expect(stateOf({...own, start: '1'})).toBe(process.platform === 'linux' ? 'gone' : 'running')
  })

  test('of another host, boot or container nothing is known', () => {
    expect(stateOf({...own, host: 'elsewhere', pid: 999_999_999})).toBe('unknown')
    expect(stateOf({...own, place: '00000000', pid: 999_999_999})).toBe('unknown')
    expect(stateOf(undefined)).toBe('unknown')
  })

  test('machines of one name are told apart where the system has no number for them', async () => {
    const [home, other] = [join(root, 'home'), join(root, 'other')]
    await mkdir(home)
    await mkdir(other)
    await mkdir(join(home, 'more'))
    expect(machineText(home)).toBe(machineText(home))
    expect(machineText(home)).not.toBe(machineText(other))
  })

  const testOnLinux = process.platform === 'linux' ? test : test.skip
  testOnLinux('a process that has ended but was not waited for is gone', async () => {
    // The shell starts a child and becomes a program that never waits for it.
    const child = spawn('sh', ['-c', 'sleep 1 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const [output] = (await once(child.stdout, 'data')) as [Buffer]
      const pid = Number(String(output))
      const start = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(' ')[21]
      expect(stateOf({...own, pid, start})).toBe('running')
      await until(() => stateOf({...own, pid, start}) === 'gone', 'the child is gone')
      expect(existsSync(`/proc/${pid}`)).toBe(true)
    } finally {
      await killed(child)
    }
  })

  test('a sweep removes what is certainly abandoned, and that alone', async () => {
    const hoursAgo = async (hours: number, name: string) => {
      await writeFile(join(root, '.dbbak-work', name), 'x')
      const then = new Date(Date.now() - hours * 3_600_000)
      await utimes(join(root, '.dbbak-work', name), then, then)
      return name
    }
    await mkdir(join(root, '.dbbak-work'))
    const running = await hoursAgo(100, nameOf({}))
    const dead = await hoursAgo(0, nameOf({pid: 999_999_999}))
    const elsewhereFresh = await hoursAgo(0.5, nameOf({host: 'a'}))
    const elsewhereOlder = await hoursAgo(5, nameOf({host: 'b'}))
    const elsewhereOld = await hoursAgo(25, nameOf({host: 'c_d'}))
    const claimFresh = await hoursAgo(0, claimName('a'))
    const claimOld = await hoursAgo(25, claimName('b'))
    const foreign = await hoursAgo(1000, 'notes.txt')
    const folder = `folder_${nameOf({pid: 999_999_999}).slice(4)}`
    await mkdir(join(root, '.dbbak-work', folder, 'dump'), {recursive: true})
    await writeFile(join(root, '.dbbak-work', folder, 'dump', 'toc.dat'), '12345')

    const left = new Map<string, number>()
    for await (const {key, size} of store.leftovers()) left.set(key.slice('.dbbak-work/'.length), size)
    expect([...left.keys()].sort()).toEqual([dead, elsewhereOlder, elsewhereOld, claimOld, folder].sort())
    expect(left.get(folder)).toBe(5)

    const removed = (await store.sweep()).map(({key}) => key.slice('.dbbak-work/'.length))
    expect(removed.sort()).toEqual([dead, elsewhereOld, claimOld, folder].sort())
    const kept = [running, elsewhereFresh, elsewhereOlder, claimFresh, foreign]
    expect((await readdir(join(root, '.dbbak-work'))).sort()).toEqual(kept.sort())
  })
})

test('half a GiB of random bytes through compression, digest and a put is never held in memory', async () => {
  const modules = await Promise.all(['archive/compression', 'archive/digest'].map(compiled))
  const child = await otherProcess(`
    import {randomBytes} from 'node:crypto'
    import {readFileSync} from 'node:fs'
    import {pipeline} from 'node:stream/promises'
    import {compressor} from ${JSON.stringify(modules[0])}
    import {digest} from ${JSON.stringify(modules[1])}
    let given = 0
    const source = new Readable({read() {
      this.push(given++ === 8192 ? null : randomBytes(65_536))
    }})
    const sum = digest()
    const [info] = await Promise.all([
      store.put('large', sum),
      pipeline(source, compressor({algorithm: 'zstd', level: undefined}), sum),
    ])
    // Not maxRSS: a process starts with that of the one it was forked from.
    const [, kilobytes] = /^VmHWM:\\s+(\\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))
    console.log(JSON.stringify({info, sum: sum.result(), peakMegabytes: Number(kilobytes) / 1000}))`)
  const result = JSON.parse(await text(child.stdout!)) as {
    info: {size: number}
    sum: {bytes: number}
    peakMegabytes: number
  }
  expect(result.info.size).toBe(result.sum.bytes)
  expect(result.info.size).toBeGreaterThan(8192 * 65_536)
  // About 100 on an idle machine; how late garbage is collected depends on what else runs.
  expect(result.peakMegabytes).toBeLessThan(300)
})

async function statOf(folder: string, name: string): Promise<{size: number}> {
  return stat(join(folder, name)).catch(() => ({size: 0}))
}
