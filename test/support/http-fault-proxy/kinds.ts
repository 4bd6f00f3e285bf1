export type Store = 's3' | 'azure' | 'gcs'

export type S3RequestKind =
  | 'put-object'
  | 'copy-object'
  | 'get-object'
  | 'head-object'
  | 'delete-object'
  | 'delete-objects'
  | 'list'
  | 'create-upload'
  | 'upload-part'
  | 'complete-upload'
  | 'abort-upload'
  | 'list-uploads'
  | 'list-parts'
export type AzureRequestKind =
  | 'put-blob'
  | 'copy-blob'
  | 'stage-block'
  | 'commit-blocks'
  | 'get-blob'
  | 'head-blob'
  | 'delete-blob'
  | 'list'
  | 'block-list'
export type GcsRequestKind =
  | 'upload'
  | 'start-session'
  | 'session-chunk'
  | 'session-status'
  | 'session-delete'
  | 'get-media'
  | 'get-metadata'
  | 'delete'
  | 'list'
/** What a request is for; `other` for buckets, tags, retentions and whatever else there is. */
export type RequestKind = S3RequestKind | AzureRequestKind | GcsRequestKind | 'other'

export interface AskedRequest {
  method: string
  /** As it was sent, percent signs and all. */
  path: string
  /** As it was sent, without the question mark. */
  query: string
  header: (name: string) => string | undefined
}

export function kindOf(store: Store, request: AskedRequest): RequestKind {
  const query = new URLSearchParams(request.query)
  return {s3: s3Kind, azure: azureKind, gcs: gcsKind}[store](request, query)
}

/** Reads of an object's bytes. */
export const readKinds: ReadonlySet<RequestKind> = new Set(['get-object', 'get-blob', 'get-media'])

/** Requests whose body is an object's bytes. */
export const writeKinds: ReadonlySet<RequestKind> = new Set([
  'put-object',
  'upload-part',
  'put-blob',
  'stage-block',
  'upload',
  'session-chunk',
])

/** Parts of an S3 object or bucket that are asked for by a name in the query. */
const s3Subresources = [
  ...['acl', 'attributes', 'legal-hold', 'restore', 'retention', 'tagging', 'torrent', 'location', 'policy'],
  ...['object-lock', 'versioning', 'versions', 'lifecycle', 'encryption', 'cors', 'website', 'logging'],
]

function s3Kind({method, path, header}: AskedRequest, query: URLSearchParams): RequestKind {
  if (s3Subresources.some((name) => query.has(name))) return 'other'
  // The bucket stands in the path, since the proxy's host is a number.
  const level = /^\/[^/]+\/./.test(path) ? 'object' : /^\/[^/]/.test(path) ? 'bucket' : 'service'
  const upload = query.has('uploadId') ? ' uploadId' : query.has('uploads') ? ' uploads' : ''
  if (method === 'PUT' && !upload && header('x-amz-copy-source')) return 'copy-object'
  if (method === 'POST' && level === 'bucket' && query.has('delete')) return 'delete-objects'
  return s3Kinds[`${method} ${level}${upload}`] ?? 'other'
}

const s3Kinds: Record<string, RequestKind | undefined> = {
  'PUT object': 'put-object',
  'PUT object uploadId': 'upload-part',
  'GET object': 'get-object',
  'GET object uploadId': 'list-parts',
  'HEAD object': 'head-object',
  'DELETE object': 'delete-object',
  'DELETE object uploadId': 'abort-upload',
  'POST object uploads': 'create-upload',
  'POST object uploadId': 'complete-upload',
  'GET bucket': 'list',
  'GET bucket uploads': 'list-uploads',
}

function azureKind({method, header}: AskedRequest, query: URLSearchParams): RequestKind {
  const what = [query.get('restype'), query.get('comp')].filter((part) => part !== null).join(' ')
  if (method === 'PUT' && !what && header('x-ms-copy-source')) return 'copy-blob'
  return azureKinds[`${method} ${what}`] ?? 'other'
}

const azureKinds: Record<string, RequestKind | undefined> = {
  'PUT ': 'put-blob',
  'PUT block': 'stage-block',
  'PUT blocklist': 'commit-blocks',
  'GET ': 'get-blob',
  'GET blocklist': 'block-list',
  'GET container list': 'list',
  'HEAD ': 'head-blob',
  'DELETE ': 'delete-blob',
}

function gcsKind({method, path, header}: AskedRequest, query: URLSearchParams): RequestKind {
  if (query.has('upload_id')) {
    if (method === 'DELETE') return 'session-delete'
    if (method !== 'PUT') return 'other'
    return /^bytes \*\//.test(header('content-range') ?? '') ? 'session-status' : 'session-chunk'
  }
  if (method === 'POST' && query.has('uploadType')) {
    return query.get('uploadType') === 'resumable' ? 'start-session' : 'upload'
  }
  if (/\/b\/[^/]+\/o\/?$/.test(path)) return method === 'GET' ? 'list' : 'other'
  if (!/\/b\/[^/]+\/o\/[^/]+$/.test(path)) return 'other'
  if (method === 'DELETE') return 'delete'
  if (method !== 'GET') return 'other'
  return query.get('alt') === 'media' || path.startsWith('/download/') ? 'get-media' : 'get-metadata'
}
