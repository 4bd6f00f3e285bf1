import {
  connectionTrouble,
  StoreError,
  type StoreErrorOptions,
  type StoreTrouble,
} from '../objects/store-error.js'

/** What Azure's SDK throws, as far as it is looked at here; several packages have a class of that name. */
interface RestFailure extends Error {
  name: 'RestError'
  code?: string
  statusCode?: number
  details?: Record<string, unknown>
  response?: {
    headers?: {get(name: string): string | undefined}
    parsedBody?: unknown
    bodyAsText?: string | null
  }
}

/** What an error of the SDK means. No SAS, signature or key is in its message. */
export function explainAzure(error: unknown): StoreError {
  if (error instanceof StoreError) return error
  if (!(error instanceof Error)) return new StoreError('failed', cleaned(String(error)))
  const identity = identityTrouble(error)
  if (identity) return identity
  if (isRestFailure(error) && error.statusCode !== undefined) return answeredTrouble(error, error.statusCode)
  return connectionTrouble(error) ?? brokenOff(error) ?? new StoreError('failed', cleaned(error.message))
}

/** Where credentials come from; also said when there are none. */
export const credentialSuggestions = [
  'Give a connection string: AZURE_STORAGE_CONNECTION_STRING (the portal shows it under Access keys).',
  'Or name the account in AZURE_STORAGE_ACCOUNT, and sign in: az login',
]

function isRestFailure(error: Error): error is RestFailure {
  return error.name === 'RestError'
}

/** An answer that ended too early, as the SDK's streams and its parser tell it. */
function brokenOff(error: Error): StoreError | undefined {
  const isBroken =
    error.name === 'AbortError' ||
    /^Data corruption failure/.test(error.message) ||
    (isRestFailure(error) && (error.code === 'REQUEST_SEND_ERROR' || error.code === 'PARSE_ERROR'))
  if (!isBroken) return undefined
  const message = error.name === 'AbortError' ? 'the connection was ended' : cleaned(error.message)
  return new StoreError('transient', message)
}

interface Meaning {
  trouble: StoreTrouble
  suggestions?: string[]
}

const rehydrate = [
  'Bring it back from the archive tier, which takes hours: az storage blob set-tier --tier Hot --account-name ACCOUNT --container-name CONTAINER --name NAME',
]
const allowNetwork = [
  "Allow this machine in the storage account's network settings: az storage account network-rule add --account-name ACCOUNT --ip-address ADDRESS",
]
const giveRole = [
  'Give the identity the role Storage Blob Data Contributor on the container, or use a SAS with racwdl.',
]
const newSas = [
  'Make a new SAS: az storage container generate-sas --permissions racwdl --expiry DATE --name CONTAINER',
]

/** Error codes of the Blob service; what is not here goes by its HTTP status. */
const meanings: Record<string, Meaning> = {
  BlobNotFound: {trouble: 'missing'},
  ResourceNotFound: {trouble: 'missing'},
  ContainerNotFound: {trouble: 'missing-bucket'},
  ContainerBeingDeleted: {trouble: 'missing-bucket'},
  BlobAlreadyExists: {trouble: 'exists'},
  // A SAS that may create and not write is told so when the name is taken.
  UnauthorizedBlobOverwrite: {trouble: 'exists'},
  ConditionNotMet: {trouble: 'changed'},
  TargetConditionNotMet: {trouble: 'changed'},
  InvalidBlockList: {trouble: 'gone'},
  InvalidRange: {trouble: 'beyond-end'},
  ServerBusy: {trouble: 'throttled'},
  TooManyRequests: {trouble: 'throttled'},
  InternalError: {trouble: 'transient'},
  OperationTimedOut: {trouble: 'transient'},
  Md5Mismatch: {trouble: 'transient'},
  Crc64Mismatch: {trouble: 'transient'},
  IncompleteBody: {trouble: 'transient'},
  AuthenticationFailed: {trouble: 'credentials', suggestions: credentialSuggestions},
  InvalidAuthenticationInfo: {trouble: 'credentials', suggestions: credentialSuggestions},
  NoAuthenticationInformation: {trouble: 'credentials', suggestions: credentialSuggestions},
  KeyBasedAuthenticationNotPermitted: {
    trouble: 'credentials',
    suggestions: ['The account takes no keys: name it in AZURE_STORAGE_ACCOUNT, and sign in: az login'],
  },
  AuthorizationFailure: {trouble: 'denied', suggestions: allowNetwork},
  AuthorizationSourceIPMismatch: {trouble: 'denied', suggestions: allowNetwork},
  AuthorizationPermissionMismatch: {trouble: 'denied', suggestions: giveRole},
  AuthorizationProtocolMismatch: {trouble: 'denied', suggestions: newSas},
  AuthorizationServiceMismatch: {trouble: 'denied', suggestions: newSas},
  AuthorizationResourceTypeMismatch: {trouble: 'denied', suggestions: newSas},
  InsufficientAccountPermissions: {trouble: 'denied', suggestions: giveRole},
  PublicAccessNotPermitted: {trouble: 'denied', suggestions: credentialSuggestions},
  AccountIsDisabled: {
    trouble: 'denied',
    suggestions: ['Look at the subscription and the account in the portal.'],
  },
  BlobImmutableDueToPolicy: {trouble: 'locked'},
  BlobImmutableDueToLegalHold: {trouble: 'locked'},
  ContainerImmutableDueToPolicy: {trouble: 'locked'},
  LeaseIdMissing: {
    trouble: 'locked',
    suggestions: ['Somebody holds a lease on it: az storage blob lease break'],
  },
  SnapshotsPresent: {trouble: 'locked', suggestions: ['Remove its snapshots first, if nobody needs them.']},
  BlobArchived: {trouble: 'failed', suggestions: rehydrate},
  BlobBeingRehydrated: {
    trouble: 'failed',
    suggestions: ['It is on its way from the archive tier: try again later.'],
  },
  InvalidBlobOrBlock: {
    trouble: 'failed',
    suggestions: [
      'Another program left blocks under this name; use another one, or wait a week until Azure drops them.',
    ],
  },
}

/** @param status HTTP */
function meaningOfStatus(status: number): Meaning {
  if (status === 408 || (status >= 500 && status !== 501 && status !== 505 && status !== 507))
    return {trouble: 'transient'}
  const byStatus: Record<number, StoreTrouble> = {
    401: 'credentials',
    403: 'denied',
    404: 'missing',
    412: 'changed',
    416: 'beyond-end',
    429: 'throttled',
    507: 'full',
  }
  return {trouble: byStatus[status] ?? 'failed'}
}

function answeredTrouble(error: RestFailure, status: number): StoreError {
  // The answer to a HEAD has no body: its code is only in the header.
  const code = error.response?.headers?.get('x-ms-error-code') ?? error.code ?? ''
  const {trouble, suggestions} = special(code, error) ?? meanings[code] ?? meaningOfStatus(status)
  const options: StoreErrorOptions = {
    suggestions,
    retryAfterMs: retryAfter(error),
    size: trouble === 'beyond-end' ? sizeOf(error) : undefined,
  }
  // The SDK's error is not passed on: it holds the request's URL, and what it quotes may hold signatures.
  return new StoreError(trouble, sentenceOf(code, status, error), options)
}

/** Codes that mean different things. */
function special(code: string, error: RestFailure): Meaning | undefined {
  const detail = detailOf(error)
  if (code === 'AuthenticationFailed' && /date header.*too old|clock/i.test(detail))
    return {trouble: 'clock-skew'}
  if (code === 'AuthenticationFailed' && isExpired(detail))
    return {trouble: 'credentials', suggestions: newSas}
  // Refused by the account's firewall, or (by the emulator) a wrong key.
  if (code === 'AuthorizationFailure' && /failed to authenticate/i.test(detail))
    return {trouble: 'credentials', suggestions: credentialSuggestions}
  if (/^Account.*(Limit|Quota)|QuotaExceeded|CapacityExceeded/.test(code)) return {trouble: 'full'}
  return undefined
}

function isExpired(detail: string): boolean {
  return /not valid in the specified time frame|signature.*expir|Expiry \[/i.test(detail)
}

/** Everything that Azure said, to be looked through, never to be shown. */
function detailOf(error: RestFailure): string {
  const said = [error.message, error.response?.bodyAsText, error.details?.authenticationErrorDetail]
  return said.filter((text) => typeof text === 'string').join('\n')
}

function sentenceOf(code: string, status: number, error: RestFailure): string {
  const expired = code === 'AuthenticationFailed' && isExpired(detailOf(error))
  if (expired) return `${code}: the SAS has expired, or is not valid yet`
  const sentence = cleaned(error.message)
  const isText = sentence !== '' && !sentence.startsWith('<') && !sentence.startsWith('Error "')
  return [code || `HTTP ${status}`, isText ? sentence : ''].filter(Boolean).join(': ')
}

function retryAfter(error: RestFailure): number | undefined {
  const headers = error.response?.headers
  const milliseconds = Number(headers?.get('retry-after-ms') ?? headers?.get('x-ms-retry-after-ms') ?? NaN)
  if (milliseconds >= 0) return milliseconds
  const text = headers?.get('retry-after')
  if (text === undefined) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return ms >= 0 ? ms : undefined
}

function sizeOf(error: RestFailure): number | undefined {
  const total = /\*\/(\d+)$/.exec(error.response?.headers?.get('content-range') ?? '')?.[1]
  return total === undefined ? undefined : Number(total)
}

const identityErrors = new Set([
  'CredentialUnavailableError',
  'AggregateAuthenticationError',
  'AuthenticationError',
  'AuthenticationRequiredError',
])

/** What @azure/identity throws: its messages are a page long, with one paragraph for each way that was tried. */
function identityTrouble(error: Error): StoreError | undefined {
  if (!identityErrors.has(error.name)) return undefined
  const {errors = [error]} = error as {errors?: Error[]}
  const refused = errors.find(({name}) => name === 'AuthenticationError') as
    (Error & {statusCode?: number; errorResponse?: {errorDescription?: string}}) | undefined
  if (!refused)
    return new StoreError(
      'credentials',
      'no credentials for Azure were found (environment, managed identity, az login)',
      {
        suggestions: credentialSuggestions,
      },
    )
  const status = refused.statusCode ?? 400
  const said = cleaned(refused.errorResponse?.errorDescription ?? refused.message).replace(
    /\s*Trace ID:.*$/i,
    '',
  )
  const trouble = status >= 500 ? 'transient' : status === 429 ? 'throttled' : 'credentials'
  return new StoreError(trouble, `signing in to Azure failed: ${said}`, {suggestions: credentialSuggestions})
}

const lengthMax = 300

/** The first sentence of what was said, without what might be secret in it. */
function cleaned(text: string): string {
  const line = text.trim().split(/\s*(?:\r?\n|RequestId:)/, 1)[0] ?? ''
  return line
    .replace(/(\bsig=)[^&\s'"]+/gi, '$1…')
    .replace(/\b((?:AccountKey|SharedAccessSignature|SharedKey)\s*[=:]?\s*)[^;\s'"]+/gi, '$1…')
    .replace(/(https?:\/\/[^\s?'"]+)\?[^\s'"]*/gi, '$1')
    .replace(/(https?:\/\/)[^\s/@'"]*@/gi, '$1')
    .replace(/[A-Za-z0-9+/]{43,}={1,2}/g, '…')
    .slice(0, lengthMax)
    .replace(/[.\s]+$/, '')
}
