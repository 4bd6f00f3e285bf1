import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {restoreBackup, takeBackup, type BackupOptions, type RestoreOptions} from '../../src/index.js'
import {toolsForDump, type ClientTools} from '../../src/postgres/client-tools.js'
import {comparableDump, dumpDifferences, type ComparableDump} from './same-dump.js'
import {startServer, type TestServer} from './servers.js'

/** A server, a folder for backups, and the client tools: what it takes to back up and restore. */
export interface RoundTrip {
  server: TestServer
  tools: ClientTools
  /** What was warned of, by code, since the last `restoreInto`. */
  warnings: string[]
  backUp(source: string, options?: BackupOptions): Promise<void>
  /** Restores the newest backup. @param target a database's name, or a URL */
  restoreInto(target: string, options?: RestoreOptions): Promise<void>
  /** How pg_dump's dumps of two databases differ; the first's is made once. */
  differences(source: string, copy: string): Promise<string[]>
  end(): Promise<void>
}

/** @param pgBin the folder of the client tools, where they are not the installed ones */
export async function openRoundTrip({
  major,
  pgBin,
}: {
  major: number
  pgBin?: string | undefined
}): Promise<RoundTrip> {
  const folder = await mkdtemp(join(tmpdir(), 'round-trip-'))
  const server = await startServer({major})
  const env = {PATH: process.env.PATH, HOME: folder, ...(pgBin ? {DBBAK_PG_BIN: pgBin} : {})}
  const tools = await toolsForDump(major, {env, pgBin})
  const known = new Map<string, ComparableDump>()
  const warnings: string[] = []
  const dump = async (database: string) => comparableDump(tools, await server.describe(database))
  const run = {
    env,
    cwd: folder,
    events: {warning: ({code}: {code: string}) => warnings.push(code)},
  }
  return {
    server,
    tools,
    warnings,
    async backUp(source, options = {}) {
      await takeBackup({...run, databaseUrl: server.url(source), ...options})
    },
    async restoreInto(target, options = {}) {
      warnings.length = 0
      const databaseUrl = target.includes('://') ? target : server.url(target)
      await restoreBackup({...run, databaseUrl, latest: true, force: true, verify: true, ...options})
    },
    async differences(source, copy) {
      const original = known.get(source) ?? (await dump(source))
      known.set(source, original)
      return dumpDifferences(original, await dump(copy))
    },
    async end() {
      await server.stop()
      await rm(folder, {recursive: true})
    },
  }
}
