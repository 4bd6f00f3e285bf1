import {createHash} from 'node:crypto'
import type {StatusFinding} from '../engine/status/finding.js'
import type {BackupFacts, DatabaseStatus, VerifiedFacts} from '../engine/status/status-of-database.js'
import {drillSection, type DrillRecord} from './drills.js'
import {ageText, labelOf} from './format.js'
import {databaseSection} from './database-section.js'
import {formatAge, formatBytes, formatCount, formatCountOf, formatTime} from '../support/figures.js'
import {markup, type Html} from './html.js'
import {pageStyle} from './style.js'

export type {DrillRecord} from './drills.js'

/** What the page is made of. */
export interface PageSource {
  healthy: boolean
  findings: StatusFinding[]
  newest: (BackupFacts & {database: string}) | null
  newestVerified: (VerifiedFacts & {database: string}) | null
  databases: DatabaseStatus[]
  destinations: {destination: string; reachable: boolean}[]
  limits: {maxAgeSeconds: number; maxVerifiedAgeSeconds: number}
  at: string
}

/** One page with everything in it: it needs no network, no script and no other file. */
export function htmlReport(source: PageSource, drills: DrillRecord[] = []): string {
  const hash = createHash('sha256').update(pageStyle).digest('base64')
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'; form-action 'none'`
  const head = markup`<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${source.healthy ? 'Healthy' : 'Not healthy'}: backups, ${formatTime(source.at)}</title>
<link rel="icon" href="data:,">`
  const body = markup`<main>
${verdict(source)}
${figures(source)}
${findingsCard(source.findings)}
${source.databases.filter(({count}) => count > 0).map((one, index) => databaseSection(one, source, index))}
${drillSection(drills)}
<footer>Written by dbbak status, ${formatTime(source.at)}. Times are UTC. Sizes are those at the destinations.</footer>
</main>`
  return `<!doctype html>
<html lang="en">
<head>
${head.text}
<style>${pageStyle}</style>
</head>
<body>
${body.text}
</body>
</html>
`
}

const signs = {
  good: markup`<path d="M22 4l14 5v11c0 9-6 16-14 20c-8-4-14-11-14-20V9z"/><path d="M15.5 22l4.8 4.8l8.7-9.500"/>`,
  caution: markup`<path d="M22 6l18 31H4z"/><path d="M22 18v9m0 5v.1"/>`,
  bad: markup`<circle cx="22" cy="22" r="17"/><path d="M15.5 15.5l13 13m0-13l-13 13"/>`,
}

function verdict({healthy, findings, databases, at}: PageSource): Html {
  const warnings = findings.filter(({severity}) => severity === 'warning').length
  const errors = findings.filter(({severity}) => severity === 'error').length
  const kind = !healthy ? 'bad' : warnings > 0 ? 'caution' : 'good'
  const title = {
    good: 'All backups are healthy',
    caution: 'Healthy, with warnings',
    bad: 'The backups need attention',
  }[kind]
  const counted = [
    ...(errors > 0 ? [formatCountOf(errors, 'error')] : []),
    ...(warnings > 0 ? [formatCountOf(warnings, 'warning')] : []),
  ]
  const count = new Set(databases.map(labelOf)).size
  const text = counted.length > 0 ? counted.join(' and ') : 'Nothing to do'
  const whose = count === 0 ? '' : ` for ${formatCountOf(count, 'database')}`
  return markup`<section class="verdict ${kind}"><svg viewBox="0 0 44 44" aria-hidden="true">${signs[kind]}</svg><div>
<h1>${title}</h1><p>${text}${whose}, as of <span class="keep">${formatTime(at)}</span></p></div></section>`
}

function figures({newest, newestVerified, databases, destinations, limits, findings}: PageSource): Html {
  const count = databases.reduce((sum, one) => sum + one.count, 0)
  const bytes = databases.reduce((sum, one) => sum + one.totalBytes, 0)
  const down = destinations.filter(({reachable}) => !reachable).length
  const has = (code: string) =>
    findings.some((finding) => finding.code === code && finding.severity === 'error')
  const late = (isLate: boolean) => (isLate ? 'late' : 'fine')
  return markup`<dl class="figures">
<div class="${late(has('BACKUP_TOO_OLD') || newest === null)}"><dt>Newest backup</dt><dd>${newest ? ageText(newest.ageSeconds) : 'none'}
<span class="note">${limitText(databases, limits, 'maxAgeSeconds')}</span></dd></div>
<div class="${late(has('VERIFIED_TOO_OLD') || has('NEVER_VERIFIED'))}"><dt>Newest that was restored in a test</dt><dd>${newestVerified ? ageText(newestVerified.ageSeconds) : 'none'}
<span class="note">${limitText(databases, limits, 'maxVerifiedAgeSeconds')}</span></dd></div>
<div><dt>Backups</dt><dd>${formatCount(count)}
<span class="note">${formatBytes(bytes)} together</span></dd></div>
<div class="${late(down > 0)}"><dt>Destinations</dt><dd>${destinations.length}
<span class="note">${down > 0 ? `${down} not reachable` : 'all reachable'}</span></dd></div>
</dl>`
}

/** Databases may have limits of their own. */
function limitText(
  databases: DatabaseStatus[],
  limits: PageSource['limits'],
  which: 'maxAgeSeconds' | 'maxVerifiedAgeSeconds',
): string {
  const all = new Set(databases.map((one) => one.limits[which]))
  const [only = limits[which]] = all
  return all.size > 1 ? 'each by its own limit' : `at most ${formatAge(only)}`
}

function findingsCard(findings: StatusFinding[]): Html | undefined {
  if (findings.length === 0) return undefined
  return markup`<section class="card"><h2>What to know and do</h2><ul class="findings">
${findings.map(
  ({
    severity,
    code,
    message,
    suggestion,
    otherwise,
    database,
    server,
    destination,
  }) => markup`<li><span class="badge ${severity}">${severity}</span><div>
<p>${message}</p><p class="where">${[code, database, server, destination].filter((part) => part !== undefined).join(' · ')}</p>
${[suggestion, otherwise].map((one) => one !== undefined && markup`<p class="fix">${withCommand(one)}</p>`)}</div></li>`,
)}</ul></section>`
}

/** The command in a suggestion, set as one. */
function withCommand(suggestion: string): Html {
  const at = suggestion.search(/(?:^|: )(?:dbbak|ls|DROP) /)
  if (at === -1) return markup`${suggestion}`
  const start = suggestion.startsWith(': ', at) ? at + 2 : at
  return markup`${suggestion.slice(0, start)}<code>${words(suggestion.slice(start))}</code>`
}

/** A line may end between words or in a path, but not between the two dashes of a flag, nor after them. */
const words = (command: string): Html[] =>
  command
    .split(/( )/)
    .map((word) => (/^--?\w/.test(word) ? markup`<span class="keep">${word}</span>` : markup`${word}`))
