import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
import {isSafePath, parseManifest, serializeManifest, type Manifest} from '../../src/engine/manifest.js'
import {DbbakError} from '../../src/support/errors.js'
import {sampleManifest} from './sample-manifest.js'

const file = 'shop.dump.zst.metadata.json'
const parse = (value: unknown) => parseManifest(JSON.stringify(value), file)

function errorOf(work: () => unknown): DbbakError {
  try {
    work()
  } catch (error) {
    if (error instanceof DbbakError) return error
    throw error
  }
  throw new Error('it was accepted')
}

test('what is written is read back as it was', () => {
  const manifest = sampleManifest()
  expect(parseManifest(serializeManifest(manifest), file)).toEqual(manifest)
})

test('numbers beyond 2^53 keep every digit', () => {
  const [sequence] = parseManifest(serializeManifest(sampleManifest()), file).content.sequences
  expect(sequence.lastValue).toBe('9223372036854775807')
})

test('what would not be read back is not written', () => {
  const bad = {...sampleManifest(), durationMs: -1}
  expect(() => serializeManifest(bad)).toThrow()
})

test('unknown fields are ignored, also those that JavaScript has a meaning for', () => {
  const text = JSON.stringify(sampleManifest()).replace(
    '{',
    '{"__proto__": {"kind": "safety"}, "colour": "blue", ',
  )
  const manifest = parseManifest(text, file)
  expect(manifest).toEqual(sampleManifest())
  expect(Object.getPrototypeOf(manifest)).toBe(Object.prototype)
})

test.each([0, 2, 99, 1.5, -1])('format version %s is refused by its own code', (formatVersion) => {
  const error = errorOf(() => parse({...sampleManifest(), formatVersion}))
  expect(error.code).toBe('MANIFEST_VERSION_UNKNOWN')
  expect(error.message).toContain(`format ${formatVersion}`)
  expect(error.message).toContain(file)
})

/** Makes anything of it, also what no manifest can be. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Change = (manifest: any) => void

describe('MANIFEST_INVALID names the file and the place', () => {
  const changed = (change: Change) => {
    const manifest = structuredClone(sampleManifest())
    change(manifest)
    return manifest as unknown
  }
  const cases: [place: string, change: Change][] = [
    ['formatVersion', (m) => (m.formatVersion = '1')],
    ['id', (m) => (m.id = '../x')],
    ['id', (m) => (m.id = 'a/b')],
    ['kind', (m) => (m.kind = 'trick')],
    ['snapshotAt', (m) => (m.snapshotAt = '2025-02-30T00:00:00Z')],
    ['snapshotAt', (m) => (m.snapshotAt = '2025-01-15 14:30')],
    ['database.port', (m) => (m.database.port = -1)],
    ['format', (m) => (m.format = 'tar')],
    ['compression.algorithm', (m) => (m.compression.algorithm = 'bzip2')],
    ['files', (m) => (m.files = [])],
    ['files.0.path', (m) => (m.files[0].path = '../../etc/passwd')],
    ['files.0.bytes', (m) => (m.files[0].bytes = -1)],
    ['files.0.bytes', (m) => (m.files[0].bytes = 2 ** 60)],
    ['files.0.sha256', (m) => (m.files[0].sha256 = 'A'.repeat(64))],
    ['content.tables.0.rows', (m) => (m.content.tables[0].rows = 0.5)],
    ['content.sequences.0.lastValue', (m) => (m.content.sequences[0].lastValue = '1; drop table orders')],
    ['content', (m) => delete m.content],
    ['the document', () => {}],
  ]
  test.each(cases)('%s', (place, change) => {
    const value = place === 'the document' ? [1] : changed(change)
    const error = errorOf(() => parse(value))
    expect(error.code).toBe('MANIFEST_INVALID')
    expect(error.message).toContain(file)
    if (place !== 'the document') expect(error.message).toContain(place)
    expect(error.message).not.toContain('undefined')
  })
})

test('no text at all makes it do anything but accept or refuse', () => {
  const mutations = fc.tuple(
    fc.constant(JSON.stringify(sampleManifest())),
    fc.nat(2000),
    fc.nat(50),
    fc.string(),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        mutations.map(([text, at, length, by]) => text.slice(0, at) + by + text.slice(at + length)),
      ),
      (text) => {
        try {
          const manifest: Manifest = parseManifest(text, file)
          for (const {path, bytes} of manifest.files) if (!isSafePath(path) || bytes < 0) return false
        } catch (error) {
          return error instanceof DbbakError && error.code.startsWith('MANIFEST_')
        }
        return true
      },
    ),
    {numRuns: 2000},
  )
})

test('a path leads nowhere but below where it starts', () => {
  for (const path of [
    '',
    '.',
    '..',
    '/',
    '/etc/passwd',
    'a/../b',
    'a//b',
    'a/',
    './a',
    'a/.',
    'C:/x',
    'a\\b',
    'a\0',
    'a\nb',
    '\u009b2J',
  ])
    expect({path, safe: isSafePath(path)}).toEqual({path, safe: false})
  for (const path of ['a', 'a.dir/toc.dat', '.hidden', '..a', 'a..', 'größe 東京', 'ab:c'])
    expect({path, safe: isSafePath(path)}).toEqual({path, safe: true})
})
