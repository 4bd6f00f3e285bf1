/** Asks for so many bytes; the reader gives exactly those. */
export type Wants<Result> = Generator<number, Result, Buffer>

/** The head of an archive of pg_dump and its table of contents. */
export interface TableOfContents {
  /** Bytes of a number, besides its sign. */
  numberBytes: number
  /** Entries whose data follows (custom format). */
  entriesWithData: number
  /** What has data, by the number that stands before it. */
  data: Map<number, DataEntry>
  /** All, in their order. */
  entries: ArchiveEntry[]
  /** Names of the files that hold the data (directory format). */
  fileNames: string[]
}

/** A line of the table of contents: something that pg_restore can restore by itself. */
export interface ArchiveEntry {
  /** By it pg_restore's --use-list knows the entry. */
  id: number
  /** `TABLE`, `TABLE DATA`, `INDEX`, `FK CONSTRAINT`, … */
  kind: string
  schema: string
  /** The object's name; of what belongs to a table, the table's name and a blank before it. */
  tag: string
  /** Empty where it was not asked for. */
  definition: string
  /** The COPY that takes the rows; empty where it was not asked for. */
  copy: string
  /** Ids of the entries that must be there first. */
  needs: number[]
  isAfterData: boolean
}

/** Something whose data an archive holds. */
export interface DataEntry {
  /** Empty for large objects. */
  schema: string
  /** Of the table, or of the large objects. */
  name: string
  /** Entries that it needs; the one that defines it comes first. */
  needs: number[]
}

/** Said of bytes that no pg_dump writes. */
export class NotAnArchive extends Error {}

const magic = 'PGDMP'
/** The table of contents of a folder says that it is of a tar. */
const formats: Record<number, 'custom' | 'directory'> = {1: 'custom', 3: 'directory'}
/** Versions of the archive format, 1.x: what pg_dump 12 to 18 write. */
const oldestKnown = 14
const newestKnown = 16
/** The newest pg_dump whose archives are known. */
export const newestKnownMajor = 18
/** No server keeps a longer one; a length beyond it is read from nonsense. */
const longestTextBytes = 256 * 1024 * 1024

/**
 * Reads what an archive begins with, after ReadHead, ReadToc and ReadExtraToc in PostgreSQL's pg_backup_archiver.c,
 * pg_backup_custom.c and pg_backup_directory.c.
 * @param withDefinitions keep what each entry is made by, which may be megabytes
 * @returns undefined for a format that is newer than this program
 * @throws NotAnArchive
 */
export function* readTableOfContents(withDefinitions = false): Wants<TableOfContents | undefined> {
  const head = yield magic.length
  if (head.toString('latin1') !== magic) throw new NotAnArchive()
  const [major, minor, , numberBytes, offsetBytes, format] = yield 6
  if (major !== 1 || minor! < oldestKnown || minor! > newestKnown) return undefined
  const kind = formats[format!]
  if (kind === undefined || numberBytes! < 1 || numberBytes! > 8) throw new NotAnArchive()
  const at: Place = {
    minor: minor!,
    numberBytes: numberBytes!,
    offsetBytes: offsetBytes!,
    kind,
    withDefinitions,
  }
  yield* skipSettings(at)
  const contents: TableOfContents = {
    numberBytes: numberBytes!,
    entriesWithData: 0,
    data: new Map(),
    entries: [],
    fileNames: [],
  }
  const entries = yield* number(at)
  if (entries < 0) throw new NotAnArchive()
  for (let entry = 0; entry < entries; entry++) yield* readEntry(at, contents)
  return contents
}

interface Place {
  minor: number
  numberBytes: number
  offsetBytes: number
  kind: 'custom' | 'directory'
  withDefinitions: boolean
}

/** Compression, time of the dump, names of the database and the versions. */
function* skipSettings(at: Place): Wants<void> {
  if (at.minor >= 15) yield 1
  else yield* number(at)
  for (let part = 0; part < 7; part++) yield* number(at)
  for (let part = 0; part < 3; part++) yield* text(at)
}

/** In the order of WriteToc. */
function* readEntry(at: Place, contents: TableOfContents): Wants<void> {
  const id = yield* number(at)
  const hasData = (yield* number(at)) !== 0
  for (let part = 0; part < 2; part++) yield* text(at) // catalogue, oid
  const tag = (yield* text(at)) ?? ''
  const kind = (yield* text(at)) ?? ''
  const isAfterData = (yield* number(at)) === postData
  const definition = yield* text(at)
  yield* text(at) // DROP statement
  const copy = yield* text(at)
  const schema = (yield* text(at)) ?? ''
  for (let part = 0; part < 2; part++) yield* text(at) // tablespace, access method
  if (at.minor >= 16) yield* number(at) // kind of relation
  for (let part = 0; part < 2; part++) yield* text(at) // owner, with oids
  const needs = yield* dependencies(at)
  const made = at.withDefinitions
    ? {definition: definition ?? '', copy: copy ?? ''}
    : {definition: '', copy: ''}
  contents.entries.push({id, kind, schema, tag, ...made, needs, isAfterData})
  if (hasData) {
    contents.entriesWithData++
    contents.data.set(id, {schema, name: tag, needs})
  }
  if (at.kind === 'custom') {
    yield 1 + at.offsetBytes
  } else {
    const fileName = yield* text(at)
    if (fileName) contents.fileNames.push(fileName)
  }
}

/** SECTION_POST_DATA in pg_backup.h */
const postData = 4

/** Numbers as text, up to a missing one. */
function* dependencies(at: Place): Wants<number[]> {
  const ids: number[] = []
  for (let id = yield* text(at); id !== null; id = yield* text(at)) ids.push(Number(id))
  return ids
}

/** A sign, then the value, lowest byte first. */
function* number({numberBytes}: Place): Wants<number> {
  return numberIn(yield 1 + numberBytes, 0, numberBytes)
}

/** A length and as many bytes; null where the length is negative. */
function* text(at: Place): Wants<string | null> {
  const length = yield* number(at)
  if (length < 0) return null
  if (length > longestTextBytes) throw new NotAnArchive()
  return length === 0 ? '' : (yield length).toString('utf8')
}

/** The number at a place in a buffer. */
export function numberIn(bytes: Buffer, at: number, numberBytes: number): number {
  let value = 0
  for (let index = numberBytes; index > 0; index--) value = value * 256 + bytes[at + index]!
  return bytes[at] === 0 ? value : -value
}
