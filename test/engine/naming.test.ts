import {describe, expect, test} from '@jest/globals'
import fc from 'fast-check'
import type {Compression} from '../../src/engine/manifest.js'
import {isSafePath} from '../../src/engine/manifest.js'
import {
  archiveName,
  backupId,
  globalsName,
  manifestName,
  safePrefix,
  verificationName,
} from '../../src/engine/naming.js'
import {isObjectName} from '../../src/storage/object-name.js'

const time = new Date('2025-01-15T14:30:00.007Z')

test('a backup is named after its database and the time of its snapshot', () => {
  expect(backupId('shop', time)).toBe('shop_2025-01-15T14-30-00-007Z')
})

test.each([
  ['custom', 'zstd', 'dbbak', '.dump.zst'],
  ['custom', 'gzip', 'pg_dump', '.dump'],
  ['custom', 'none', 'dbbak', '.dump'],
  ['plain', 'gzip', 'dbbak', '.sql.gz'],
  ['plain', 'none', 'dbbak', '.sql'],
  ['directory', 'lz4', 'pg_dump', '.dir'],
] as const)('the endings of %s with %s by %s tell how to undo it: %s', (format, algorithm, by, ending) => {
  const compression: Compression = {algorithm, level: null, by}
  const archive = archiveName('shop_1', format, compression)
  expect(archive).toBe(`shop_1${ending}`)
  expect(manifestName(archive)).toBe(`shop_1${ending}.metadata.json`)
  expect(verificationName(archive)).toBe(`shop_1${ending}.verification.json`)
  expect(globalsName('shop_1')).toBe('shop_1.globals.sql')
})

describe('a prefix', () => {
  test.each([
    ['shop', 'shop'],
    ['a=b "c"', 'a_b__c_'],
    ['-Fc x', '_Fc_x'],
    ['../../etc/passwd', '__.._etc_passwd'],
    ['.hidden', '_hidden'],
    ['...', '_'],
    ['', '_'],
    ['Größe 東京', 'Größe_東京'],
    ['Gro\u0308ße', 'Größe'],
    ['line\nbreak\0', 'line_break_'],
    ['con:aux', 'con_aux'],
  ])('%j becomes %j', (name, prefix) => {
    expect(safePrefix(name)).toBe(prefix)
  })

  test('of any text is a file name that needs no quotes, leads nowhere, hides nothing and has room for its endings', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({unit: 'binary', maxLength: 300}), fc.string({unit: 'grapheme', maxLength: 300})),
        (name) => {
          const key = manifestName(
            archiveName(backupId(name, time), 'directory', {algorithm: 'zstd', level: 1, by: 'dbbak'}),
          )
          return (
            isSafePath(key) &&
            isObjectName(key, 'linux') &&
            isObjectName(key, 'win32') &&
            Buffer.byteLength(key) <= 255 &&
            /^[\p{L}\p{N}_][\p{L}\p{N}._-]*$/u.test(key)
          )
        },
      ),
      {numRuns: 3000},
    )
  })

  test('is cut between characters, never inside one', () => {
    expect(safePrefix('東'.repeat(100))).toBe('東'.repeat(40))
    expect(safePrefix('𝒜'.repeat(100))).toBe('𝒜'.repeat(30))
  })
})

test('names sort by time within a prefix', () => {
  const times = [
    '2024-12-31T23:59:59.999Z',
    '2025-01-01T00:00:00.000Z',
    '2025-01-01T00:00:00.001Z',
    '2025-10-01T00:00:00.000Z',
  ]
  const ids = times.map((text) => backupId('shop', new Date(text)))
  expect([...ids].sort()).toEqual(ids)
})
