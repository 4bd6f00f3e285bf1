import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {manifestName, verificationName} from '../../src/engine/naming.js'
import {checkRetention, pruneBackups, type PruneOptions} from '../../src/library/prune-backups.js'
import {LocalStorage} from '../../src/storage/local.js'
import {DbbakError} from '../../src/support/errors.js'
import {backupsAt, daysAgo, store, verify} from './prune-support.js'

let cwd: string
let backups: LocalStorage
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'prune-consent-'))
  backups = new LocalStorage(join(cwd, 'backups'))
})
afterEach(() => rm(cwd, {recursive: true, force: true}))

const now = new Date()
const keep = (days: number, database = 'shop', host?: string) =>
  store(backups, {at: daysAgo(days, now), database, host})
const prune = (options: PruneOptions) =>
  pruneBackups({env: {XDG_CACHE_HOME: join(cwd, 'cache')}, cwd, ...options})

describe('before anything is removed', () => {
  test('it is asked, and told what a dry run tells', async () => {
    const [kept, gone] = [await keep(1), await keep(40)]
    const dry = await prune({dryRun: true})
    let asked: unknown
    const done = await prune({confirm: async (plan) => void (asked = plan)})
    expect(asked).toEqual(dry)
    expect(done).toEqual({...dry, dryRun: false})
    expect(done.removed.map(({name}) => name)).toEqual([gone])
    expect((await backupsAt(backups)).whole).toEqual([kept])
  })

  test('a no removes nothing', async () => {
    const names = [await keep(1), await keep(40)]
    const confirm = () => Promise.reject(new DbbakError('CANCELLED', 'No.'))
    await expect(prune({confirm})).rejects.toMatchObject({code: 'CANCELLED'})
    expect((await backupsAt(backups)).whole).toEqual(names.sort())
  })

  test('nobody is asked where nothing goes, and nothing goes where nobody can be asked', async () => {
    await keep(1)
    const {removed} = await prune({confirm: () => Promise.reject(new Error('asked'))})
    expect(removed).toEqual([])
    await keep(40)
    await expect(prune({})).rejects.toMatchObject({code: 'CONFIRMATION_REQUIRED', exitCode: 2})
    expect((await backupsAt(backups)).whole).toHaveLength(2)
  })

  test('what changed while the question stood is looked at again: only what was agreed to goes, and only if it still would', async () => {
    const newest = await keep(1)
    const [proven, gone] = [await keep(40), await keep(50)]
    let late = ''
    const result = await prune({
      async confirm(plan) {
        expect(plan.removed.map(({name}) => name)).toEqual([proven, gone])
        await verify(backups, proven, plan.removed[0].id, 'passed')
        late = await keep(45)
      },
    })
    expect(result.removed.map(({name}) => name)).toEqual([gone])
    expect(result.kept.find(({name}) => name === late)?.reasons).toEqual(['it was not asked about'])
    expect((await backupsAt(backups)).whole).toEqual([newest, proven, late].sort())
    expect(await backups.head(verificationName(proven))).toBeDefined()
    expect(await backups.head(manifestName(gone))).toBeUndefined()
  })
})

describe('the config file', () => {
  const config = (text: string) => writeFile(join(cwd, 'dbbak.config.yaml'), text)

  test('retentionDays is the age, RETENTION_DAYS goes before it, and an option before both', async () => {
    await config('retentionDays: 60')
    for (const days of [1, 5, 20, 40, 80]) await keep(days)
    const removed = async (options: PruneOptions) => (await prune({dryRun: true, ...options})).removed.length
    expect(await removed({})).toBe(1)
    expect(await removed({env: {RETENTION_DAYS: '30'}})).toBe(2)
    expect(await removed({env: {RETENTION_DAYS: '30'}, keepDays: 10})).toBe(3)
    expect(await removed({keepDays: 0, keepLast: 2})).toBe(3)
  })

  test('a database with a retention of its own is not pruned by that of others', async () => {
    await config(`
retentionDays: 30
databases:
  eu: {url: 'postgresql://app@db.internal/shop', retentionDays: 100}
  us: {url: 'postgresql://app@other.internal/shop'}
`)
    const ones = [1, 60, 150]
    for (const days of ones) await keep(days)
    for (const days of ones)
      await store(backups, {at: daysAgo(days + 1, now), host: 'other.internal', systemIdentifier: '9'})
    for (const which of [{}, {of: 'shop'}])
      await expect(prune({force: true, ...which})).rejects.toMatchObject({
        code: 'OPTION_INVALID',
        exitCode: 2,
      })
    const removed = async (options: PruneOptions) =>
      (await prune({dryRun: true, ...options})).removed.map(({snapshotAt}) =>
        Math.round((now.getTime() - Date.parse(snapshotAt)) / 86_400_000),
      )
    expect(await removed({database: 'eu'})).toEqual([150])
    expect(await removed({database: 'us'})).toEqual([61, 151])
    expect(await removed({keepDays: 2})).toEqual([60, 61, 150, 151])
  })

  test('a database that moved to another of its hosts is pruned there too', async () => {
    await config(`databases: {shop: {url: 'postgresql://app@a.internal,b.internal/shop'}}`)
    await keep(40, 'shop', 'a.internal')
    await keep(1, 'shop', 'b.internal')
    expect((await prune({dryRun: true, database: 'shop'})).removed).toHaveLength(1)
  })

  test('a backup is not begun whose pruning would heed the rules of others', async () => {
    await config(`
retentionDays: 30
databases:
  shop: {url: 'postgresql://app@db.internal/shop', retentionDays: 365}
  blog: {url: '\${BLOG_URL}', retention: {yearly: 5}}
  crm: {url: 'postgresql://app@db.internal/crm'}
`)
    const check = (name: string, database?: string) =>
      checkRetention({env: {}, cwd, databaseUrl: `postgresql://app@127.0.0.1/${name}`, database})
    await expect(check('shop')).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      exitCode: 2,
      suggestions: expect.arrayContaining(['If it is that one: dbbak backup --database shop --prune']),
    })
    await expect(check('blog')).rejects.toMatchObject({code: 'OPTION_INVALID'}) // nobody can tell whose it is
    for (const name of ['crm', 'other']) await check(name)
    await check('whatever', 'shop')
  })
})
