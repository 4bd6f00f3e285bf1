import {execFile} from 'node:child_process'
import {readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import type {BackupOptions, ContentRecord} from '../../src/index.js'
import {createFeatureRich} from '../support/feature-rich.js'
import {openRoundTrip, type RoundTrip} from '../support/round-trip.js'

const selections: BackupOptions[] = [
  {},
  {schemas: ['shop']},
  {schemas: ['SHOP', '?xt']},
  {schemas: ['"Mixed Case"']},
  {schemas: [`"quo""te'd \\ $schema$"`]},
  {schemas: ['"new\nline; DROP TABLE x; --"']},
  {schemas: ['s*'], excludeTables: ['shop.[a-m]*']},
  {excludeSchemas: ['shop']},
  {excludeSchemas: ['"M*"', 'm*', 'ÜNÏ*']},
  {excludeSchemas: ['"M"*', 'ünï*']},
  {tables: ['shop.users']},
  {tables: ['users', '"Values"', 'values', '"Events 2025"']},
  {tables: ['shop.(users|orders)', 'SHOP."Odd columns"']},
  {tables: ['s*.*a*'], excludeTables: ['*.events*']},
  {tables: ['"ünïcode ✓".*', '*."ta""ble \'; -- \\"']},
  {tables: ['shop.events']},
  {tables: ['shop.events_2024']},
  {tables: ['shop.events_2024_?']},
  {tables: ['shop.events', 'shop.events_2024_a']},
  {tables: ['shop.by_mood_*']},
  {tables: ['shop.parent', 'shop.grandchild']},
  {tables: ['shop.happy', 'shop.filled', 'shop.huge']},
  {tables: ['shop.users_id_seq', 'shop.parent_id_seq']},
  {tables: ['shop.abroad', 'shop.partly*', 'shop.not_kept']},
  {excludeTables: ['shop.events_2024']},
  {excludeTables: ['shop.events']},
  {excludeTables: ['shop.by_mood_1', 'shop.partly_here', 'shop.users_id_seq', '*.*_id_seq']},
  {excludeTableData: ['shop.user*']},
  {excludeTableData: ['shop.events_2024_a', 'shop.orders', 'shop.filled', 'shop.by_mood']},
  {excludeTableData: ['*.*']},
  {schemas: ['shop', 'public'], excludeTableData: ['*.*_seq', 'never_*', 'no_columns', 'downwards']},
]

describe('the content record of a selection', () => {
  let place: RoundTrip
  let partitions: Map<string, string>

  beforeAll(async () => {
    place = await openRoundTrip()
    await createFeatureRich(place.server, 'rich')
    await place.server.query('alter database rich set search_path = "Mixed Case", shop')
    const rows = await place.server.query<{child: string; parent: string}>(
      `select format('%s.%s', cn.nspname, c.relname) as child, format('%s.%s', pn.nspname, p.relname) as parent
         from pg_inherits join pg_class c on c.oid = inhrelid join pg_namespace cn on cn.oid = c.relnamespace
         join pg_class p on p.oid = inhparent join pg_namespace pn on pn.oid = p.relnamespace where c.relispartition`,
      'rich',
    )
    partitions = new Map(rows.map(({child, parent}) => [child, parent]))
  })
  afterAll(() => place.end())

  test.each(selections.map((selection) => [JSON.stringify(selection), selection] as const))(
    'is what pg_dump took: %s',
    async (_, selection) => {
      const {content, files} = await place.backUp('rich', {...selection, compress: 'none'})
      const archive = await readArchive(join(place.backups, files[0].path))

      expect(namesOf(content.tables)).toEqual(
        archive
          .namesOf('TABLE', 'FOREIGN TABLE')
          .filter((name) => !archive.namesOf('TABLE').includes(partitions.get(name) ?? '')),
      )
      expect(content.rowCount).toBe(archive.rows)
      expect(namesOf(content.sequences)).toEqual(archive.namesOf('SEQUENCE'))
      expect(movedSequences(content)).toEqual(archive.positions)
      expect(namesOf(content.materializedViews ?? [])).toEqual(archive.namesOf('MATERIALIZED VIEW'))
      expect(namesOf((content.materializedViews ?? []).filter(({populated}) => populated))).toEqual(
        archive.namesOf('MATERIALIZED VIEW DATA'),
      )
      expect(content.extensions.map(({name}) => name)).toEqual(
        // plpgsql is there already, so no dump holds it.
        [
          ...archive.namesOf('EXTENSION').map((name) => name.replace(/^-\./, '')),
          ...(selection.schemas || selection.tables ? [] : ['plpgsql']),
        ].sort(),
      )
      expect(content.largeObjects).toBe(archive.largeObjects)
    },
  )

  test('refuses one that nothing matches', async () => {
    for (const selection of [{schemas: ['"SHOP"']}, {tables: ['nothing_*', '"USERS"']}]) {
      await expect(place.backUp('rich', selection)).rejects.toMatchObject({code: 'NOTHING_SELECTED'})
    }
    expect((await readdir(place.backups)).filter((name) => name.includes('NOTHING'))).toEqual([])
  })
})

const oneLine = (name: string) => name.replaceAll('\n', ' ')
const namesOf = (objects: {schema: string; name: string}[]) =>
  objects.map(({schema, name}) => oneLine(`${schema}.${name}`)).sort()

/** Where the sequences stand that do not stand where a new one would. */
const movedSequences = ({sequences}: ContentRecord) =>
  sequences
    .filter(({isCalled, lastValue}) => isCalled || lastValue === '32767')
    .map(({lastValue, isCalled}) => `${lastValue} ${isCalled}`)
    .sort()

interface Archive {
  /** The objects of some kinds, as `schema.name`, sorted. */
  namesOf(...kinds: string[]): string[]
  rows: number
  /** Of the sequences that have been called or set. */
  positions: string[]
  largeObjects: number
}

/** What is in an archive, by what pg_restore makes of it. */
async function readArchive(file: string): Promise<Archive> {
  const {stdout} = await promisify(execFile)('pg_restore', ['--file=-', file], {maxBuffer: 1 << 30})
  const entries: {kind: string; name: string}[] = []
  const positions: string[] = []
  let rows = 0
  let inCopy = false
  for (const line of stdout.split('\n')) {
    if (inCopy) {
      if (line === '\\.') inCopy = false
      else rows++
      continue
    }
    const entry = /^-- (?:Data for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: /.exec(line)
    if (entry) entries.push({kind: entry[2], name: `${entry[3]}.${entry[1]}`})
    const position = /^SELECT pg_catalog\.setval\('.*', (-?\d+), (true|false)\);$/.exec(line)
    if (position && (position[2] === 'true' || position[1] === '32767'))
      positions.push(`${position[1]} ${position[2]}`)
    inCopy = / FROM stdin;$/.test(line) // names may hold line breaks, and a table no columns
  }
  const largeObjects = new Set(
    [...stdout.matchAll(/^SELECT pg_catalog\.lo_create\('(\d+)'\)/gm)].map(([, oid]) => oid),
  )
  return {
    namesOf: (...kinds) =>
      entries
        .filter(({kind}) => kinds.includes(kind))
        .map(({name}) => name)
        .sort(),
    rows,
    positions: positions.sort(),
    largeObjects: largeObjects.size,
  }
}
