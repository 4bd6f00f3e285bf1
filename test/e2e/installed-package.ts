import {cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {outputOf} from '../support/run-command.js'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

/** The package as npm makes it, and as a user has it who installed it. */
export interface InstalledPackage {
  /** The sources in a folder of their own, without a build of before. */
  sources: string
  /** The files of the package. */
  packed: string[]
  /** A project of somebody else that depends on it. */
  project: string
  /** For `npm`, `npx` and what they start. */
  env: Record<string, string | undefined>
  remove(): Promise<void>
}

/** Packs a copy of the checkout and installs that into a folder whose name is hard to handle. */
export async function installPackage(): Promise<InstalledPackage> {
  const folder = await mkdtemp(join(tmpdir(), 'package-'))
  const sources = join(folder, 'sources')
  const project = join(folder, 'Ünïcode, blanks & a 100% (#1)')
  const env = npmEnvironment()
  await copyCheckout(sources)
  const [pack] = JSON.parse(
    jsonOf(await outputOf('npm', ['pack', '--json', '--pack-destination', folder], {cwd: sources, env})),
  )
  await mkdir(project)
  await writeFile(join(project, 'package.json'), '{"name": "project", "private": true}')
  const install = ['install', '--omit=dev', '--prefer-offline', '--no-audit', '--no-fund']
  await outputOf('npm', [...install, join(folder, pack.filename)], {cwd: project, env})
  return {
    sources,
    project,
    env,
    packed: pack.files.map(({path}: {path: string}) => path).sort(),
    remove: () => rm(folder, {recursive: true, force: true, maxRetries: 10}),
  }
}

/** Its packages are those of the checkout; its own folder of programs is what a build may change. */
async function copyCheckout(to: string): Promise<void> {
  const left = /^(node_modules|\.git|dist.*|coverage|backups|.*\.tgz)$/
  const names = (await readdir(checkout)).filter((name) => !left.test(name))
  for (const name of names) await cp(join(checkout, name), join(to, name), {recursive: true})
  const packages = join(checkout, 'node_modules')
  for (const name of await readdir(packages)) {
    const [from, link] = [join(packages, name), join(to, 'node_modules', name)]
    await mkdir(join(to, 'node_modules'), {recursive: true})
    if (name === '.bin') await cp(from, link, {recursive: true, verbatimSymlinks: true})
    else await symlink(from, link)
  }
  await rm(join(to, 'node_modules', '.bin', 'dbbak'), {force: true})
}

/** What the scripts print stands before it. */
const jsonOf = (output: string): string => output.slice(output.search(/^\[$/m))

/** Without what npm tells the scripts that it runs: these tests may be one of them. */
function npmEnvironment(): Record<string, string | undefined> {
  const own =
    /^(npm_(package|lifecycle|command|execpath|node_execpath|config_(local_prefix|prefix))|INIT_CWD|NODE_OPTIONS|NODE_ENV|DATABASE_URL|BACKUP_DIR|PG[A-Z]+$)/i
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))
}
