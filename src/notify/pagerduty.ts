import {createHash} from 'node:crypto'
import type {SendDeps} from './channel.js'
import {post} from './http.js'
import {isInterruption, type Notice} from './notice.js'
import {factsOf, fit, printable, titleOf} from './words.js'

export const pagerdutyLimits = {summary: 1024, dedupKey: 255, details: 10_000}

export type Severity = 'critical' | 'error' | 'warning' | 'info'

export interface PagerdutyAccess {
  url: string
  routingKey: string
  severity?: Severity | undefined
}

/** A failure opens an incident, or adds to the one that is open; the next success of the same work closes it. */
export async function sendToPagerduty(
  access: PagerdutyAccess,
  notice: Notice,
  deps: SendDeps,
): Promise<void> {
  const headers = {'content-type': 'application/json'}
  const send = (body: unknown) => post({url: access.url, headers, body: JSON.stringify(body)}, deps)
  if (notice.isTest || notice.outcome === 'failure') await send(triggerEvent(access, notice))
  if (notice.isTest || notice.outcome === 'success') await send(resolveEvent(access, notice))
}

export function triggerEvent(
  {routingKey, severity}: PagerdutyAccess,
  notice: Notice,
): Record<string, unknown> {
  const {error, runUrl, database, machine} = notice
  const why = error === undefined ? '' : `: ${printable(error.message)}`
  return {
    routing_key: routingKey,
    event_action: 'trigger',
    dedup_key: dedupKey(notice),
    client: 'dbbak',
    payload: {
      summary: fit(`${titleOf(notice)}${why}`, pagerdutyLimits.summary),
      source: fit(database?.host ?? machine, 255) || 'unknown',
      severity: severityOf(notice, severity),
      timestamp: notice.at,
      component: 'dbbak',
      ...(database === undefined ? {} : {group: fit(database.name, 255)}),
      class: error?.code ?? notice.event,
      custom_details: detailsOf(notice),
    },
    links: runUrl === undefined ? [] : [{href: runUrl, text: 'Open the run'}],
  }
}

export function resolveEvent({routingKey}: PagerdutyAccess, notice: Notice): Record<string, unknown> {
  return {routing_key: routingKey, event_action: 'resolve', dedup_key: dedupKey(notice)}
}

/** The same for every run of the same work. */
function dedupKey({event, subject, isTest, id}: Notice): string {
  const key = isTest ? `dbbak/test/${id}` : `dbbak/${event}/${subject}`
  if (key.length <= pagerdutyLimits.dedupKey) return key
  return `dbbak/${event}/${createHash('sha256').update(key).digest('hex')}`
}

function severityOf(notice: Notice, chosen: Severity | undefined): Severity {
  if (notice.isTest) return 'info'
  if (notice.error?.code === 'ROLLBACK_FAILED') return 'critical'
  return chosen ?? (isInterruption(notice) ? 'warning' : 'error')
}

function detailsOf(notice: Notice): Record<string, string> {
  const {error} = notice
  return Object.fromEntries(
    [
      ...(error === undefined
        ? []
        : [
            {label: 'Error', value: printable(error.message)},
            {label: 'Code', value: error.code},
            ...error.suggestions.map((value, index) => ({
              label: `What to do ${index + 1}`,
              value: printable(value),
            })),
          ]),
      ...factsOf(notice),
    ].map(({label, value}) => [label, fit(value, pagerdutyLimits.details)]),
  )
}
