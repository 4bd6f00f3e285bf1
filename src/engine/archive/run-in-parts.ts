import {writeFileSync} from 'node:fs'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {guardian} from '../../support/guardian.js'
import type {ContentRecord} from '../manifest.js'
import {ArchiveFollower} from './archive-follower.js'
import {readArchiveEntries} from './archive-entries.js'
import type {ArchiveEntry, DataEntry} from './archive-toc.js'
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
 * Restores an archive, working on several things at a time, also one that can only be read once, from its beginning to
 * its end (custom format): definitions and rows from the stream; indexes and constraints from the table of contents
 * alone, which is kept as it goes by: those of filled tables beside the stream, the others several at a time after it.
 * What depends on an order comes last, one thing after the other: see `lateEntries`.
 * Only for archives of pg_dump up to `newestKnownMajor`.
 */
export async function runInParts(request: RestoreToolRequest, jobs: number): Promise<RestoreToolResult> {
  const entries = await readArchiveEntries(request.backup, request.signal)
  const folder = await mkdtemp(join(tmpdir(), 'dbbak-'))
  const unregister = guardian().folder(folder)
  try {
    const lists = {first: join(folder, 'first.list'), late: join(folder, 'late.list')}
    const late = lateEntries(entries)
    const isLast = new Set(late)
    const others = entries.filter((entry) => !isLast.has(entry))
    await writeList(lists.first, idsOf(others))
    await writeList(lists.late, idsOf(late))
    const run = {request, jobs, folder, file: join(folder, 'contents.dump'), lists, entries: others}
    const {format} = request.backup.entry.manifest
    const main = format === 'directory' ? await fromFolder(run) : await fromStream(run)
    if (late.length === 0) return joined(main)
    const listed = {...request, options: [...request.options, `--use-list=${lists.late}`]}
    const last =
      format === 'directory' ? await runRestoreTool(listed) : await runRestoreToolOnFile(listed, run.file)
    return joined([...main, last])
  } finally {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
}

interface Run {
  request: RestoreToolRequest
  jobs: number
  folder: string
  /** Where the table of contents is kept. */
  file: string
  lists: {first: string; late: string}
  /** Those that are not late. */
  entries: ArchiveEntry[]
}

const idsOf = (entries: ArchiveEntry[]): number[] => entries.map(({id}) => id)

const privileges = new Set(['ACL', 'ACL LANGUAGE', 'DEFAULT ACL'])
const afterPrivileges = new Set(['EVENT TRIGGER', 'MATERIALIZED VIEW DATA'])

/**
 * Privileges, and what needs them to be there: after _tocEntryRestorePass in PostgreSQL's pg_backup_archiver.c. Several
 * jobs of pg_restore would set privileges in any order, which fails where one role grants on what it was given.
 */
export function isLate({kind, tag, isAfterData}: ArchiveEntry): boolean {
  if (privileges.has(kind) || afterPrivileges.has(kind)) return true
  if (kind === 'COMMENT' || kind === 'SECURITY LABEL') return tag.startsWith('EVENT TRIGGER ')
  return kind === 'STATISTICS DATA' && isAfterData
}

/**
 * What comes last, one thing after the other: what `isLate`, and the attaching of partitions' indexes with what needs
 * it. Where two sessions attach indexes on two levels of partitions at once, neither sees the other's, and the server
 * leaves the index of the whole table invalid for good: foreign keys to it fail, and nothing else tells.
 * (validatePartitionedIndex in PostgreSQL's tablecmds.c looks at committed children only.)
 */
export function lateEntries(entries: ArchiveEntry[]): ArchiveEntry[] {
  const attached = new Set<number>()
  return entries.filter((entry) => {
    const {id, kind, needs} = entry
    const isAttached = kind === 'INDEX ATTACH' || needs.some((need) => attached.has(need))
    if (isAttached) attached.add(id)
    return isAttached || isLate(entry)
  })
}

function joined(results: RestoreToolResult[]): RestoreToolResult {
  return {
    stderr: results.map(({stderr}) => stderr).join(''),
    failure: results.find(({failure}) => failure !== undefined)?.failure,
  }
}

async function fromFolder({request, jobs, lists}: Run): Promise<RestoreToolResult[]> {
  const options = [...request.options, `--jobs=${jobs}`, `--use-list=${lists.first}`]
  return [await runRestoreTool({...request, options})]
}

async function fromStream(run: Run): Promise<RestoreToolResult[]> {
  const {request, jobs, folder, file, lists} = run
  const isLarge = largeTables(request.backup.entry.manifest.content)
  const early = new EarlyIndexes(folder, file, request, jobs, isLarge)
  const stream = new WatchedStream(file, early)
  const data = await runRestoreTool({
    ...request,
    options: [...request.options, '--section=pre-data', '--section=data', `--use-list=${lists.first}`],
    onChunk: (chunk) => {
      stream.take(chunk)
      request.onChunk?.(chunk)
    },
  }).catch(async (error: unknown) => {
    await early.abandon(error)
    throw error
  })
  request.onDataEnd?.()
  return [data, ...(await restoreRest(run, stream))]
}

async function restoreRest(
  {request, jobs, folder, file, entries}: Run,
  stream: WatchedStream,
): Promise<RestoreToolResult[]> {
  const {results, made} = await stream.end()
  const list = join(folder, 'rest.list')
  // Comments, which belong to no section, go with what they are about.
  await writeList(list, idsOf(entries.filter(({id}) => !made.has(id))))
  const options = [...request.options, '--section=post-data', `--jobs=${jobs}`, `--use-list=${list}`]
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

  async end(): ReturnType<EarlyIndexes['end']> {
    if (this.head) this.writeHead()
    this.begins(undefined) // the last one is filled too
    return this.early.end()
  }
}
