import {fileURLToPath} from 'node:url'
import {quoteIdentifier} from '../../src/postgres/identifiers.js'
import type {TestServer} from './servers.js'

const script = (name: string) => ({file: fileURLToPath(new URL(`./${name}.sql`, import.meta.url))})

/** Makes a database that uses as much of PostgreSQL as one script can. @returns its URL */
export async function createFeatureRich(server: TestServer, name: string): Promise<string> {
  const url = await server.createDatabase(name)
  await server.psql(script('feature-rich'), name)
  return url
}

/** Makes a copy of a database in which much is lost, changed, and there that the original does not know. @returns its URL */
export async function createChangedCopy(server: TestServer, source: string, name: string): Promise<string> {
  const url = await server.createDatabase(name, `template ${quoteIdentifier(source)}`)
  await server.psql(script('changed-copy'), name)
  return url
}
