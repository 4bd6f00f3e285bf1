import {devNull} from 'node:os'
import type {Readable, Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import type {ClientTools} from '../../postgres/client-tools.js'
import {startTool, type RunningTool} from '../../postgres/run-tool.js'
import {DbbakError} from '../../support/errors.js'
import type {BackupFormat} from '../manifest.js'
import {localFolder, openArchive, type StoredBackup} from './open-archive.js'

export interface RestoreToolRequest {
  backup: StoredBackup
  tools: ClientTools
  /** The whole environment, connection included. */
  env: Record<string, string>
  /** For --dbname; undefined reads the archive to its end without a database. */
  database: string | undefined
  /** Further options of pg_restore. */
  options: string[]
  /** Stop at the first error, or go on and let the caller judge the messages. */
  stopAtFirstError: boolean
  signal: AbortSignal
  onProgress?: ((bytes: number) => void) | undefined
  /** The last row is restored. Not told where that cannot be seen from outside. */
  onDataEnd?: (() => void) | undefined
  /** Sees the archive as the tool gets it (not of the directory format). */
  onChunk?: ((chunk: Buffer) => void) | undefined
  /** Told what the tool says as it says it. */
  onMessages?: ((text: string) => void) | undefined
}

export interface RestoreToolResult {
  stderr: string
  /** Why the tool ended with a failure, if it did. */
  failure: DbbakError | undefined
}

/**
 * Runs pg_restore, or psql for a plain dump, over a backup.
 * @throws whatever reading the archive failed with; a failing tool is returned, since its messages need judging
 */
export async function runRestoreTool(request: RestoreToolRequest): Promise<RestoreToolResult> {
  if (request.backup.entry.manifest.format !== 'directory') return fromStream(request)
  const folder = await localFolder(request.backup, request.signal)
  try {
    return await outcome(start(request, [folder.path], 'ignore'))
  } finally {
    await folder.release()
  }
}

/** The same from a file that pg_restore can read as it likes, so that several of its jobs can. */
export function runRestoreToolOnFile(request: RestoreToolRequest, file: string): Promise<RestoreToolResult> {
  return outcome(start(request, [file], 'ignore'))
}

async function fromStream(request: RestoreToolRequest): Promise<RestoreToolResult> {
  const archive = await openArchive(request.backup, request.signal)
  const tool = start(request, [], 'pipe')
  const feeding = feed(archive, tool, request).then(
    () => undefined,
    (error: Error) => error,
  )
  const result = await outcome(tool)
  // After a failure nobody wants the rest. After a success it is read to its end all the same: pg_restore stops at the
  // last thing that it needs, and what is wrong behind that is wrong with the archive.
  if (result.failure) archive.destroy()
  const problem = await feeding
  // A tool that failed has closed its input; then its own words count, not the broken pipe.
  if (problem && !(result.failure && isBrokenPipe(problem))) throw problem
  return result
}

async function feed(
  archive: Readable,
  tool: RunningTool,
  {signal, onProgress, onChunk}: RestoreToolRequest,
): Promise<void> {
  let bytes = 0
  const counted = async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      bytes += chunk.length
      onProgress?.(bytes)
      onChunk?.(chunk)
      yield chunk
    }
  }
  const intoTool = async (source: AsyncIterable<Buffer>) => {
    try {
      for await (const chunk of source) await writeWhileOpen(tool.stdin, chunk)
    } finally {
      tool.stdin.end() // also when the archive cannot be read on: the tool would wait for the rest for ever
    }
  }
  await pipeline(archive, counted, intoTool, {signal})
}

/** Waits until there is room for more; does nothing once the reader is gone. */
async function writeWhileOpen(stream: Writable, chunk: Buffer): Promise<void> {
  if (stream.destroyed || stream.write(chunk)) return
  await new Promise<void>((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

function isBrokenPipe(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return (
    code === 'EPIPE' ||
    code === 'ERR_STREAM_PREMATURE_CLOSE' ||
    code === 'ECONNRESET' ||
    code === 'ERR_STREAM_DESTROYED'
  )
}

function start(request: RestoreToolRequest, files: string[], stdin: 'pipe' | 'ignore'): RunningTool {
  const {tools, env, signal, database} = request
  const plain = request.backup.entry.manifest.format === 'plain'
  const program = plain ? tools.psql : tools.restore
  const target = database === undefined ? [`--file=${devNull}`] : [`--dbname=${database}`]
  const options = plain ? psqlOptions(request) : restoreOptions(request, request.backup.entry.manifest.format)
  return startTool(program, [...options, ...target, '--no-password', ...files], {
    env,
    signal,
    stdin,
    stdout: 'ignore',
    onStderr: request.onMessages,
  })
}

function restoreOptions({options, stopAtFirstError}: RestoreToolRequest, format: BackupFormat): string[] {
  return [`--format=${format}`, ...(stopAtFirstError ? ['--exit-on-error'] : []), ...options]
}

function psqlOptions({stopAtFirstError}: RestoreToolRequest): string[] {
  return [
    '--no-psqlrc',
    '--quiet',
    '--echo-errors',
    `--set=ON_ERROR_STOP=${stopAtFirstError ? 1 : 0}`,
    `--output=${devNull}`,
  ]
}

async function outcome(tool: RunningTool): Promise<RestoreToolResult> {
  try {
    const {stderr} = await tool.finished
    return {stderr, failure: undefined}
  } catch (error) {
    if (!(error instanceof DbbakError) || error.code !== 'TOOL_FAILED') throw error
    return {stderr: typeof error.details?.stderr === 'string' ? error.details.stderr : '', failure: error}
  }
}
