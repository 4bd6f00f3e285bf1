import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pruneBackups} from '../../src/library/prune-backups.js'
import {restoreBackup} from '../../src/library/restore-backup.js'
import {checkRetention} from '../../src/library/retention-options.js'
import {takeBackup} from '../../src/library/take-backup.js'
import {verifyBackups} from '../../src/library/verify-backups.js'
import {startReceiver, type HttpReceiver} from '../support/http-receiver.js'

let cwd: string
let receiver: HttpReceiver
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'early-failures-'))
  receiver = await startReceiver()
})
afterEach(async () => {
  await receiver.stop()
  await rm(cwd, {recursive: true, force: true})
})

const configure = (config: object) =>
  writeFile(
    join(cwd, 'dbbak.config.json'),
    JSON.stringify({notifications: [{type: 'webhook', url: receiver.url}], ...config}),
    {mode: 0o600},
  )
const run = () => ({cwd, env: {DATABASE_URL: 'postgresql://app@127.0.0.1:1/shop', HOME: cwd}})
const told = () => receiver.requests.map((request) => `${request.json().type} ${request.json().error.code}`)

test.each<[string, object]>([
  ['destination', {to: ['s3://${BUCKET}/shop']}],
  ['folder of tools', {pgBin: '${TOOLS}'}],
])('a backup that a %s stops whose variable is not set is told as failed', async (_, config) => {
  await configure(config)
  await expect(takeBackup(run())).rejects.toMatchObject({exitCode: expect.any(Number)})
  expect(told()).toEqual([expect.stringMatching(/^backup\.failure (CONFIG_INVALID|SERVER_UNREACHABLE)$/)])
})

test('a backup that is not begun for its retention is told as failed', async () => {
  await configure({retention: {days: '${DAYS}'}})
  const check = () => checkRetention(run())
  await expect(takeBackup(run(), check)).rejects.toMatchObject({code: 'CONFIG_INVALID', exitCode: 2})
  expect(told()).toEqual(['backup.failure CONFIG_INVALID'])
})

test('a verification and a restore whose store cannot even be opened are told as failed', async () => {
  await configure({})
  const from = 'azblob://backups/shop' // no account is set
  await expect(verifyBackups({...run(), from, all: true})).rejects.toThrow()
  await expect(restoreBackup({...run(), from, latest: true, force: true})).rejects.toThrow()
  expect(told()).toEqual([
    expect.stringMatching(/^verify\.failure /),
    expect.stringMatching(/^restore\.failure /),
  ])
  expect(receiver.requests.map((request) => request.json().destinations)).toEqual([[from], [from]])
})

test('a pruning whose destination comes from a variable that is not set is told as failed', async () => {
  await configure({to: ['./${FOLDER}']})
  await expect(pruneBackups({...run(), force: true})).rejects.toMatchObject({code: 'CONFIG_INVALID'})
  expect(told()).toEqual(['prune.failure CONFIG_INVALID'])
})
