import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Manifest} from '../../src/engine/manifest.js'
import {serializeVerification} from '../../src/engine/verify/verification-record.js'
import {status, type StatusOptions, type StatusResult} from '../../src/library/status.js'
import {manifestAt} from '../engine/status-store.js'
import {parsePrometheus} from '../report/prometheus-parser.js'
import {prometheusText} from '../../src/report/status-prometheus.js'

const now = Date.parse('2026-03-17T08:00:00.000Z')
const dayMs = 86_400_000

let cwd: string
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'status-fleet-'))
})
afterEach(() => rm(cwd, {recursive: true, force: true}))

/** A verified backup of so many days ago of a database at a host. */
async function put(folder: string, database: string, host: string, daysAgo: number): Promise<void> {
  const base = manifestAt(now - 6 * 3_600_000 - daysAgo * dayMs, {database})
  const files = base.files.map((file) => ({...file, bytes: 3})) as Manifest['files']
  const server = {host, systemIdentifier: `7${host.length}`}
  const manifest = {...base, files, database: {...base.database, ...server}}
  const place = join(cwd, folder)
  await mkdir(place, {recursive: true, mode: 0o700})
  const [{path}] = files
  const verification = {
    formatVersion: 1 as const,
    id: manifest.id,
    verdict: 'passed' as const,
    level: 'restore' as const,
    at: new Date(now).toISOString(),
    tool: {name: 'dbbak', version: '1.0.0'},
    checks: [{name: 'restore-test' as const, status: 'passed' as const}],
    durationMs: 1,
  }
  await writeFile(join(place, path), 'xxx')
  await writeFile(join(place, `${path}.metadata.json`), JSON.stringify(manifest))
  await writeFile(join(place, `${path}.verification.json`), serializeVerification(verification))
}

const configure = (config: object) =>
  writeFile(join(cwd, 'dbbak.config.json'), JSON.stringify(config), {mode: 0o600})

const look = (options: StatusOptions = {}): Promise<StatusResult> =>
  status({cwd, env: {}, askDatabase: false, clock: {now: () => new Date(now)}, ...options})

const told = ({findings}: StatusResult) =>
  findings.map(({code, severity, database}) => `${severity} ${code} ${database ?? '-'}`)

/** Two live servers with a database of one name in one destination, and a database with one of its own. */
const fleet = {
  to: ['./backups'],
  databases: {
    live: {url: 'postgresql://app@live-db/shop'},
    staging: {url: 'postgresql://app@stage/shop'},
    logs: {url: 'postgresql://app@live-db/logs', destinations: ['./backups/logs', './offsite']},
  },
}

async function putFleet(): Promise<void> {
  for (const daysAgo of [2, 1, 0]) await put('backups', 'shop', 'live-db', daysAgo)
  for (const daysAgo of [2.1, 1.1, 0.1]) await put('backups', 'shop', 'stage', daysAgo)
  for (const folder of ['backups/logs', 'offsite']) await put(folder, 'logs', 'live-db', 0)
}

test('without a database that is set, the config’s databases are told of, each by its own destinations', async () => {
  await configure(fleet)
  await putFleet()
  const result = await look()
  expect(told(result)).toEqual([])
  expect(result.databases.map(({name, databaseName, count}) => [name, databaseName, count])).toEqual([
    ['live', 'shop', 3],
    ['logs', 'logs', 1],
    ['logs', 'logs', 1],
    ['staging', 'shop', 3],
  ])
  expect(result.destinations.map(({destination}) => destination)).toEqual(
    ['backups', 'backups/logs', 'offsite'].map((folder) => join(cwd, folder)),
  )
  expect(() => parsePrometheus(prometheusText(result))).not.toThrow()
  const ofHost = await look({env: {PGHOST: 'live-db', PGPORT: '5433', PGUSER: 'app'}})
  expect(ofHost.databases).toHaveLength(4) // none of these names a database
  const all = await look({allDatabases: true, env: {DATABASE_URL: 'postgresql://app@elsewhere/x'}})
  expect(all.databases).toHaveLength(4)
})

test('one server of two that is backed up no more is an error, whatever the other one does', async () => {
  await configure(fleet)
  await putFleet()
  await rm(join(cwd, 'backups'), {recursive: true})
  await put('backups/logs', 'logs', 'live-db', 0)
  await put('backups', 'shop', 'live-db', 9)
  for (const daysAgo of [1, 0]) await put('backups', 'shop', 'stage', daysAgo)
  const result = await look()
  expect(told(result)).toEqual([
    'error BACKUP_TOO_OLD live',
    'error VERIFIED_TOO_OLD live',
    'warning DATABASE_MOVED live',
  ])
  expect(result.findings[0].suggestion).toMatch(/: dbbak backup --database live$/)
  expect(prometheusText(result)).toMatch(/last_success_timestamp_seconds\{database="live"/)
})

test('the trouble of one database is a finding about that one', async () => {
  await configure({
    ...fleet,
    databases: {...fleet.databases, live: {url: 'postgresql://app@live-db:99999/shop'}},
  })
  await putFleet()
  const result = await look()
  expect(told(result)).toEqual(['error DATABASE_URL_INVALID live'])
  expect(result.databases.map(({name}) => name)).toEqual(['logs', 'logs', 'staging'])
})

test('a variable that is not set is the trouble of the database that needs it, and limits are each one’s own', async () => {
  const {live, staging, logs} = fleet.databases
  const databases = {live: {url: '${LIVE_URL}'}, staging: {...staging, maxAge: '2h'}, logs}
  await configure({...fleet, maxVerifiedAge: '1h', databases})
  await putFleet()
  expect(told(await look({maxVerifiedAge: '8d'}))).toEqual([
    'error CONFIG_INVALID live',
    'error BACKUP_TOO_OLD staging',
  ])
  const result = await look({env: {LIVE_URL: live.url}})
  expect(told(result)).toContain('error VERIFIED_TOO_OLD live')
  expect(prometheusText(result)).toMatch(/backup_age_limit_seconds\{database="staging"[^\n]* 7200$/m)
})

test('databases are chosen by their names in the config or their own, and left out', async () => {
  await configure(fleet)
  await putFleet()
  await put('backups', 'other', 'live-db', 3)
  const names = async (options: StatusOptions) => (await look(options)).databases.map(({name}) => name)
  expect(await names({databases: ['staging']})).toEqual(['staging'])
  expect(await names({databases: ['staging', 'other']})).toEqual(['other', 'staging'])
  expect(told(await look({databases: ['other']}))).toEqual(['error BACKUP_TOO_OLD other'])
  expect(told(await look({databases: ['nobody']}))).toEqual(['error NO_BACKUP nobody'])
  expect(await names({ignore: ['staging', 'logs']})).toEqual(['live'])
  await configure({...fleet, ignore: ['staging']})
  expect(await names({})).toEqual(['live', 'logs', 'logs'])
  expect(await names({ignore: ['logs']})).toEqual(['live'])
  await configure(fleet)
  expect(await names({allDatabases: true, shard: '2/3'})).toEqual(['logs', 'logs'])
  expect(told(await look({env: {DATABASE_URL: 'postgresql://app@live-db/shop'}}))).toEqual([
    'error BACKUP_TOO_OLD other',
  ])
})

test('the database that is set has to have a backup, whatever others have', async () => {
  await put('backups', 'blog', 'live-db', 0)
  const env = {DATABASE_URL: 'postgresql://app@live-db/shop'}
  const result = await look({env})
  expect(told(result)).toEqual(['error NO_BACKUP shop'])
  expect(result.healthy).toBe(false)
  expect(result.findings[0]).toMatchObject({
    message: 'There is no backup of shop, which is the database that is set, only of others.',
    suggestion: 'Take one: dbbak backup',
    otherwise: 'If it needs none, leave it out: dbbak status --ignore shop',
  })
  expect(told(await look({env, ignore: ['shop']}))).toEqual([])
  expect(told(await look({env, from: ['./backups']}))).toEqual([]) // somebody else's, it may be
  expect(told(await look({env: {PGHOST: 'live-db', PGUSER: 'app'}}))).toEqual([]) // says nothing of a database
  expect(told(await look({env: {PGHOST: 'live-db', PGDATABASE: 'shop'}}))).toEqual(['error NO_BACKUP shop'])
  await put('backups', 'shop', 'by-another-name', 0)
  expect(told(await look({env}))).toEqual([])
})

test('the newest backup is to be where the database’s backups go, and nowhere else', async () => {
  await configure(fleet)
  await putFleet()
  expect(told(await look({from: ['./backups', './backups/logs']}))).toEqual([])
  await put('offsite', 'logs', 'live-db', -0.1)
  expect(told(await look())).toEqual(['warning BACKUP_NOT_EVERYWHERE logs'])
})

test('a destination that is written in several ways is looked at once', async () => {
  await put('backups', 'shop', 'live-db', 0)
  const from = ['./backups', 'backups/', join(cwd, 'backups'), `file://${join(cwd, 'backups')}`]
  const result = await look({from})
  expect([result.destinations.length, result.databases.length, told(result)]).toEqual([1, 1, []])
})
