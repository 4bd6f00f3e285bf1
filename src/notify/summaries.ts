import type {Fact, NoticeEvent} from './notice.js'
import {formatBytes, formatCount, formatDuration} from '../support/figures.js'

/** What a result tells, in words and in figures. */
export interface Summary {
  database?: {host: string; name: string} | undefined
  destinations: string[]
  facts: Fact[]
  figures: Record<string, number>
}

/**
 * Reads a command's JSON document. It may be that of a run that failed half-way: whatever is not there, or is not what
 * it should be, is left out.
 */
export function summaryOf(event: NoticeEvent, document: unknown): Summary {
  const summary = new Telling()
  const about = new Reader(document)
  const readers: Record<NoticeEvent, (about: Reader, summary: Telling) => void> = {
    backup: tellBackup,
    verify: tellVerification,
    restore: tellRestore,
    prune: tellPruning,
    copy: tellCopy,
    drill: tellDrill,
    status: tellStatus,
  }
  readers[event](about, summary)
  return summary
}

/** Collects only what is known. */
class Telling implements Summary {
  database: Summary['database']
  destinations: string[] = []
  readonly facts: Fact[] = []
  readonly figures: Record<string, number> = {}

  say(label: string, value: string | undefined): void {
    if (value !== undefined && value !== '') this.facts.push({label, value})
  }

  count(
    label: string,
    figure: string,
    value: number | undefined,
    format: (value: number) => string = formatCount,
  ): void {
    if (value === undefined) return
    this.figures[figure] = value
    this.facts.push({label, value: format(value)})
  }
}

/** Goes into a document of which nothing is sure. */
class Reader {
  constructor(private readonly value: unknown) {}

  at(...path: string[]): Reader {
    return new Reader(
      path.reduce<unknown>(
        (at, key) => (isRecord(at) && Object.hasOwn(at, key) ? at[key] : undefined),
        this.value,
      ),
    )
  }

  get text(): string | undefined {
    return typeof this.value === 'string' && this.value !== '' ? this.value : undefined
  }

  get number(): number | undefined {
    return typeof this.value === 'number' && Number.isFinite(this.value) ? this.value : undefined
  }

  get flag(): boolean | undefined {
    return typeof this.value === 'boolean' ? this.value : undefined
  }

  /** undefined where there is no list. */
  get items(): Reader[] | undefined {
    return Array.isArray(this.value) ? this.value.map((item) => new Reader(item)) : undefined
  }

  get list(): Reader[] {
    return this.items ?? []
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function tellBackup(about: Reader, summary: Telling): void {
  const manifest = about.at('backup')
  const host = manifest.at('database', 'host').text
  const name = manifest.at('database', 'name').text
  if (host !== undefined && name !== undefined) summary.database = {host, name}
  summary.say('Backup', manifest.at('id').text)
  summary.say('Label', manifest.at('label').text)
  summary.count('Size', 'bytes', about.at('bytes').number, formatBytes)
  summary.count('Tables', 'tables', manifest.at('content', 'tableCount').number)
  summary.count('Rows', 'rows', manifest.at('content', 'rowCount').number)
  const destinations = about.at('destinations').list
  summary.destinations = destinations.flatMap((one) => one.at('destination').text ?? [])
  const failed = destinations.filter((one) => one.at('status').text === 'failed')
  for (const one of failed)
    summary.say(
      'Failed at',
      [one.at('destination').text, one.at('error', 'code').text].filter(Boolean).join(': '),
    )
  const verdict = about.at('verification', 'verdict').text
  summary.say('Verification', verdict)
}

function tellVerification(about: Reader, summary: Telling): void {
  const destination = about.at('destination').text
  summary.destinations = destination === undefined ? [] : [destination]
  const results = about.at('results').list
  summary.say('Verdict', about.at('verdict').text)
  if (results.length > 1) summary.count('Backups', 'backups', results.length)
  for (const one of mostTelling(results, (result) => result.at('verdict').text !== 'passed')) {
    const level = one.at('level').text
    const bad = one.at('checks').list.find((check) => check.at('status').text === one.at('verdict').text)
    const reason = one.at('verdict').text === 'passed' ? undefined : bad?.at('reason').text
    const how = [one.at('verdict').text, level === undefined ? undefined : `level ${level}`, reason]
    summary.say(one.at('id').text ?? 'Backup', how.filter(Boolean).join(', '))
  }
}

/** Those that matter, else all; a few of them. */
function mostTelling(items: Reader[], matters: (item: Reader) => boolean): Reader[] {
  const chosen = items.filter(matters)
  return (chosen.length > 0 ? chosen : items).slice(0, 3)
}

function tellRestore(about: Reader, summary: Telling): void {
  const host = about.at('target', 'host').text
  const name = about.at('target', 'database').text
  if (host !== undefined && name !== undefined) summary.database = {host, name}
  summary.say('Backup', about.at('backup', 'id').text)
  summary.say('Target is', targetStates[about.at('targetState').text ?? ''])
  summary.say('Strategy', about.at('strategy').text)
  const failed = about.at('stages').list.find((stage) => stage.at('status').text === 'failed')
  summary.say('Failed stage', failed?.at('name').text)
  const safety = about.at('safetyBackup')
  summary.say(
    'Safety backup',
    [safety.at('id').text, safety.at('destination').text].filter(Boolean).join(' at '),
  )
  summary.count('Locked out for', 'lockedOutMs', about.at('lockedOutMs').number, formatDuration)
}

const targetStates: Record<string, string> = {
  restored: 'restored',
  unchanged: 'unchanged',
  'rolled-back': 'what it was before (rolled back)',
  unknown: 'in an unknown state',
}

function tellPruning(about: Reader, summary: Telling): void {
  summary.destinations = about.at('from').list.flatMap((from) => from.text ?? [])
  summary.count('Kept', 'kept', about.at('kept').items?.length)
  summary.count('Removed', 'removed', about.at('removed').items?.length)
  summary.count('Freed', 'freedBytes', about.at('bytesFreed').number, formatBytes)
  const leftovers = about.at('leftovers').items?.length
  if (leftovers !== 0) summary.count('Leftovers', 'leftovers', leftovers)
}

function tellCopy(about: Reader, summary: Telling): void {
  summary.destinations = about.at('to').list.flatMap((to) => to.text ?? [])
  summary.say('From', about.at('from').text)
  const copies = about.at('copies').items
  const withStatus = (...wanted: string[]) =>
    copies?.filter((copy) => wanted.includes(copy.at('status').text ?? '')).length
  summary.count('Copied', 'copied', withStatus('copied'))
  summary.count('There already', 'skipped', withStatus('skipped'))
  const failed = withStatus('failed', 'not-run')
  if (failed !== 0) summary.count('Not copied', 'failed', failed)
  summary.count('Size', 'bytes', about.at('bytes').number, formatBytes)
}

const inSeconds = (seconds: number): string => formatDuration(seconds * 1000)

function tellDrill(about: Reader, summary: Telling): void {
  const target = (name: string) =>
    about.at('targets', `${name}Seconds`).number ?? about.at('targets', name).number
  const against = (limit: number | undefined) => (seconds: number) =>
    inSeconds(seconds) + (limit === undefined ? '' : ` (target ${inSeconds(limit)})`)
  summary.count('Recovery took (RTO)', 'rtoSeconds', about.at('rtoSeconds').number, against(target('rto')))
  summary.count('Data lost (RPO)', 'rpoSeconds', about.at('rpoSeconds').number, against(target('rpo')))
  const met = about.at('met')
  const isMet = met.flag ?? about.at('met', 'all').flag
  summary.say('Targets', isMet === undefined ? undefined : isMet ? 'met' : 'missed')
  summary.say('Backup', about.at('backup', 'id').text)
}

function tellStatus(about: Reader, summary: Telling): void {
  const destination = about.at('destination').text
  summary.destinations = destination === undefined ? [] : [destination]
  const healthy = about.at('healthy').flag
  summary.say('Healthy', healthy === undefined ? undefined : healthy ? 'yes' : 'no')
  for (const finding of about.at('findings').list.slice(0, 5)) {
    const message = finding.at('message').text
    if (message !== undefined) summary.say(finding.at('code').text ?? 'Finding', message)
  }
  summary.say('Newest backup', about.at('newest', 'id').text)
  summary.count('Its age', 'newestAgeSeconds', about.at('newest', 'ageSeconds').number, inSeconds)
  summary.say('Newest verified', about.at('newestVerified', 'id').text)
}
