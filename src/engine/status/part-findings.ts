import {isPart, selectionText} from '../series.js'
import type {Commands} from './commands.js'
import type {StatusFinding} from './finding.js'
import type {BackupSeries} from './status-of-database.js'

/** Nothing to restore the whole database from. A warning: one schema may be all that anybody wants of it. */
export function partFindings(
  {counting, destination}: BackupSeries,
  commands: Commands,
): Omit<StatusFinding, 'database' | 'destination'>[] {
  const [newest] = counting
  if (!newest || !counting.every(({manifest}) => isPart(manifest))) return []
  const {manifest} = newest
  return [
    {
      code: 'ONLY_PARTS',
      severity: 'warning',
      message: `There is no backup of the whole database, only of parts of it: ${manifest.id} holds ${selectionText(manifest)}.`,
      suggestion: `Take one of everything: ${commands.backup(manifest.database, destination)}`,
    },
  ]
}
