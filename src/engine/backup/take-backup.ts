import {Readable} from 'node:stream'
import {digestOf} from '../../archive/digest.js'
import type {ClientTools, ToolSearch} from '../../postgres/client-tools.js'
import {toolsForDump} from '../../postgres/client-tools.js'
import type {ConnectionDescription} from '../../postgres/connection.js'
import {dumpGlobals, type ToolContext} from '../../postgres/dump.js'
import type {StorageProvider} from '../../storage/provider.js'
import type {Clock} from '../../support/clock.js'
import {DbbakError, withExitCode} from '../../support/errors.js'
import {countContent, outlineContent, type ContentRequest} from '../content/content-record.js'
import {joinSequences, readSequences} from '../content/catalog-facts.js'
import {readRelations, type Relation} from '../content/relations.js'
import {activity, type Events} from '../events.js'
import {
  serializeManifest,
  type ArchiveFile,
  type BackupFormat,
  type ContentRecord,
  type Manifest,
  type Selection,
} from '../manifest.js'
import {archiveName, backupId, globalsName, manifestName} from '../naming.js'
import {together, type Together} from '../together.js'
import {writeDirectory, writeStream, type WrittenArchive} from './archive-writers.js'
import {chooseCompression, type ChosenCompression} from './choose-compression.js'
import {explainDumpFailure} from './dump-errors.js'
import {branchesTo, discardStored, everywhere, putEverywhere, type Branch} from './fan-out.js'
import {checkLockTable} from './lock-check.js'
import {holdSnapshot, type HeldSnapshot} from './snapshot.js'

export interface BackupRequest {
  kind: Manifest['kind']
  format: BackupFormat
  /** As the user wrote it (`zstd:5`); undefined takes the best there is. */
  compress: string | undefined
  jobs: number
  selection: Selection | null
  globals: boolean
  content: 'counts' | 'none'
  label: string | null
  /** Instead of the database's name. */
  namePrefix: string | undefined
  lockTimeoutMs: number
}

export interface BackupDeps {
  connection: ConnectionDescription
  search: ToolSearch
  stores: StorageProvider[]
  events: Events
  clock: Clock
  version: string
  signal: AbortSignal
  /** The caller has claimed the database for itself: a restore, for its safety backup. */
  claimed?: boolean
  /** A destination that takes nothing for so long is left out; 10 minutes by default. */
  stalledAfterMs?: number | undefined
}

const defaultStalledAfterMs = 600_000

export interface DestinationResult {
  destination: string
  status: 'stored' | 'failed'
  error?: {code: string; message: string; suggestions: string[]}
}

export interface BackupResult {
  backup: Manifest
  destinations: DestinationResult[]
  durationMs: number
  /** Of the archive's files as stored. */
  bytes: number
}

/**
 * Takes one backup to every destination: a dump and a content record of the same snapshot, the manifest last.
 * @throws DbbakError when no destination has the backup, or (after storing it at the others) when one has not
 */
export function takeBackup(request: BackupRequest, deps: BackupDeps): Promise<BackupResult> {
  return withExitCode(4, async () => {
    const {signal, both} = together(deps.signal)
    const startedAt = deps.clock.now()
    const snapshot = await holdSnapshot(deps.connection, {
      lockTimeoutMs: request.lockTimeoutMs,
      now: () => deps.clock.now(),
      signal,
      claimed: deps.claimed,
    })
    try {
      const branches = await branchesTo(deps.stores)
      const manifest = await writeBackup({
        request,
        deps: {...deps, signal},
        snapshot,
        branches,
        startedAt,
        both,
      })
      return resultOf(manifest, branches)
    } finally {
      await snapshot.release()
    }
  })
}

interface Run {
  request: BackupRequest
  deps: BackupDeps
  snapshot: HeldSnapshot
  branches: Branch[]
  startedAt: Date
  both: Together['both']
}

async function writeBackup(run: Run): Promise<Manifest> {
  const {request, deps, snapshot, branches} = run
  const tools = await toolsForDump(snapshot.server.major, deps.search)
  const compression = chooseCompression(request, tools, snapshot.server.database.sizeBytes)
  const content = contentRequest(run)
  const {inTransaction} = snapshot
  const relations = await inTransaction((client) =>
    readRelations(client, request.selection, content.onStandby),
  )
  checkSelection(relations, request.selection)
  checkLockTable(relations, snapshot.server.lockTable)
  const outline = await outlineContent(relations, content, inTransaction)
  await everywhere(branches, ({store}) => store.sweep())
  const id = backupId(request.namePrefix ?? snapshot.server.database.name, snapshot.takenAt)
  const archive = archiveName(id, request.format, compression.recorded)
  try {
    const [written, counted] = await run.both(
      () => dump(run, tools, archive, compression),
      () => countContent(outline, content, inTransaction),
    )
    const sequences = joinSequences(outline.sequences, await readSequences(inTransaction, request.selection))
    const globals = request.globals ? [await storeGlobals(run, tools, id)] : []
    const manifest = describe(run, tools, {
      id,
      compression,
      written,
      globals,
      content: {...counted, sequences},
    })
    await storeText(run, manifestName(archive), serializeManifest(manifest))
    await discardStored(
      branches.filter(({error}) => error),
      manifestName(archive),
    )
    return manifest
  } catch (error) {
    await discardStored(branches, manifestName(archive))
    throw error
  }
}

function contentRequest({request, snapshot, deps}: Run): ContentRequest {
  return {
    level: request.content,
    selection: request.selection,
    onStandby: snapshot.server.inRecovery,
    signal: deps.signal,
  }
}

/** @throws DbbakError NOTHING_SELECTED */
export function checkSelection(relations: Relation[], selection: Selection | null): void {
  if (!selection?.schemas?.length && !selection?.tables?.length) return
  if (relations.some(({included}) => included)) return
  throw new DbbakError('NOTHING_SELECTED', 'No table matches --schema and --table.', {
    suggestions: [
      'Names fold to lower case unless in double quotes: dbbak backup --table \'public."Orders"\'',
    ],
  })
}

function dump(
  run: Run,
  tools: ClientTools,
  archive: string,
  compression: ChosenCompression,
): Promise<WrittenArchive> {
  const {request, deps, snapshot, branches} = run
  const write = request.format === 'directory' ? writeDirectory : writeStream
  return activity(deps.events, `Dumping ${snapshot.server.database.name}`, async () => {
    try {
      return await write({
        tools,
        archive,
        branches,
        compression: compression.recorded,
        signal: deps.signal,
        expectedBytes: expectedBytes(snapshot.server.database.sizeBytes, compression),
        stalledAfterMs: deps.stalledAfterMs ?? defaultStalledAfterMs,
        dump: {
          format: request.format,
          compress: compression.toolArgument,
          snapshot: snapshot.id,
          jobs: request.jobs,
          lockTimeoutMs: request.lockTimeoutMs,
          ...request.selection,
        },
        context: toolContext(run),
        onProgress: (bytes) => deps.events.activityProgress?.({bytes}),
      })
    } catch (error) {
      throw await explainDumpFailure(error, snapshot)
    }
  })
}

function toolContext({deps, snapshot: {connection, hasStatementTimeout}}: Run): ToolContext {
  return {connection, hasStatementTimeout, env: deps.search.env, signal: deps.signal}
}

/** A guess, from above: what is dumped is smaller than the database, and compresses to a half at the very least. */
function expectedBytes(databaseBytes: number, {recorded}: ChosenCompression): number {
  return recorded.algorithm === 'none' ? databaseBytes : databaseBytes / 2
}

async function storeGlobals(run: Run, tools: ClientTools, id: string): Promise<ArchiveFile> {
  const sql = await dumpGlobals(tools, toolContext(run))
  const sum = await digestOf(text(sql), {})
  await storeText(run, globalsName(id), sql)
  return {path: globalsName(id), ...sum}
}

function storeText({branches, deps}: Run, key: string, content: string): Promise<void> {
  return putEverywhere(branches, key, (store) =>
    store.put(key, text(content), {signal: deps.signal, readOften: true}),
  )
}

const text = (content: string) => Readable.from([Buffer.from(content)])

interface Written {
  id: string
  compression: ChosenCompression
  written: WrittenArchive
  globals: ArchiveFile[]
  content: ContentRecord
}

function describe(
  {request, deps, snapshot, startedAt}: Run,
  tools: ClientTools,
  {id, compression, written, globals, content}: Written,
): Manifest {
  const {server, connection, takenAt} = snapshot
  const finishedAt = deps.clock.now()
  const {oid: _, ...database} = server.database
  return {
    formatVersion: 1,
    id,
    kind: request.kind,
    tool: {name: 'dbbak', version: deps.version},
    startedAt: startedAt.toISOString(),
    snapshotAt: takenAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
    durationMs: Math.max(0, finishedAt.getTime() - startedAt.getTime()),
    label: request.label,
    database: {
      ...database,
      host: connection.host,
      port: connection.port,
      serverVersion: server.version,
      systemIdentifier: server.systemIdentifier,
    },
    client: {pgDumpVersion: tools.version},
    format: request.format,
    compression: compression.recorded,
    encryption: null,
    selection: request.selection,
    files: [...written.files, ...globals],
    uncompressedBytes: written.uncompressedBytes,
    content,
  }
}

function resultOf(backup: Manifest, branches: Branch[]): BackupResult {
  const result: BackupResult = {
    backup,
    destinations: branches.map(({store, error}) => ({
      destination: store.describe(),
      status: error ? 'failed' : 'stored',
      ...(error ? {error: {code: error.code, message: error.message, suggestions: error.suggestions}} : {}),
    })),
    durationMs: backup.durationMs,
    bytes: backup.files.reduce((sum, {bytes}) => sum + bytes, 0),
  }
  const failed = branches.filter(({error}) => error)
  if (failed.length === 0) return result
  throw new DbbakError(
    'DESTINATION_FAILED',
    `The backup is stored at ${branches.length - failed.length} of ${branches.length} destinations. ${failed.map(({error}) => error?.message).join(' ')}`,
    {suggestions: failed.flatMap(({error}) => error?.suggestions ?? []), details: {document: result}},
  )
}
