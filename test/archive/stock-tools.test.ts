import {describe, expect, test} from '@jest/globals'
import {spawnSync} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {compressed, decompressed} from './passing-through.js'

const text = Buffer.from(
  Array.from({length: 50_000}, (_, row) => `${row}\t${(row * 7919) % 1000}\tpaid\n`).join(''),
)
const samples: [string, Buffer][] = [
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.from('x')],
  ['text', text],
  ['what cannot be made smaller', randomBytes(400_000)],
]

describeWith('zstd', () => {
  test.each(samples)('`zstd -d` reads what was compressed here: %s', async (_name, bytes) => {
    for (const level of [1, 3, 22]) {
      expect(
        run('zstd', ['-d', '-c'], await compressed({algorithm: 'zstd', level}, bytes)).equals(bytes),
      ).toBe(true)
    }
  })

  test.each(samples)('what `zstd` compressed is read here: %s', async (_name, bytes) => {
    for (const options of [
      ['-1'],
      ['-19'],
      ['-T2'],
      ['--no-check'],
      ['--long=27'],
      ['--no-compress-literals'],
    ]) {
      expect((await decompressed('zstd', run('zstd', ['-c', '-q', ...options], bytes))).equals(bytes)).toBe(
        true,
      )
    }
  })

  test('`zstd -t` finds the checksum that was put in', async () => {
    const packed = await compressed({algorithm: 'zstd', level: undefined}, text)
    packed[packed.length - 1] ^= 1
    expect(spawnSync('zstd', ['-t', '-q'], {input: packed}).status).not.toBe(0)
  })
})

describeWith('gzip', () => {
  test.each(samples)('`gzip -d` reads what was compressed here: %s', async (_name, bytes) => {
    for (const level of [1, 6, 9]) {
      expect(
        run('gzip', ['-d', '-c'], await compressed({algorithm: 'gzip', level}, bytes)).equals(bytes),
      ).toBe(true)
    }
  })

  test.each(samples)('what `gzip` compressed is read here: %s', async (_name, bytes) => {
    for (const options of [['-1'], ['-9']]) {
      expect((await decompressed('gzip', run('gzip', ['-c', ...options], bytes))).equals(bytes)).toBe(true)
    }
  })
})

function describeWith(program: string, tests: () => void): void {
  const isHere = spawnSync(program, ['--version']).status === 0
  if (isHere) describe(`the stock ${program}`, tests)
  else describe.skip(`the stock ${program} [skipped, needs the ${program} program: not found]`, tests)
}

function run(program: string, options: string[], input: Buffer): Buffer {
  const {status, stdout, stderr} = spawnSync(program, options, {input, maxBuffer: 64 * 1024 * 1024})
  if (status !== 0) throw new Error(`${program} ${options.join(' ')}: ${String(stderr)}`)
  return stdout
}
