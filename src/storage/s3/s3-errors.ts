import {shellWord} from '../../support/shell.js'
import {connectionTrouble, StoreError, type StoreTrouble} from '../objects/store-error.js'
import {
  meaningOfConnection,
  meaningOfSentence,
  meaningOfStatus,
  meanings,
  noCredentials,
  type Meaning,
} from './s3-meanings.js'

/** Of an error that the SDK threw, what there is of it: answers to HEAD have no code, and Ceph's have no sentence. */
export interface ServiceError extends Error {
  code?: string
  Region?: string
  Endpoint?: string
  ServerTime?: Date | string
  $metadata?: {httpStatusCode?: number; requestId?: string; clockSkewCorrected?: boolean}
  $response?: {statusCode?: number; headers?: Record<string, string>}
}

export interface S3ErrorsOptions {
  bucket: string
  /** Undefined for AWS. */
  endpoint: string | undefined
  /** Texts that no message may hold. */
  secrets: string[]
}

/** Says what went wrong with a request. */
export class S3Errors {
  constructor(private readonly options: S3ErrorsOptions) {}

  /** @param name the object that the request was for */
  explain(thrown: unknown, name?: string): StoreError {
    if (thrown instanceof StoreError) return thrown
    if (!(thrown instanceof Error)) return new StoreError('failed', this.clean(String(thrown)))
    const error = thrown as ServiceError
    if (/^(CredentialsProvider|TokenProvider|Provider)Error$/.test(error.name))
      return this.told(error, noCredentials, sentenceOf(error))
    if (statusOf(error) === undefined) return this.unanswered(error)
    if (isUnreadable(error)) return this.unreadable(error)
    return this.refused(error, name)
  }

  private unanswered(error: ServiceError): StoreError {
    const broken = connectionTrouble(error)
    if (broken)
      return new StoreError(broken.trouble, this.clean(broken.message), {cause: this.causeOf(error)})
    const known = meaningOfConnection(error.code) ?? meanings.get(error.name)
    return this.told(error, known ?? {trouble: 'failed'}, sentenceOf(error) ?? error.name)
  }

  /** A proxy's page, or an address at which there is something else than S3. */
  private unreadable(error: ServiceError): StoreError {
    const status = statusOf(error) ?? 0
    const trouble = meaningOfStatus(status).trouble
    const isTransient = trouble === 'transient' || trouble === 'throttled'
    return new StoreError(
      isTransient ? trouble : 'failed',
      `the answer (HTTP ${status}) is not one of an S3 store`,
      {
        cause: this.causeOf(error),
        retryAfterMs: retryAfter(error),
        suggestions: ['Check the endpoint: it is the address of the S3 interface, not of a web page.'],
      },
    )
  }

  private refused(error: ServiceError, name: string | undefined): StoreError {
    const code = codeOf(error)
    const region = regionOf(error)
    if (region !== undefined && isRegionTrouble(error)) return this.otherRegion(error, region)
    if (code === 'RequestTimeTooSkewed' || error.$metadata?.clockSkewCorrected === true)
      return this.skewed(error)
    if (code === 'InvalidObjectState') return this.archived(error, name)
    const sentence = sentenceOf(error)
    const meaning =
      (sentence && code && meaningOfSentence(code, sentence)) ||
      (code && meanings.get(code)) ||
      meaningOfStatus(statusOf(error))
    const told = code === undefined ? undefined : [code, sentence].filter(Boolean).join(': ')
    return this.told(error, meaning, told ?? `HTTP ${statusOf(error)}`)
  }

  private told(error: ServiceError, {trouble, words, suggestions}: Meaning, said = error.name): StoreError {
    const message = words === undefined ? said : `${words} (${said})`
    return this.storeError(trouble, message, error, suggestions)
  }

  private otherRegion(error: ServiceError, region: string): StoreError {
    const message = `the bucket ${this.options.bucket} is in the region ${region} (${codeOf(error) ?? 'HTTP 301'})`
    return this.storeError('failed', message, error, [
      `Use that region: export AWS_REGION=${shellWord(region)}`,
    ])
  }

  private skewed(error: ServiceError): StoreError {
    const theirs = new Date(error.ServerTime ?? headerOf(error, 'date') ?? Number.NaN)
    const ours = `this machine's clock says ${new Date().toISOString()}`
    const both = Number.isNaN(theirs.getTime()) ? ours : `${ours}, the store's ${theirs.toISOString()}`
    return this.storeError('clock-skew', `${both} (${codeOf(error) ?? `HTTP ${statusOf(error)}`})`, error)
  }

  private archived(error: ServiceError, name = 'NAME'): StoreError {
    const where = `--bucket ${shellWord(this.options.bucket)} --key ${shellWord(name)}`
    return this.storeError(
      'failed',
      'the object is archived and has to be restored first (InvalidObjectState)',
      error,
      [
        `aws s3api restore-object ${where} --restore-request Days=7`,
        'Run the command again when that is done; it takes minutes to hours.',
      ],
    )
  }

  private storeError(
    trouble: StoreTrouble,
    message: string,
    error: ServiceError,
    suggestions?: string[],
  ): StoreError {
    return new StoreError(trouble, this.clean(message).replace(/\.$/, ''), {
      cause: this.causeOf(error),
      retryAfterMs: retryAfter(error),
      suggestions: suggestions?.map((one) => this.onThisStore(one)),
    })
  }

  /** The AWS command line asks AWS unless it is told where else. */
  private onThisStore(suggestion: string): string {
    const {endpoint} = this.options
    if (endpoint === undefined) return suggestion
    return suggestion.replace(
      /\baws (s3|s3api) /,
      (command) => `${command}--endpoint-url ${shellWord(endpoint)} `,
    )
  }

  /** The SDK's own error holds requests and answers, with signatures in them. */
  private causeOf(error: ServiceError): Error {
    const {requestId, httpStatusCode} = error.$metadata ?? {}
    const cause = new Error(this.clean(error.message))
    cause.name = error.name
    const details = {code: error.code, httpStatusCode, requestId}
    return Object.assign(
      cause,
      Object.fromEntries(Object.entries(details).filter(([, value]) => value !== undefined)),
    )
  }

  private clean(text: string): string {
    const known = this.options.secrets.reduce((rest, secret) => rest.replaceAll(secret, '…'), text)
    return known
      .replace(/\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{12,}\b/g, '…')
      .replace(/\b(https?:\/\/)[^\s/@"']*@/g, '$1')
      .replace(/\b(https?:\/\/[^\s?"'<>]*)\?[^\s"'<>]*/g, '$1')
      .replace(/\b(Signature|Credential|X-Amz-[A-Za-z-]+)=[^\s&,"']+/gi, '$1=…')
  }
}

export function codeOf(error: ServiceError): string | undefined {
  return error.name === 'Unknown' || error.name === 'UnknownError' || error.name === 'Error'
    ? undefined
    : error.name
}

export function statusOf(error: ServiceError): number | undefined {
  return error.$metadata?.httpStatusCode ?? error.$response?.statusCode
}

export function headerOf(error: ServiceError, name: string): string | undefined {
  return error.$response?.headers?.[name]
}

/** What the store said beside the code, if anything. */
function sentenceOf({message, name}: ServiceError): string | undefined {
  const [said] = message.split('\n  Deserialization error')
  return said === '' || said === 'UnknownError' || said === 'Unknown' || said === name ? undefined : said
}

/** The SDK says in the message where the answer lies that it could not read. */
function isUnreadable({message}: ServiceError): boolean {
  return /XML parse error|Deserialization error|\$response/.test(message)
}

function isRegionTrouble(error: ServiceError): boolean {
  const codes = [
    'PermanentRedirect',
    'TemporaryRedirect',
    'Redirect',
    'AuthorizationHeaderMalformed',
    'IllegalLocationConstraintException',
  ]
  return statusOf(error) === 301 || codes.includes(codeOf(error) ?? '')
}

/** Where the bucket is, as the answer tells it in one of several ways. */
function regionOf(error: ServiceError): string | undefined {
  const inEndpoint = /(?:^|\.)s3[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com/.exec(error.Endpoint ?? '')?.[1]
  const inSentence = /expecting '([a-z0-9-]+)'/.exec(error.message)?.[1]
  return headerOf(error, 'x-amz-bucket-region') ?? error.Region ?? inSentence ?? inEndpoint
}

function retryAfter(error: ServiceError): number | undefined {
  const text = headerOf(error, 'retry-after')
  if (text === undefined) return undefined
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : new Date(text).getTime() - Date.now()
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined
}
