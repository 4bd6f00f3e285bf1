import {createHash} from 'node:crypto'
import {shellWord} from '../../support/shell.js'
import {environmentName} from './environment-text.js'
import type {InitPlan, PlannedFile} from './plan.js'

export const cronName = 'dbbak.crontab'

/** What a schedule runs: old backups go only once the new one is stored everywhere and verified. */
export const scheduledOptions = 'backup --verify auto --prune'

/**
 * A crontab's lines. One run at a time; all output goes to a log, of which the part before is kept too; cron mails what
 * a line prints, so a run prints only where it failed.
 */
export function cronFile(plan: InitPlan): PlannedFile {
  const {folder, schedule, nodeFolder, program} = plan
  const rotate = 'find dbbak.log -size +1024k -exec mv -f {} dbbak.log.1 \\; 2>/dev/null'
  const run = `flock -n dbbak.lock ${shellWord(program)} ${scheduledOptions}`
  const work = `set -a; . ./${environmentName}; set +a; ${run}`
  const failed =
    'echo "dbbak failed, or the run before has not ended. The end of the log:"; tail -n 40 dbbak.log; exit 1'
  // Set in the line itself: a line of its own would be in force for whatever stands below it.
  const path = `export PATH=${shellWord(pathOf(nodeFolder))}`
  const line = `${path}; cd ${shellWord(folder)} && umask 077 && { ${rotate}; { ${work}; } >> dbbak.log 2>&1 || { ${failed}; }; }`
  const text = [
    `${markOf(plan)} a backup ${schedule.words}, in this machine's time. Install it, or this one anew:`,
    `#   ${cronInstallation(plan)}`,
    `${markOf(plan)} cron mails what a failed run says to the owner of the crontab, or to whom a line MAILTO=… above names.`,
    `${schedule.cron} ${line.replaceAll('%', '\\%')} ${markOf(plan)}`, // a plain % ends the command there
    '',
  ].join('\n')
  return {path: cronName, text, mode: 0o644}
}

/** Puts the lines into the crontab, in place of those of an earlier time, which are known one by one: each bears the mark. */
export function cronInstallation(plan: InitPlan): string {
  const others = `crontab -l 2>/dev/null | grep -v '${markOf(plan)}'`
  return `(${others}; cat ${shellWord(`${plan.folder}/${cronName}`)}) | crontab -`
}

/** Tells the lines of one folder from those of another, and from everybody else's. */
const markOf = ({folder}: InitPlan): string =>
  `# dbbak ${createHash('sha256').update(folder).digest('hex').slice(0, 8)}:`

/** Where a scheduler finds node and dbbak. */
export function pathOf(nodeFolder: string): string {
  return [...new Set([nodeFolder, '/usr/local/bin', '/usr/bin', '/bin'])].join(':')
}
