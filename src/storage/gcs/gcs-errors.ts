import {messageOf} from '../../support/errors.js'
import {connectionTrouble, StoreError, type StoreTrouble} from '../objects/store-error.js'

/** A refusal as Google writes it: JSON, or plain text where a download or an upload session is asked for. */
export interface Refusal {
  status: number
  reason: string
  message: string
  retryAfterMs: number | undefined
}

export function readRefusal(status: number, text: string, retryAfter: string | undefined): Refusal {
  const retryAfterMs = parseRetryAfter(retryAfter)
  try {
    const {error} = JSON.parse(text) as {error: {message?: string; errors?: {reason?: string}[]}}
    const [first] = error.errors ?? []
    return {status, reason: first?.reason ?? '', message: withoutSecrets(error.message ?? ''), retryAfterMs}
  } catch {
    const plain = text.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
    return {status, reason: '', message: withoutSecrets(plain.trim()).slice(0, 300), retryAfterMs}
  }
}

/** @param more what a status means for this request, where that differs */
export function refusalError(refusal: Refusal, more: Partial<Record<number, StoreTrouble>> = {}): StoreError {
  const {status, reason, message, retryAfterMs} = refusal
  const trouble = more[status] ?? troubleOf(refusal)
  const code = `HTTP ${status}${reason && ` ${reason}`}`
  const suggestions = suggestionsFor(trouble, refusal)
  return new StoreError(trouble, message === '' ? code : `${message} (${code})`, {retryAfterMs, suggestions})
}

/** The checksum that was sent along is not that of what arrived. */
export function isDamage({status, message}: Refusal): boolean {
  return status === 400 && /Provided (CRC32C|MD5)/i.test(message)
}

const troubleByReason: Record<string, StoreTrouble> = {
  rateLimitExceeded: 'throttled',
  userRateLimitExceeded: 'throttled',
  quotaExceeded: 'full',
  dailyLimitExceeded: 'full',
  retentionPolicyNotMet: 'locked',
  objectUnderActiveHold: 'locked',
}

const troubleByStatus: Record<number, StoreTrouble> = {
  401: 'credentials',
  403: 'denied',
  408: 'transient',
  // Somebody else changes the same object.
  409: 'transient',
  410: 'gone',
  412: 'changed',
  416: 'beyond-end',
  429: 'throttled',
  500: 'transient',
  502: 'transient',
  503: 'transient',
  504: 'transient',
}

function troubleOf(refusal: Refusal): StoreTrouble {
  const {status, reason, message} = refusal
  if (isDamage(refusal)) return 'transient'
  if (status === 403 && /retention policy|under active .* hold/i.test(message)) return 'locked'
  if (status === 404) return missingTrouble(message)
  return (status >= 400 && troubleByReason[reason]) || (troubleByStatus[status] ?? 'failed')
}

/** A page of some proxy, or a wrong endpoint, is not to be taken for an object that does not exist. */
function missingTrouble(message: string): StoreTrouble {
  if (/bucket does not exist/i.test(message)) return 'missing-bucket'
  return /^No such object|^Not Found$/i.test(message) ? 'missing' : 'failed'
}

function suggestionsFor(trouble: StoreTrouble, {reason, message}: Refusal): string[] | undefined {
  if (trouble === 'credentials') return signInSuggestions
  if (trouble !== 'denied') return undefined
  if (reason === 'accountDisabled' || /billing/i.test(message))
    return ["Enable billing for the bucket's project in the Google Cloud console."]
  if (reason === 'insufficientPermissions' || /scope/i.test(message))
    return [
      'Give the machine or the credentials the scope https://www.googleapis.com/auth/devstorage.read_write.',
    ]
  return ['Give this account the role Storage Object User (roles/storage.objectUser) on the bucket.']
}

const signInSuggestions = [
  'gcloud auth application-default login',
  'Set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file, or of a workload identity configuration.',
]

export function noCredentials(): StoreError {
  const places = 'no key file, no gcloud sign-in, and this machine has no service account'
  return new StoreError('credentials', `no Google Cloud credentials were found (${places})`, {
    suggestions: signInSuggestions,
  })
}

/** What went wrong while a token was being got. The library's errors hold what was sent: they are not passed on. */
export function signInError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const message = `signing in to Google Cloud failed: ${withoutSecrets(signInMessage(error))}`
  if (/short-lived token|iat and exp|clock/i.test(message)) return new StoreError('clock-skew', message)
  const status = (error as {response?: {status?: number}}).response?.status ?? 0
  if (status >= 500 || status === 408 || status === 429) return new StoreError('transient', message)
  if (status === 0 && connectionTrouble(error)) return new StoreError('transient', message)
  return new StoreError('credentials', message, {suggestions: signInSuggestions})
}

function signInMessage(error: unknown): string {
  // It quotes what it could not read: perhaps a key.
  if ((error as Error).name === 'SyntaxError') return 'the credentials file is not JSON'
  const data = (error as {response?: {data?: unknown}}).response?.data
  const {error: code, error_description: text} = (data ?? {}) as {
    error?: unknown
    error_description?: unknown
  }
  if (typeof code !== 'string') return messageOf(error)
  return typeof text === 'string' ? `${code}: ${text}` : code
}

/** @throws never; a StoreError is given back as it is */
export function explainError(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  return (
    connectionTrouble(error) ?? new StoreError('failed', withoutSecrets(messageOf(error)), {cause: error})
  )
}

/** Whoever has a session's URI may write to it; tokens speak for themselves. */
export function withoutSecrets(text: string): string {
  return text
    .replace(/(upload_id|access_token|assertion|refresh_token|client_secret|key)=[^&\s"']+/gi, '$1=…')
    .replace(/Bearer [\w.~+/=-]+/gi, 'Bearer …')
    .replace(/\b(ya29|1\/\/)[\w.-]+/g, '…')
    .replace(/-----BEGIN[\s\S]*?(-----END[^-]*-----|$)/g, '…')
}

function parseRetryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const milliseconds = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return milliseconds > 0 ? milliseconds : undefined
}
