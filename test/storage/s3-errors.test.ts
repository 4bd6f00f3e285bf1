import {describe, expect, test} from '@jest/globals'
import {S3Errors} from '../../src/storage/s3/s3-errors.js'

const errors = new S3Errors({bucket: 'shop', endpoint: undefined, secrets: ['the-secret']})

/** As the SDK throws it. */
const thrown = (name: string, status?: number, message = 'UnknownError', more: object = {}): Error => {
  const error = Object.assign(new Error(message), {name, ...more})
  return status === undefined ? error : Object.assign(error, {$metadata: {httpStatusCode: status}})
}
const troubleOf = (...args: Parameters<typeof thrown>) => errors.explain(thrown(...args)).trouble

describe('What an S3 store says', () => {
  test.each([
    ['InvalidAccessKeyId', 403, 'credentials'],
    ['SignatureDoesNotMatch', 403, 'credentials'],
    ['ExpiredToken', 400, 'credentials'],
    ['TokenRefreshRequired', 400, 'credentials'],
    ['InvalidToken', 400, 'credentials'],
    ['AccessDenied', 403, 'denied'],
    ['AllAccessDisabled', 403, 'denied'],
    ['UserSuspended', 403, 'denied'],
    ['QuotaExceeded', 403, 'full'],
    ['XMinioStorageFull', 507, 'full'],
    ['XMinioAdminBucketQuotaExceeded', 400, 'full'],
    ['RequestTimeTooSkewed', 403, 'clock-skew'],
    ['SlowDown', 503, 'throttled'],
    ['SlowDownWrite', 503, 'throttled'],
    ['TooManyRequests', 429, 'throttled'],
    ['ServiceUnavailable', 503, 'transient'],
    ['InternalError', 500, 'transient'],
    ['BadDigest', 400, 'transient'],
    ['XAmzContentSHA256Mismatch', 400, 'transient'],
    ['IncompleteBody', 400, 'transient'],
    ['RequestTimeout', 400, 'transient'],
    ['EntityTooLarge', 400, 'failed'],
    ['InvalidStorageClass', 400, 'failed'],
    ['NotImplemented', 501, 'failed'],
    ['InvalidObjectState', 403, 'failed'],
    ['ObjectLocked', 403, 'locked'],
    ['NoSuchBucket', 404, 'missing-bucket'],
    ['NoSuchKey', 404, 'missing'],
    ['NoSuchUpload', 404, 'gone'],
    ['PreconditionFailed', 412, 'changed'],
    ['InvalidRange', 416, 'beyond-end'],
  ])('%s (%i) is %s', (code, status, trouble) => {
    const error = errors.explain(thrown(code, status))
    expect(error.trouble).toBe(trouble)
    // Ceph sends no sentence with it.
    expect(error.message).toContain(code)
    expect(error.message).not.toContain('UnknownError')
    expect(error.message).not.toMatch(/\.$/)
  })

  test.each([
    [401, 'credentials'],
    [403, 'denied'],
    [404, 'missing'],
    [408, 'transient'],
    [412, 'changed'],
    [418, 'failed'],
    [429, 'throttled'],
    [500, 'transient'],
    [501, 'failed'],
    [502, 'transient'],
    [503, 'transient'],
    [504, 'transient'],
    [507, 'full'],
  ])('status %i without a code is %s', (status, trouble) => {
    expect(troubleOf('Unknown', status)).toBe(trouble)
    expect(troubleOf('CodeOfAnotherStore', status)).toBe(trouble)
  })

  test('a refusal because of a lock is told by its sentence', () => {
    const worm = 'Access Denied because object protected by object lock.'
    expect(troubleOf('AccessDenied', 403, worm)).toBe('locked')
    expect(troubleOf('InvalidRequest', 400, 'Object is WORM protected and cannot be overwritten')).toBe(
      'locked',
    )
    const missing = 'Bucket is missing Object Lock Configuration'
    const error = errors.explain(thrown('InvalidRequest', 400, missing))
    expect(error).toMatchObject({trouble: 'failed', suggestions: [expect.stringContaining('made with it')]})
  })

  test('the region is found wherever the store tells it', () => {
    const region = (error: Error) => errors.explain(error).suggestions
    const wanted = ['Use that region: export AWS_REGION=eu-central-1']
    const sentence =
      "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'"
    expect(region(thrown('AuthorizationHeaderMalformed', 400, sentence))).toEqual(wanted)
    const Endpoint = 'shop.s3.eu-central-1.amazonaws.com'
    expect(region(thrown('PermanentRedirect', 301, 'Use another', {Endpoint}))).toEqual(wanted)
    const $response = {headers: {'x-amz-bucket-region': 'eu-central-1'}}
    expect(region(thrown('Unknown', 301, 'UnknownError', {$response}))).toEqual(wanted)
  })

  test('credentials that cannot be had are told apart from ones that are refused', () => {
    const none = errors.explain(thrown('CredentialsProviderError', undefined, 'Could not load credentials'))
    expect(none).toMatchObject({
      trouble: 'credentials',
      message: 'no credentials could be had (Could not load credentials)',
    })
    expect(none.suggestions[0]).toContain('AWS_ACCESS_KEY_ID')
    expect(troubleOf('TokenProviderError', undefined, 'Token is expired. Run aws sso login')).toBe(
      'credentials',
    )
  })

  test('certificates that are not trusted are told, and broken connections may go better', () => {
    const node = (code: string) => errors.explain(Object.assign(new Error('reason'), {code}))
    expect(node('DEPTH_ZERO_SELF_SIGNED_CERT')).toMatchObject({
      trouble: 'failed',
      suggestions: [expect.stringContaining('NODE_EXTRA_CA_CERTS')],
    })
    expect(node('UNABLE_TO_VERIFY_LEAF_SIGNATURE').trouble).toBe('failed')
    expect(node('ERR_TLS_CERT_ALTNAME_INVALID').trouble).toBe('failed')
    for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'ECONNREFUSED'])
      expect(node(code).trouble).toBe('transient')
  })

  test('no message, cause or suggestion holds a secret', () => {
    const said = [
      'The key AKIAIOSFODNN7EXAMPLE and the-secret',
      'GET https://user:password@host/shop/a?X-Amz-Credential=c&X-Amz-Signature=abc123 failed',
      'Credential=AKIA/20260101, Signature=abc123',
    ].join(' ')
    const more = {
      AWSAccessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      StringToSign: 'abc123',
      $response: {headers: {a: 'abc123'}},
    }
    const error = errors.explain(thrown('SignatureDoesNotMatch', 403, said, more))
    const cause = error.cause as Error
    const told = [error.message, error.suggestions, cause.message, cause.stack, JSON.stringify(cause)].join()
    for (const secret of ['AKIAIOSFODNN7', 'the-secret', 'password', 'abc123'])
      expect(told).not.toContain(secret)
    expect(told).toContain('https://host/shop/a')
  })
})
