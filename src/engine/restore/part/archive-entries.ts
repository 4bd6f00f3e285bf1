import {createReadStream} from 'node:fs'
import {join} from 'node:path'
import {DbbakError} from '../../../support/errors.js'
import {NotAnArchive, numberIn, type Wants} from '../../archive/archive-toc.js'
import {localFolder, openArchive, type StoredBackup} from '../../archive/open-archive.js'

/** One line of an archive's table of contents: something that pg_restore can restore by itself. */
export interface ArchiveEntry {
  /** By it pg_restore's --use-list knows the entry. */
  id: number
  /** `TABLE`, `TABLE DATA`, `FK CONSTRAINT`, … */
  kind: string
  schema: string
  /** The object's name; of what belongs to a table, the table's name and a blank before it. */
  tag: string
  definition: string
  /** The COPY that takes the rows. */
  copy: string
  /** Ids of the entries that must be there first. */
  needs: number[]
}

/**
 * Reads the table of contents from the beginning of an archive, and no further. `pg_restore --list` would not do: it
 * separates names by blanks, which they may contain, and does not say what belongs to what.
 * @throws DbbakError OPTION_INVALID for a plain dump and for an archive of a later pg_dump; ARCHIVE_CORRUPT
 */
export async function readArchiveEntries(backup: StoredBackup, signal: AbortSignal): Promise<ArchiveEntry[]> {
  const {format} = backup.entry.manifest
  if (format === 'plain') throw notInParts('A plain dump is one script, which cannot be taken apart.')
  const entries = format === 'directory' ? await fromFolder(backup, signal) : await fromStream(backup, signal)
  return entries ?? notKnown()
}

async function fromStream(backup: StoredBackup, signal: AbortSignal) {
  return take(await openArchive(backup, signal), backup)
}

async function fromFolder(backup: StoredBackup, signal: AbortSignal) {
  const folder = await localFolder(backup, signal)
  try {
    return await take(createReadStream(join(folder.path, 'toc.dat'), {signal}), backup)
  } finally {
    await folder.release()
  }
}

/** Feeds the reader as many bytes as it asks for, and leaves the stream where the table of contents ends. */
async function take(
  stream: AsyncIterable<Buffer>,
  backup: StoredBackup,
): Promise<ArchiveEntry[] | undefined> {
  const reading = readEntries()
  let step = reading.next(Buffer.alloc(0))
  let held = Buffer.alloc(0)
  try {
    for await (const chunk of stream) {
      held = Buffer.concat([held, chunk])
      let at = 0
      while (!step.done && held.length - at >= step.value) {
        const part = held.subarray(at, at + step.value)
        at += step.value
        step = reading.next(part)
      }
      if (step.done) return step.value
      held = held.subarray(at)
    }
  } catch (error) {
    throw error instanceof NotAnArchive ? corrupt(backup) : error
  }
  throw corrupt(backup)
}

const magic = 'PGDMP'
/** Versions of the archive format, 1.x: what pg_dump 12 to 18 write. */
const knownVersions = {oldest: 14, newest: 16}
/** A folder's table of contents says that it is of a tar. */
const formatNumbers = {custom: 1, directory: 3}

interface Layout {
  numberBytes: number
  minor: number
}

/** @returns undefined for a version that this program does not know */
function* readEntries(): Wants<ArchiveEntry[] | undefined> {
  const head = yield magic.length
  if (head.toString('latin1') !== magic) throw new NotAnArchive()
  const [major, minor = 0, , numberBytes = 0, offsetBytes = 0, format] = yield 6
  if (major !== 1 || minor < knownVersions.oldest || minor > knownVersions.newest) return undefined
  const isCustom = format === formatNumbers.custom
  if (!(isCustom || format === formatNumbers.directory) || numberBytes < 1 || numberBytes > 8)
    throw new NotAnArchive()
  const layout = {numberBytes, minor}
  yield* skipSettings(layout)
  const entries: ArchiveEntry[] = []
  for (let left = yield* number(layout); left > 0; left--) {
    entries.push(yield* readEntry(layout))
    if (isCustom) yield 1 + offsetBytes
    else yield* text(layout)
  }
  return entries
}

/** Compression, time of the dump, names of the database and the versions. */
function* skipSettings(layout: Layout): Wants<void> {
  if (layout.minor >= 15) yield 1
  else yield* number(layout)
  for (let part = 0; part < 7; part++) yield* number(layout)
  for (let part = 0; part < 3; part++) yield* text(layout)
}

/** In the order of WriteToc in PostgreSQL's pg_backup_archiver.c. */
function* readEntry(layout: Layout): Wants<ArchiveEntry> {
  const id = yield* number(layout)
  yield* number(layout) // whether data follows
  for (let part = 0; part < 2; part++) yield* text(layout) // the object's catalogue and oid
  const tag = (yield* text(layout)) ?? ''
  const kind = (yield* text(layout)) ?? ''
  yield* number(layout) // section
  const definition = (yield* text(layout)) ?? ''
  yield* text(layout) // DROP statement
  const copy = (yield* text(layout)) ?? ''
  const schema = (yield* text(layout)) ?? ''
  for (let part = 0; part < 2; part++) yield* text(layout) // tablespace, access method
  if (layout.minor >= 16) yield* number(layout) // kind of relation
  for (let part = 0; part < 2; part++) yield* text(layout) // owner, with oids
  const needs: number[] = []
  for (let need = yield* text(layout); need !== null; need = yield* text(layout)) needs.push(Number(need))
  return {id, kind, schema, tag, definition, copy, needs}
}

/** A sign, then the value, lowest byte first. */
function* number({numberBytes}: Layout): Wants<number> {
  return numberIn(yield 1 + numberBytes, 0, numberBytes)
}

/** No server keeps a longer one; a length beyond it is read from nonsense. */
const longestTextBytes = 256 * 1024 * 1024

/** A length and as many bytes; null where the length is negative. */
function* text(layout: Layout): Wants<string | null> {
  const length = yield* number(layout)
  if (length < 0) return null
  if (length > longestTextBytes) throw new NotAnArchive()
  return length === 0 ? '' : (yield length).toString('utf8')
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
