import {createHash} from 'node:crypto'
import {cp, mkdir, readFile, rm, truncate, writeFile} from 'node:fs/promises'
import {basename, dirname, join} from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {listBackups, restoreBackup, verifyBackups, type DbbakError, type Manifest} from '../../src/index.js'
import {dbbakJson, failing, filesAt, toolSettings} from '../e2e/program.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

/** So many random places for each kind of damage and archive; DBBAK_FAULT_RUNS makes it more. */
const runs = Number(process.env.DBBAK_FAULT_RUNS ?? 12)

const archives = [
  ['custom', 'zstd'],
  ['custom', 'gzip'],
  ['custom', 'none'],
  ['plain', 'zstd'],
  ['plain', 'gzip'],
  ['plain', 'none'],
  ['directory', 'gzip'],
  ['directory', 'none'],
] as const

let place: RestorePlace
/** Never changed: each test damages its own copy. */
let originals: string
const taken = new Map<string, Manifest>()

beforeAll(async () => {
  place = await openRestorePlace()
  originals = join(place.folder, 'originals')
  for (const [format, compress] of archives)
    taken.set(`${format} ${compress}`, await place.backUp({format, compress, to: [originals]}))
})
afterAll(() => place?.end())

/** A copy of one backup, its manifest, and what stands in the target before anything is tried. */
interface Copy {
  folder: string
  manifest: Manifest
  /** The file of the archive that is to be damaged: of a directory, any, the largest first. */
  file(random?: number): string
  name: string
}

let copies = 0
async function copyOf(archive: string): Promise<Copy> {
  const manifest = taken.get(archive)!
  const folder = join(place.folder, `copy-${++copies}`)
  await mkdir(folder)
  const [first] = manifest.files
  const name = first.path.split('/')[0]
  for (const path of [name, `${name}.metadata.json`])
    await cp(join(originals, path), join(folder, path), {recursive: true})
  const bySize = manifest.files.filter(({bytes}) => bytes > 0).sort((a, b) => b.bytes - a.bytes)
  const file = (random = 0) => join(folder, bySize[Math.floor(random * bySize.length)].path)
  return {folder, manifest, file, name}
}

const run = () => ({env: place.env, cwd: place.folder})
const list = (copy: Copy) => listBackups({...run(), from: copy.folder})
const verify = (copy: Copy, level: 'checksum' | 'archive' | 'restore') =>
  verifyBackups({
    ...run(),
    env: {...place.env, TEST_DATABASE_URL: place.server.url('postgres')},
    backup: copy.name,
    from: copy.folder,
    level,
    scratch: 'url',
  })
const restore = (copy: Copy) =>
  restoreBackup({
    ...run(),
    databaseUrl: place.server.url('target'),
    backup: copy.name,
    from: copy.folder,
    force: true,
    verify: true,
    safetyBackup: false,
  }).then(
    () => Promise.reject(new Error(`${copy.name} in ${copy.folder} was restored`)),
    (error: DbbakError) => error,
  )

/** A damaged backup is found out by its checksum at the latest, and never restored. */
async function expectFoundOut(copy: Copy, codes: string[], listed: boolean): Promise<void> {
  const {backups, problems} = await list(copy)
  expect({listed: backups.length === 1, problem: problems.length === 1}).toEqual({listed, problem: !listed})
  const verified = await verify(copy, 'checksum')
  expect(verified.verdict).toBe('failed')
  const reason = verified.results[0].checks.find(({status}) => status === 'failed')?.reason
  expect(codes).toContain(reason?.split(':')[0])
  const error = await restore(copy)
  expect(codes).toContain(error.code)
  expect(error.exitCode).toBe(3)
  expect(await filesAt(copy.folder)).toEqual(
    expect.objectContaining({[`${copy.name}.metadata.json`]: expect.any(Number)}),
  )
}

/** Line breaks at the end of a text, whose loss is none. */
const harmlessBytes = 4
const size = async (file: string) => (await readFile(file)).length

describe.each(archives)('a %s archive (%s)', (format, compress) => {
  const archive = `${format} ${compress}`
  const cutOrGone = ['ARCHIVE_SIZE_MISMATCH', 'ARCHIVE_MISSING']

  afterAll(async () => expect(await place.state()).toBe('former'))

  test('that is whole is restored (so that what follows fails for its damage alone)', async () => {
    const copy = await copyOf(archive)
    expect((await verify(copy, 'restore')).verdict).toBe('passed')
    expect(
      (await place.restore({latest: undefined, backup: copy.name, from: copy.folder, verify: true}))
        .targetState,
    ).toBe('restored')
    expect(await place.state()).toBe('backup')
    await place.resetTarget()
  })

  test('cut at any byte is not listed, fails its verification, and is not restored', async () => {
    const bytes = await size((await copyOf(archive)).file())
    const cuts = [0, 1, bytes - 1, ...Array.from({length: runs}, () => Math.floor(Math.random() * bytes))]
    for (const cut of cuts) {
      const copy = await copyOf(archive)
      await truncate(copy.file(), cut)
      await expectFoundOut(copy, cutOrGone, false)
    }
  })

  test('with any byte flipped fails its verification, and is not restored', async () => {
    for (let index = 0; index < runs; index++) {
      const copy = await copyOf(archive)
      const file = copy.file(Math.random())
      const content = await readFile(file)
      content[Math.floor(Math.random() * content.length)] ^= 1 << Math.floor(Math.random() * 8)
      await writeFile(file, content)
      await expectFoundOut(copy, ['CHECKSUM_MISMATCH'], true)
    }
  })

  test('with bytes after its end, or of another backup, or missing, is none', async () => {
    const longer = await copyOf(archive)
    await writeFile(longer.file(), 'more', {flag: 'a'})
    await expectFoundOut(longer, cutOrGone, false)
    const gone = await copyOf(archive)
    await rm(gone.file())
    await expectFoundOut(gone, cutOrGone, false)
    const folder = await copyOf(archive)
    await rm(folder.file())
    await mkdir(folder.file())
    await expectFoundOut(folder, cutOrGone, false)
    const other = await copyOf(archive)
    await writeFile(other.file(), Buffer.alloc(await size(other.file()), 'another backup '))
    await expectFoundOut(other, ['CHECKSUM_MISMATCH'], true)
  })

  test('that was cut before its manifest was written (so that the checksum is right) is found out by reading it, or by a restore', async () => {
    const bytes = await size((await copyOf(archive)).file())
    for (let index = 0; index < Math.min(runs, 6); index++) {
      const copy = await copyOf(archive)
      const cut = Math.floor(Math.random() * (bytes - harmlessBytes))
      await truncate(copy.file(), cut)
      await vouchFor(copy, copy.file())
      expect((await list(copy)).backups).toHaveLength(1)
      expect((await verify(copy, 'checksum')).verdict).toBe('passed')
      const verified = await verify(copy, 'restore')
      expect({cut, verdict: verified.verdict}).toEqual({cut, verdict: 'failed'})
      const error = await restore(copy)
      if (![3, 6].includes(error.exitCode)) throw error
      expect(await place.state()).toBe('former')
    }
  })
})

describe('by its command line, the program', () => {
  const settings = async () => ({
    env: {...(await toolSettings(place.server.major)), DATABASE_URL: place.server.url('target')},
    cwd: place.folder,
  })

  test.each(['custom zstd', 'plain none', 'directory gzip'])(
    'says the same of a damaged archive (%s): 5 when verified, 3 when restored',
    async (archive) => {
      const cut = await copyOf(archive)
      await truncate(cut.file(), 10)
      const flipped = await copyOf(archive)
      const content = await readFile(flipped.file())
      content[content.length >> 1] ^= 1
      await writeFile(flipped.file(), content)
      const damages: [Copy, string][] = [
        [cut, 'ARCHIVE_SIZE_MISMATCH'],
        [flipped, 'CHECKSUM_MISMATCH'],
      ]
      for (const [{folder, name}, code] of damages) {
        const from = ['--from', folder]
        const verify = ['verify', name, '--level', 'checksum', ...from]
        const verified = await failing(verify, await settings(), {exitCode: 5, code: 'VERIFICATION_FAILED'})
        expect(verified.error.message).toContain(code)
        await failing(['restore', name, '--force', ...from], await settings(), {exitCode: 3, code})
        const {backups} = await dbbakJson(['list', ...from], await settings())
        expect(backups).toHaveLength(code === 'CHECKSUM_MISMATCH' ? 1 : 0)
      }
      expect(await place.state()).toBe('former')
    },
  )
})

/** Writes the manifest anew, as if the file had been like that from the start. */
async function vouchFor(copy: Copy, file: string): Promise<void> {
  const content = await readFile(file)
  const manifest = structuredClone(copy.manifest)
  const found = manifest.files.find(
    ({path}) => basename(path) === basename(file) && dirname(join(copy.folder, path)) === dirname(file),
  )!
  Object.assign(found, {bytes: content.length, sha256: createHash('sha256').update(content).digest('hex')})
  await writeFile(join(copy.folder, `${copy.name}.metadata.json`), JSON.stringify(manifest))
}
