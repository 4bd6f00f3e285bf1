import type {SendDeps} from './channel.js'
import {post} from './http.js'
import type {Notice} from './notice.js'
import {fit, plainText} from './words.js'

/** What healthchecks.io keeps of a body. */
const longestBody = 90_000

/**
 * Pings a check as healthchecks.io has it: URL/start, URL, URL/fail. A test goes to URL/log, which leaves the check's
 * state alone: a test must not pass for a backup.
 */
export async function sendPing(url: string, notice: Notice, deps: SendDeps): Promise<void> {
  const headers = {'content-type': 'text/plain; charset=utf-8'}
  await post({url: pingUrl(url, notice), headers, body: fit(plainText(notice), longestBody)}, deps)
}

/** With the run's id, by which the service pairs an end with its beginning. */
export function pingUrl(url: string, notice: Notice): string {
  const target = new URL(url)
  const ending = notice.isTest ? '/log' : {start: '/start', success: '', failure: '/fail'}[notice.outcome]
  target.pathname = target.pathname.replace(/\/+$/, '') + ending
  target.searchParams.set('rid', notice.runId)
  return target.href
}
