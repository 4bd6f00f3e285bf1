import {STATUS_CODES} from 'node:http'
import type {Fault} from './faults.js'
import type {Store} from './kinds.js'

/** A refusal as the store itself writes it. */
export function refusal(
  store: Store,
  {status, retryAfterSeconds}: Extract<Fault, {type: 'status'}>,
  {method, closes}: {method: string; closes: boolean},
): Buffer {
  const {type, body, headers = {}} = forms[store](status)
  const all: Record<string, string | number> = {
    ...headers,
    ...(retryAfterSeconds === undefined ? {} : {'Retry-After': retryAfterSeconds}),
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    Date: new Date().toUTCString(),
    Connection: closes ? 'close' : 'keep-alive',
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n${lines.join('')}\r\n`
  return Buffer.from(method === 'HEAD' ? head : head + body)
}

const requestId = '00000000-0000-4000-8000-0000000000fa'

const forms: Record<
  Store,
  (status: number) => {type: string; body: string; headers?: Record<string, string>}
> = {
  s3(status) {
    const codes: Record<number, string> = {500: 'InternalError', 503: 'SlowDown', 429: 'TooManyRequests'}
    const [code, message] = [codes[status] ?? 'UnknownError', sentence(status)]
    const inside = `<Code>${code}</Code><Message>${message}</Message><RequestId>${requestId}</RequestId>`
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${inside}</Error>`
    return {type: 'application/xml', body, headers: {'x-amz-request-id': requestId}}
  },
  azure(status) {
    const codes: Record<number, string> = {500: 'InternalError', 503: 'ServerBusy', 429: 'TooManyRequests'}
    const code = codes[status] ?? 'UnknownError'
    const inside = `<Code>${code}</Code><Message>${sentence(status)}\nRequestId:${requestId}</Message>`
    return {
      type: 'application/xml',
      body: `<?xml version="1.0" encoding="utf-8"?><Error>${inside}</Error>`,
      headers: {'x-ms-error-code': code, 'x-ms-request-id': requestId},
    }
  },
  gcs(status) {
    const reasons: Record<number, string> = {
      429: 'rateLimitExceeded',
      500: 'internalError',
      503: 'backendError',
    }
    const message = sentence(status)
    const error = {message, domain: 'global', reason: reasons[status] ?? 'unknown'}
    const body = JSON.stringify({error: {code: status, message, errors: [error]}}, undefined, 2)
    return {type: 'application/json; charset=UTF-8', body}
  },
}

function sentence(status: number): string {
  if (status === 503 || status === 429) return 'Please reduce your request rate.'
  return 'We encountered an internal error. Please try again.'
}
