import {afterEach, beforeEach, expect, test} from '@jest/globals'
import {chmod, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {EarlyIndexes} from '../../src/engine/archive/early-indexes.js'
import type {DataEntry, TableOfContents} from '../../src/engine/archive/archive-toc.js'
import type {RestoreToolRequest} from '../../src/engine/archive/run-restore-tool.js'
import {isAlive, until} from '../support/processes.js'
import {sampleManifest} from './sample-manifest.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'early-indexes-'))
})
afterEach(() => rm(folder, {recursive: true}))

const tables: DataEntry[] = [1, 2].map((id) => ({schema: 'shop', name: `t${id}`, needs: [id]}))
const index = (id: number, table: number) => ({
  id,
  kind: 'INDEX',
  schema: 'shop',
  tag: `i${id}`,
  definition: '',
  copy: '',
  needs: [table],
  isAfterData: true,
})
const contents: TableOfContents = {
  numberBytes: 4,
  entriesWithData: 2,
  data: new Map(tables.map((table, at) => [at, table])),
  entries: [index(11, 1), index(12, 2)],
  fileNames: [],
}

/** With a pg_restore that takes longer than anybody waits. */
async function slowRequest(): Promise<RestoreToolRequest> {
  const program = join(folder, 'pg_restore')
  await writeFile(program, `#!/bin/sh\necho $$ >>'${folder}/begun'\nexec sleep 600\n`)
  await chmod(program, 0o755)
  return {
    backup: {entry: {manifest: sampleManifest('2025-01-15T14:30:00.000Z')}},
    tools: {restore: program},
    env: {PATH: process.env.PATH},
    database: 'copy',
    options: [],
    stopAtFirstError: true,
    signal: new AbortController().signal,
  } as unknown as RestoreToolRequest
}

test('where the archive cannot be read on, what is being built is given up, and nothing more begun', async () => {
  const early = new EarlyIndexes(folder, join(folder, 'toc'), await slowRequest(), 2, () => true)
  for (const table of tables) early.filled(table, contents)
  const begun = async () =>
    (await readFile(join(folder, 'begun'), 'utf8').catch(() => '')).match(/\d+/g) ?? []
  await until(async () => (await begun()).length > 0, 'the first is being built')
  await early.abandon(new Error('The archive ends too early.'))
  const pids = await begun()
  expect(pids).toHaveLength(1)
  expect(isAlive(Number(pids[0]))).toBe(false)
})
