import {describe, expect, test} from '@jest/globals'
import {
  displayWidth,
  formatAge,
  formatBytes,
  formatCount,
  formatCountOf,
  formatDuration,
  pad,
  printable,
  truncate,
} from '../../src/cli/format.js'
import {renderTable} from '../../src/cli/table.js'

describe('numbers for people', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [99_949, '99.9 kB'],
    [99_950, '100 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [1_100_000_000, '1.1 GB'],
    [2n ** 63n, '9223 PB'],
  ])('%s bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

  test.each([
    [0, '0 ms'],
    [999.4, '999 ms'],
    [999.6, '1.0 s'],
    [9800, '9.8 s'],
    [59_960, '1 min'],
    [252_000, '4 min 12 s'],
    [3_599_700, '1 h'],
    [7_500_000, '2 h 5 min'],
    [86_399_000, '1 d'],
    [273_600_000, '3 d 4 h'],
  ])('%s milliseconds are %s', (milliseconds, text) => expect(formatDuration(milliseconds)).toBe(text))

  test.each([
    [-5, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [47 * 3600, '47 h'],
    [48 * 3600, '2 d'],
  ])('an age of %s seconds is %s', (seconds, text) => expect(formatAge(seconds)).toBe(text))

  test('counts have separators, and one is singular', () => {
    expect(formatCount(1_234_567)).toBe('1,234,567')
    expect(formatCountOf(1, 'table')).toBe('1 table')
    expect(formatCountOf(0n, 'index', 'indexes')).toBe('0 indexes')
  })
})

describe('text in columns', () => {
  test.each([
    ['shop', 4],
    ['日本語', 6],
    ['e\u0301', 1],
    ['👨‍👩‍👧', 2],
    ['\u001b[31mred\u001b[39m', 3],
    ['한글_db', 7],
    ['✔', 1],
  ])('%j takes %i columns', (text, width) => expect(displayWidth(text)).toBe(width))

  test('a cut text is as wide as asked, never half a character, and says that it was cut', () => {
    expect(truncate('backup', 6)).toBe('backup')
    expect(truncate('backups', 6)).toBe('backu…')
    expect(truncate('日本語', 5)).toBe('日本…')
    expect(truncate('日本語', 4)).toBe('日…')
  })

  test('wide characters are filled up by what they take', () => {
    expect(pad('日', 4)).toBe('日  ')
    expect(pad('12', 4, 'right')).toBe('  12')
  })

  test('a name from a server can neither move the cursor nor start a line', () => {
    expect(printable('a\u001b[2Jb\nc\u202ed')).toBe('a\\u{1b}[2Jb c\\u{202e}d')
  })
})

describe('a table', () => {
  const columns = [
    {header: 'NAME', canShrink: true},
    {header: 'ROWS', align: 'right' as const},
    {header: 'NOTE'},
  ]

  test('aligns its columns, numbers to the right, and leaves no space at the end of a line', () => {
    expect(
      renderTable(columns, [
        ['shop', '12', ''],
        ['日本', '3', 'x'],
      ]),
    ).toBe(['NAME  ROWS  NOTE', 'shop    12', '日本     3  x'].join('\n'))
  })

  test('cuts the columns that may be cut until it fits the terminal', () => {
    const text = renderTable(columns, [['a-very-long-name-of-a-backup', '1,234,567', 'kept whole']], {
      width: 40,
    })
    const [, row] = text.split('\n')
    expect(row).toContain('1,234,567  kept whole')
    expect(row).toMatch(/^a-very-.*…/)
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(40)
  })

  test('stays readable where nothing more can be cut', () => {
    expect(renderTable(columns, [['abcdefghijkl', '1', 'a long note']], {width: 5}).split('\n')[1]).toMatch(
      /^abcdefg…/,
    )
  })

  test('makes cells harmless', () => {
    expect(renderTable([{header: 'NAME'}], [['a\u001b[31m\nb']])).toBe('NAME\na\\u{1b}[31m b')
  })
})
