import {writeFileSync} from 'node:fs'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {guardian} from '../../support/guardian.js'
import type {ContentRecord} from '../manifest.js'
import {ArchiveFollower} from './archive-follower.js'
import type {DataEntry} from './archive-toc.js'
import {EarlyIndexes, writeList} from './early-indexes.js'
import {
  runRestoreTool,
  runRestoreToolOnFile,
  type RestoreToolRequest,
  type RestoreToolResult,
} from './run-restore-tool.js'

/** The indexes of a smaller table are built before another process would have begun. */
export const largeTableBytes = 8 * 1024 * 1024

/**
 * Restores a custom-format archive that can only be read once, from its beginning to its end, and all the same works on
 * several things at a time: definitions and rows from the stream; indexes and constraints from the table of contents
 * alone, which is kept as it goes by: those of filled tables beside the stream, the others several at a time after it.
 * Only for archives of pg_dump up to `newestKnownMajor`.
 */
export async function runInParts(request: RestoreToolRequest, jobs: number): Promise<RestoreToolResult> {
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  try {
    const file = join(folder, 'contents.dump')
    const isLarge = largeTables(request.backup.entry.manifest.content)
    const early = new EarlyIndexes(folder, file, request, jobs, isLarge)
    const stream = new WatchedStream(file, early)
    const data = await runRestoreTool({
      ...request,
      options: [...request.options, '--section=pre-data', '--section=data'],
      onChunk: (chunk) => {
        stream.take(chunk)
        request.onChunk?.(chunk)
      },
    })
    request.onDataEnd?.()
    const rest = await restoreRest(request, stream, {folder, file, jobs})
    const all = [data, ...rest]
    return {
      stderr: all.map(({stderr}) => stderr).join(''),
      failure: all.find(({failure}) => failure !== undefined)?.failure,
    }
  } finally {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
}

async function restoreRest(
  request: RestoreToolRequest,
  stream: WatchedStream,
  {folder, file, jobs}: {folder: string; file: string; jobs: number},
): Promise<RestoreToolResult[]> {
  const {results, left} = await stream.end()
  // Comments and grants, which belong to no section, go with what they are about.
  const options = [...request.options, '--section=post-data', `--jobs=${jobs}`]
  if (results.length > 0) {
    const list = join(folder, 'rest.list')
    await writeList(list, left)
    options.push(`--use-list=${list}`)
  }
  return [...results, await runRestoreToolOnFile({...request, options}, file)]
}

const largeTables = ({tables}: ContentRecord): ((table: DataEntry) => boolean) => {
  const large = new Set(
    tables.filter(({bytes}) => bytes >= largeTableBytes).map(({schema, name}) => `${schema}.${name}`),
  )
  return ({schema, name}) => large.has(`${schema}.${name}`)
}

/** Keeps the table of contents, and tells which table has been handed over. */
class WatchedStream {
  private readonly follower = new ArchiveFollower((entry) => this.begins(entry))
  private head: Buffer[] | undefined = []
  private current: DataEntry | undefined

  constructor(
    private readonly file: string,
    private readonly early: EarlyIndexes,
  ) {}

  take(chunk: Buffer): void {
    this.head?.push(Buffer.from(chunk))
    this.follower.take(chunk)
    if (this.head && this.follower.tableOfContents) this.writeHead()
  }

  /** Before the first data, so that an index can be begun by then; with the beginning of the data, which does no harm. */
  private writeHead(): void {
    writeFileSync(this.file, Buffer.concat(this.head ?? []), {flag: 'wx', mode: 0o600})
    this.head = undefined
  }

  private begins(entry: DataEntry | undefined): void {
    const contents = this.follower.tableOfContents
    if (this.current && contents) {
      if (this.head) this.writeHead()
      this.early.filled(this.current, contents)
    }
    this.current = entry
  }

  async end(): Promise<{results: RestoreToolResult[]; left: number[]}> {
    if (this.head) this.writeHead()
    this.begins(undefined) // the last one is filled too
    const {results, made} = await this.early.end()
    const entries = this.follower.tableOfContents?.entries ?? []
    return {results, left: entries.map(({id}) => id).filter((id) => !made.has(id))}
  }
}
