/** What kind of trouble a request met. */
export type StoreTrouble =
  /** There is no such object. */
  | 'missing'
  /** There is no such bucket or container. */
  | 'missing-bucket'
  /** The name is taken, and the object was to be a new one. */
  | 'exists'
  /** Somebody else is uploading an object of that name, as far as can be told. */
  | 'held'
  /** The object is another one than the request was for. */
  | 'changed'
  /** The upload is not known (any more). */
  | 'gone'
  /** The object has no such bytes. */
  | 'beyond-end'
  /** May go better next time: 500, 502, 503, 504, 408, a broken or silent connection, bytes damaged on the way. */
  | 'transient'
  /** The same, and the store asks for fewer requests: 429, SlowDown. */
  | 'throttled'
  /** This machine's clock differs too much from the store's. */
  | 'clock-skew'
  /** No credentials, or ones that the store does not know or that have expired. */
  | 'credentials'
  /** The credentials are right, and may not do this. */
  | 'denied'
  /** A quota or the account's room is used up. */
  | 'full'
  /** A retention, legal hold or immutability policy forbids it. */
  | 'locked'
  /** Anything else: trying again would not help. */
  | 'failed'

export interface StoreErrorOptions {
  cause?: unknown
  /** How long the store asks to wait. */
  retryAfterMs?: number | undefined
  /** With `beyond-end`: bytes of the whole object. */
  size?: number | undefined
  /** What to run or change next, where this store has an answer of its own. */
  suggestions?: string[] | undefined
}

/** A request that failed. Its message says what the store said (its code, its sentence), and holds no credentials. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly retryAfterMs: number | undefined
  readonly size: number | undefined
  readonly suggestions: string[]

  constructor(
    readonly trouble: StoreTrouble,
    message: string,
    options: StoreErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : {cause: options.cause})
    this.retryAfterMs = options.retryAfterMs
    this.size = options.size
    this.suggestions = options.suggestions ?? []
  }

  get mayGoBetter(): boolean {
    return this.trouble === 'transient' || this.trouble === 'throttled'
  }
}

/** Codes of Node, its TLS and undici for connections that fail or break. */
const brokenConnection = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_SOCKET_CONNECTION_TIMEOUT',
  'HPE_INVALID_CONSTANT',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
])

/** A broken or silent connection as a `transient` StoreError; undefined for any other error. */
export function connectionTrouble(error: unknown): StoreError | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const {code} = at as NodeJS.ErrnoException
    const known = typeof code === 'string' && (brokenConnection.has(code) || code.startsWith('HPE_'))
    const hungUp = /socket hang up|premature close|^aborted$|network socket disconnected/i.test(at.message)
    if (known || hungUp) return new StoreError('transient', at.message || String(code), {cause: error})
  }
  return undefined
}
