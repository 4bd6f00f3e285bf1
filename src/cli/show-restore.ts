import type {RestorePlan, RestoreResult} from '../index.js'
import {formatAge, formatBytes, formatCount, formatCountOf, formatDuration} from './format.js'
import {styleFor, symbolsFor} from './style.js'

/** What the user sees before typing RESTORE. */
export function planText(plan: RestorePlan, stream: NodeJS.WriteStream = process.stderr): string {
  const {backup, target, targetContent, strategy, strategyReason, safetyBackup, findings} = plan
  const style = styleFor(stream)
  const age = formatAge(Math.round((Date.now() - Date.parse(backup.snapshotAt)) / 1000))
  return [
    '',
    `  ${style.bold('Backup')}    ${backup.id}`,
    `            ${age} old, of ${backup.database}: ${formatCountOf(backup.tables, 'table')}, ${formatCountOf(backup.rows, 'row')}, ${formatBytes(backup.bytes)}`,
    `  ${style.bold('Target')}    ${target.description}`,
    `            ${style.bad('everything in it is replaced')}: ${formatCountOf(targetContent.tables, 'table')}, about ${formatCount(targetContent.estimatedRows)} rows, ${formatBytes(targetContent.sizeBytes)}`,
    `  ${style.bold('How')}       ${strategy}: ${strategyReason}`,
    `  ${style.bold('Way back')}  ${safetyBackup ? 'a safety backup is taken first' : 'no safety backup'}`,
    ...findings.map(({code, message}) => `  ${style.caution('Note')}      ${code}: ${message}`),
    '',
  ].join('\n')
}

/** A finished restore, for people. */
export function restoreSummary({backup, target, stages, safetyBackup, dryRun, plan}: RestoreResult): string {
  const style = styleFor(process.stdout)
  const symbols = symbolsFor(process.env)
  const total = stages.reduce((sum, {durationMs}) => sum + durationMs, 0)
  if (dryRun) {
    return [
      ...(plan ? [planText(plan, process.stdout)] : []),
      `A dry run: ${backup.id} could be restored into ${target.database}; nothing was changed.`,
    ].join('\n')
  }
  return [
    `${style.good(symbols.done)} ${style.bold(target.database)} holds ${backup.id} again (${formatDuration(total)}).`,
    ...stages.map(({name, status, durationMs, reason}) =>
      style.dim(
        `  ${name.padEnd(13)} ${status.padEnd(8)} ${status === 'skipped' ? (reason ?? '') : formatDuration(durationMs)}`.trimEnd(),
      ),
    ),
    safetyBackup
      ? `  What was there before: dbbak restore ${safetyBackup.id} --from ${safetyBackup.destination}`
      : '  There is no safety backup of what was there before.',
  ].join('\n')
}
