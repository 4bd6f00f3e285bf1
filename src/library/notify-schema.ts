import {z} from 'zod'
import type {HooksConfig} from './hooks.js'
import type {NotificationsConfig} from '../notify/config.js'
import {noticeChoices, noticeEvents} from '../notify/notice.js'

const text = z.string().min(1)

const named = {
  name: text.optional().describe('What messages call this channel, instead of its type.'),
  events: z.array(z.enum(noticeEvents)).min(1).optional().describe('Only of these; by default of all.'),
}
const chosen = {
  ...named,
  on: z
    .array(z.enum(noticeChoices))
    .min(1)
    .optional()
    .describe(
      'Only of these outcomes; by default failures, for webhooks successes too. `recovered` is the first success after a failure.',
    ),
}

export const channelSchemas = {
  slack: z.strictObject({
    type: z.literal('slack'),
    url: text.describe('Of an incoming webhook, from the environment: ${SLACK_WEBHOOK_URL}.'),
    ...chosen,
  }),
  discord: z.strictObject({
    type: z.literal('discord'),
    url: text.describe('Of a webhook, from the environment: ${DISCORD_WEBHOOK_URL}.'),
    ...chosen,
  }),
  pagerduty: z.strictObject({
    type: z.literal('pagerduty'),
    routingKey: text.describe(
      'The integration key of an Events API v2 integration. A failure opens an incident, the next success closes it.',
    ),
    severity: z.enum(['critical', 'error', 'warning', 'info']).optional(),
    url: text.optional().describe('For the EU: https://events.eu.pagerduty.com/v2/enqueue.'),
    ...named,
  }),
  email: z.strictObject({
    type: z.literal('email'),
    smtpUrl: text.describe('smtps://user:password@host:465 or smtp://…, from the environment: ${SMTP_URL}.'),
    from: text,
    to: z.array(text).min(1),
    ...chosen,
  }),
  webhook: z.strictObject({
    type: z.literal('webhook'),
    url: text,
    secret: text
      .optional()
      .describe(
        'Signs what is sent, as Standard Webhooks says: whsec_ and base64, or any other text as it is.',
      ),
    headers: z.record(text, z.string()).optional(),
    ...chosen,
  }),
  ping: z.strictObject({
    type: z.literal('ping'),
    url: text.describe('Of a check of healthchecks.io or alike; /start and /fail are added.'),
    ...chosen,
    events: named.events.describe(
      'Only of these; by default that backups are taken, and what fails but a restore.',
    ),
  }),
}

/** The `notifications` of a config file. */
export const notificationsSchema = z
  .array(
    z.discriminatedUnion('type', [
      channelSchemas.slack,
      channelSchemas.discord,
      channelSchemas.pagerduty,
      channelSchemas.email,
      channelSchemas.webhook,
      channelSchemas.ping,
    ]),
  )
  .describe('Who is told how backups, restores and the rest went.') satisfies z.ZodType<NotificationsConfig>

const command = z.union([text, z.array(text).min(1)])

const hook = z
  .union([command, z.strictObject({run: command, timeout: text.optional()})], {
    error: 'expected a command, a list of program and arguments, or {run, timeout}',
  })
  .optional()

/** The `hooks` of a config file. */
export const hooksSchema = z
  .strictObject({
    beforeBackup: hook.describe('Run before a backup; when it fails, no backup is taken.'),
    afterBackup: hook.describe(
      'Run after a backup, also after one that failed; reads the result from stdin.',
    ),
    beforeRestore: hook.describe(
      'Run before a restore, once it was agreed to; when it fails, nothing is restored.',
    ),
    afterRestore: hook.describe(
      'Run after a restore, also after one that failed; reads the result from stdin.',
    ),
  })
  .describe(
    'Commands around backups and restores: a text for the shell, or a list of program and arguments.',
  ) satisfies z.ZodType<HooksConfig>

/** The keys that may stand at a place of the config file, for the naming of unknown ones. */
export function notifyKeysAt(path: readonly string[], config: unknown): string[] | undefined {
  if (path[0] === 'hooks') return path.length === 1 ? Object.keys(hooksSchema.shape) : ['run', 'timeout']
  if (path[0] !== 'notifications' || path.length !== 2) return undefined
  const channels = (config as {notifications?: {type?: string}[]} | undefined)?.notifications
  const type = channels?.[Number(path[1])]?.type ?? ''
  return type in channelSchemas
    ? Object.keys(channelSchemas[type as keyof typeof channelSchemas].shape)
    : undefined
}
