import type {Manifest} from '../../src/engine/manifest.js'

/** A valid manifest of a backup of `shop`, with what a test wants otherwise. */
export function sampleManifest(
  snapshotAt = '2025-01-15T14:30:00.000Z',
  changes: Partial<Manifest> = {},
): Manifest {
  const id = `shop_${snapshotAt.replace(/[:.]/g, '-')}`
  return {
    formatVersion: 1,
    id,
    kind: 'backup',
    tool: {name: 'dbbak', version: '1.0.0'},
    startedAt: snapshotAt,
    snapshotAt,
    finishedAt: snapshotAt,
    durationMs: 12,
    label: null,
    database: {
      name: 'shop',
      host: 'db.internal',
      port: 5432,
      serverVersion: '15.18',
      systemIdentifier: '7301234567890123456',
      encoding: 'UTF8',
      collate: 'C.UTF-8',
      ctype: 'C.UTF-8',
      localeProvider: 'libc',
      owner: 'app',
      sizeBytes: 8_000_000,
    },
    client: {pgDumpVersion: '15.18'},
    format: 'custom',
    compression: {algorithm: 'zstd', level: 3, by: 'dbbak'},
    encryption: null,
    selection: null,
    files: [{path: `${id}.dump.zst`, bytes: 7, sha256: 'a'.repeat(64)}],
    uncompressedBytes: 20,
    content: {
      level: 'counts',
      tables: [{schema: 'public', name: 'orders', rows: 2, bytes: 8192, checksum: null}],
      tableCount: 1,
      rowCount: 2,
      sequences: [
        {schema: 'public', name: 'orders_id_seq', lastValue: '9223372036854775807', isCalled: true},
      ],
      extensions: [{name: 'plpgsql', version: '1.0'}],
      largeObjects: 0,
      roles: ['app'],
    },
    ...changes,
  }
}
