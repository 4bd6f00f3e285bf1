import {access, constants, readdir, realpath} from 'node:fs/promises'
import {delimiter, dirname, join} from 'node:path'
import {runTool} from '../run-tool.js'

/** One installation of PostgreSQL's server programs. */
export interface ServerPrograms {
  /** The folder with `postgres` and `initdb`. */
  binFolder: string
  /** As postgres says it: `15.18`. */
  version: string
  major: number
}

type Env = Record<string, string | undefined>

const exe = process.platform === 'win32' ? '.exe' : ''

/** Folders with a version in the middle, by system: Debian/PGDG, Red Hat/PGDG, Arch/Alpine, Homebrew, Postgres.app, Windows. */
const versionedFolders: [parent: string, name: RegExp, bin: string][] = [
  ['/usr/lib/postgresql', /^\d+$/, 'bin'],
  ['/usr', /^pgsql-\d+$/, 'bin'],
  ['/usr/libexec', /^postgresql\d*$/, '.'],
  ['/opt/homebrew/opt', /^postgresql(@\d+)?$/, 'bin'],
  ['/usr/local/opt', /^postgresql(@\d+)?$/, 'bin'],
  ['/Applications/Postgres.app/Contents/Versions', /^\d+$/, 'bin'],
  ['C:\\Program Files\\PostgreSQL', /^\d+$/, 'bin'],
]

/** Every installation of a PostgreSQL server on this machine, oldest first. */
export async function findServerPrograms(env: Env): Promise<ServerPrograms[]> {
  const folders = await candidateFolders(env)
  const found = await Promise.all(folders.map((folder) => probe(folder, env)))
  const distinct = new Map(found.flatMap((programs) => (programs ? [[programs.binFolder, programs]] : [])))
  return [...distinct.values()].sort((a, b) => compareVersions(a.version, b.version))
}

/** The closest one that is not older than the wanted major version, and of that the newest minor version. */
export function closest(all: ServerPrograms[], major: number): ServerPrograms | undefined {
  const best = all.find((programs) => programs.major >= major)
  return all.findLast((programs) => programs.major === best?.major)
}

/** Looks whether a folder holds server programs that run here. */
export async function probe(folder: string, env: Env): Promise<ServerPrograms | undefined> {
  try {
    const binFolder = await linkedFolder(folder)
    await Promise.all(
      ['postgres', 'initdb'].map((name) => access(join(binFolder, name + exe), constants.X_OK)),
    )
    const {stdout} = await runTool(join(binFolder, `postgres${exe}`), ['--version'], {
      env: programEnvironment(env),
    })
    const version = /\(PostgreSQL\) (\d+(\.\d+)?)/.exec(stdout)?.[1]
    return version ? {binFolder, version, major: Number.parseInt(version)} : undefined
  } catch {
    return undefined // not there, or made for another system
  }
}

/** /usr/local/bin and the like hold links to the programs: where those lead is the installation. */
async function linkedFolder(folder: string): Promise<string> {
  return dirname(await realpath(join(folder, `postgres${exe}`)))
}

/** What a server program is given of our environment: nothing that could be a setting or a secret. */
export function programEnvironment(env: Env): Record<string, string> {
  const names = ['PATH', 'SystemRoot', 'TEMP', 'TMP', 'LD_LIBRARY_PATH']
  const kept = names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]))
  return {...(Object.fromEntries(kept) as Record<string, string>), LC_ALL: 'C', TZ: 'UTC'}
}

async function candidateFolders(env: Env): Promise<string[]> {
  const onPath = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const versioned = await Promise.all(
    versionedFolders.map(([parent, name, bin]) => foldersIn(parent, name, bin)),
  )
  return [...onPath, ...versioned.flat(), ...(await configuredFolder(env))]
}

async function foldersIn(parent: string, name: RegExp, bin: string): Promise<string[]> {
  const entries = await readdir(parent).catch(() => [])
  return entries.filter((entry) => name.test(entry)).map((entry) => join(parent, entry, bin))
}

async function configuredFolder(env: Env): Promise<string[]> {
  const asked = runTool(`pg_config${exe}`, ['--bindir'], {env: programEnvironment(env)})
  return asked.then(({stdout}) => [stdout.trim()]).catch(() => [])
}

function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', {numeric: true})
}
