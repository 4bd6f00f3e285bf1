import type {StoreTrouble} from '../objects/store-error.js'

/** What a store's code for an error means. */
export interface Meaning {
  trouble: StoreTrouble
  /** In words; codes that say it themselves, or whose sentence is told anyway, have none. */
  words?: string
  suggestions?: string[]
}

const whoAmI = 'See which credentials are used: aws configure list'
const keys = 'Set the key pair: export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…'
const newLogin =
  'Log in again (aws sso login), or set new keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN'

const credentials = (words: string, ...suggestions: string[]): Meaning => ({
  trouble: 'credentials',
  words,
  suggestions: [...suggestions, whoAmI],
})
const denied = (words: string, ...suggestions: string[]): Meaning => ({
  trouble: 'denied',
  words,
  ...(suggestions.length > 0 && {suggestions}),
})
const full = (words: string): Meaning => ({trouble: 'full', words})
const failed = (words: string, ...suggestions: string[]): Meaning => ({trouble: 'failed', words, suggestions})
const transient = (words: string): Meaning => ({trouble: 'transient', words})

const unknownKey = credentials('the store does not know the access key', keys)
const expired = credentials('the credentials have expired', newLogin)
const wrongToken = credentials('the session token is not valid', newLogin)
const unsigned = credentials('the store needs credentials', keys)
const closed = denied('the account is closed or suspended', 'Ask whoever runs the store to open the account.')
const damaged = transient('what arrived is not what was sent')
const slow: Meaning = {trouble: 'throttled', words: 'the store asks for fewer requests'}
const noLock = failed(
  'the bucket has no object lock',
  'Use a bucket that was made with it: aws s3api create-bucket --object-lock-enabled-for-bucket --bucket NAME',
)
const noKmsKey = failed(
  'the encryption key cannot be used',
  'See its state: aws kms describe-key --key-id KEY',
)
const permissions =
  'It takes s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on its objects; for a lock also s3:GetObjectRetention and s3:PutObjectRetention, for tags s3:PutObjectTagging.'

/** The codes of AWS, Ceph, MinIO, R2, B2 and others. */
export const meanings = new Map<string, Meaning>(
  Object.entries({
    NoSuchKey: {trouble: 'missing', words: 'there is no such object'},
    NoSuchVersion: {trouble: 'missing', words: 'there is no such object'},
    NotFound: {trouble: 'missing', words: 'there is no such object'},
    NoSuchBucket: {trouble: 'missing-bucket', words: 'there is no such bucket'},
    NoSuchUpload: {trouble: 'gone', words: 'the store does not know the upload any more'},
    InvalidRange: {trouble: 'beyond-end', words: 'the object ends before'},
    PreconditionFailed: {trouble: 'changed', words: 'the object is another one by now'},

    InvalidAccessKeyId: unknownKey,
    InvalidClientTokenId: unknownKey,
    UnrecognizedClientException: unknownKey,
    SignatureDoesNotMatch: credentials('the secret key does not belong to the access key', keys),
    ExpiredToken: expired,
    ExpiredTokenException: expired,
    TokenRefreshRequired: expired,
    RequestExpired: expired,
    InvalidToken: wrongToken,
    InvalidSecurity: credentials('the credentials are not valid', keys),
    Unauthorized: credentials('the credentials are not valid', keys),
    MissingSecurityHeader: unsigned,
    MissingAuthenticationToken: unsigned,
    NotSignedUp: credentials('the account is not signed up for S3'),

    AccessDenied: denied('access is denied', permissions),
    AccessDeniedException: denied('access is denied', permissions),
    AllAccessDisabled: closed,
    AccountProblem: closed,
    AccountSuspended: closed,
    UserSuspended: denied('the user is suspended', 'Ask whoever runs the store to enable the user.'),
    UnauthorizedAccess: denied('access is denied', permissions),
    InvalidPayer: denied('the account may not pay for requests'),

    QuotaExceeded: full('the quota is used up'),
    StorageQuotaExceeded: full('the quota is used up'),
    StorageCapExceeded: full('the quota is used up'),
    StorageFull: full('the store is full'),
    InsufficientStorage: full('the store is full'),
    XMinioStorageFull: full('the store is full'),
    XMinioAdminBucketQuotaExceeded: full('the quota of the bucket is used up'),

    ObjectLocked: {trouble: 'locked', words: 'a retention forbids it'},
    ObjectLockedByBucketPolicy: {trouble: 'locked', words: 'a lock of the bucket forbids it'},
    ObjectImmutable: {trouble: 'locked', words: 'a retention forbids it'},

    SlowDown: slow,
    SlowDownRead: slow,
    SlowDownWrite: slow,
    Throttling: slow,
    ThrottlingException: slow,
    RequestLimitExceeded: slow,
    RequestThrottled: slow,
    RequestThrottledException: slow,
    TooManyRequests: slow,
    TooManyRequestsException: slow,
    BandwidthLimitExceeded: slow,
    PriorRequestNotComplete: slow,

    BadDigest: damaged,
    XAmzContentSHA256Mismatch: damaged,
    XAmzContentChecksumMismatch: damaged,
    IncompleteBody: transient('less arrived than was sent'),
    RequestTimeout: transient('the store waited too long for data'),
    RequestTimeoutException: transient('the store waited too long for data'),
    TimeoutError: transient('the connection was silent for too long'),
    InternalError: transient('the store met an error of its own'),
    InternalFailure: transient('the store met an error of its own'),
    ServiceUnavailable: transient('the store is not available now'),
    ServiceUnavailableException: transient('the store is not available now'),
    ServerBusy: transient('the store is not available now'),
    OperationAborted: transient('another request was in its way'),
    ConditionalRequestConflict: transient('another request was in its way'),
    XMinioServerNotInitialized: transient('the store is starting'),

    EntityTooLarge: failed('the store does not take objects or parts of that size'),
    EntityTooSmall: failed('the store does not take parts as small as that'),
    InvalidPart: failed('the store does not have a part as it was sent'),
    NotImplemented: failed('the store cannot do this'),
    InvalidBucketName: failed('the name of the bucket is not valid', 'See the names: aws s3 ls'),
    InvalidStorageClass: failed('the store does not have this storage class', 'Leave the storage class out.'),
    InvalidEncryptionAlgorithmError: failed(
      'the store does not have this encryption',
      'Leave the encryption out.',
    ),
    ObjectLockConfigurationNotFoundError: noLock,
    'KMS.DisabledException': noKmsKey,
    'KMS.NotFoundException': noKmsKey,
    'KMS.InvalidKeyUsageException': noKmsKey,
    'KMS.KMSInvalidStateException': noKmsKey,
    KMSNotConfigured: noKmsKey,
  } satisfies Record<string, Meaning>),
)

/** Where the code is not known, or missing as in every answer to HEAD. */
export function meaningOfStatus(status: number | undefined): Meaning {
  if (status === undefined) return {trouble: 'failed'}
  const known = ofStatus.get(status)
  if (known) return known
  return {trouble: status >= 500 && status !== 501 && status !== 505 ? 'transient' : 'failed'}
}

const ofStatus = new Map<number, Meaning>([
  [401, credentials('the credentials are not valid', keys)],
  [403, denied('access is denied', permissions)],
  [404, {trouble: 'missing', words: 'there is no such object'}],
  [408, transient('the store waited too long for data')],
  [412, {trouble: 'changed', words: 'the object is another one by now'}],
  [416, {trouble: 'beyond-end', words: 'the object ends before'}],
  [425, transient('the store is not available now')],
  [429, slow],
  [507, full('the store is full')],
])

/** Sentences that say more than the code beside them. */
export function meaningOfSentence(code: string, sentence: string): Meaning | undefined {
  const isRefusal = ['AccessDenied', 'InvalidRequest', 'MethodNotAllowed', 'Forbidden'].includes(code)
  if (/missing object lock|object lock (is )?not enabled/i.test(sentence)) return noLock
  if (isRefusal && /\bWORM\b|object ?lock|retention|legal hold|immutab/i.test(sentence))
    return {trouble: 'locked', words: 'a retention forbids it'}
  return undefined
}

/** Errors of TLS and of what is no S3 at all, by Node's code for them. */
export function meaningOfConnection(code: string | undefined): Meaning | undefined {
  if (code === undefined) return undefined
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return failed(
      'the certificate is for another host',
      'Check the endpoint; a bucket with dots in its name needs the path style.',
    )
  if (/CERT|SIGNATURE/.test(code))
    return failed(
      'the certificate of the store is not trusted here',
      'Name the authority that signed it: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem',
    )
  if (code === 'EPROTO' || code.startsWith('ERR_SSL'))
    return failed(
      'the endpoint does not speak TLS',
      'Where it is served without TLS, write the endpoint with http://',
    )
  return undefined
}

export const noCredentials = credentials('no credentials could be had', keys, 'Or log in: aws sso login')
