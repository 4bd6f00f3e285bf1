import {stripVTControlCharacters} from 'node:util'
import type {DemoResult, DemoStep, DemoStepName, DemoStory, RestorePlan} from '../index.js'
import {formatBytes, formatCountOf, formatDuration} from './format.js'
import {accidentText, damageTable, proofTable, shopTable} from './show-demo-shop.js'
import {backupSummary} from './show-backup.js'
import {listTable} from './show-list.js'
import {planText, restoreSummary} from './show-restore.js'
import {verifySummary} from './show-verify.js'
import {hasColors, styleFor, symbolsFor} from './style.js'

type Write = (text: string) => void

/** What each step is called and what there is to know before it. */
const headings: Record<DemoStepName, [title: string, ...explanation: string[]]> = {
  server: [
    'A throw-away server',
    'It lives in a private folder and is gone when this ends.',
    'No database and no file of yours is touched.',
  ],
  shop: [
    'A shop',
    'Foreign keys, an enum, a generated column, a sequence, JSON with a GIN index,',
    'a view, a materialized view: what a backup has to bring back.',
  ],
  backup: ['Back it up', 'One snapshot, and the exact row count of every table in that very snapshot.'],
  list: ['What is there', 'Only complete backups are ever listed.'],
  verify: [
    'Prove that it can be restored',
    'That the file is there proves nothing: it is restored into another throw-away',
    'server and compared with what the first one held.',
  ],
  accident: ['The accident', 'Somebody types into the wrong window:'],
  damage: ['The damage', 'What is missing or wrong now:'],
  restore: ['Get it back', 'What is left is backed up too; then everything is replaced in one go.'],
  proof: [
    'Is it really all back?',
    'The restore has checked itself. But compare for yourself, with what was noted',
    'down before the accident:',
  ],
}

const order = Object.keys(headings) as DemoStepName[]

/** Tells the demo's story: for each step what it is about, the command to type, and what came of it. */
export function demoStory(write: Write): DemoStory {
  const style = styleFor(process.stdout)
  return {
    stepStarted({name, command}) {
      const [title, ...explanation] = headings[name]
      write(['', rule(`${order.indexOf(name) + 1}/${order.length} ${title}`), ...explanation, ''].join('\n'))
      if (command !== null) write(`${style.dim('$')} ${style.bold(command)}`)
    },
    restoreConfirmed: (plan) => write(confirmation(plan)),
    stepEnded: (step) => write(outcome(step)),
  }
}

const ruleWidth = 80

/** A heading that is found again when one scrolls back. */
function rule(title: string): string {
  const style = styleFor(process.stdout)
  const line = symbolsFor(process.env).done === '✔' ? '─' : '-'
  return `${style.bold(title)} ${style.dim(line.repeat(Math.max(0, ruleWidth - title.length - 1)))}`
}

/** What `restore` shows on a terminal before it asks. */
function confirmation(plan: RestorePlan): string {
  const style = styleFor(process.stdout)
  const text = hasColors(process.stdout) ? planText(plan) : stripVTControlCharacters(planText(plan))
  const typed = `Type RESTORE to go ahead: ${style.bold('RESTORE')}   ${style.dim('(typed by the demo)')}`
  return `\n${text}\n  ${typed}\n`
}

function outcome(step: DemoStep): string {
  switch (step.name) {
    case 'server':
      return belowProgress(serverLines(step))
    case 'shop':
      return belowProgress(shopTable(step.database, step.state))
    case 'backup':
      return backupSummary(step.result, step.result.destinations[0]?.destination)
    case 'list':
      return listTable(step.result, false)
    case 'verify':
      return verifySummary(step.result)
    case 'accident':
      return accidentText(step.statements)
    case 'damage':
      return damageTable(step.differences)
    case 'restore':
      return restoreSummary(step.result)
    case 'proof':
      return proofTable(step)
  }
}

function serverLines({server, backupFolder}: Extract<DemoStep, {name: 'server'}>): string {
  const style = styleFor(process.stdout)
  const {done} = symbolsFor(process.env)
  return [
    `  ${style.good(done)} ${server.description}`,
    `  ${style.good(done)} A folder for the backups: ${backupFolder}`,
    '',
    'For the commands below the environment names both, as DATABASE_URL and',
    'BACKUP_DIR would.',
  ].join('\n')
}

/** On a terminal the lines of progress stand above it. */
const belowProgress = (text: string): string => (process.stderr.isTTY ? `\n${text}` : text)

/** The end of the demo, once everything of it is removed: what was measured, and what to do with a database of one's own. */
export function demoSummary({measured, database}: DemoResult): string {
  const style = styleFor(process.stdout)
  const {done} = symbolsFor(process.env)
  const fact = (name: string, value: string) => `  ${name.padEnd(22)}${value}`
  const size = `${formatCountOf(database.rows, 'row')} in ${formatCountOf(database.tables, 'table')}, ${formatBytes(database.bytes)}`
  return [
    '',
    `${style.good(done)} ${style.bold('Recovered: the shop is what it was before the accident, down to the last row.')}`,
    '',
    fact('The database', size),
    fact('Backing it up', `${formatDuration(measured.backupMs)}, ${formatBytes(measured.backupBytes)}`),
    fact('Proving the backup', formatDuration(measured.verifyMs)),
    fact('Recovery (RTO)', `${formatDuration(measured.restoreMs)}, from the command to a checked database`),
    fact(
      'The whole demo',
      `${formatDuration(measured.totalMs)}; its server, backups and folders are removed`,
    ),
    '',
    style.bold('Now with a database of your own:'),
    '',
    '  export DATABASE_URL=postgresql://user:password@host:5432/database',
    ...nextCommands.map(
      ([command, what]) => `  ${`${program()} ${command}`.padEnd(30)}${style.dim(`# ${what}`)}`,
    ),
  ].join('\n')
}

const nextCommands = [
  ['doctor', 'are the tools, the connection and the folder in order?'],
  ['backup', 'into ./backups, or where BACKUP_DIR or --to says'],
  ['verify --latest', 'restores it elsewhere and compares; never on production'],
  ['restore --latest', 'shows what it will replace, and asks before it does'],
] as const

/** Who came by npm or npx (a checkout, most likely) may have no dbbak on the PATH. */
const program = (): string => (process.env.npm_execpath ? 'npx dbbak' : 'dbbak')
