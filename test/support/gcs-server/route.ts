import type {Operation} from './call.js'

export interface Route {
  operation: Operation
  bucket: string
  object: string
}

const paths = /^(?:\/(upload|download))?(?:\/storage\/v1)?\/b(?:\/([^/]+)(\/o(?:\/([^/]+))?)?)?\/?$/

/** Which operation a method and a path mean: with or without `/storage/v1`, as the libraries ask emulators. */
export function routeOf(
  method: string,
  {pathname, searchParams}: URL,
  contentRange: string | undefined,
): Route | undefined {
  const match = paths.exec(pathname)
  if (!match) return undefined
  const [, service, bucket = '', objects, object = ''] = match
  const found =
    service === 'upload'
      ? uploadOperation(method, searchParams, contentRange)
      : plainOperation(method, {
          hasBucket: bucket !== '',
          hasObjects: objects !== undefined,
          hasObject: object !== '',
        })
  const isMedia = service === 'download' || searchParams.get('alt') === 'media'
  const operation = found === 'objects.get' && isMedia ? 'objects.media' : found
  return operation && {operation, bucket: decodeURIComponent(bucket), object: decodeURIComponent(object)}
}

function uploadOperation(method: string, query: URLSearchParams, contentRange = ''): Operation | undefined {
  if (query.has('upload_id')) {
    if (method === 'DELETE') return 'session.cancel'
    if (method !== 'PUT' && method !== 'POST') return undefined
    return contentRange.startsWith('bytes */') ? 'session.status' : 'session.chunk'
  }
  if (method !== 'POST') return undefined
  return query.get('uploadType') === 'resumable' ? 'session.start' : 'objects.insert'
}

function plainOperation(
  method: string,
  path: {hasBucket: boolean; hasObjects: boolean; hasObject: boolean},
): Operation | undefined {
  if (path.hasObject)
    return ({GET: 'objects.get', PATCH: 'objects.patch', DELETE: 'objects.delete'} as const)[method]
  if (path.hasObjects) return method === 'GET' ? 'objects.list' : undefined
  if (path.hasBucket) return ({GET: 'buckets.get', PATCH: 'buckets.patch'} as const)[method]
  return method === 'POST' ? 'buckets.insert' : undefined
}
