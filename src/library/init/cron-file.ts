import {shellWord} from '../../support/shell.js'
import {environmentName} from './environment-text.js'
import type {InitPlan, PlannedFile} from './plan.js'

export const cronName = 'dbbak.crontab'

/** What a schedule runs: old backups go only once the new one is stored everywhere and verified. */
export const scheduledCommand = 'dbbak backup --verify auto --prune'

/**
 * A crontab's line. One run at a time; all output goes to a log; cron mails what a line prints, so a run prints only
 * where it failed.
 */
export function cronFile(plan: InitPlan): PlannedFile {
  const {folder, schedule, nodeFolder, isRoot, user} = plan
  const work = `set -a; . ./${environmentName}; set +a; flock -n dbbak.lock ${scheduledCommand}`
  const failed =
    'echo "dbbak failed, or the run before has not ended. The end of the log:"; tail -n 40 dbbak.log; exit 1'
  const line = `cd ${shellWord(folder)} && umask 077 && { { ${work}; } >> dbbak.log 2>&1 || { ${failed}; }; }`
  const text = [
    `# dbbak: a backup ${schedule.words}, in this machine's time. Install it:`,
    `#   (crontab -l 2>/dev/null; cat ${shellWord(`${folder}/${cronName}`).replaceAll('\n', ' ')}) | crontab -`,
    '# cron mails what a failed run says to:',
    `MAILTO=${isRoot ? 'root' : user}`,
    'SHELL=/bin/sh',
    `PATH=${pathOf(nodeFolder)}`,
    `${schedule.cron} ${line.replaceAll('%', '\\%')}`, // a plain % ends the command there
    '',
  ].join('\n')
  return {path: cronName, text, mode: 0o644}
}

/** Where a scheduler finds node and dbbak. */
export function pathOf(nodeFolder: string): string {
  return [...new Set([nodeFolder, '/usr/local/bin', '/usr/bin', '/bin'])].join(':')
}
