import {levelOf, parseCompression} from '../../archive/compression.js'
import type {ClientTools} from '../../postgres/client-tools.js'
import {DbbakError} from '../../support/errors.js'
import type {BackupFormat, Compression} from '../manifest.js'

export interface ChosenCompression {
  /** What the manifest says. */
  recorded: Compression
  /** What pg_dump is told. */
  toolArgument: string
}

/**
 * Who compresses, and how.
 * - custom and plain: dbbak compresses pg_dump's raw output, which is faster and works with every pg_dump; gzip in
 *   the custom format is left to pg_dump, so that pg_restore reads the file as it is.
 * - a zstd level that is not given follows the database's size (with its indexes).
 * - directory: pg_dump compresses each file itself; zstd and lz4 need version 16.
 * @throws DbbakError COMPRESSION_NOT_SUPPORTED, OPTION_INVALID
 */
export function chooseCompression(
  {format, compress}: {format: BackupFormat; compress: string | undefined},
  tools: ClientTools,
  databaseBytes: number,
): ChosenCompression {
  const choice = parseCompression(compress ?? defaultFor(format, tools))
  const {algorithm} = choice
  const level = choice.level ?? (algorithm === 'zstd' ? zstdLevel(databaseBytes) : levelOf(choice))
  const recorded = {algorithm, level}
  const byTool = format === 'directory' || (format === 'custom' && algorithm === 'gzip')
  if (!byTool) {
    if (algorithm === 'lz4') throw notSupported('lz4 is offered for the directory format only.')
    return {recorded: {...recorded, by: 'dbbak'}, toolArgument: '0'}
  }
  return {recorded: {...recorded, by: 'pg_dump'}, toolArgument: toolArgument(recorded, tools)}
}

/** Up to this size the time for a smaller archive is not felt. */
const smallDatabaseBytes = 200_000_000

/**
 * Measured on dumps of real and generated databases: level 1 with its small table is the fastest, and smaller than
 * levels 2 to 5, which find matches that cost more than they save; level 6 is smaller still, for five times the time.
 */
function zstdLevel(databaseBytes: number): number {
  return databaseBytes < smallDatabaseBytes ? 6 : 1
}

function defaultFor(format: BackupFormat, tools: ClientTools): string {
  return format === 'directory' && tools.major < 16 ? 'gzip' : 'zstd'
}

function toolArgument({algorithm, level}: Omit<Compression, 'by'>, tools: ClientTools): string {
  if (algorithm === 'none') return '0'
  if (algorithm === 'gzip') return String(level)
  if (tools.major >= 16) return `${algorithm}:${level}`
  throw notSupported(
    `pg_dump ${tools.version} cannot compress the directory format with ${algorithm}; version 16 and newer can.`,
  )
}

function notSupported(message: string): DbbakError {
  return new DbbakError('COMPRESSION_NOT_SUPPORTED', message, {
    suggestions: ['dbbak backup --format directory --compress gzip', 'dbbak backup --compress zstd'],
  })
}
