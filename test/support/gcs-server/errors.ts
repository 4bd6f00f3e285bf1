/** What an operation answers. The server writes it, or what an injected fault makes of it. */
export interface Reply {
  status: number
  headers?: Record<string, string>
  body?: string | {file: string; start: number; end: number; gunzip?: boolean}
}

/** An answer in the form of developers' documentation "HTTP status and error codes for JSON". */
export class GoogleError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    private readonly place: {locationType?: string; location?: string} = {},
  ) {
    super(message)
  }

  /** Downloads and upload sessions are served by another front end, which answers in plain text. */
  reply(form: 'json' | 'text'): Reply {
    if (form === 'text')
      return {status: this.status, headers: {'content-type': 'text/html; charset=UTF-8'}, body: this.message}
    const {status, message, reason} = this
    const error = {code: status, message, errors: [{message, domain: 'global', reason, ...this.place}]}
    return {status, headers: jsonHeaders, body: JSON.stringify({error}, null, 1)}
  }
}

export const jsonHeaders = {'content-type': 'application/json; charset=UTF-8'}

export const json = (value: unknown, status = 200): Reply => ({
  status,
  headers: jsonHeaders,
  body: JSON.stringify(value, null, 1),
})

export const noSuchBucket = () => new GoogleError(404, 'notFound', 'The specified bucket does not exist.')

export const noSuchObject = (bucket: string, name: string) =>
  new GoogleError(404, 'notFound', `No such object: ${bucket}/${name}`)

export const preconditionFailed = () =>
  new GoogleError(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.', {
    locationType: 'header',
    location: 'If-Match',
  })

export const invalid = (message: string) => new GoogleError(400, 'invalid', message)
