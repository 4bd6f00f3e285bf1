import {createHash} from 'node:crypto'
import {glob, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cache = join(root, 'node_modules', '.cache', 'dbbak-test-source')

/**
 * The path of one of our modules (`support/guardian`) as JavaScript, for tests that start a process of its own with
 * it. Compiled from the sources as they are now, so that no test depends on a build.
 */
export async function compiled(module: string): Promise<string> {
  return join(await compiledSources(), `${module}.js`)
}

async function compiledSources(): Promise<string> {
  const sources = await readSources()
  const hash = createHash('sha256')
    .update(JSON.stringify([...sources, ts.version]))
    .digest('hex')
  const folder = join(cache, hash)
  if (await exists(folder)) return folder
  await removeOthers(hash)
  const work = await compileInto(await mkdtemp(join(await made(cache), 'work-')), sources)
  // Another worker may have been faster; its folder holds the same.
  await rename(work, folder).catch(() => rm(work, {recursive: true, force: true}))
  return folder
}

async function readSources(): Promise<[path: string, text: string][]> {
  const paths: string[] = []
  for await (const path of glob('**/*.ts', {cwd: join(root, 'src')})) paths.push(path)
  return Promise.all(
    paths
      .sort()
      .map(async (path): Promise<[string, string]> => [
        path,
        await readFile(join(root, 'src', path), 'utf8'),
      ]),
  )
}

async function compileInto(folder: string, sources: [string, string][]): Promise<string> {
  await writeFile(join(folder, 'package.json'), '{"type": "module"}')
  for (const [path, text] of sources) {
    const file = join(folder, path.replace(/\.ts$/, '.js'))
    await made(dirname(file))
    await writeFile(file, toJavaScript(text))
  }
  return folder
}

function toJavaScript(text: string): string {
  const compilerOptions = {
    module: ts.ModuleKind.ESNext,
    target: ts.ScriptTarget.ES2023,
    verbatimModuleSyntax: true,
  }
  return ts.transpileModule(text, {compilerOptions}).outputText
}

/** Older compilations, unless a run that goes on just now may use them. */
async function removeOthers(hash: string): Promise<void> {
  for await (const name of glob('*', {cwd: cache})) {
    const info = await stat(join(cache, name)).catch(() => undefined)
    const old = info !== undefined && Date.now() - info.mtimeMs > 3_600_000
    if (old && name !== hash) await rm(join(cache, name), {recursive: true, force: true})
  }
}

async function made(folder: string): Promise<string> {
  await mkdir(folder, {recursive: true})
  return folder
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
