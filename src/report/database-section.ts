import type {StatusFinding} from '../engine/status/finding.js'
import type {DatabaseStatus, HistoryEntry} from '../engine/status/status-of-database.js'
import {calendar, legend} from './calendar.js'
import {sizeChart} from './chart.js'
import {ageText, labelOf} from './format.js'
import {formatAge, formatBytes, formatCount, formatTime} from '../support/figures.js'
import {markup, type Html} from './html.js'

/** One database at one destination: what is there now, how it came to be, and what was tried. */
export function databaseSection(
  database: DatabaseStatus,
  {findings, at}: {findings: StatusFinding[]; at: string},
  index: number,
): Html {
  const {name, server, destination, history} = database
  const id = `database-${index + 1}`
  const mine = findings.filter(
    (finding) =>
      finding.database === name &&
      (finding.server ?? null) === server &&
      (finding.destination === undefined || finding.destination === destination),
  )
  const whole = history.filter(({isPart}) => !isPart)
  const shown = whole.length > 0 ? whole : history
  return markup`<section class="card database" aria-labelledby="${id}">
<header><h2 id="${id}">${labelOf(database)}</h2><span class="soft">${destination}</span></header>
${figuresOf(database, mine)}
<div class="pair"><div><h3>Size of each backup, at most 400 days</h3>${sizeChart(shown, labelOf(database), `${id}-sizes`)}</div>
<div><h3>Verifications</h3>${verifications(history)}</div></div>
<div><h3>Day by day, at most twelve months</h3>${calendar(database, at, `${id}-month`)}${legend}</div>
</section>`
}

function figuresOf(
  {newest, newestVerified, count, totalBytes, limits}: DatabaseStatus,
  findings: StatusFinding[],
): Html {
  const isLate = (...codes: string[]) =>
    findings.some(({code, severity}) => codes.includes(code) && severity === 'error') ? 'late' : 'fine'
  return markup`<dl class="figures">
<div class="${isLate('BACKUP_TOO_OLD', 'VERIFICATION_FAILED')}"><dt>Newest backup</dt><dd>${newest ? ageText(newest.ageSeconds) : 'none'} <span class="note">at most ${formatAge(limits.maxAgeSeconds)}</span></dd></div>
<div class="${isLate('SIZE_DROPPED')}"><dt>Its size</dt><dd>${newest ? formatBytes(newest.bytes) : '–'}</dd></div>
<div class="${isLate('ROWS_DROPPED', 'EMPTY_BACKUP', 'TABLE_VANISHED', 'TABLE_EMPTIED', 'TABLE_SHRANK')}"><dt>Its rows</dt><dd>${newest?.rows === null || newest === null ? 'not counted' : formatCount(newest.rows)}</dd></div>
<div class="${isLate('VERIFIED_TOO_OLD', 'NEVER_VERIFIED')}"><dt>Newest verified</dt><dd>${newestVerified ? ageText(newestVerified.ageSeconds) : 'none'} <span class="note">at most ${formatAge(limits.maxVerifiedAgeSeconds)}</span></dd></div>
<div><dt>All backups</dt><dd>${formatCount(count)} <span class="note">${formatBytes(totalBytes)}</span></dd></div>
</dl>`
}

const shownVerifications = 7

function verifications(history: HistoryEntry[]): Html {
  const tried = history
    .flatMap(({id, verification}) => (verification ? [{id, ...verification}] : []))
    .sort((one, other) => Date.parse(other.at) - Date.parse(one.at))
  if (tried.length === 0)
    return markup`<p class="soft">No backup was verified yet. Only a restore shows that it can be restored.</p>`
  const passed = tried.filter(({verdict}) => verdict === 'passed').length
  return markup`<table><thead><tr><th scope="col">When</th><th scope="col">How far</th><th scope="col">Verdict</th></tr></thead><tbody>
${tried.slice(0, shownVerifications).map(
  ({
    at,
    level,
    verdict,
  }) => markup`<tr><td>${formatTime(at)}</td><td>${level === 'restore' ? 'restore test' : level}</td>
<td><span class="badge ${verdict === 'could-not-run' ? 'warning' : verdict}">${verdict.replaceAll('-', ' ')}</span></td></tr>`,
)}</tbody></table><p class="note-below">${passed} of ${tried.length} passed. Of a backup that was verified several times the last counts.</p>`
}
