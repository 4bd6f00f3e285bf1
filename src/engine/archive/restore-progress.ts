import type {ByteProgress} from '../events.js'
import type {Manifest} from '../manifest.js'
import {ArchiveFollower} from './archive-follower.js'
import type {DataEntry} from './archive-toc.js'

/** What a restore's progress is told from. */
export interface RestoreProgress {
  /** The archive as it goes to pg_restore. */
  onChunk(chunk: Buffer): void
  /** After the last row. */
  onDataEnd(): void
}

/**
 * Says which table is being filled, by following the archive as it goes by, and how many of the rows that the content
 * record counts are in tables that are finished.
 */
export function restoreProgress(
  {format, content, uncompressedBytes}: Manifest,
  report: (progress: ByteProgress) => void,
): RestoreProgress {
  const rowsOf = new Map(content.tables.map(({schema, name, rows}) => [`${schema}.${name}`, rows ?? 0]))
  const rows = {done: 0, total: content.rowCount}
  const now: ByteProgress = {bytes: 0, totalBytes: uncompressedBytes || undefined}
  const finish = () => (rows.done += rowsOf.get(now.object ?? '') ?? 0)
  const begin = (entry: DataEntry | undefined) => {
    finish()
    now.object = entry?.schema ? `${entry.schema}.${entry.name}` : entry?.name
    now.rows = {...rows}
  }
  let follower = format === 'custom' ? new ArchiveFollower(begin) : undefined
  return {
    onChunk(chunk) {
      now.bytes += chunk.length
      try {
        follower?.take(chunk)
      } catch {
        follower = undefined // pg_restore will say what is wrong with it
      }
      report({...now})
    },
    onDataEnd() {
      finish()
      report({...now, object: 'indexes and constraints', rows: undefined})
    },
  }
}
