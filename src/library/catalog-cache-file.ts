import {createHash, randomBytes} from 'node:crypto'
import {constants} from 'node:fs'
import {mkdir, open, readdir, rename, rm, stat} from 'node:fs/promises'
import {join, resolve} from 'node:path'
import {promisify} from 'node:util'
import {constants as zlib, zstdCompress, zstdDecompress} from 'node:zlib'
import type {CatalogCache, ListedObject} from '../engine/catalog-cache.js'
import type {StorageProvider} from '../storage/provider.js'
import type {Context} from './context.js'

/** The cache of one destination's catalogue, below the folder for caches. Nothing is read or made before it is used. */
export function catalogCache(
  {settings, cwd}: Pick<Context, 'settings' | 'cwd'>,
  store: StorageProvider,
): CatalogCache {
  return new CatalogCacheFile(join(resolve(cwd, settings.cacheDir.value), 'catalog'), store.describe())
}

/** Some 50,000 backups. What is beyond that is read each time. */
const largestTextBytes = 512 * 1024 * 1024
const abandonedMs = 60 * 60 * 1000

interface Entry {
  etag: string
  size: number
  /** Of the text. */
  sha256: string
  /** As a JSON string, so that it fills one line. */
  line: Buffer
}

interface Header {
  format: 1
  destination: string
}

type EntryHeader = Pick<Entry, 'etag' | 'size' | 'sha256'> & {key: string}

/**
 * A file of lines, compressed with zstd: a header, then two lines for each text: what it is of, and the text. It is
 * replaced as a whole, in one step: of several processes at a time one has the last word, and each file is whole.
 */
export class CatalogCacheFile implements CatalogCache {
  readonly path: string
  private loading: Promise<Map<string, Entry>> | undefined
  private readonly added = new Map<string, Entry>()

  /** @param destination what the file is for; another's is not read */
  constructor(
    private readonly folder: string,
    private readonly destination: string,
  ) {
    this.path = join(folder, `${sha256(destination)}.ndjson.zst`)
  }

  async get({key, etag, size}: ListedObject): Promise<string | undefined> {
    const entry = (await this.load()).get(key)
    if (entry?.etag !== etag || entry.size !== size) return undefined
    const text = parsed(entry.line)
    if (typeof text !== 'string' || Buffer.byteLength(text) !== size || sha256(text) !== entry.sha256)
      return undefined
    return text
  }

  set({key, etag, size}: ListedObject, text: string): void {
    this.added.set(key, {etag, size, sha256: sha256(text), line: Buffer.from(JSON.stringify(text))})
  }

  async flush(listed: {has(key: string): boolean}): Promise<void> {
    if (!this.loading) return // nothing was asked for: a destination without etags
    const before = await this.loading
    const entries = [...before, ...this.added].filter(([key]) => listed.has(key))
    if (this.added.size === 0 && entries.length === before.size) return
    this.loading = Promise.resolve(new Map(entries))
    this.added.clear()
    try {
      await this.write(await this.loading)
    } catch {
      // It cannot be kept: the next listing reads it all again.
    }
  }

  private load(): Promise<Map<string, Entry>> {
    this.loading ??= readEntries(this.path, this.destination).catch(() => new Map<string, Entry>())
    return this.loading
  }

  private async write(entries: Map<string, Entry>): Promise<void> {
    await mkdir(this.folder, {recursive: true, mode: 0o700})
    await removeAbandoned(this.folder)
    const bytes = await promisify(zstdCompress)(linesOf(this.destination, entries), {
      params: {[zlib.ZSTD_c_compressionLevel]: 3, [zlib.ZSTD_c_checksumFlag]: 1},
    })
    const temporary = `${this.path}.${randomBytes(6).toString('hex')}${temporaryEnding}`
    try {
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(bytes)
      } finally {
        await handle.close()
      }
      await rename(temporary, this.path)
    } catch (error) {
      await rm(temporary, {force: true})
      throw error
    }
  }
}

const temporaryEnding = '.tmp'
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

function linesOf(destination: string, entries: Map<string, Entry>): Buffer {
  const header: Header = {format: 1, destination}
  const newline = Buffer.from('\n')
  const pieces: Buffer[] = [Buffer.from(JSON.stringify(header)), newline]
  let bytes = 0
  for (const [key, {line, ...rest}] of entries) {
    const head: EntryHeader = {key, ...rest}
    bytes += line.length
    if (bytes > largestTextBytes) break
    pieces.push(Buffer.from(JSON.stringify(head)), newline, line, newline)
  }
  return Buffer.concat(pieces)
}

/** @throws whatever makes it unreadable */
async function readEntries(path: string, destination: string): Promise<Map<string, Entry>> {
  const lines = linesIn(
    await promisify(zstdDecompress)(await readOwnFile(path), {maxOutputLength: 2 * largestTextBytes}),
  )
  const header = parsed(lines.next().value) as Partial<Header>
  if (header.format !== 1 || header.destination !== destination) throw new Error('It is for something else.')
  const entries = new Map<string, Entry>()
  for (const head of lines) {
    const {key, etag, size, sha256} = parsed(head) as EntryHeader
    const line = lines.next().value
    if (!line) break
    entries.set(key, {etag, size, sha256, line})
  }
  return entries
}

/** Refuses what somebody else may have written: it would be believed. */
async function readOwnFile(path: string): Promise<Buffer> {
  const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  try {
    const {uid, mode, size} = await handle.stat()
    const isOurs = process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0)
    if (!isOurs || size > largestTextBytes) throw new Error('It is not a cache of ours.')
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

function* linesIn(bytes: Buffer): Generator<Buffer, undefined> {
  let at = 0
  while (at < bytes.length) {
    const end = bytes.indexOf(0x0a, at)
    if (end === -1) return // no whole line
    yield bytes.subarray(at, end)
    at = end + 1
  }
}

/** Nothing where it is no JSON: a cache is data like any other. */
function parsed(line: Buffer | undefined): unknown {
  try {
    return JSON.parse(line?.toString('utf8') ?? '') as unknown
  } catch {
    return undefined
  }
}

/** What processes left that were killed as they wrote. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.endsWith(temporaryEnding)) continue
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found && Date.now() - found.mtimeMs > abandonedMs) await rm(path, {force: true})
  }
}
