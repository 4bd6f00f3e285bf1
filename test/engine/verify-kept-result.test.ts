import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {hasPassedRestoreTest, parseVerification} from '../../src/engine/verify/verification-record.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'

let trip: RoundTrip
beforeAll(async () => {
  trip = await openRoundTrip()
  await trip.server.createDatabase('shop')
  await trip.server.query('create table t as select g from generate_series(1, 50) g', 'shop')
})
afterAll(() => trip.end())

async function kept() {
  const names = await readdir(trip.backups)
  const name = names.find((one) => one.endsWith('.verification.json'))!
  return parseVerification(await readFile(join(trip.backups, name), 'utf8'))
}

test('a later verification that does not go so far leaves it known that the backup was restored', async () => {
  await trip.backUp('shop', {to: [trip.backups]})
  await trip.verify({level: 'checksum', from: trip.backups})
  expect(hasPassedRestoreTest(await kept())).toBe(false)

  await trip.verify({level: 'restore', from: trip.backups})
  const restored = await kept()
  expect(restored).toMatchObject({level: 'restore', restoredAt: restored.at})

  for (const level of ['checksum', 'archive'] as const) {
    await trip.verify({level, from: trip.backups})
    expect(await kept()).toMatchObject({level, verdict: 'passed', restoredAt: restored.at})
    expect(hasPassedRestoreTest(await kept())).toBe(true)
  }

  // What fails afterwards was restored once, and cannot be any more.
  const [archive] = (await readdir(trip.backups)).filter((name) => name.endsWith('.dump.zst'))
  const bytes = await readFile(join(trip.backups, archive))
  bytes[bytes.length >> 1] ^= 1
  await writeFile(join(trip.backups, archive), bytes)
  await trip.verify({level: 'checksum', from: trip.backups})
  const failed = await kept()
  expect({verdict: failed.verdict, restoredAt: failed.restoredAt}).toEqual({
    verdict: 'failed',
    restoredAt: undefined,
  })
  expect(hasPassedRestoreTest(failed)).toBe(false)
})
