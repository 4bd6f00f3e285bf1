import type {IncomingMessage} from 'node:http'
import type {Fault} from './faults.js'
import type {Sessions} from './sessions.js'
import type {ObjectStore} from './store.js'

/** One request, taken apart. */
export interface Call {
  operation: Operation
  store: ObjectStore
  sessions: Sessions
  /** `http://127.0.0.1:PORT` */
  base: string
  request: IncomingMessage
  query: URLSearchParams
  bucket: string
  object: string
  fault: Fault | undefined
  /** The request's content as it comes, changed where a fault says so. */
  body(): AsyncIterable<Buffer>
}

/** Google's names of the methods; the requests of an upload session have none. */
export type Operation =
  | 'buckets.insert'
  | 'buckets.get'
  | 'buckets.patch'
  | 'objects.insert'
  | 'objects.get'
  | 'objects.media'
  | 'objects.list'
  | 'objects.patch'
  | 'objects.delete'
  | 'session.start'
  | 'session.chunk'
  | 'session.status'
  | 'session.cancel'
