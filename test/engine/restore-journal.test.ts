import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {readdir, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import type {Client} from 'pg'
import type {StoredBackup} from '../../src/engine/archive/open-archive.js'
import {readCatalog} from '../../src/engine/catalog.js'
import type {Events} from '../../src/engine/events.js'
import {findBackup} from '../../src/engine/find-backup.js'
import {
  commentBehindJournal,
  journalFinding,
  newJournal,
  readJournal,
  removeJournal,
  safetyOfJournal,
  writeJournal,
  type JournaledBackup,
  type RestoreJournal,
} from '../../src/engine/restore/journal.js'
import type {Target} from '../../src/engine/restore/preflight.js'
import {replaceStepByStep} from '../../src/engine/restore/strategies/step-by-step.js'
import {checkTables} from '../../src/engine/restore/table-checks.js'
import {leaveSession, openTargetSession} from '../../src/engine/restore/target-session.js'
import {describeContent, usableLocks} from '../../src/engine/restore/target.js'
import {toolsForRestore} from '../../src/postgres/client-tools.js'
import {emptyDatabase} from '../../src/postgres/empty-database.js'
import {claimDatabase} from '../../src/postgres/operation-lock.js'
import {describeServer} from '../../src/postgres/server.js'
import {LocalStorage} from '../../src/storage/local.js'
import type {DbbakError} from '../../src/support/errors.js'
import {compiled} from '../support/compiled.js'
import {createFeatureRich} from '../support/feature-rich.js'
import {needs} from '../support/needs.js'
import {doctor, forgetBackups, openRestorePlace, type RestorePlace} from '../support/restore-place.js'
import {comparableDump, dumpDifferences} from '../support/same-dump.js'
import {describeUrl, missingServer, startServer, type TestServer} from '../support/servers.js'

/** Room for some 770 locks: enough for pg_dump, a fraction of what dropping or making all tables takes. */
const fewLocks = {max_locks_per_transaction: '24', max_connections: '20'}

/** Tables with rows, foreign keys in a row and all to one, partitions with a foreign key to them, views, large objects. */
const manyObjects = (schema: string, tables: number) => `
  create schema if not exists ${schema};
  create type ${schema}.mood as enum ('good', 'bad');
  create function ${schema}.doubled(int) returns int immutable language sql as 'select $1 * 2';
  select format('create table ${schema}.t_%s (id int primary key, other int %s, mood ${schema}.mood default ''good'', note text unique, twice int default ${schema}.doubled(4))',
                i, case when i > 1 then 'references ${schema}.t_' || i - 1 end) from generate_series(1, ${tables}) i \\gexec
  select format('insert into ${schema}.t_%s (id, other, note) select g, g, ''${schema} '' || g from generate_series(1, 3) g', i) from generate_series(1, ${tables}) i \\gexec
  create table ${schema}.hub (id int primary key);
  select format('alter table ${schema}.t_%s add hub int references ${schema}.hub', i) from generate_series(1, ${tables}) i \\gexec
  select format('create view ${schema}.v_%s as select * from ${schema}.%s', i, case when i > 1 then 'v_' || i - 1 else 't_1' end) from generate_series(1, 20) i \\gexec
  create table ${schema}.events (id int, at date, primary key (id, at)) partition by range (at);
  select format('create table ${schema}.events_%s partition of ${schema}.events for values from (%L) to (%L)', i, date '2025-01-01' + i, date '2025-01-02' + i) from generate_series(1, 20) i \\gexec
  create table ${schema}.notes (id int primary key, event int, at date, foreign key (event, at) references ${schema}.events);
  create table ${schema}.logs (id int references ${schema}.notes, at date) partition by range (at);
  select format('create table ${schema}.logs_%s partition of ${schema}.logs for values from (%L) to (%L)', i, date '2025-01-01' + i, date '2025-01-02' + i) from generate_series(1, 20) i \\gexec
  insert into ${schema}.events select i, date '2025-01-01' + i from generate_series(1, 20) i;
  insert into ${schema}.notes select i, i, date '2025-01-01' + i from generate_series(1, 20) i;
  insert into ${schema}.logs select i, date '2025-01-01' + i from generate_series(1, 20) i;
  create publication ${schema}_changes for table ${schema}.t_1, ${schema}.t_2, ${schema}.events;
  select format('select lo_from_bytea(%s, %L)', hashtext('${schema}') % 1000000 + 2000000 + i, '${schema}') from generate_series(1, 300) i \\gexec`

const never = new AbortController().signal
const options = {
  noOwner: false,
  noPrivileges: false,
  terminateConnections: false,
  analyze: false,
  jobs: undefined,
}

let place: RestorePlace
let server: TestServer
let safetyFolder: string
const targets: Target[] = []

beforeAll(async () => {
  place = await openRestorePlace({settings: fewLocks})
  server = place.server
  safetyFolder = join(place.folder, 'safety')
  await server.psql(manyObjects('sales', 180), 'shop')
  await server.psql(manyObjects('old', 220), 'former')
}, 120_000)
afterAll(() => place.end())
beforeEach(() => place.resetTarget())
afterEach(async () => {
  for (const target of targets.splice(0)) await leaveSession(target)
  await forgetBackups(place)
  await rm(safetyFolder, {recursive: true, force: true})
})

/** As `preflight` gives it, without its findings: a lock table that is too small is what this is about. */
async function openTarget(url = server.url('target'), signal = never): Promise<Target> {
  const session = await openTargetSession(await describeUrl(url), 30_000, signal)
  const {client} = session
  const description = await describeServer(client)
  expect(await claimDatabase(client, 'exclusive')).toBe(true)
  const target: Target = {
    ...session,
    lockTimeoutMs: 30_000,
    server: description,
    content: await describeContent(client, description),
    strategy: {name: 'in-place', way: 'steps', reason: ''},
    tools: await toolsForRestore(server.major, {env: place.env}),
    findings: [],
    rolesToCreate: {names: [], statements: []},
    part: undefined,
    cutOff: undefined,
  }
  targets.push(target)
  return target
}

async function stored({id, destination}: JournaledBackup): Promise<StoredBackup> {
  const store = new LocalStorage(destination)
  return {store, entry: findBackup(await readCatalog(store), {name: id}, destination)}
}

const backUpShop = async (more = {}) =>
  stored({id: (await place.backUp(more)).id, destination: place.backups})

/** The way back. */
async function backUpTarget(databaseUrl = server.url('target')): Promise<StoredBackup> {
  const {id} = await place.backUp({databaseUrl, to: [safetyFolder], name: 'safety'})
  return stored({id, destination: safetyFolder})
}

async function ready(
  more = {},
  signal = never,
): Promise<Required<Omit<Run, 'events' | 'signal'>> & {safety: StoredBackup}> {
  const [backup, safety] = [await backUpShop(more), await backUpTarget()]
  return {backup, safety, target: await openTarget(undefined, signal)}
}

const brokenCheck = `
  create function fine(int) returns boolean language sql as 'select true';
  create table zz_checked (id int check (fine(id)));
  insert into zz_checked values (1);
  create or replace function fine(int) returns boolean language sql as 'select false'`

/** A backup whose restore fails at a row. */
async function backUpBrokenShop(): Promise<StoredBackup> {
  await server.query(brokenCheck, 'shop')
  try {
    return await backUpShop()
  } finally {
    await server.query('drop table zz_checked; drop function fine', 'shop')
  }
}

interface Run {
  target: Target
  backup: StoredBackup
  safety: StoredBackup | null
  events?: Events
  signal?: AbortSignal
}

const replacementOf = ({target, backup, safety, events = {}, signal = never}: Run) =>
  replaceStepByStep(backup, target, safety && {backup: safety}, options, {
    search: {env: place.env},
    events,
    signal,
  })

/** What the engine does with a replacement: fill, check, commit; or undo. @returns what went wrong */
async function replace(run: Run): Promise<unknown> {
  const replacement = replacementOf(run)
  try {
    const client = await replacement.fill()
    await checkTables(client, run.backup.entry.manifest, [], true, never)
    await replacement.commit(false)
    return undefined
  } catch (error) {
    await replacement.undo()
    return error
  }
}

/** Runs something before each COMMIT in a session. */
function beforeCommit(client: Client, work: (nth: number) => Promise<unknown>): void {
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>
  let nth = 0
  const watched = async (...args: unknown[]) => {
    if (args[0] === 'commit') await work(++nth)
    return query(...args)
  }
  Object.assign(client, {query: watched})
}

const locksOf = async (pid: number) =>
  Number((await server.query<{n: string}>(`select count(*) as n from pg_locks where pid = ${pid}`))[0].n)

const journalNow = async () => {
  const target = await openTargetSession(await server.describe('target'), 30_000, never)
  try {
    return await readJournal(target.client)
  } finally {
    await leaveSession(target)
  }
}

const commentNow = async () =>
  (
    await server.query<{c: string | null}>(
      `select shobj_description(oid, 'pg_database') as c from pg_database where datname = 'target'`,
    )
  )[0].c

test('what one transaction cannot replace is replaced step by step, and never locks more than a quarter', async () => {
  const {backup, target, safety} = await ready()
  const {client, backend} = target
  await client.query('begin')
  await expect(emptyDatabase(client, true)).rejects.toThrow(/out of shared memory/)
  await client.query('rollback')
  await server.query(`comment on database target is 'the shop''s'`)
  const locks: number[] = []
  const journals = new Set<string>()
  beforeCommit(client, async () => {
    locks.push(await locksOf(backend.pid))
    journals.add((await commentNow())!)
  })

  expect(await replace({target, backup, safety})).toBeUndefined()

  expect(await place.state()).toBe('backup')
  expect(await journalNow()).toBeUndefined()
  expect(await commentNow()).toBe(`the shop's`)
  expect(locks.length).toBeGreaterThan(20)
  expect(Math.max(...locks)).toBeLessThanOrEqual(usableLocks(target.server.lockTable) / 4)
  // It was there before the first DROP became true, and until the last.
  for (const journal of journals) expect(journal).toMatch(/^A restore by dbbak is under way/)
})

test.each(['plain', 'directory'] as const)('also from the %s format', async (format) => {
  const {backup, target, safety} = await ready({format})
  expect(await replace({target, backup, safety})).toBeUndefined()
  expect(await place.state()).toBe('backup')
})

test('every kind of object goes and comes', async () => {
  const rich = await createFeatureRich(server, 'rich')
  const dump = async (name: string) => comparableDump(place.tools, await server.describe(name))
  const wanted = await dump('rich')
  const [backup, safety] = [
    await stored({id: (await place.backUp({databaseUrl: rich})).id, destination: place.backups}),
    await backUpTarget(),
  ]
  for (const [next, back] of [
    [backup, safety],
    [safety, backup],
    [backup, safety],
  ] as const) {
    const target = await openTarget()
    expect(await replace({target, backup: next, safety: back})).toBeUndefined()
    await leaveSession(target)
    if (next === safety) expect(await place.state()).toBe('former')
    else expect(dumpDifferences(wanted, await dump('target'))).toEqual([])
  }
  await server.dropDatabase('rich')
})

describe('a failure half-way brings the former content back', () => {
  test('a row that breaks a constraint', async () => {
    const [backup, safety] = [await backUpBrokenShop(), await backUpTarget()]
    const target = await openTarget()
    const error = await replace({target, backup, safety})
    expect(error).toMatchObject({code: 'RESTORE_FAILED', message: expect.stringMatching(/zz_checked/)})
    expect(await place.state()).toBe('former')
    expect(await journalNow()).toBeUndefined()
  })

  test('a row of a plain dump is never run as a statement', async () => {
    await server.createDatabase('witness')
    await backUpShop({format: 'plain', compress: 'none'})
    await doctor(place, (dump) =>
      dump.replace(/^COPY public\.customers .*\n/m, (copy) =>
        copy.replace('customers', 'missing').concat('; drop database witness;\n'),
      ),
    )
    const [id] = (await readdir(place.backups)).filter((name) => name.endsWith('.sql'))
    const [backup, safety] = [await stored({id, destination: place.backups}), await backUpTarget()]
    const target = await openTarget()
    expect(await replace({target, backup, safety})).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(/"public.missing" does not exist/),
    })
    expect(await place.state()).toBe('former')
    await server.query('drop database witness')
  })

  test('the server’s process ends while it empties', async () => {
    const {backup, target, safety} = await ready()
    beforeCommit(target.client, async (nth) => {
      if (nth === 10) await server.query(`select pg_terminate_backend(${target.backend.pid})`)
    })
    expect(await replace({target, backup, safety})).toMatchObject({code: 'CONNECTION_LOST'})
    expect(await place.state()).toBe('former')
    expect(await journalNow()).toBeUndefined()
  })

  test('the tool’s process on the server ends while it restores', async () => {
    const {backup, target, safety} = await ready()
    let ended = 0
    const tools = `from pg_stat_activity where application_name = 'dbbak restore tool' and query like 'CREATE TABLE%'`
    const events: Events = {
      activityStarted(name) {
        if (!name.startsWith('Restoring shop')) return
        const strike = async () => {
          while (ended === 0) ended = (await server.query(`select pg_terminate_backend(pid) ${tools}`)).length
        }
        void strike()
      },
    }
    expect(await replace({target, backup, safety, events})).toMatchObject({code: 'RESTORE_FAILED'})
    expect(ended).toBe(1)
    expect(await place.state()).toBe('former')
  })

  test('the whole server is killed and comes back', async () => {
    const {backup, target, safety} = await ready()
    let back: Promise<void> | undefined
    beforeCommit(target.client, async (nth) => {
      if (nth !== 10) return
      await server.kill('SIGKILL')
      back = server.start()
    })
    expect(await replace({target, backup, safety})).toMatchObject({code: 'CONNECTION_LOST'})
    await back
    expect(await place.state()).toBe('former')
  })

  test('Ctrl-C', async () => {
    const stop = new AbortController()
    const {signal} = stop
    const {backup, target, safety} = await ready({}, signal)
    beforeCommit(target.client, async (nth) => {
      if (nth === 10) stop.abort(new Error('Ctrl-C'))
    })
    expect(await replace({target, backup, safety, signal})).toMatchObject({message: 'Ctrl-C'})
    expect(await place.state()).toBe('former')
    expect(await journalNow()).toBeUndefined()
  })

  test('an empty target is empty again', async () => {
    const backup = await backUpBrokenShop()
    await server.dropDatabase('target')
    await server.createDatabase('target')
    const target = await openTarget()
    expect(target.content.isEmpty).toBe(true)
    expect(await replace({target, backup, safety: null})).toMatchObject({code: 'RESTORE_FAILED'})
    expect((await describeContent(target.client, target.server)).isEmpty).toBe(true)
    expect(await journalNow()).toBeUndefined()
  })
})

test('what the server still does for a restore that was killed is ended first', async () => {
  const {backup, target, safety} = await ready()
  const left = await openTargetSession(await server.describe('target'), 1000, never)
  await left.client.query(`set application_name = 'dbbak restore tool'; begin; lock table old.t_5`)
  expect(await replace({target, backup, safety})).toBeUndefined()
  expect(await place.state()).toBe('backup')
  await expect(left.client.query('commit')).rejects.toThrow()
})

describe('nothing is dropped', () => {
  test('without a way back', async () => {
    const {backup, target} = await ready()
    expect(await replace({target, backup, safety: null})).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(/needs a safety backup/),
    })
    expect(await place.state()).toBe('former')
    expect(await journalNow()).toBeUndefined()
  })

  test('while others are connected', async () => {
    const {backup, target, safety} = await ready()
    const other = await openTargetSession(await server.describe('target'), 1000, never)
    await other.client.query(`set application_name = 'the shop'`)
    expect(await replace({target, backup, safety})).toMatchObject({
      message: expect.stringMatching(/the shop/),
    })
    await leaveSession(other)
    expect(await place.state()).toBe('former')
  })

  test('where the safety backup is damaged, and an earlier journal stays', async () => {
    const {backup, target, safety} = await ready()
    const earlier = newJournal({id: 'b', destination: '/d'}, null)
    await writeJournal(target.client, 'target', earlier)
    await writeFile(join(safetyFolder, safety.entry.archive), 'x')
    expect(await replace({target, backup, safety})).toMatchObject({code: 'ARCHIVE_SIZE_MISMATCH'})
    expect(await place.state()).toBe('former')
    expect(await journalNow()).toEqual(earlier)
  })
})

test('a rollback that fails says where the safety backup lies, and the journal stays', async () => {
  const [backup, safety] = [await backUpBrokenShop(), await backUpTarget()]
  const target = await openTarget()
  const replacement = replacementOf({target, backup, safety})
  await expect(replacement.fill()).rejects.toMatchObject({code: 'RESTORE_FAILED'})
  await rm(join(safetyFolder, safety.entry.archive))

  const {id} = safety.entry.manifest
  const error = (await replacement.undo().catch((thrown: unknown) => thrown)) as DbbakError
  expect(error).toMatchObject({code: 'ROLLBACK_FAILED', exitCode: 7})
  expect(error.message).toContain(`the safety backup ${id} at ${safetyFolder}`)
  expect(error.suggestions).toEqual([
    `Put back what was there before: dbbak restore ${id} --from ${safetyFolder} --strategy in-place --force`,
  ])
  const journal = await journalNow()
  expect(journal).toMatchObject({step: 'rolling-back'})
  expect(safetyOfJournal(journal!)).toEqual({id, destination: safetyFolder})
})

describe('dbbak itself is killed', () => {
  const moments = {
    'while it empties': `beforeCommit(target.client, (nth) => nth === 10 && die())`,
    'while it restores': `events.activityProgress = () => restoring && die()`,
    'just before its end': `atEnd = die`,
    'while it rolls back': `atEnd = () => replacement.undo(); beforeCommit(target.client, (nth) => atEnd.called && die())`,
  }
  const steps = {
    'while it empties': 'emptying',
    'while it restores': 'restoring',
    'just before its end': 'restoring',
    'while it rolls back': 'rolling-back',
  }

  test.each([
    ['while it empties', 'finish'],
    ['while it empties', 'go back'],
    ['while it restores', 'finish'],
    ['while it restores', 'go back'],
    ['just before its end', 'finish'],
    ['while it rolls back', 'go back'],
  ] as [keyof typeof moments, 'finish' | 'go back'][])(
    '%s: the next run can %s',
    async (moment, way) => {
      const [backup, safety] = [await backUpShop(), await backUpTarget()]
      const places = {
        backup: {id: backup.entry.manifest.id, destination: place.backups},
        safety: {id: safety.entry.manifest.id, destination: safetyFolder},
      }
      expect(await killedRun(places, moments[moment])).toBe('SIGKILL')
      const journal = (await journalNow()) as RestoreJournal
      expect(journal).toMatchObject({...places, step: steps[moment]})
      const finding = journalFinding(journal)
      expect(finding).toMatchObject({code: 'RESTORE_CUT_OFF', severity: 'warning'})
      const [finish, back] = [...finding.fix!.matchAll(/dbbak restore (\S+) --from (\S+) --strategy/g)].map(
        ([, id, destination]) => ({id: id, destination: destination}),
      )
      const chosen = await stored(way === 'finish' ? finish : back)

      const target = await claimedTarget()
      const known = await stored(safetyOfJournal(journal)!)
      expect(await replace({target, backup: chosen, safety: known})).toBeUndefined()
      expect(await place.state()).toBe(way === 'finish' ? 'backup' : 'former')
      expect(await journalNow()).toBeUndefined()
    },
    120_000,
  )
})

/** The server notices after a moment that the session of a killed process is gone. */
async function claimedTarget(): Promise<Target> {
  await place.quiet()
  return openTarget()
}

/** Replaces the target in a process of its own, which kills itself. @returns the signal that ended it */
async function killedRun(
  {backup, safety}: Record<'backup' | 'safety', JournaledBackup>,
  moment: string,
): Promise<NodeJS.Signals | null> {
  const module = async (name: string) => JSON.stringify(pathToFileURL(await compiled(name)).href)
  const script = join(place.folder, 'killed.mjs')
  await writeFile(
    script,
    `
    import {replaceStepByStep} from ${await module('engine/restore/strategies/step-by-step')}
    import {openTargetSession} from ${await module('engine/restore/target-session')}
    import {describeServer} from ${await module('postgres/server')}
    import {claimDatabase} from ${await module('postgres/operation-lock')}
    import {describeConnection} from ${await module('postgres/connection')}
    import {toolsForRestore} from ${await module('postgres/client-tools')}
    import {LocalStorage} from ${await module('storage/local')}
    import {readCatalog} from ${await module('engine/catalog')}
    import {findBackup} from ${await module('engine/find-backup')}
    const die = () => process.kill(process.pid, 'SIGKILL')
    const stored = async ({id, destination}) => {
      const store = new LocalStorage(destination)
      return {store, entry: findBackup(await readCatalog(store), {name: id}, destination)}
    }
    const where = {env: {}, homeFolder: '/nonexistent', userName: 'nobody'}
    const connection = await describeConnection(${JSON.stringify(server.url('target'))}, where, 'the test')
    const {signal} = new AbortController()
    const session = await openTargetSession(connection, 30000, signal)
    await claimDatabase(session.client, 'exclusive')
    const target = {
      ...session,
      lockTimeoutMs: 30000,
      server: await describeServer(session.client),
      tools: await toolsForRestore(${server.major}, {env: process.env}),
      rolesToCreate: {names: [], statements: []},
    part: undefined,
    cutOff: undefined,
    }
    let restoring = false
    let atEnd = () => {}
    const events = {activityStarted: (name) => (restoring = name.startsWith('Restoring shop'))}
    const beforeCommit = (client, work) => {
      const query = client.query.bind(client)
      let nth = 0
      client.query = async (...args) => {
        if (args[0] === 'commit') await work(++nth)
        return query(...args)
      }
    }
    const safety = {backup: await stored(${JSON.stringify(safety)})}
    const deps = {search: {env: process.env}, events, signal}
    const options = ${JSON.stringify(options)}
    const replacement = replaceStepByStep(await stored(${JSON.stringify(backup)}), target, safety, options, deps)
    ${moment}
    await replacement.fill()
    atEnd.called = true
    await atEnd()
  `,
  )
  const child = spawn(process.execPath, [script], {stdio: ['ignore', 'inherit', 'inherit']})
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  return signal
}

describe('an ordinary owner', () => {
  const url = () => server.url('owned', 'app', 'secret')
  beforeEach(async () => {
    await server.query(`create role app login password 'secret'`)
    await server.createDatabase('owned', 'owner app')
    await server.query(
      `create extension btree_gist; create schema topology authorization app; create extension citext schema topology`,
      'owned',
    )
    await server.psql(
      `set role app; create table mine (id serial primary key); insert into mine values (1), (2)`,
      'owned',
    )
  })
  afterEach(async () => {
    for (const target of targets.splice(0)) await leaveSession(target)
    await server.dropDatabase('owned')
    await server.query('drop owned by app; drop role if exists app')
    await server.query('drop role if exists else_one')
  })

  const rows = () => server.query('select id from mine order by id', 'owned')

  test('can replace; extensions of others stay', async () => {
    const backup = await backUpTarget(url())
    await server.psql('set role app; create table more (id int); delete from mine', 'owned')
    const safety = await backUpTarget(url())
    const target = await openTarget(url())
    expect(target.server.isSuperuser).toBe(false)
    const warnings: string[] = []
    const events: Events = {warning: ({code}) => warnings.push(code)}
    expect(await replace({target, backup, safety, events})).toBeUndefined()
    expect(await rows()).toEqual([{id: 1}, {id: 2}])
    expect(await server.query(`select to_regclass('more') as more`, 'owned')).toEqual([{more: null}])
    expect(warnings).toContain('EXTENSION_KEPT')
    expect(await readJournal(target.client)).toBeUndefined()
  })

  test('goes back', async () => {
    await server.psql(`set role app; ${brokenCheck}`, 'owned')
    const backup = await backUpTarget(url())
    await server.psql(
      'set role app; drop table zz_checked; drop function fine; insert into mine values (3)',
      'owned',
    )
    const safety = await backUpTarget(url())
    const target = await openTarget(url())
    expect(await replace({target, backup, safety})).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(/zz_checked/),
    })
    expect(await rows()).toEqual([{id: 1}, {id: 2}, {id: 3}])
    expect(await readJournal(target.client)).toBeUndefined()
  })

  test('does not begin where it could not make again what it drops', async () => {
    await server.query(
      'create role else_one; create table theirs (id int); alter table theirs owner to else_one; grant select on theirs to app',
      'owned',
    )
    const safety = await backUpTarget(url())
    const target = await openTarget(url())
    expect(await replace({target, backup: safety, safety})).toMatchObject({
      code: 'RESTORE_FAILED',
      message: expect.stringMatching(/objects of the role else_one/),
    })
    expect(await rows()).toEqual([{id: 1}, {id: 2}])
  })
})

const journal = newJournal(
  {id: 'shop_2025', destination: `/back ups/it's`},
  {id: 'safe', destination: 's3://bucket/x'},
)

test('a journal is text that somebody can have changed', async () => {
  const {client} = await openTarget()
  for (const [comment, why] of [
    [JSON.stringify({...journal, formatVersion: 2, comment: 'mine'}), /newer dbbak/],
    [JSON.stringify({...journal, step: 'sleeping'}), /step/],
    [JSON.stringify({...journal, backup: {id: '--force', destination: '/d'}}), /backup.id/],
    [JSON.stringify({...journal, safety: {id: 'a', destination: '/d\u001b[2J'}}), /safety.destination/],
    ['{"formatVersion":1', /.*/],
  ] as const) {
    await writeJournal(client, 'target', journal)
    const head = (await commentNow())!.split('{')[0]
    await client.query(`comment on database target is ${client.escapeLiteral(head + comment)}`)
    const found = (await readJournal(client))!
    expect(found).toEqual({unreadable: expect.stringMatching(why)})
    expect(journalFinding(found)).toMatchObject({code: 'RESTORE_CUT_OFF', severity: 'warning'})
    expect(safetyOfJournal(found)).toBeNull()
  }
  await removeJournal(client, 'target')
  expect(await commentNow()).toBeNull()
  await expect(writeJournal(client, 'renamed', journal)).rejects.toMatchObject({code: 'QUERY_FAILED'})
})

test('its commands can be typed as they stand', () => {
  expect(journalFinding(journal).fix).toBe(
    `Finish it: dbbak restore shop_2025 --from '/back ups/it'\\''s' --strategy in-place --force; or put back what was there before: dbbak restore safe --from s3://bucket/x --strategy in-place --force`,
  )
})

for (const major of [14, 18])
  needs('embedded-server', await missingServer(major))(`server ${major}`, () => {
    test('an ordinary owner writes, reads and removes a journal; the comment stays', async () => {
      const other = await startServer({major})
      try {
        await other.query(`create role app login password 'secret'`)
        await other.createDatabase('owned', 'owner app')
        await other.query(`comment on database owned is E'It''s \\\\ "here"'`)
        const session = await openTargetSession(
          await describeUrl(other.url('owned', 'app', 'secret')),
          1000,
          never,
        )
        const {client} = session
        expect(await readJournal(client)).toBeUndefined()
        await writeJournal(client, 'owned', journal)
        await writeJournal(client, 'owned', {...journal, step: 'restoring'})
        expect(await readJournal(client)).toEqual({...journal, step: 'restoring'})
        const [{c}] = await other.query<{c: string}>(
          `select shobj_description(oid, 'pg_database') as c from pg_database where datname = 'owned'`,
        )
        expect(commentBehindJournal(c)).toBe(`It's \\ "here"`)
        await removeJournal(client, 'owned')
        expect(await readJournal(client)).toBeUndefined()
        expect(
          await other.query(
            `select shobj_description(oid, 'pg_database') as c from pg_database where datname = 'owned'`,
          ),
        ).toEqual([{c: `It's \\ "here"`}])
        await leaveSession(session)
      } finally {
        await other.stop()
      }
    }, 60_000)
  })
