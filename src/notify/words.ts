import {formatDuration} from '../support/figures.js'
import {isInterruption, type Fact, type Notice, type NoticeEvent} from './notice.js'

/** What the work is called, before its subject. */
const works: Record<NoticeEvent, string> = {
  backup: 'Backup of',
  verify: 'Verification of',
  restore: 'Restore into',
  prune: 'Pruning of',
  copy: 'Copying of',
  drill: 'Recovery drill with',
  status: 'Health check of',
}

/** One line that tells the whole story in short: `Backup of shop on db.internal failed`. */
export function titleOf(notice: Notice): string {
  if (notice.isTest) return `Test notice of dbbak on ${printable(notice.machine)}`
  return `${works[notice.event]} ${printable(aboutWhat(notice))} ${howItWent(notice)}`
}

export function symbolOf({outcome, isTest}: Notice): string {
  if (isTest) return '🔔'
  return {start: '▶', success: '✅', failure: '❌'}[outcome]
}

function aboutWhat({database, about, destinations, event}: Notice): string {
  if (database !== undefined) {
    const {name, host} = database
    return event === 'backup' || event === 'restore'
      ? `${name} on ${host}`
      : `the backups of ${name} on ${host}`
  }
  if (about !== undefined)
    return event === 'backup' || event === 'restore' ? about : `the backups of ${about}`
  return destinations.length > 0 ? `the backups at ${destinations.join(', ')}` : 'the database'
}

function howItWent(notice: Notice): string {
  if (notice.outcome === 'start') return 'began'
  const again = notice.isRecovery ? ' again' : ''
  if (notice.outcome === 'success')
    return notice.event === 'status' ? `found nothing wrong${again && ' any more'}` : `succeeded${again}`
  if (isInterruption(notice)) return 'was interrupted'
  return notice.event === 'status' ? 'found something wrong' : 'failed'
}

/** Everything that is known beside the title and the error, most telling first. */
export function factsOf(notice: Notice): Fact[] {
  const {facts, destinations, machine, durationMs, runUrl} = notice
  const told: (Fact | undefined)[] = [
    ...facts,
    destinations.length > 0
      ? {label: destinations.length > 1 ? 'Destinations' : 'Destination', value: destinations.join(', ')}
      : undefined,
    durationMs === undefined ? undefined : {label: 'Took', value: formatDuration(durationMs)},
    {label: 'Ran on', value: machine},
    runUrl === undefined ? undefined : {label: 'Run', value: runUrl},
  ]
  return told
    .filter((fact) => fact !== undefined)
    .map(({label, value}) => ({label: fit(printable(label), longestLabel), value: printable(value)}))
    .filter(({label, value}) => label !== '' && value !== '') // Discord takes no empty ones
}

const longestLabel = 60

/** The whole notice for where nothing but text is shown. */
export function plainText(notice: Notice): string {
  const {error} = notice
  const lines = [`${titleOf(notice)}.`]
  if (notice.isTest) lines.push('', 'Notices of dbbak arrive here.')
  if (error) lines.push('', `${printable(error.message)}`, `Code: ${error.code} (exit ${error.exitCode})`)
  if (error && error.suggestions.length > 0)
    lines.push('', 'What to do:', ...error.suggestions.map((suggestion) => `  - ${printable(suggestion)}`))
  lines.push('', ...factsOf(notice).map(({label, value}) => `${label}: ${value}`))
  return `${lines.join('\n')}\n`
}

/** Names and messages come from servers: they cannot start a line, move a cursor or turn the writing around. */
export function printable(text: string): string {
  return text.replace(/\s+/g, ' ').replace(unprintable, '�').trim()
}

const unprintable = /[\p{Cc}\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/**
 * Escapes a text and cuts it so that what comes out is at most so long, as JavaScript and the services count (UTF-16
 * units); neither a character nor an escape is cut in two.
 */
export function fit(text: string, limit: number, escape: (character: string) => string = (it) => it): string {
  let fitted = ''
  let upToEllipsis = ''
  for (const character of text) {
    fitted += escape(character)
    if (fitted.length > limit) return `${upToEllipsis}…`
    if (fitted.length < limit) upToEllipsis = fitted
  }
  return fitted
}
