import {readFile, rm, writeFile, chown} from 'node:fs/promises'
import {join} from 'node:path'
import type {Readable} from 'node:stream'
import {DbbakError} from '../../support/errors.js'
import type {RunAs} from './run-as.js'
import {programEnvironment, type ServerPrograms} from './server-programs.js'
import {endServerProcess, startServerProgram} from './server-process.js'

export interface InitRequest {
  programs: ServerPrograms
  /** An empty folder that belongs to the server's user. */
  dataFolder: string
  /** The folder around it: programs are started there, the password file lies there for a moment. */
  folder: string
  password: string
  runAs: RunAs | undefined
  env: Record<string, string | undefined>
  signal?: AbortSignal | undefined
}

/** The name of the superuser that every throw-away server has. */
export const superuser = 'postgres'

/**
 * Makes a database cluster with initdb, in UTF-8, sorted by bytes.
 * @throws DbbakError SCRATCH_FAILED with initdb's last words
 */
export async function initCluster(request: InitRequest): Promise<void> {
  const passwordFile = join(request.folder, 'password')
  await writeFile(passwordFile, `${request.password}\n`, {mode: 0o600})
  try {
    if (request.runAs) await chown(passwordFile, request.runAs.uid, request.runAs.gid)
    const output = await initdb(request, passwordFile, 'C.UTF-8')
    // Not every system has C.UTF-8; C is everywhere.
    if (output?.includes('invalid locale name')) await orFail(initdb(request, passwordFile, 'C'))
    else if (output !== undefined) await orFail(Promise.resolve(output))
  } finally {
    await rm(passwordFile, {force: true})
  }
}

async function orFail(failed: Promise<string | undefined>): Promise<void> {
  const output = await failed
  if (output === undefined) return
  throw new DbbakError('SCRATCH_FAILED', `The scratch server could not be prepared: ${lastLines(output)}`, {
    suggestions: [
      'Check what is found: dbbak doctor',
      'Try another kind of scratch server: --scratch embedded',
    ],
  })
}

/** @returns undefined when it went well, else what it said */
async function initdb(
  request: InitRequest,
  passwordFile: string,
  locale: string,
): Promise<string | undefined> {
  const {programs, dataFolder, folder, runAs, env, signal} = request
  signal?.throwIfAborted()
  const args = [
    '-D',
    dataFolder,
    '-U',
    superuser,
    `--pwfile=${passwordFile}`,
    '-E',
    'UTF8',
    `--locale=${locale}`,
  ]
  const more = ['--auth=scram-sha-256', '--no-sync', '--no-instructions']
  const running = startServerProgram(
    join(programs.binFolder, 'initdb'),
    [...args, ...optionsOf(programs, more)],
    {
      env: programEnvironment(env),
      folder,
      runAs,
      kind: 'tool',
    },
  )
  const stop = () => void endServerProcess(running, 'SIGTERM')
  signal?.addEventListener('abort', stop, {once: true})
  const output = Promise.all([textOf(running.child.stdout), textOf(running.child.stderr)])
  const how = await running.ended
  signal?.removeEventListener('abort', stop)
  signal?.throwIfAborted()
  return how === 'ended with exit code 0' ? undefined : [...(await output), `initdb ${how}`].join('\n')
}

function optionsOf({major}: ServerPrograms, options: string[]): string[] {
  return options.filter((option) => option !== '--no-instructions' || major >= 14)
}

async function textOf(stream: Readable | null): Promise<string> {
  let text = ''
  if (stream) for await (const chunk of stream.setEncoding('utf8')) text += String(chunk)
  return text
}

/** The last few lines of a text, on one. */
export function lastLines(text: string, count = 5): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.slice(-count).join(' | ') || 'it said nothing.'
}

/** The end of a log file, on one line. */
export async function lastLinesOf(file: string): Promise<string> {
  return lastLines(await readFile(file, 'utf8').catch(() => ''))
}
