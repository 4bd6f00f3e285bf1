import {availableParallelism} from 'node:os'
import {newestKnownMajor} from '../../archive/archive-toc.js'
import type {StoredBackup} from '../../archive/open-archive.js'
import {largeTableBytes} from '../../archive/run-in-parts.js'
import type {Manifest} from '../../manifest.js'

const mostJobs = 4

/**
 * Several jobs win where there are large tables, whose indexes are built beside each other, and lose on many small
 * ones, where each job's own session and catalogue queries cost more than they bring (measured: 10,000 tables).
 */
export function jobsFor({entry}: StoredBackup, wanted: number | undefined): number {
  const {format, content} = entry.manifest
  if (format === 'plain') return 1 // a script runs from its beginning to its end
  if (wanted !== undefined) return wanted
  const isLarge = content.tables.some(({bytes}) => bytes >= largeTableBytes)
  return isLarge ? Math.max(1, Math.min(mostJobs, availableParallelism())) : 1
}

/** Whether an archive can be restored by several jobs: a script cannot, nor what is newer than this program. */
export const canComeInParts = ({format, client}: Manifest): boolean =>
  format !== 'plain' && Number.parseInt(client.pgDumpVersion, 10) <= newestKnownMajor
