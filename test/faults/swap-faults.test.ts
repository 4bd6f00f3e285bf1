import {execFileSync} from 'node:child_process'
import {mkdir, mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {DbbakError, type RestoreOptions, type StageName} from '../../src/index.js'
import {startFaultProxy, type Fault, type FaultProxy, type Moment} from '../support/fault-proxy.js'
import {needs} from '../support/needs.js'
import {openRestorePlace, type RestorePlace} from '../support/restore-place.js'

const besideTarget = async (place: RestorePlace) =>
  (
    await place.server.query<{name: string}>(
      `select datname as name from pg_database where datname like '%\\_dbbak\\_%'`,
    )
  ).map(({name}) => name)

describe('the network, while a copy is made and swapped in', () => {
  let place: RestorePlace
  let proxy: FaultProxy
  beforeAll(async () => {
    place = await openRestorePlace({overTcp: true, rows: 20_000})
    await place.backUp()
  })
  afterAll(() => place.end())
  beforeEach(async () => {
    for (const name of await besideTarget(place)) await place.server.dropDatabase(name)
    await place.resetTarget()
    proxy = await startFaultProxy(Number(new URL(place.server.url()).port))
  })
  afterEach(() => proxy.close())

  const swap = (): RestoreOptions => ({
    databaseUrl: proxy.url(place.server.url('target')),
    strategy: 'swap',
    safetyBackup: true,
    jobs: 2,
  })

  const moments: [string, StageName, Moment][] = [
    ['before the copy is created', 'restore', {before: 'create database'}],
    ['after it was created', 'restore', {after: 'create database'}],
    ['as the safety backup begins', 'restore', {after: 'pg_export_snapshot'}],
    ['as the tool begins', 'restore', {after: 'SET statement_timeout'}],
    ['in the middle of the rows', 'restore', {after: 'COPY sales.orders'}],
    ['as an index is made', 'restore', {before: 'CREATE INDEX'}],
    ['as statistics are collected', 'restore', {before: 'analyze'}],
    ['as the rows are counted', 'table-checks', {after: 'count(*)'}],
    ['before the first renaming', 'table-checks', {before: 'alter database'}],
    ['after the first renaming', 'table-checks', {after: 'alter database'}],
  ]

  function faultIn(stage: StageName, fault: Fault, moment: Moment) {
    const {promise, resolve} = Promise.withResolvers<void>()
    const stageStarted = (name: StageName) => {
      if (name === stage) void proxy.plan(fault, moment).then(resolve)
    }
    const options: RestoreOptions = {...swap(), events: {stageStarted}}
    return {options, happened: promise}
  }

  async function leftAlone(document: {targetState: string}): Promise<void> {
    expect(document.targetState).toBe('rolled-back')
    await place.quiet()
    expect(await place.state()).toBe('former')
    expect(await besideTarget(place)).toEqual([])
  }

  test.each(moments)('is cut %s: the target is as it was before', async (_, stage, moment) => {
    const {options, happened} = faultIn(stage, 'cut', moment)
    const {error, document} = await place.failingRestore(options)
    await happened
    expect(error.exitCode).toBe(6)
    expect(error.message).toMatch(/The target is as it was before\.$/)
    await leftAlone(document)
  })

  test.each(moments)('stalls %s: Ctrl-C ends it', async (_, stage, moment) => {
    const {options, happened} = faultIn(stage, 'stall', moment)
    const controller = new AbortController()
    void happened.then(() =>
      setTimeout(() => controller.abort(new DbbakError('INTERRUPTED', 'Enough.')), 200),
    )
    const {error, document} = await place.failingRestore({...options, signal: controller.signal})
    expect(error).toMatchObject({
      code: 'INTERRUPTED',
      message: 'Interrupted. The target is as it was before.',
    })
    await proxy.close() // it still holds the server's end of the safety backup's sessions
    await leftAlone(document)
  })

  const commit = 'Q\0\0\0\u000bcommit\0'

  test('is cut just before the commit: the names are not swapped, and dbbak finds out', async () => {
    const {options} = faultIn('table-checks', 'cut', {before: commit})
    const {error, document} = await place.failingRestore(options)
    expect(error.message).toMatch(/did not commit.* The target is as it was before\.$/)
    await leftAlone(document)
  })

  test('is cut after the commit: they are, and dbbak finds out', async () => {
    const {options, happened} = faultIn('table-checks', 'cut', {after: commit})
    const {targetState} = await place.restore(options)
    await happened
    expect(targetState).toBe('restored')
    await place.quiet()
    expect(await place.state()).toBe('backup')
    expect(await besideTarget(place)).toEqual([])
  })
})

const asRoot = needs('tmpfs', process.getuid?.() === 0 ? undefined : 'only root can mount one')
asRoot('a server whose disk is full before the copy is', () => {
  let place: RestorePlace
  let disk: string
  beforeAll(async () => {
    place = await openRestorePlace({rows: 60_000})
    await place.backUp()
    disk = await mkdtemp(join(tmpdir(), 'full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=777', 'tmpfs', disk])
    const [{owner}] = await place.server.query<{owner: string}>(
      `select pg_read_file('/proc/self/status') as owner`,
    )
    const uid = Number(/^Uid:\s+(\d+)/m.exec(owner)![1])
    await mkdir(join(disk, 'space'))
    execFileSync('chown', [String(uid), join(disk, 'space')])
    await place.server.query(`create tablespace small location '${join(disk, 'space')}'`)
    await place.server.query('alter database target set tablespace small')
  })
  afterAll(async () => {
    await place?.end()
    execFileSync('umount', ['--lazy', disk])
    await rm(disk, {recursive: true, force: true})
  })

  test.each(['swap', 'in-place'] as const)('stays as it is (%s)', async (strategy) => {
    const {error, document} = await place.failingRestore({strategy, safetyBackup: true})
    expect(error).toMatchObject({code: 'RESTORE_FAILED', exitCode: 6})
    expect(error.message).toMatch(/No space left on device.*The target is as it was before\.$/s)
    expect(document.targetState).toBe('rolled-back')
    expect(document.findings).toMatchObject([{code: 'TARGET_SPACE', severity: 'warning'}])
    await place.quiet()
    expect(await place.state()).toBe('former')
    expect(await besideTarget(place)).toEqual([])
  })
})
