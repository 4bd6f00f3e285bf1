import {expect} from '@jest/globals'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {listBackups, verifyBackups} from '../../src/index.js'
import {noise} from './clouds.js'
import {openRestorePlace, type RestorePlace} from './restore-place.js'

/** A database that is large enough to be sent in parts, for backups to clouds that have trouble. */
export interface CloudRuns {
  place: RestorePlace
  folder: string
  /** Settings of an operation whose connections are given up after a second of silence. */
  base: () => Record<string, string | undefined>
  end(): Promise<void>
}

export async function openCloudRuns(): Promise<CloudRuns> {
  const place = await openRestorePlace()
  await place.server.psql(noise(20_000), 'shop')
  const folder = await mkdtemp(join(tmpdir(), 'cloud-faults-'))
  return {
    place,
    folder,
    base: () => ({
      ...place.env,
      DATABASE_URL: place.server.url('shop'),
      TEST_DATABASE_URL: place.server.url(),
      BACKUP_DIR: join(folder, 'safety'),
      DBBAK_CACHE_DIR: join(folder, 'cache'),
      DBBAK_STALL_TIMEOUT: '1s',
      DBBAK_RETRY_FOR: '10s',
    }),
    async end() {
      await place.end()
      await rm(folder, {recursive: true, force: true})
    },
  }
}

export type Run = {env: Record<string, string | undefined>; cwd: string}

/** What is listed is whole, as one sees who reads it without faults. */
export async function expectBackups(place: string, count: number | undefined, direct: Run): Promise<void> {
  const {backups, problems} = await listBackups({...direct, from: place})
  expect(problems).toEqual([])
  if (count !== undefined) expect(backups).toHaveLength(count)
  if (backups.length === 0) return
  const {verdict} = await verifyBackups({...direct, from: place, all: true, level: 'archive'})
  expect(verdict).toBe('passed')
}
