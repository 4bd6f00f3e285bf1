import {setTimeout as sleep} from 'node:timers/promises'
import {DeliveryFailure, isCertificateFault, type SendDeps} from './channel.js'
import {isInterruption, type Notice} from './notice.js'
import {factsOf, fit, plainText, printable, symbolOf, titleOf} from './words.js'

/** A mail server, from an smtp:// or smtps:// URL. */
export interface MailServer {
  host: string
  port: number
  /** TLS from the first byte on, STARTTLS or nothing. */
  tls: 'from-the-start' | 'required' | 'if-offered' | 'never'
  user?: string | undefined
  password?: string | undefined
}

export interface MailAccess {
  server: MailServer
  from: string
  to: string[]
}

/** Between the attempts: a server that is busy, or starts up, is there again in a moment. */
const pausesMs = [500, 1500]

/**
 * Sends one mail, as text and as HTML; again where the trouble may pass, to those who have not got it. Certificates are
 * checked; nothing that stands in the URL can turn that off.
 * @throws DeliveryFailure
 */
export async function sendMail(access: MailAccess, notice: Notice, deps: SendDeps): Promise<void> {
  let {to} = access
  for (const pauseMs of [...pausesMs, undefined]) {
    const trouble = await attempt({...access, to}, notice, deps)
    if (trouble === undefined) return
    const isOver = pauseMs === undefined || pauseMs >= deps.remainingMs() || deps.signal.aborted
    if (isOver || !trouble.mayPass) throw trouble.failure
    await sleep(pauseMs, undefined, {signal: deps.signal}).catch(() => {
      throw trouble.failure
    })
    to = trouble.to
  }
}

interface Trouble {
  failure: DeliveryFailure
  mayPass: boolean
  /** Who has not got it. */
  to: string[]
}

async function attempt(access: MailAccess, notice: Notice, deps: SendDeps): Promise<Trouble | undefined> {
  const {from, to} = access
  const mailer = await openMailer(access.server, deps)
  try {
    const mail = {...composeMail(notice), from, to, signal: deps.signal}
    const {rejected, rejectedErrors = []} = await mailer.sendMail(mail)
    if (rejected.length === 0) return undefined
    const failure = new DeliveryFailure('the mail server refused some of the recipients')
    const refused = new Set(
      (rejected as (string | {address: string})[]).map((one) =>
        typeof one === 'string' ? one : one.address,
      ),
    )
    const left = to.filter((one) => refused.has(bare(one)))
    return {failure, mayPass: left.length > 0 && rejectedErrors.every(mayPass), to: left}
  } catch (error) {
    if (deps.signal.aborted)
      return {failure: new DeliveryFailure('the mail server gave no answer in time'), mayPass: false, to}
    return {failure: new DeliveryFailure(reasonOf(error)), mayPass: mayPass(error), to}
  } finally {
    mailer.close()
  }
}

const bare = (address: string): string => /<([^<>]+)>\s*$/.exec(address)?.[1] ?? address

/** What SMTP calls transient (4xx), and a connection that could not be made or was lost; never a certificate or a login. */
function mayPass(error: unknown): boolean {
  const {code, originalCode, responseCode} = error as MailError
  if (originalCode !== undefined && isCertificateFault(originalCode)) return false
  if (responseCode !== undefined) return responseCode >= 400 && responseCode < 500
  return code !== undefined && passing.has(code)
}

const passing = new Set(['ECONNECTION', 'ESOCKET', 'ETIMEDOUT', 'ECONNREFUSED', 'ECONNRESET', 'EDNS'])

interface MailError {
  code?: string
  originalCode?: string
  responseCode?: number
}

async function openMailer({host, port, tls, user, password}: MailServer, deps: SendDeps) {
  const {createTransport} = await import('nodemailer')
  const laterMs = deps.remainingMs() + 1000 // the signal comes first
  return createTransport({
    host,
    port,
    secure: tls === 'from-the-start',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'never',
    ...(user === undefined ? {} : {auth: {user, pass: password ?? ''}}),
    connectionTimeout: laterMs,
    greetingTimeout: laterMs,
    socketTimeout: laterMs,
  })
}

function composeMail(notice: Notice) {
  return {
    messageId: `<${notice.id}@dbbak>`, // the same in every attempt
    subject: fit(`[dbbak] ${titleOf(notice)}`, 200),
    text: plainText(notice),
    html: mailHtml(notice),
    headers: {'Auto-Submitted': 'auto-generated', 'X-Dbbak-Event': notice.event},
    priority:
      notice.outcome === 'failure' && !isInterruption(notice) ? ('high' as const) : ('normal' as const),
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

/** By code and number alone: what a mail server says may quote the login. */
function reasonOf(error: unknown): string {
  const {code, originalCode, responseCode} = error as MailError
  if (originalCode !== undefined && isCertificateFault(originalCode))
    return `the TLS certificate of the mail server is not accepted (${originalCode})`
  const number = responseCode === undefined ? '' : ` (${responseCode})`
  switch (code) {
    case 'EAUTH':
    case 'ENOAUTH':
      return `the mail server refused the login${number}`
    case 'EENVELOPE':
      return `the mail server refused the sender or the recipients${number}`
    case 'EMESSAGE':
      return `the mail server refused the message${number}`
    case 'ETLS':
      return 'no encrypted connection to the mail server could be made (STARTTLS)'
    default: {
      const known = [originalCode, code].find((one) => one !== undefined && /^[A-Z][A-Z0-9_]+$/.test(one))
      return `the mail server could not be reached or broke off${known === undefined ? number : ` (${known})`}`
    }
  }
}

export function mailHtml(notice: Notice): string {
  const {error, isTest} = notice
  const rows = factsOf(notice).map(
    ({label, value}) =>
      `<tr><th align="left" valign="top" style="padding:2px 16px 2px 0;font-weight:600">${html(label)}</th>` +
      `<td style="padding:2px 0">${linked(value)}</td></tr>`,
  )
  const parts = [
    `<h2 style="margin:0 0 12px">${symbolOf(notice)} ${html(titleOf(notice))}</h2>`,
    ...(isTest ? ['<p>Notices of dbbak arrive here.</p>'] : []),
    ...(error === undefined
      ? []
      : [
          `<p style="padding:8px 12px;border-left:4px solid #c0392b;background:#fdf3f2">${html(printable(error.message))}` +
            `<br><small>${html(error.code)} (exit ${error.exitCode})</small></p>`,
        ]),
    ...(error === undefined || error.suggestions.length === 0
      ? []
      : [
          `<p>What to do:</p><ul>${error.suggestions.map((one) => `<li>${html(printable(one))}</li>`).join('')}</ul>`,
        ]),
    `<table style="border-collapse:collapse">${rows.join('')}</table>`,
  ]
  const style = 'font-family:system-ui,sans-serif;font-size:14px;color:#222'
  return `<!doctype html><html><body style="${style}">\n${parts.join('\n')}\n</body></html>`
}

function linked(value: string): string {
  return /^https?:\/\/\S+$/.test(value) ? `<a href="${html(value)}">${html(value)}</a>` : html(value)
}

function html(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replace(/[&<>"']/g, (character) => entities[character]!)
}
