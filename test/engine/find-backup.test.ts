import {describe, expect, test} from '@jest/globals'
import {newestFirst, type Catalog, type CatalogEntry, type CatalogProblem} from '../../src/engine/catalog.js'
import {
  brokenSinceNewest,
  findBackup,
  findWithCautions,
  type BackupChoice,
} from '../../src/engine/find-backup.js'
import {onlyOf} from '../../src/engine/whose.js'
import {lacksOf} from '../../src/engine/newest-backup.js'
import type {Manifest} from '../../src/engine/manifest.js'
import {DbbakError} from '../../src/support/errors.js'
import {sampleManifest} from './sample-manifest.js'

function entry(snapshotAt: string, changes: Partial<Manifest> = {}, ending = '.dump.zst'): CatalogEntry {
  const manifest = sampleManifest(snapshotAt, changes)
  return {manifest, archive: manifest.id + ending, storedAt: new Date(snapshotAt), verification: null}
}

const problem = (key: string): CatalogProblem => ({
  key: `${key}.metadata.json`,
  code: 'ARCHIVE_MISSING',
  message: 'It is gone.',
})
const catalog = (backups: CatalogEntry[], problems: CatalogProblem[] = []): Catalog => ({
  backups: [...backups].sort(newestFirst),
  problems,
  unclaimed: [],
})

const january = entry('2025-01-15T14:30:00.000Z')
const february = entry('2025-02-15T14:30:00.000Z')
const safety = entry('2025-03-01T00:00:00.000Z', {kind: 'safety'})
const all = catalog([january, safety, february], [problem('shop_2025-01-20T00-00-00-000Z.sql')])
const find = (choice: BackupChoice, of = all) => findBackup(of, choice, '/backups')

function errorOf(choice: BackupChoice, of = all): DbbakError {
  try {
    find(choice, of)
  } catch (error) {
    if (error instanceof DbbakError) return error
    throw error
  }
  throw new Error('one was found')
}

test('the latest is the newest backup, never a safety backup', () => {
  expect(find({latest: true})).toBe(february)
  expect(errorOf({latest: true}, catalog([safety]))).toMatchObject({code: 'BACKUP_NOT_FOUND', exitCode: 2})
})

test('where there are backups of several databases, the newest is that of the one that is meant', () => {
  const crm = entry('2025-04-01T00:00:00.000Z', {
    id: 'crm_2025-04-01T00-00-00-000Z',
    database: {...january.manifest.database, name: 'crm'},
  })
  const mixed = catalog([january, february, crm])
  const shop = january.manifest.database
  const other = {name: 'other', host: 'elsewhere', port: 5432}
  expect(find({latest: true}, mixed)).toBe(crm)
  expect(find({latest: true, of: shop}, mixed)).toBe(february)
  expect(find({latest: true, preferring: shop}, mixed)).toBe(february)
  expect(find({notAfter: new Date('2025-05-01'), preferring: shop}, mixed)).toBe(february)
  expect(find({latest: true, preferring: other}, mixed)).toBe(crm)
  expect(find({latest: true, preferring: other, refusingOthers: true}, all)).toBe(february)
  expect(errorOf({latest: true, preferring: other, refusingOthers: true}, mixed)).toMatchObject({
    code: 'BACKUP_NAME_AMBIGUOUS',
    suggestions: [expect.stringContaining('--database'), expect.anything()],
  })
  expect(errorOf({latest: true, of: other}, mixed).code).toBe('BACKUP_NOT_FOUND')
})

describe('backups of databases of one name on two servers', () => {
  const production = {...january.manifest.database, host: 'a.example', systemIdentifier: '1'}
  const staging = {...production, host: 'b.example', systemIdentifier: '2'}
  const at = (day: string, database: typeof production) => entry(`2025-01-${day}T00:00:00.000Z`, {database})
  const [p1, s2, p3, s4] = [
    at('01', production),
    at('02', staging),
    at('03', production),
    at('04', staging),
  ] as const
  const both = catalog([p1, s2, p3, s4])

  test('the newest is that of the server that is meant', () => {
    expect(find({latest: true, preferring: production}, both)).toBe(p3)
    expect(find({latest: true, of: staging, preferring: production}, both)).toBe(s4)
    expect(find({latest: true, of: {name: 'shop'}, preferring: production}, both)).toBe(p3)
    expect(find({notAfter: new Date('2025-01-03T12:00:00Z'), preferring: staging}, both)).toBe(s2)
  })

  test('one that replaces something is not guessed', () => {
    const elsewhere = {...production, host: 'c.example'}
    expect(find({latest: true, preferring: elsewhere}, both)).toBe(s4)
    expect(errorOf({latest: true, preferring: elsewhere, refusingOthers: true}, both)).toMatchObject({
      code: 'BACKUP_NAME_AMBIGUOUS',
      message: expect.stringMatching(/b\.example:\d+, a\.example:\d+/),
    })
  })

  test('a database that has moved takes its backups along', () => {
    const moved = catalog([p1, p3, s4])
    const elsewhere = {...production, host: 'c.example'}
    expect(find({latest: true, preferring: elsewhere, refusingOthers: true}, moved)).toBe(s4)
    expect(find({notAfter: new Date('2025-01-03'), preferring: staging, refusingOthers: true}, moved)).toBe(
      p3,
    )
    expect(onlyOf(moved, staging).backups).toEqual([s4, p3, p1])
  })

  test('what a catalog holds of one is its backups, and what is not named like those of another', () => {
    const crm = entry('2025-01-05T00:00:00.000Z', {
      id: 'crm_2025-01-05T00-00-00-000Z',
      database: {...production, name: 'crm'},
    })
    const broken = ['shop_2025-01-20', 'crm_2025-01-20', 'own_2025-01-20'].map((name) =>
      problem(`${name}T00-00-00-000Z.sql`),
    )
    const mixed = catalog([p1, s2, p3, s4, crm], broken)
    expect(onlyOf(mixed, production)).toMatchObject({backups: [p3, p1], problems: [broken[0], broken[2]]})
    expect(onlyOf(mixed, crm.manifest.database)).toMatchObject({
      backups: [crm],
      problems: [broken[1], broken[2]],
    })
    expect(onlyOf(mixed, {name: 'shop'}).backups).toEqual([s4, p3, s2, p1])
  })
})

test('what is broken of one database is no news of another that lies beside it', () => {
  const crm = entry('2025-01-10T00:00:00.000Z', {
    id: 'crm_2025-01-10T00-00-00-000Z',
    database: {...january.manifest.database, name: 'crm'},
  })
  const beside = catalog([january, crm], [problem('shop_2025-01-20T00-00-00-000Z.sql')])
  expect(brokenSinceNewest(beside, january)).toHaveLength(1)
  expect(brokenSinceNewest(beside, crm)).toEqual([])
})

test('the newest not newer than a time may be exactly of that time', () => {
  expect(find({notAfter: new Date('2025-02-15T14:30:00.000Z')})).toBe(february)
  expect(find({notAfter: new Date('2025-02-15T14:29:59.999Z')})).toBe(january)
  expect(errorOf({notAfter: new Date('2025-01-01T00:00:00Z')}).message).toContain('2025-01-01T00:00:00.000Z')
})

test('times count as times, however many digits they are written with', () => {
  const without = entry('2025-02-15T14:30:00Z')
  const half = entry('2025-02-15T14:30:00.500Z')
  const micro = entry('2025-02-15T14:30:00.500900Z')
  const mixed = catalog([without, micro, half])
  expect(mixed.backups.at(-1)).toBe(without)
  expect(find({notAfter: new Date('2025-02-15T14:30:00.250Z')}, mixed)).toBe(without)
})

describe('the newest', () => {
  const now = new Date('2025-02-20T00:00:00Z')
  const part = entry('2025-02-16T00:00:00.000Z', {selection: {tables: ['orders']}})
  const future = entry('2031-01-01T00:00:00.000Z')
  const found = (of: Catalog, choice: {latest: true} | {notAfter: Date} = {latest: true}) => {
    const {entry: chosen, cautions} = findWithCautions(of, {...choice, now}, '/backups')
    return [chosen, ...cautions.map(({code, message}) => `${code}: ${message}`)]
  }

  test('is one of the whole database, and a newer one of a part is named', () => {
    expect(found(catalog([january, february, part]))).toEqual([
      february,
      `PARTIAL_BACKUP: ${february.manifest.id} is taken; ${part.manifest.id} holds only the table orders, and is newer: its name takes it.`,
    ])
    expect(found(catalog([january, part]), {notAfter: now})[0]).toBe(january)
    expect(find({name: part.manifest.id}, catalog([january, part]))).toBe(part)
    expect(found(catalog([part]))).toEqual([part, expect.stringContaining('no backup of the whole database')])
  })

  test('may leave something out: that is a way to back up a whole database', () => {
    const without = entry('2025-02-17T00:00:00.000Z', {selection: {excludeTableData: ['audit']}})
    expect(found(catalog([february, without]))).toEqual([without])
    expect(lacksOf(without, [without, february])).toEqual([
      {
        code: 'PARTIAL_BACKUP',
        message: `${without.manifest.id} holds all but the data of audit; the newest of everything is ${february.manifest.id}.`,
      },
    ])
    expect(lacksOf(february, [without, february])).toEqual([])
  })

  test('is none from the future, which is named, unless there is no other', () => {
    expect(found(catalog([january, future]))).toEqual([
      january,
      `BACKUP_IN_FUTURE: ${january.manifest.id} is taken; ${future.manifest.id} is from the future: a clock is or was wrong.`,
    ])
    expect(found(catalog([future]))).toEqual([future, expect.stringContaining('no other to take')])
    expect(found(catalog([future, part]))[0]).toBe(future)
    const soon = entry('2025-02-20T00:02:00.000Z')
    expect(found(catalog([january, soon]))).toEqual([soon])
    expect(
      brokenSinceNewest(catalog([january, future], [problem('shop_2025-02-01T00-00-00-000Z.sql')]), january),
    ).toHaveLength(1)
  })

  test('that is empty where one before it is not is told of with that', () => {
    const content = {...january.manifest.content, rowCount: 0}
    const empty = entry('2025-02-18T00:00:00.000Z', {content})
    expect(lacksOf(empty, [empty, february, january])).toEqual([
      {
        code: 'EMPTY_BACKUP',
        message: `${empty.manifest.id} holds no rows; ${february.manifest.id} held 2 rows.`,
      },
    ])
    expect(lacksOf(empty, [empty])).toEqual([])
  })
})

describe('by name', () => {
  test.each([
    ['its id', 'shop_2025-01-15T14-30-00-000Z'],
    ['its archive', 'shop_2025-01-15T14-30-00-000Z.dump.zst'],
    ['its manifest', 'shop_2025-01-15T14-30-00-000Z.dump.zst.metadata.json'],
    ['a beginning that only it has', 'shop_2025-01-15'],
  ])('%s finds it', (_, name) => {
    expect(find({name})).toBe(january)
  })

  test('a safety backup is found', () => {
    expect(find({name: 'shop_2025-03'})).toBe(safety)
  })

  test('a beginning that several have is refused with their names', () => {
    const error = errorOf({name: 'shop_2025'})
    expect(error).toMatchObject({code: 'BACKUP_NAME_AMBIGUOUS', exitCode: 2})
    for (const {archive} of [january, february]) expect(error.message).toContain(archive)
  })

  test('a whole name counts before a beginning', () => {
    const short = entry('2025-01-15T14:30:00.000Z', {id: 'shop'})
    const long = entry('2025-01-16T14:30:00.000Z', {id: 'shop_2'})
    expect(find({name: 'shop'}, catalog([short, long]))).toBe(short)
  })

  test('one that is damaged is refused with what is wrong with it, before anything is done', () => {
    const error = errorOf({name: 'shop_2025-01-20'})
    expect(error).toMatchObject({code: 'ARCHIVE_MISSING', exitCode: 3})
    expect(error.message).toContain('It is gone.')
  })

  test.each(['shop_2024', 'elsewhere', '2025-01-15', '*', '%', '../shop'])('%s finds none', (name) => {
    expect(errorOf({name}).code).toBe('BACKUP_NOT_FOUND')
  })
})

describe('broken since the newest', () => {
  const keys = (of: Catalog) => brokenSinceNewest(of).map(({key}) => key)

  test('is what by its name is newer than every whole backup', () => {
    const newer = problem('shop_2025-02-16T00-00-00-000Z.dump')
    expect(keys(catalog([january, february], [newer, problem('shop_2025-02-14T00-00-00-000Z.dir')]))).toEqual(
      [newer.key],
    )
  })

  test('is everything where there is no whole one', () => {
    expect(keys(catalog([safety], [problem('shop_2001-01-01T00-00-00-000Z.sql')]))).toHaveLength(1)
  })

  test('is no file of another program', () => {
    expect(keys(catalog([], [problem('photos'), problem('shop_2025-99-99T00-00-00-000Z.sql')]))).toEqual([])
  })
})
