import {createWriteStream, type WriteStream} from 'node:fs'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {finished} from 'node:stream/promises'
import {guardian} from '../../support/guardian.js'
import {Contents} from './archive-contents.js'
import {
  runRestoreTool,
  runRestoreToolOnFile,
  type RestoreToolRequest,
  type RestoreToolResult,
} from './run-restore-tool.js'

/**
 * Restores a custom-format archive that can only be read once, from its beginning to its end, and all the same builds
 * several indexes at a time: definitions and rows from the stream, what comes after the rows (indexes, constraints,
 * triggers) from the table of contents alone, which is kept as it goes by.
 */
export async function runInParts(request: RestoreToolRequest, jobs: number): Promise<RestoreToolResult> {
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  try {
    const file = join(folder, 'contents.dump')
    const contents = new ContentsFile(file)
    const data = await runRestoreTool({
      ...request,
      options: [...request.options, '--section=pre-data', '--section=data'],
      onChunk: (chunk) => {
        contents.take(chunk)
        request.onChunk?.(chunk)
      },
    })
    await contents.end()
    if (data.failure && request.stopAtFirstError) return data
    request.onDataEnd?.()
    const rest = await runRestoreToolOnFile(
      {...request, options: [...request.options, '--section=post-data', `--jobs=${jobs}`]},
      file,
    )
    return {stderr: data.stderr + rest.stderr, failure: data.failure ?? rest.failure}
  } finally {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
}

/** What an archive holds before its data. */
class ContentsFile {
  private readonly contents = new Contents()
  private readonly file: WriteStream

  constructor(path: string) {
    this.file = createWriteStream(path, {flags: 'wx', mode: 0o600})
    this.file.on('error', () => {}) // told at the end
  }

  /** pg_restore reads past the last entry only for data; a piece of that does no harm. */
  take(chunk: Buffer): void {
    if (this.contents.isDone) return
    this.file.write(Buffer.from(chunk))
    this.contents.take(chunk)
  }

  async end(): Promise<void> {
    this.file.end()
    await finished(this.file)
  }
}
