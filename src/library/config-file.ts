import {readFile, stat} from 'node:fs/promises'
import {homedir} from 'node:os'
import {basename, dirname, extname, join, resolve} from 'node:path'
import {pathToFileURL} from 'node:url'
import {DbbakError} from '../support/errors.js'
import type {Config} from './config-schema.js'
import {fillIn, type UnsetVariable} from './config-text.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** A config file that was read; relative paths in it start at `folder`. */
export interface ConfigFile {
  path: string
  /** Its short name, as messages and `doctor` show it. */
  name: string
  folder: string
  /** What `~` stands for in it. */
  home: string
  /** Where a variable is not set that a value is to come from, there is none. */
  config: Config
  unset: UnsetVariable[]
}

const names = ['yaml', 'yml', 'json', 'js', 'mjs'].map((ending) => `dbbak.config.${ending}`)

/**
 * Reads the config file that was named, or else the nearest one above the working folder.
 * @returns undefined when none was named and none is found
 * @throws DbbakError CONFIG_INVALID
 */
export async function loadConfigFile(from: {
  named: {path: string; by: string} | undefined
  cwd: string
  env: Environment
}): Promise<ConfigFile | undefined> {
  const path = from.named ? await existing(from.named, from.cwd) : await findConfigFile(from.cwd)
  if (path === undefined) return undefined
  const value = await readConfig(path)
  const name = basename(path)
  const {parseConfig} = await import('./config-schema.js') // zod is loaded only where there is a file to check
  const filled = fillIn(value, from.env, name)
  const home = from.env.HOME || homedir()
  return {path, name, folder: dirname(path), home, config: parseConfig(filled, name), unset: filled.unset}
}

/** A relative path means the same wherever in the project dbbak is started; URLs are what they are. */
export function pathIn({folder, home}: Pick<ConfigFile, 'folder' | 'home'>, path: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) return path
  return /^~(?=$|[/\\])/.test(path) ? join(home, path.slice(1)) : resolve(folder, path)
}

async function existing(named: {path: string; by: string}, cwd: string): Promise<string> {
  const path = resolve(cwd, named.path)
  if (await isFile(path)) return path
  throw invalid(`There is no config file ${named.path} (named by ${named.by}).`, [
    `Name one that exists, or leave ${named.by} out to search for ${names[0]} upwards from here.`,
  ])
}

/** Searches upwards; a repository is a world of its own, so the search ends at its root. */
async function findConfigFile(cwd: string): Promise<string | undefined> {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const found = await configFilesIn(folder)
    if (found.length > 1) {
      throw invalid(
        `There are several config files in ${folder}: ${found.map((path) => basename(path)).join(', ')}.`,
        ['Keep one of them, or name it: --config FILE'],
      )
    }
    if (found[0] !== undefined) return trusted(found[0])
    if ((await exists(join(folder, '.git'))) || dirname(folder) === folder) return undefined
  }
}

async function configFilesIn(folder: string): Promise<string[]> {
  const found: string[] = []
  for (const name of names) if (await isFile(join(folder, name))) found.push(join(folder, name))
  if (await hasConfigKey(join(folder, 'package.json'))) found.push(join(folder, 'package.json'))
  return found
}

/** A package.json that is broken or unreadable is somebody else's matter. */
async function hasConfigKey(packageFile: string): Promise<boolean> {
  try {
    const value = JSON.parse(await readFile(packageFile, 'utf8')) as {dbbak?: unknown} | null
    return value?.dbbak !== undefined
  } catch {
    return false
  }
}

/** In a folder that everybody can write to, a stranger's file could send backups elsewhere or run as code. */
async function trusted(path: string): Promise<string> {
  const [file, folder] = [await stat(path), await stat(dirname(path))]
  const user = process.getuid?.()
  const isForeign = user !== undefined && file.uid !== user
  if (!isForeign || (folder.mode & 0o002) === 0) return path
  throw invalid(`${path} belongs to another user and lies where everybody can write, so it was not read.`, [
    `If you trust it, name it: --config ${path}`,
  ])
}

async function readConfig(path: string): Promise<unknown> {
  const name = basename(path)
  switch (extname(path)) {
    case '.js':
    case '.mjs':
    case '.cjs':
      return importConfig(path)
    case '.json': {
      const value = parseJson(await readText(path), name)
      return name === 'package.json' ? (value as {dbbak?: unknown} | null)?.dbbak : value
    }
    default:
      return parseYaml(await readText(path), name)
  }
}

async function readText(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).replace(/^\uFEFF/, '')
  } catch (cause) {
    throw invalid(`${path} could not be read.`, [`Look at its permissions: ls -l ${path}`], cause)
  }
}

/** Only the place of a fault is told: the parser's own messages quote the text, and it may hold a password. */
async function parseYaml(text: string, name: string): Promise<unknown> {
  const {parseDocument} = await import('yaml')
  const document = parseDocument(text)
  const [fault] = document.errors
  if (fault !== undefined) {
    const at = fault.linePos?.[0]
    const [what] = fault.message.split(/:| at line |\n/, 1)
    throw invalid(`${name} is not valid YAML${at ? ` at line ${at.line}, column ${at.col}` : ''}: ${what}.`)
  }
  try {
    return document.toJS()
  } catch {
    throw invalid(
      `${name} is not valid YAML: an alias (*name) has no anchor (&name); text that begins with * needs quotes.`,
    )
  }
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const [place] = /line \d+ column \d+/.exec((error as Error).message) ?? []
    throw invalid(`${name} is not valid JSON${place ? ` at ${place}` : ''}.`)
  }
}

async function importConfig(path: string): Promise<unknown> {
  try {
    const module = (await import(pathToFileURL(path).href)) as {default?: unknown}
    return module.default
  } catch (cause) {
    throw invalid(`${basename(path)} could not be run.`, [`Run it by itself to see why: node ${path}`], cause)
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function invalid(message: string, suggestions: string[] = [], cause?: unknown): DbbakError {
  return new DbbakError('CONFIG_INVALID', message, {
    suggestions:
      suggestions.length > 0 ? suggestions : ['Correct the file, then see what is in force: dbbak doctor'],
    cause,
  })
}
