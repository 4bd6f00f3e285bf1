import type {RestorePlan, RestoreResult} from '../index.js'
import {formatAge, formatBytes, formatCountOf, formatDuration, printable} from './format.js'
import {styleFor, symbolsFor} from './style.js'
import {besideLabel, columnsOf} from './wrap.js'
import {shellWord} from '../support/shell.js'

/** What the user sees before typing RESTORE. */
export function planText(plan: RestorePlan, stream: NodeJS.WriteStream = process.stderr): string {
  const {backup, target, targetContent, strategy, strategyReason, safetyBackup, findings} = plan
  const style = styleFor(stream)
  const columns = columnsOf(stream)
  const line = (label: string, text: string) => besideLabel(`  ${label.padEnd(10)}`, text, columns)
  const note = (text: string) => besideLabel(`  ${style.caution('Note')}      `, printable(text), columns)
  const age = formatAge(Math.round((Date.now() - Date.parse(backup.snapshotAt)) / 1000))
  return [
    style.bold(`Restore into ${printable(target.description)}`),
    '',
    line('Backup', backup.id),
    line(
      '',
      `${age} old, of ${printable(backup.database)}: ${formatCountOf(backup.tables, 'table')}, ${formatCountOf(backup.rows, 'row')}, ${formatBytes(backup.bytes)}`,
    ),
    line(
      'Target',
      `${style.bad('everything in it is replaced')}: ${formatCountOf(targetContent.tables, 'table')}, about ${formatCountOf(targetContent.estimatedRows, 'row')}, ${formatBytes(targetContent.sizeBytes)}`,
    ),
    line('How', `${strategy}: ${strategyReason}`),
    line('Way back', safetyBackup ? 'a safety backup is taken first' : 'no safety backup'),
    ...findings.map(({code, message}) => note(`${code}: ${message}`)),
    '',
  ].join('\n')
}

/** A finished restore, for people. */
export function restoreSummary(result: RestoreResult): string {
  const {backup, target, stages, safetyBackup, dryRun, plan, oldDatabase, lockedOutMs} = result
  const style = styleFor(process.stdout)
  const database = printable(target.database)
  if (dryRun) {
    return [
      ...(plan ? [`\n${planText(plan, process.stdout)}`] : []),
      besideLabel(
        '',
        `A dry run: ${backup.id} could be restored into ${database}; nothing was changed.`,
        columnsOf(process.stdout),
      ),
    ].join('\n')
  }
  return [
    `${style.good(symbolsFor(process.env).done)} ${style.bold(database)} holds ${backup.id} again (${formatDuration(workMs(stages))}).`,
    ...stages.map((stage) => style.dim(stageLine(stage))),
    safetyBackup
      ? `  To go back to what was there before:\n    dbbak restore ${safetyBackup.id} --from ${shellWord(safetyBackup.destination)}`
      : '  There is no safety backup of what was there before.',
    ...(lockedOutMs === null
      ? []
      : [`  Nobody could connect for ${formatDuration(lockedOutMs)}, while the names were swapped.`]),
    ...(oldDatabase === null
      ? []
      : [
          `  The former content is kept in the database ${printable(oldDatabase)}. When you do not need it any more:`,
          `    DROP DATABASE "${printable(oldDatabase).replaceAll('"', '""')}"`,
        ]),
  ].join('\n')
}

/** Without the time that the user took to answer. */
const workMs = (stages: RestoreResult['stages']): number =>
  stages.reduce((sum, {name, durationMs}) => sum + (name === 'confirm' ? 0 : durationMs), 0)

function stageLine({name, status, reason, durationMs}: RestoreResult['stages'][number]): string {
  const facts = status === 'skipped' ? (reason ?? '') : formatDuration(durationMs)
  return besideLabel(
    `  ${name.padEnd(13)} ${status.padEnd(8)} `,
    printable(facts),
    columnsOf(process.stdout),
  ).trimEnd()
}
