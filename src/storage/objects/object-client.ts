import type {Readable} from 'node:stream'
import type {ObjectLock} from '../provider.js'
import type {StoreError} from './store-error.js'

/** An object as its store tells of it. */
export interface StoredObject {
  /** The whole name in the bucket or container, with the destination's prefix. */
  name: string
  /** Bytes. */
  size: number
  modifiedAt: Date
  /** Differs whenever the content does; as the store writes it, quotes and all, the same in every answer. */
  etag: string
  /** What holds on to it now, where a listing tells. */
  lock?: ObjectLock | undefined
}

/** What the store itself does about removals. */
export interface StoreProtection {
  /** Undefined where it could not be asked. */
  keepsVersions: boolean | undefined
  /** What could not be asked for want of permission; `lockOf` may add to it. */
  warnings: string[]
  /** Absent where nothing can be locked, or a listing tells of it. @throws StoreError */
  lockOf?: (name: string, signal: AbortSignal) => Promise<ObjectLock | undefined>
}

/** What a new object is to be. */
export interface CreateOptions {
  /** Refuse with `exists` when the name is taken, judged by the store where it can. */
  ifAbsent: boolean
  /**
   * Kept with the object (metadata `dbbakput`) and given back by `head`: after a lost answer it tells whether the
   * object that is there is the one that was sent.
   */
  token: string
  /** Not to be put where objects cannot be read at once, whatever the store's options say. */
  readOften?: boolean | undefined
}

/** Bytes of an object from `start` on. */
export interface RangeAnswer {
  body: Readable
  /** Bytes of the whole object, not of the range. */
  size: number
  etag: string
  /** Compares the whole object, in pieces, with the checksum that the store told; absent where it told none. */
  isWhole?: ((pieces: Buffer[]) => boolean) | undefined
}

export interface UploadLimits {
  /** A part other than the last has at least so many bytes, and a whole number of them. */
  partBytesMin: number
  partBytesMax: number
  partsMax: number
  /** Parts have to come one after the other, in order. */
  sequential: boolean
}

/** An object on its way in pieces; invisible to every reader until it is complete. */
export interface Upload {
  /**
   * Sends one part; may be called again with the same part after it failed, whatever became of the first try.
   * @param part `number` counts from 1; `offset` is that of its first byte in the object; `last` for the one at the end
   * @throws StoreError
   */
  part(part: UploadPart, signal: AbortSignal): Promise<void>
  /**
   * Makes the object visible, all at once; may be called again after it failed.
   * @throws StoreError `exists` when the name was taken meanwhile; `gone` when the store knows the upload no more
   */
  complete(signal: AbortSignal): Promise<StoredObject>
  /** Leaves nothing of it in the store, as far as the store lets that be; also after `complete` failed. */
  abort(signal: AbortSignal): Promise<void>
}

export interface UploadPart {
  number: number
  offset: number
  bytes: Buffer
  last: boolean
}

/** What is known of an upload that was begun and neither completed nor aborted. */
export interface UnfinishedUpload {
  /** Bytes that the store holds of it. */
  size: number
  /** When the store was last sent a part of it; undefined where the store does not tell. */
  activeAt: Date | undefined
}

/**
 * The requests that a kind of object store offers, one method a request (or a few that cannot be told apart). Nothing
 * is retried, waited for or checked twice here: that is written once, in {@link ObjectStorage}.
 *
 * Every method fails with a StoreError that says what the trouble is, or with the signal's reason when it was aborted.
 * A connection on which nothing moves for a while is ended by the agents (`agents.ts`) and fails as `transient`.
 */
export interface ObjectClient {
  /** `s3://bucket`, `gs://bucket`, `azblob://container`, fit to print. */
  readonly place: string
  readonly limits: UploadLimits
  /** Bytes that `put` may send in one request. */
  readonly putBytesMax: number
  /**
   * Whether an upload in parts is known to who began it alone, and its completion always looks at the condition: then
   * nobody has to hold a name for it, and one that was cut off stands in nobody's way, but `unfinished` tells of none.
   */
  readonly uploadsArePrivate: boolean
  /** Whether `list` gives names in ascending order of their UTF-8 bytes. */
  readonly listsInOrder: boolean

  /** @returns undefined when there is no such object */
  head(name: string, signal: AbortSignal): Promise<(StoredObject & {token: string | undefined}) | undefined>
  /**
   * Bytes `start` to `end`, both included; `end` may lie beyond the object's.
   * @param etag the object that is meant: fails with `changed` when it is another one by now
   * @throws StoreError `missing`; `beyond-end` (with `size`) when the object has no byte `start`
   */
  get(
    name: string,
    range: {start: number; end: number; etag: string | undefined},
    signal: AbortSignal,
  ): Promise<RangeAnswer>
  /** One page of the objects whose names begin with `prefix`; `next` continues it. */
  list(
    prefix: string,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<{objects: StoredObject[]; next: string | undefined}>
  /** A missing object is no error. @throws StoreError `locked` when a retention forbids it */
  remove(name: string, signal: AbortSignal): Promise<void>
  /** Asks the bucket or container; what it does not know or does not let us ask counts as unlocked. @throws StoreError */
  protection(signal: AbortSignal): Promise<StoreProtection>
  /** Stores an object with one request, with a checksum that the store compares. */
  put(name: string, bytes: Buffer, options: CreateOptions, signal: AbortSignal): Promise<StoredObject>
  startUpload(name: string, options: CreateOptions, signal: AbortSignal): Promise<Upload>
  /** The uploads of exactly this name that were begun and not ended, together; undefined when there are none. */
  unfinished(name: string, signal: AbortSignal): Promise<UnfinishedUpload | undefined>
  /** Ends all of them. */
  discardUnfinished(name: string, signal: AbortSignal): Promise<void>
  /** What a thrown thing means, e.g. when a body that `get` gave fails. */
  explain(error: unknown): StoreError
  /** Bytes that have gone to and from the store until now, where that is known: whether anything goes on. */
  bytesMoved?(): number
  close(): Promise<void>
}
