import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {
  restoreBackup,
  takeBackup,
  verifyBackups,
  type BackupOptions,
  type Manifest,
  type RestoreOptions,
  type VerifiedBackup,
  type VerifyOptions,
} from '../../src/index.js'
import {findClientTools, toolsForDump, type ClientTools} from '../../src/postgres/client-tools.js'
import {clientTools18} from './client-tools-18.js'
import {comparableDump, dumpDifferences, type ComparableDump} from './same-dump.js'
import {startServer, type ServerRequest, type TestServer} from './servers.js'

/** A server, a folder for backups, and the client tools: what it takes to back up and restore. */
export interface RoundTrip {
  server: TestServer
  tools: ClientTools
  /** What was warned of, by code, since the last `restoreInto`. */
  warnings: string[]
  /** Where backups go. */
  backups: string
  backUp(source: string, options?: BackupOptions): Promise<Manifest>
  verify(options?: VerifyOptions): Promise<VerifiedBackup>
  /** Restores the newest backup. @param target a database's name, or a URL */
  restoreInto(target: string, options?: RestoreOptions): Promise<void>
  /** How pg_dump's dumps of two databases differ; the first's is made once. */
  differences(source: string, copy: string): Promise<string[]>
  end(): Promise<void>
}

export interface RoundTripRequest extends ServerRequest {
  /** The folder of the client tools, where they are not the installed ones. */
  pgBin?: string | undefined
}

export async function openRoundTrip({pgBin: chosen, ...request}: RoundTripRequest = {}): Promise<RoundTrip> {
  const folder = await mkdtemp(join(tmpdir(), 'round-trip-'))
  const server = await startServer(request)
  const pgBin = chosen ?? (await fittingTools(server.major))
  const env = {PATH: process.env.PATH, HOME: folder, ...(pgBin ? {DBBAK_PG_BIN: pgBin} : {})}
  const tools = await toolsForDump(server.major, {env, pgBin})
  const known = new Map<string, ComparableDump>()
  const warnings: string[] = []
  /** Backups of several databases lie in one place here. */
  let last: string | undefined
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
    backups: join(folder, 'backups'),
    async backUp(source, options = {}) {
      const {backup} = await takeBackup({...run, databaseUrl: server.url(source), ...options})
      last = backup.database.name
      return backup
    },
    async verify(options = {}) {
      const {results} = await verifyBackups({
        ...run,
        latest: true,
        level: 'restore',
        testDatabaseUrl: server.url(),
        ...options,
      })
      return results[0]
    },
    async restoreInto(target, options = {}) {
      warnings.length = 0
      const databaseUrl = target.includes('://') ? target : server.url(target)
      await restoreBackup({
        ...run,
        databaseUrl,
        latest: true,
        of: last,
        force: true,
        verify: true,
        ...options,
      })
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

/** The folder of the tools of 18 where no installed ones are new enough. */
async function fittingTools(major: number): Promise<string | undefined> {
  const installed = await findClientTools({env: process.env})
  if (installed.some((tools) => tools.major >= major)) return undefined
  return (await clientTools18()).folder
}
