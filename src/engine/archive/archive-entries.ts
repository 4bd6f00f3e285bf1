import {DbbakError} from '../../support/errors.js'
import {Contents} from './archive-contents.js'
import {NotAnArchive, type ArchiveEntry} from './archive-toc.js'
import {openArchive, openContents, type StoredBackup} from './open-archive.js'

export type {ArchiveEntry}

/**
 * Reads the table of contents from the beginning of an archive, and no further. `pg_restore --list` would not do: it
 * separates names by blanks, which they may contain, and does not say what belongs to what.
 * @throws DbbakError OPTION_INVALID for a plain dump and for an archive of a later pg_dump; ARCHIVE_CORRUPT
 */
export async function readArchiveEntries(backup: StoredBackup, signal: AbortSignal): Promise<ArchiveEntry[]> {
  const {format} = backup.entry.manifest
  if (format === 'plain') throw notInParts('A plain dump is one script, which cannot be taken apart.')
  const open = format === 'directory' ? openContents : openArchive
  return (await take(await open(backup, signal), backup)) ?? notKnown()
}

/** Leaves the stream where the table of contents ends. @returns undefined for a version that is not known */
async function take(
  stream: AsyncIterable<Buffer>,
  backup: StoredBackup,
): Promise<ArchiveEntry[] | undefined> {
  const contents = new Contents({withDefinitions: true})
  try {
    for await (const chunk of stream) {
      contents.take(chunk)
      if (contents.isDone) return contents.result?.entries
    }
  } catch (error) {
    throw error instanceof NotAnArchive ? corrupt(backup) : error
  }
  throw corrupt(backup)
}

function notInParts(why: string): DbbakError {
  return new DbbakError('OPTION_INVALID', `${why} A part of it cannot be restored.`, {
    suggestions: [
      'Restore all of it into an empty database and copy from there: createdb whole && dbbak restore --database-url …/whole',
    ],
  })
}

function notKnown(): never {
  throw notInParts('The archive was written by a pg_dump that is newer than this dbbak.')
}

function corrupt({entry}: StoredBackup): DbbakError {
  return new DbbakError('ARCHIVE_CORRUPT', `The table of contents of ${entry.archive} cannot be read.`, {
    suggestions: ['Use another backup: dbbak list'],
  })
}
