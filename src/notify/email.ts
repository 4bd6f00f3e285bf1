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

/**
 * Sends one mail, as text and as HTML. Certificates are checked; nothing that stands in the URL can turn that off.
 * @throws DeliveryFailure
 */
export async function sendMail(
  {server, from, to}: MailAccess,
  notice: Notice,
  deps: SendDeps,
): Promise<void> {
  const {createTransport} = await import('nodemailer')
  const {host, port, tls, user, password} = server
  const laterMs = deps.remainingMs() + 1000 // the signal comes first
  const mailer = createTransport({
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
  try {
    const mail = {...composeMail(notice), from, to, signal: deps.signal}
    const {rejected} = await mailer.sendMail(mail)
    if (rejected.length > 0) throw new DeliveryFailure('the mail server refused some of the recipients')
  } catch (error) {
    throw new DeliveryFailure(
      deps.signal.aborted ? 'the mail server gave no answer in time' : reasonOf(error),
    )
  }
}

function composeMail(notice: Notice) {
  return {
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
  if (error instanceof DeliveryFailure) return error.message
  const {code, originalCode, responseCode} = error as {
    code?: string
    originalCode?: string
    responseCode?: number
  }
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
