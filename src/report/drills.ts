import {formatTime} from '../support/figures.js'
import {markup, type Html} from './html.js'

/** A rehearsal of recovery, as far as the page tells of it. */
export interface DrillRecord {
  at: string
  database?: string
  rtoSeconds: number
  rpoSeconds: number
  targets?: {rtoSeconds?: number; rpoSeconds?: number}
  met: boolean
}

const shownDrills = 12

/** Nothing where there were none. */
export function drillSection(drills: DrillRecord[]): Html | undefined {
  if (drills.length === 0) return undefined
  const newestFirst = [...drills].sort((one, other) => Date.parse(other.at) - Date.parse(one.at))
  return markup`<section class="card drills"><h2>Drills</h2><p class="soft">Rehearsals of recovery: how long it took (RTO), and how much time would have been lost (RPO)</p>
<table><thead><tr><th scope="col">When</th><th scope="col">RTO</th><th scope="col">RPO</th><th scope="col">Targets</th></tr></thead><tbody>
${newestFirst.slice(0, shownDrills).map(
  ({
    at,
    database,
    rtoSeconds,
    rpoSeconds,
    targets,
    met,
  }) => markup`<tr><td>${formatTime(at)}${database !== undefined && markup`<br><span class="soft">${database}</span>`}</td>
<td><span class="keep">${lengthText(rtoSeconds)}</span>${limit(targets?.rtoSeconds)}</td><td><span class="keep">${lengthText(rpoSeconds)}</span>${limit(targets?.rpoSeconds)}</td>
<td><span class="badge ${met ? 'passed' : 'failed'}">${met ? 'met' : 'missed'}</span></td></tr>`,
)}</tbody></table></section>`
}

const limit = (seconds: number | undefined): Html | undefined =>
  seconds === undefined ? undefined : markup`<br><span class="soft">at most ${lengthText(seconds)}</span>`

/** 45 s, 4 min 12 s, 3 h 20 min */
function lengthText(seconds: number): string {
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const [large, small, units] =
    whole < 3600
      ? [Math.floor(whole / 60), whole % 60, ['min', 's']]
      : [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), ['h', 'min']]
  return small === 0 ? `${large} ${units[0]}` : `${large} ${units[0]} ${small} ${units[1]}`
}
