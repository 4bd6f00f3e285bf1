import {existsSync} from 'node:fs'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {gunzipSync} from 'node:zlib'
import type {TestServer} from './servers.js'

/** Real databases. They are no part of the project and lie beside it, where they are there at all. */
const folder = fileURLToPath(new URL('../../../shared/data', import.meta.url))

export const sampleNames = ['pagila', 'chinook', 'lago'] as const
export type SampleName = (typeof sampleNames)[number]

const fileOf = (name: SampleName) => join(folder, `${name}.sql.gz`)

/** Why there are no sample databases here; undefined when they are there. For `needs`. */
export function missingSampleData(): string | undefined {
  const absent = sampleNames.filter((name) => !existsSync(fileOf(name)))
  return absent.length === 0 ? undefined : `no ${absent.join(', ')} in ../shared/data`
}

/** What each of them holds, so that one that could not be loaded is not taken for one. */
const tables: Record<SampleName, number> = {pagila: 15, chinook: 11, lago: 100}

/** Makes a database of the sample's name and loads it. @returns its URL */
export async function loadSample(server: TestServer, name: SampleName): Promise<string> {
  const url = await server.createDatabase(name)
  const script = gunzipSync(await readFile(fileOf(name))).toString('utf8')
  // Some of their lines ask for a role or an extension that is not here; the rest is wanted all the same.
  await server.psql(`\\set ON_ERROR_STOP 0\nset client_min_messages = error;\n${script}`, name)
  const [{n}] = await server.query<{n: number}>(`select count(*)::int as n from pg_stat_user_tables`, name)
  if (n < tables[name]) throw new Error(`${name} has only ${n} tables after loading it`)
  return url
}
