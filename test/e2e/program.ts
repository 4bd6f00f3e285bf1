import {expect} from '@jest/globals'
import {spawn, type ChildProcess} from 'node:child_process'
import {mkdtemp, readdir, readFile, rm, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {findClientTools} from '../../src/postgres/client-tools.js'
import {clientTools18} from '../support/client-tools-18.js'

/** The program under test: that of the checkout, as built, or an installed one. */
const program = process.env.DBBAK_TEST_PROGRAM ?? fileURLToPath(new URL('../../bin/run.js', import.meta.url))

export interface ProgramOptions {
  /** Added to an environment in which nothing of this machine's settings is. */
  env?: Record<string, string | undefined>
  cwd?: string
  /** Whom it runs as, where the tests run as root. */
  user?: {uid: number; gid: number}
  /** A file instead of a pipe. */
  stdout?: number
}

export interface Ended {
  exitCode: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunningProgram {
  child: ChildProcess
  pid: number
  ended: Promise<Ended>
}

/** What --json prints; the tests say what they expect of it. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any

/** Starts the program by its command line, as a user does. */
export function startDbbak(args: string[], options: ProgramOptions = {}): RunningProgram {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: {...plainEnvironment(), ...options.env},
    stdio: ['ignore', options.stdout ?? 'pipe', 'pipe'],
    ...options.user,
  })
  return {child, pid: child.pid!, ended: endOf(child)}
}

export function dbbak(args: string[], options?: ProgramOptions): Promise<Ended> {
  return startDbbak(args, options).ended
}

/** Runs it with --json; fails unless it ends with this exit code and prints one document. */
export async function dbbakJson<Document = Json>(
  args: string[],
  options?: ProgramOptions,
  exitCode = 0,
): Promise<Document> {
  const run = await dbbak([...args, '--json'], options)
  if (run.exitCode !== exitCode)
    throw new Error(`dbbak ${args.join(' ')} ended with ${run.exitCode}:\n${run.stdout}\n${run.stderr}`)
  return JSON.parse(run.stdout) as Document
}

function endOf(child: ChildProcess): Promise<Ended> {
  const written = {stdout: '', stderr: ''}
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => (written[name] += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (exitCode, signal) => resolve({exitCode, signal, ...written}))
  })
}

/** PATH and where temporary files go. Nobody's .pgpass, service file, PG* variables or settings. */
function plainEnvironment(): Record<string, string | undefined> {
  const {PATH, TMPDIR} = process.env
  return {PATH, TMPDIR, HOME: join(tmpdir(), 'no-home')}
}

export interface Failure {
  code: string
  message: string
  suggestions: string[]
  exitCode: number
  causes?: string[]
}

/** What a command said as it failed, and everything it wrote on the way. */
export interface Failed {
  error: Failure
  /** The whole document that --json printed. */
  document: Json
  /** Of both runs. */
  output: string
}

/**
 * Runs a command that must fail, for people (with --verbose) and with --json, and holds both to what every failure
 * promises: exit code, stable code, one sentence, and suggestions that name only what there is.
 */
export async function failing(
  args: string[],
  options: ProgramOptions,
  wanted: {exitCode: number; code: string},
): Promise<Failed> {
  const forPeople = await dbbak([...args, '--verbose'], options)
  const forScripts = await dbbak([...args, '--json'], options)
  const output = [forPeople, forScripts].map(({stdout, stderr}) => stdout + stderr).join('\n')
  expect({output, exitCodes: [forPeople.exitCode, forScripts.exitCode]}).toEqual({
    output: expect.stringContaining(wanted.code),
    exitCodes: [wanted.exitCode, wanted.exitCode],
  })
  const document = JSON.parse(forScripts.stdout) as {error: Failure}
  const {error} = document
  expect(error).toMatchObject(wanted)
  expectSentence(error.message)
  expect(forPeople.stderr).toContain(`Code: ${wanted.code} (exit ${wanted.exitCode})`)
  expect(output).not.toMatch(/^ +at .*:\d+:\d+\)?$/m) // no stack
  expect(error.suggestions).not.toEqual([])
  for (const suggestion of error.suggestions) await expectTypable(suggestion)
  return {error, document, output}
}

/** A message is one sentence of words. */
export function expectSentence(message: string): void {
  expect(message).toMatch(/^\S.*[.?]$/s)
  expect(message).not.toMatch(/undefined|\[object|NaN|\.\.$/)
  expect(message.split('\n')).toHaveLength(1)
}

const helpTexts = new Map<string, Promise<string>>()

/** A suggestion that holds a command of ours must hold one that exists, with options that exist. */
async function expectTypable(suggestion: string): Promise<void> {
  const [, command, rest] = /\bdbbak ([a-z]+)(.*)$/.exec(suggestion) ?? []
  if (command === undefined) return
  const help = helpTexts.get(command) ?? helpOf(command)
  helpTexts.set(command, help)
  for (const [option] of rest.matchAll(/(?<= )--(?!help)[a-z-]+/g)) {
    const plain = option.replace('--no-', '--')
    const text = (await help).replaceAll('--[no-]', '--')
    expect({suggestion, exists: text.includes(`${plain}=`) || text.includes(`${plain} `)}).toEqual({
      suggestion,
      exists: true,
    })
  }
  expect({suggestion, help: await help}).toEqual({suggestion, help: expect.stringContaining('USAGE')})
}

async function helpOf(command: string): Promise<string> {
  return (await dbbak([command, '--help'])).stdout
}

/** Tests that run at the same time may put theirs into an argument, as users do; ours is told apart by this. */
const own = process.pid.toString(36)
/** A password that would break anything that does not quote, and its forms in which it must never be seen. */
export const secret = `s3cr3t${own}-Pässword${own}@:/`
const secretForms = [`s3cr3t${own}`, `Pässword${own}`, `P%C3%A4ssword${own}`]

export function expectNoSecret(text: string): void {
  for (const form of secretForms) expect(text).not.toContain(form)
}

/** Watches the argument lists of all processes while something runs; gives those in which the secret was seen. */
export async function secretArgumentsDuring(work: () => Promise<unknown>): Promise<string[]> {
  const seen = new Set<string>()
  let running = true
  const watching = (async () => {
    while (running)
      for (const line of await argumentLists())
        if (secretForms.some((form) => line.includes(form))) seen.add(line)
  })()
  try {
    await work()
  } finally {
    running = false
    await watching
  }
  return [...seen]
}

/** The argument lists of processes that hold a text, other than our own. */
export async function processesOf(text: string): Promise<string[]> {
  return (await argumentLists()).filter((line) => line.includes(text))
}

/** Of all processes but this one; empty on systems without /proc. */
async function argumentLists(): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const others = pids.filter((pid) => Number(pid) !== process.pid)
  const lists = others.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''))
  return (await Promise.all(lists)).map((list) => list.replaceAll('\0', ' '))
}

/** The settings with which the program finds client tools for a server of this version. */
export async function toolSettings(major: number): Promise<Record<string, string>> {
  const installed = await findClientTools({env: process.env})
  if (installed.some((tools) => tools.major >= major)) return {}
  const {folder, missing} = await clientTools18()
  if (folder === undefined) throw new Error(`There are no client tools for PostgreSQL ${major}: ${missing}`)
  return {DBBAK_PG_BIN: folder}
}

/** Everything at a destination, unfinished files too, by name and size; empty where it was never made. */
export async function filesAt(folder: string): Promise<Record<string, number>> {
  const names = await readdir(folder, {recursive: true}).catch(() => [] as string[])
  const files: Record<string, number> = {}
  for (const name of names.sort()) {
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (found?.isFile()) files[name] = found.size
  }
  return files
}

/** A folder for one test; removed after `work`. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'bad-input-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, {recursive: true, force: true, maxRetries: 10})
  }
}
