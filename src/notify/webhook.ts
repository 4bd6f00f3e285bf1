import {createHmac} from 'node:crypto'
import type {SendDeps} from './channel.js'
import {post} from './http.js'
import type {Notice} from './notice.js'
import {plainText, titleOf} from './words.js'

export interface WebhookAccess {
  url: string
  /** Signs what is sent; a text that begins with `whsec_` is base64 after it, as Standard Webhooks has it. */
  secret?: string | undefined
  headers?: Record<string, string> | undefined
}

/**
 * Sends the notice as JSON, signed as Standard Webhooks (https://www.standardwebhooks.com) says. A receiver computes
 * HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body as received>` with the secret, in base64, compares it (in
 * constant time) with what stands after `v1,` in `webhook-signature`, and refuses timestamps that are minutes old. An
 * id that it knows is a repetition.
 */
export async function sendToWebhook(access: WebhookAccess, notice: Notice, deps: SendDeps): Promise<void> {
  const body = JSON.stringify(webhookMessage(notice))
  const timestamp = String(Math.floor(Date.parse(notice.at) / 1000))
  const headers: Record<string, string> = {
    ...access.headers,
    'content-type': 'application/json',
    'idempotency-key': notice.id,
    'webhook-id': notice.id,
    'webhook-timestamp': timestamp,
  }
  if (access.secret !== undefined)
    headers['webhook-signature'] = `v1,${signatureOf(`${notice.id}.${timestamp}.${body}`, access.secret)}`
  await post({url: access.url, headers, body}, deps)
}

function signatureOf(signed: string, secret: string): string {
  const key = secret.startsWith('whsec_')
    ? Buffer.from(secret.slice('whsec_'.length), 'base64')
    : Buffer.from(secret)
  return createHmac('sha256', key).update(signed).digest('base64')
}

/** What a receiver may rely on; fields may be added. */
export function webhookMessage(notice: Notice): Record<string, unknown> {
  const {id, runId, event, outcome, at, database, destinations, machine, runUrl, durationMs, figures, error} =
    notice
  return {
    type: notice.isTest ? 'test' : `${event}.${outcome}`,
    id,
    runId,
    event,
    outcome,
    recovered: notice.isRecovery ?? false,
    at,
    test: notice.isTest ?? false,
    title: titleOf(notice),
    text: plainText(notice),
    database: database ?? null,
    destinations,
    machine,
    runUrl: runUrl ?? null,
    durationMs: durationMs ?? null,
    figures,
    facts: notice.facts,
    error: error ?? null,
  }
}
