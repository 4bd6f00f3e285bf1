import {Readable} from 'node:stream'
import {digestOf} from '../../archive/digest.js'
import type {ClientTools} from '../../postgres/client-tools.js'
import {wasKilled} from '../../postgres/run-tool.js'
import {DbbakError} from '../../support/errors.js'
import {checkFile, otherBackup} from './check-file.js'
import {fetchAhead, openArchive, type StoredBackup} from './open-archive.js'
import {runRestoreTool} from './run-restore-tool.js'

/**
 * Reads every file of a backup to its end and holds size and SHA-256 against the manifest. What later steps need
 * locally is fetched by that, so that nothing is read twice.
 * @throws DbbakError CHECKSUM_MISMATCH, ARCHIVE_SIZE_MISMATCH; OBJECT_NOT_FOUND; TEMPORARY_SPACE
 */
export async function checkDigests(
  backup: StoredBackup,
  signal: AbortSignal,
  onProgress?: (bytes: number) => void,
): Promise<void> {
  const {store, entry} = backup
  const fetched = new Set(await fetchAhead(backup, signal, onProgress))
  let before = [...fetched].reduce((sum, {bytes}) => sum + bytes, 0)
  for (const file of entry.manifest.files) {
    if (fetched.has(file)) continue
    const stream = await store.get(file.path, {signal})
    const found = await digestOf(onProgress ? Readable.from(watched(stream, before, onProgress)) : stream, {
      signal,
    })
    before += found.bytes
    checkFile(file, found)
  }
}

async function* watched(
  stream: Readable,
  before: number,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let bytes = before
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length
    onProgress(bytes)
    yield chunk
  }
}

/**
 * Reads the archive through pg_restore to its last byte; for a plain dump, to its closing line. A listing would not
 * do: the table of contents stands at the beginning and is whole in an archive that was cut.
 * @throws DbbakError ARCHIVE_CORRUPT; TOOL_FAILED when the tool was killed
 */
export async function readToEnd(
  backup: StoredBackup,
  tools: ClientTools,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  if (backup.entry.manifest.format === 'plain') return readPlain(backup, signal)
  const {failure} = await runRestoreTool({
    backup,
    tools,
    env,
    database: undefined,
    options: [],
    stopAtFirstError: true,
    signal,
  })
  if (failure && wasKilled(failure)) throw failure
  if (failure) throw corrupt(backup, failure.message, failure)
}

const trailer = '-- PostgreSQL database dump complete'

async function readPlain(backup: StoredBackup, signal: AbortSignal): Promise<void> {
  let tail = Buffer.alloc(0)
  for await (const chunk of (await openArchive(backup, signal)) as AsyncIterable<Buffer>) {
    tail = Buffer.concat([tail, chunk.subarray(-512)]).subarray(-512)
  }
  if (!tail.includes(trailer)) throw corrupt(backup, 'it stops before the closing line of a dump')
}

function corrupt({entry}: StoredBackup, why: string, cause?: unknown): DbbakError {
  return new DbbakError(
    'ARCHIVE_CORRUPT',
    `${entry.archive} cannot be read to its end: ${why}.`.replace('..', '.'),
    {suggestions: otherBackup, cause},
  )
}
