import type {BackupFormat, Compression} from './manifest.js'

/** Endings that stand beside an archive. */
export const manifestEnding = '.metadata.json'
export const verificationEnding = '.verification.json'
export const globalsEnding = '.globals.sql'

const formatEndings: Record<BackupFormat, string> = {custom: '.dump', plain: '.sql', directory: '.dir'}
const compressionEndings: Record<Compression['algorithm'], string> = {
  zstd: '.zst',
  gzip: '.gz',
  lz4: '.lz4',
  none: '',
}

/** `<prefix>_<snapshot time>`: sorts by time within a prefix, and no character of it needs quoting anywhere. */
export function backupId(prefix: string, snapshotAt: Date): string {
  return `${safePrefix(prefix)}_${snapshotAt.toISOString().replace(/[:.]/g, '-')}`
}

/** Any database name as a file-name prefix; what a file system or shell could choke on becomes `_`. */
export function safePrefix(name: string): string {
  const plain = name
    .normalize('NFC')
    .replace(/[^\p{L}\p{N}._-]/gu, '_')
    .replace(/^[.-]+/, '_')
  let bytes = 0
  let short = ''
  for (const character of plain) {
    bytes += Buffer.byteLength(character)
    if (bytes > 120) break
    short += character
  }
  return short || '_'
}

/** The archive's name; endings tell how to undo, outermost last. Compression by pg_dump itself adds none. */
export function archiveName(id: string, format: BackupFormat, compression: Compression): string {
  const packed = compression.by === 'dbbak' ? compressionEndings[compression.algorithm] : ''
  return id + formatEndings[format] + packed
}

export const manifestName = (archive: string): string => archive + manifestEnding
export const verificationName = (archive: string): string => archive + verificationEnding
export const globalsName = (id: string): string => id + globalsEnding

const timed = /_(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3})Z\..*$/s

/** What a backup's files begin with, its database's name if nobody chose another: all of a key before its time. */
export const prefixOf = (key: string): string => key.replace(timed, '')

/** Milliseconds since 1970; undefined where a name tells no time: another program's file. */
export function timeInName(key: string): number | undefined {
  const [, date, hour, minute, second, ms] = timed.exec(key) ?? []
  const time = Date.parse(`${date}T${hour}:${minute}:${second}.${ms}Z`)
  return Number.isNaN(time) ? undefined : time
}
