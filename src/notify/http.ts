import {Agent as HttpAgent, request as httpRequest, type AgentOptions, type IncomingMessage} from 'node:http'
import {Agent as HttpsAgent, request as httpsRequest} from 'node:https'
import {setTimeout as sleep} from 'node:timers/promises'
import {systemCode} from '../support/errors.js'
import {DeliveryFailure, isCertificateFault, type SendDeps} from './channel.js'

export interface HttpMessage {
  url: string
  headers?: Record<string, string>
  body: string
  /** Whether the service's one-word answers (`channel_is_archived`) may be shown. */
  answersInWords?: boolean
}

interface Answer {
  status: number
  retryAfter: string | undefined
  word: string | undefined
}

const retryAfterMs = 1000

/**
 * Posts a message; once more where the service is busy or the connection was lost. Redirects are not followed: they
 * would carry the message, and what signs it, to somebody else.
 * @throws DeliveryFailure
 */
export async function post(message: HttpMessage, deps: SendDeps): Promise<void> {
  const first = await attempt(message, deps)
  if (first === 'taken') return
  const waitMs = first instanceof DeliveryFailure ? retryAfterMs : waitFor(first)
  const failure = first instanceof DeliveryFailure ? first : refusal(first)
  if (!mayBeRetried(first)) throw failure
  if (waitMs >= deps.remainingMs()) throw failure
  await sleep(waitMs, undefined, {signal: deps.signal}).catch(() => {
    throw failure
  })
  const second = await attempt(message, deps)
  if (second === 'taken') return
  throw second instanceof DeliveryFailure ? second : refusal(second)
}

async function attempt(message: HttpMessage, deps: SendDeps): Promise<Answer | DeliveryFailure | 'taken'> {
  try {
    const answer = await send(message, deps)
    return answer.status >= 200 && answer.status < 300 ? 'taken' : answer
  } catch (error) {
    if (deps.signal.aborted) throw new DeliveryFailure('it gave no answer in time')
    return new DeliveryFailure(connectionReason(error))
  }
}

function send({url, headers, body, answersInWords}: HttpMessage, {env, signal}: SendDeps): Promise<Answer> {
  const isTls = new URL(url).protocol === 'https:'
  const options = {proxyEnv: env, keepAlive: false} as AgentOptions
  const agent = isTls ? new HttpsAgent(options) : new HttpAgent(options)
  const request = isTls ? httpsRequest : httpRequest
  const bytes = Buffer.from(body)
  return new Promise<Answer>((resolve, reject) => {
    const sending = request(url, {
      method: 'POST',
      agent,
      signal,
      headers: {'user-agent': 'dbbak', ...headers, 'content-length': bytes.length},
    })
    sending.on('error', reject)
    sending.on('response', (response) => {
      response.on('error', reject)
      const {statusCode: status = 0} = response
      const answer = {status, retryAfter: response.headers['retry-after'], word: undefined}
      if (status < 300 || !answersInWords) return resolve(answer)
      firstWord(response).then((word) => resolve({...answer, word}), reject)
    })
    sending.end(bytes)
  }).finally(() => agent.destroy())
}

/** The answer where it is one word of small letters; anything else may quote what was sent. */
async function firstWord(response: IncomingMessage): Promise<string | undefined> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk as string
    if (text.length > longestWord) return undefined
  }
  return /^[a-z]+(_[a-z]+)+$/.test(text.trim()) ? text.trim() : undefined
}

const longestWord = 60

/** A busy service, and a connection that could not be made or was lost; a certificate will be no better in a second. */
function mayBeRetried(first: Answer | DeliveryFailure): boolean {
  if (first instanceof DeliveryFailure) return !first.message.includes('certificate')
  return first.status === 429 || first.status >= 500
}

/** Seconds or a date. */
function waitFor({retryAfter}: Answer): number {
  if (retryAfter === undefined) return retryAfterMs
  const seconds = Number(retryAfter)
  const waitMs = Number.isNaN(seconds) ? Date.parse(retryAfter) - Date.now() : seconds * 1000
  return Number.isNaN(waitMs) ? retryAfterMs : Math.max(0, waitMs)
}

function refusal({status, word}: Answer): DeliveryFailure {
  const note = status >= 300 && status < 400 ? ', and redirects are not followed' : ''
  return new DeliveryFailure(`it answered ${status}${word === undefined ? '' : ` ${word}`}${note}`)
}

/** By the error's code alone: its message may quote the address, or a proxy's password. */
function connectionReason(error: unknown): string {
  const code = systemCode(error)
  if (code === undefined) return 'it could not be reached'
  if (isCertificateFault(code)) return `its TLS certificate is not accepted (${code})`
  return `it could not be reached (${code})`
}
