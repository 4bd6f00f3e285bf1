import {toolsForDump} from '../../postgres/client-tools.js'
import {withExitCode} from '../../support/errors.js'
import {planCounts} from '../content/count-rows.js'
import {readRelations} from '../content/relations.js'
import {archiveName, backupId} from '../naming.js'
import {chooseCompression} from './choose-compression.js'
import {checkLockTable} from './lock-check.js'
import {holdSnapshot} from './snapshot.js'
import {checkSelection, type BackupDeps, type BackupRequest} from './take-backup.js'

/** What a backup would do. */
export interface BackupPlan {
  dryRun: true
  archive: string
  database: {name: string; host: string; port: number; serverVersion: string; sizeBytes: number}
  client: {pgDumpVersion: string; folder: string}
  format: BackupRequest['format']
  compression: {algorithm: string; level: number | null; by: string}
  tables: number
  tableBytes: number
  destinations: string[]
}

/** Looks at everything a backup looks at before its first byte; writes nothing anywhere. */
export function planBackup(request: BackupRequest, deps: BackupDeps): Promise<BackupPlan> {
  return withExitCode(4, async () => {
    const snapshot = await holdSnapshot(deps.connection, {
      lockTimeoutMs: request.lockTimeoutMs,
      now: () => deps.clock.now(),
      signal: deps.signal,
    })
    try {
      const {server, connection, takenAt} = snapshot
      const tools = await toolsForDump(server.major, deps.search)
      const {recorded} = chooseCompression(request, tools, server.database.sizeBytes)
      const relations = await snapshot.inTransaction((client) =>
        readRelations(client, request.selection, server.inRecovery),
      )
      checkSelection(relations, request.selection)
      checkLockTable(relations, server.lockTable)
      const tables = planCounts(relations).entries
      const id = backupId(request.namePrefix ?? server.database.name, takenAt)
      return {
        dryRun: true,
        archive: archiveName(id, request.format, recorded),
        database: {
          name: server.database.name,
          host: connection.host,
          port: connection.port,
          serverVersion: server.version,
          sizeBytes: server.database.sizeBytes,
        },
        client: {pgDumpVersion: tools.version, folder: tools.folder},
        format: request.format,
        compression: recorded,
        tables: tables.length,
        tableBytes: tables.reduce((sum, {bytes}) => sum + bytes, 0),
        destinations: deps.stores.map((store) => store.describe()),
      }
    } finally {
      await snapshot.release()
    }
  })
}
