import {createHash, randomUUID} from 'node:crypto'
import type {
  CreateOptions,
  ObjectClient,
  RangeAnswer,
  StoredObject,
  StoreProtection,
  UnfinishedUpload,
  Upload,
  UploadLimits,
} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {GcsOptions, RequestOptions} from '../objects/store-options.js'
import {crc32c, crcText} from './crc32c.js'
import {explainError} from './gcs-errors.js'
import {GcsHttp, type GcsResponse} from './gcs-http.js'
import {listedFields, newObject, objectFields, storedObject, type ObjectResource} from './gcs-object.js'
import {blockBytes, GcsUpload} from './gcs-upload.js'

const mebibyte = 1024 * 1024

/** Google Cloud Storage by its JSON API. Nothing is asked yet. */
export function openGcsClient(
  bucket: string,
  options: GcsOptions,
  request: RequestOptions,
): Promise<ObjectClient> {
  return Promise.resolve(new GcsClient(bucket, options, request))
}

class GcsClient implements ObjectClient {
  readonly place: string
  readonly limits: UploadLimits = {
    partBytesMin: blockBytes,
    partBytesMax: 1024 * mebibyte,
    partsMax: Infinity,
    sequential: true,
  }
  readonly putBytesMax = 16 * mebibyte
  readonly uploadsArePrivate = true
  readonly listsInOrder = true
  private readonly http: GcsHttp

  constructor(
    private readonly bucket: string,
    private readonly options: GcsOptions,
    request: RequestOptions,
  ) {
    this.place = `gs://${bucket}`
    this.http = new GcsHttp(options, request)
  }

  async head(
    name: string,
    signal: AbortSignal,
  ): Promise<(StoredObject & {token: string | undefined}) | undefined> {
    const resource = await this.find(name, signal)
    return resource && {...storedObject(resource), token: resource.metadata?.dbbakput}
  }

  async get(
    name: string,
    {start, end, etag}: {start: number; end: number; etag: string | undefined},
    signal: AbortSignal,
  ): Promise<RangeAnswer> {
    const url = this.objectUrl(name, {alt: 'media', ...(etag !== undefined && {ifGenerationMatch: etag})})
    // Who does not accept gzip gets objects unpacked that are said to be gzip: other bytes than those stored.
    const headers = {range: `bytes=${start}-${Number.isFinite(end) ? end : ''}`, 'accept-encoding': 'gzip'}
    const response = await this.http.content({method: 'GET', url, headers}, signal)
    const generation = (response.headers['x-goog-generation'] as string | undefined) ?? etag
    const size = rangeSize(response, start)
    const isWhole = checkOf(response)
    if (size !== undefined && generation !== undefined)
      return {body: response.body, size, etag: generation, isWhole}
    response.body.destroy()
    throw new StoreError('failed', 'the store sent other bytes than the range that was asked for')
  }

  async list(
    prefix: string,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<{objects: StoredObject[]; next: string | undefined}> {
    const url = this.url('', {
      prefix,
      maxResults: '1000',
      fields: `nextPageToken,items(${listedFields})`,
      ...(next !== undefined && {pageToken: next}),
    })
    const request = {method: 'GET', url, troubles: noObject} as const
    const {body} = await this.http.json<{items?: ObjectResource[]; nextPageToken?: string}>(request, signal)
    if (!body) throw new StoreError('failed', 'the answer is no list of objects')
    return {objects: (body.items ?? []).map(storedObject), next: body.nextPageToken}
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    await this.delete(this.objectUrl(name, {}), signal)
  }

  /** What is locked is told by listings. */
  async protection(signal: AbortSignal): Promise<StoreProtection> {
    const url = `${this.bucketUrl('')}?${new URLSearchParams({fields: 'versioning'}).toString()}`
    const request = {method: 'GET', url, troubles: noObject} as const
    try {
      const {body} = await this.http.json<{versioning?: {enabled?: boolean}}>(request, signal)
      return {keepsVersions: body?.versioning?.enabled === true, warnings: []}
    } catch (error) {
      if (!(error instanceof StoreError) || error.trouble !== 'denied') throw error
      const warning = `Whether ${this.place} keeps older versions of what is removed could not be asked: ${error.message}. It takes the permission storage.buckets.get.`
      return {keepsVersions: undefined, warnings: [warning]}
    }
  }

  async put(name: string, bytes: Buffer, create: CreateOptions, signal: AbortSignal): Promise<StoredObject> {
    const {resource, query} = newObject(name, create, this.options)
    const checksums = {
      crc32c: crcText(crc32c(bytes)),
      md5Hash: createHash('md5').update(bytes).digest('base64'),
    }
    const boundary = randomUUID()
    const json = JSON.stringify({...resource, ...checksums})
    const head = `--${boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n${json}\r\n`
    const {body} = await this.http.json<ObjectResource>(
      {
        method: 'POST',
        url: this.url('/upload', {uploadType: 'multipart', ...query}),
        headers: {'content-type': `multipart/related; boundary=${boundary}`},
        body: [
          Buffer.from(`${head}--${boundary}\r\nContent-Type: application/octet-stream\r\n\r\n`),
          bytes,
          Buffer.from(`\r\n--${boundary}--\r\n`),
        ],
        troubles: {...noObject, 412: 'exists'},
      },
      signal,
    )
    return storedObject(body)
  }

  async startUpload(name: string, create: CreateOptions, signal: AbortSignal): Promise<Upload> {
    const {resource, query} = newObject(name, create, this.options)
    const {headers} = await this.http.json(
      {
        method: 'POST',
        url: this.url('/upload', {uploadType: 'resumable', ...query}),
        headers: {'content-type': 'application/json; charset=UTF-8'},
        body: [Buffer.from(JSON.stringify(resource))],
        troubles: {...noObject, 412: 'exists'},
      },
      signal,
    )
    if (headers.location === undefined) throw new StoreError('failed', 'the store began no upload')
    return new GcsUpload(this.http, headers.location, create.ifAbsent, {
      findOurs: async (again) => {
        const found = await this.find(name, again)
        return found?.metadata?.dbbakput === create.token ? found : undefined
      },
      removeGeneration: (generation, again) =>
        this.delete(this.objectUrl(name, {ifGenerationMatch: generation}), again),
    })
  }

  /** Sessions cannot be listed; one that nobody ends is gone after a week, and costs nothing until then. */
  unfinished(): Promise<UnfinishedUpload | undefined> {
    return Promise.resolve(undefined)
  }

  discardUnfinished(): Promise<void> {
    return Promise.resolve()
  }

  explain(error: unknown): StoreError {
    return explainError(error)
  }

  bytesMoved(): number {
    return this.http.bytesMoved()
  }

  close(): Promise<void> {
    this.http.close()
    return Promise.resolve()
  }

  private async find(name: string, signal: AbortSignal): Promise<ObjectResource | undefined> {
    const request = {method: 'GET', url: this.objectUrl(name, {fields: objectFields})} as const
    try {
      return (await this.http.json<ObjectResource>(request, signal)).body
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  private async delete(url: string, signal: AbortSignal): Promise<void> {
    try {
      // 412: the generation that was meant is gone.
      await this.http.json({method: 'DELETE', url, expected: [412]}, signal)
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  }

  private objectUrl(name: string, query: Record<string, string>): string {
    return this.url('', query, `/${encodeURIComponent(name)}`)
  }

  private url(service: '' | '/upload', query: Record<string, string>, object = ''): string {
    return `${this.bucketUrl(service)}/o${object}?${new URLSearchParams(query).toString()}`
  }

  private bucketUrl(service: '' | '/upload'): string {
    return `${this.http.endpoint}${service}/storage/v1/b/${encodeURIComponent(this.bucket)}`
  }
}

/** Where no object is asked for, it is the bucket that is missing. */
const noObject = {404: 'missing-bucket'} as const

function isMissing(error: unknown): boolean {
  return error instanceof StoreError && error.trouble === 'missing'
}

/** By the checksum of the whole object, which comes with every range of it. */
function checkOf({headers}: GcsResponse): RangeAnswer['isWhole'] {
  const told = /crc32c=([A-Za-z0-9+/]{6}==)/.exec(String(headers['x-goog-hash'] ?? ''))?.[1]
  if (told === undefined) return undefined
  return (pieces) =>
    crcText(pieces.reduce((crc, piece) => crc32c(piece, crc), crc32c(Buffer.alloc(0)))) === told
}

/** Bytes of the whole object; undefined when the answer is not the range that was asked for. */
function rangeSize({status, headers}: GcsResponse, start: number): number | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '')
  return status === 206 && match !== null && Number(match[1]) === start ? Number(match[2]) : undefined
}
