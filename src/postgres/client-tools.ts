import {access, constants, readdir, realpath} from 'node:fs/promises'
import {delimiter, join} from 'node:path'
import {DbbakError} from '../support/errors.js'
import {installHint} from './install-hint.js'
import {runTool} from './run-tool.js'

/** One installation of PostgreSQL's client programs. */
export interface ClientTools {
  /** The folder they are in. */
  folder: string
  /** As pg_dump says it: `15.18`. */
  version: string
  major: number
  dump: string
  restore: string
  psql: string
  dumpAll: string
}

export interface ToolSearch {
  env: Record<string, string | undefined>
  /** DBBAK_PG_BIN: look in this folder only. */
  pgBin?: string | undefined
}

const exe = process.platform === 'win32' ? '.exe' : ''

/** Folders with a version in the middle, by system: Debian/PGDG, Red Hat/PGDG, Homebrew, Postgres.app, Windows. */
const versionedFolders: [parent: string, name: RegExp, bin: string][] = [
  ['/usr/lib/postgresql', /^\d+$/, 'bin'],
  ['/usr', /^pgsql-\d+$/, 'bin'],
  ['/opt/homebrew/opt', /^(postgresql(@\d+)?|libpq)$/, 'bin'],
  ['/usr/local/opt', /^(postgresql(@\d+)?|libpq)$/, 'bin'],
  ['/Applications/Postgres.app/Contents/Versions', /^\d+$/, 'bin'],
  ['C:\\Program Files\\PostgreSQL', /^\d+$/, 'bin'],
]

/** Every installation of the client tools on this machine, oldest major first; each folder once. */
export async function findClientTools(search: ToolSearch): Promise<ClientTools[]> {
  const found = new Map<string, ClientTools>()
  for (const tools of await Promise.all(
    (await candidateFolders(search)).map((folder) => probe(folder, search)),
  )) {
    if (tools && !found.has(tools.folder)) found.set(tools.folder, tools)
  }
  return [...found.values()].sort((a, b) => a.major - b.major)
}

/**
 * The tools for dumping a server: of the closest major version that is not older than the server's.
 * @throws DbbakError CLIENT_TOOLS_NOT_FOUND, CLIENT_TOOLS_TOO_OLD
 */
export async function toolsForDump(serverMajor: number, search: ToolSearch): Promise<ClientTools> {
  const all = await findClientTools(search)
  return all.find(({major}) => major >= serverMajor) ?? missing(all, serverMajor, 'a backup', search)
}

/**
 * The tools for restoring an archive that pg_dump `dumpMajor` wrote: not older than the archive, and as close to it
 * as there are, since newer ones say things that an older target does not understand.
 * @throws DbbakError CLIENT_TOOLS_NOT_FOUND, CLIENT_TOOLS_TOO_OLD
 */
export async function toolsForRestore(dumpMajor: number, search: ToolSearch): Promise<ClientTools> {
  const all = await findClientTools(search)
  return all.find(({major}) => major >= dumpMajor) ?? missing(all, dumpMajor, 'a restore', search)
}

function missing(all: ClientTools[], wanted: number, use: string, search: ToolSearch): never {
  const suggestions = [
    installHint(wanted),
    'Or name the folder that holds them: DBBAK_PG_BIN=/path/to/bin',
    'Check what is found: dbbak doctor',
  ]
  if (all.length === 0) {
    const where = search.pgBin ? `in DBBAK_PG_BIN (${search.pgBin})` : 'on PATH or in the usual folders'
    throw new DbbakError(
      'CLIENT_TOOLS_NOT_FOUND',
      `pg_dump, pg_restore and psql were not found ${where}; ${use} needs them in version ${wanted} or newer.`,
      {suggestions},
    )
  }
  const versions = all.map(({version, folder}) => `${version} in ${folder}`).join(', ')
  throw new DbbakError(
    'CLIENT_TOOLS_TOO_OLD',
    `The client tools here are too old: ${use} needs version ${wanted} or newer, found ${versions}.`,
    {suggestions},
  )
}

async function candidateFolders({env, pgBin}: ToolSearch): Promise<string[]> {
  if (pgBin) return [pgBin]
  const onPath = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const versioned = await Promise.all(
    versionedFolders.map(([parent, name, bin]) => foldersIn(parent, name, bin)),
  )
  return [...onPath, ...versioned.flat()]
}

async function foldersIn(parent: string, name: RegExp, bin: string): Promise<string[]> {
  const entries = await readdir(parent).catch(() => [])
  return entries.filter((entry) => name.test(entry)).map((entry) => join(parent, entry, bin))
}

async function probe(folder: string, {env}: ToolSearch): Promise<ClientTools | undefined> {
  const program = (name: string) => join(folder, name + exe)
  try {
    // Debian's /usr/bin/pg_dump is a script that picks a version by rules of its own; the real ones are found beside it.
    const target = await realpath(program('pg_dump'))
    if (target.endsWith('pg_wrapper')) return undefined
    await Promise.all(['pg_restore', 'psql'].map((name) => access(program(name), constants.X_OK)))
    const {stdout} = await runTool(program('pg_dump'), ['--version'], {env: minimalEnvironment(env)})
    const version = /\(PostgreSQL\) (\d+)(\.\d+)?\S*/.exec(stdout)
    if (!version?.[1]) return undefined
    return {
      folder: await realpath(folder),
      version: version[1] + (version[2] ?? ''),
      major: Number(version[1]),
      dump: program('pg_dump'),
      restore: program('pg_restore'),
      psql: program('psql'),
      dumpAll: program('pg_dumpall'),
    }
  } catch {
    return undefined // not an installation that can be used: a folder without them, or for another system
  }
}

function minimalEnvironment(env: Record<string, string | undefined>): Record<string, string> {
  const keep = ['PATH', 'LD_LIBRARY_PATH', 'SystemRoot']
  return Object.fromEntries(keep.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
}
