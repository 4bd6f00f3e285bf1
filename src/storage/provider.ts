import type {Readable} from 'node:stream'

export interface ObjectInfo {
  /** Path below the destination, with `/` between its parts. */
  key: string
  /** Bytes. */
  size: number
  modifiedAt: Date
  /** Differs whenever the content does; absent where the destination keeps no such thing (a local folder). */
  etag?: string
  /** What keeps it from being removed, where a listing tells. */
  lock?: ObjectLock | undefined
}

/** An object lock, a retention, a hold: while it lasts, the object may not be removed. */
export interface ObjectLock {
  /** When it ends by itself; undefined where it does not, or the destination does not say. */
  until: Date | undefined
  /** In a few words: "retention COMPLIANCE", "legal hold". */
  by: string
}

/** What the destination itself does about objects that are to be removed. */
export interface Protection {
  /**
   * Whether what is removed stays as an older version, which no listing shows and which takes its room; undefined where
   * that could not be asked.
   */
  keepsVersions: boolean | undefined
  /** What could not be asked for want of permission, a sentence each; `lockOf` may add to it. */
  warnings: string[]
  /** Asks about one object, where a listing does not tell; absent where nothing can be locked. */
  lockOf?: (key: string) => Promise<ObjectLock | undefined>
}

export interface PutOptions {
  signal?: AbortSignal | undefined
  /** About how many bytes will come, if anybody can guess: a hint for how to send them, which may be wrong. */
  expectedBytes?: number | undefined
  /** Small, and read again and again (a manifest): never put away into an archive from which it has to be fetched back. */
  readOften?: boolean | undefined
  /** Replace an object of that name; without it a name is write-once. */
  overwrite?: boolean | undefined
}

/** A range that reaches beyond the end gives what there is, perhaps nothing. */
export interface GetOptions {
  /** Ends the stream with its reason, also after `get` has returned. */
  signal?: AbortSignal | undefined
  /** First byte wanted, counted from 0. */
  start?: number | undefined
  /** Last byte wanted, included. */
  end?: number | undefined
}

/** Something that an interrupted put left behind; no reader takes it for an object. What a running put writes is none. */
export interface Leftover {
  key: string
  size: number
  modifiedAt: Date
}

/**
 * A place that keeps backup files.
 *
 * A put is all or nothing: a reader never sees half an object, and an aborted or failed put leaves no key behind.
 * Of several puts of one name at the same time, one succeeds.
 * A finished put is durable, and visible to get, head and list at once.
 * A key is a relative path; one that would lead outside the destination is refused with OBJECT_NAME_INVALID.
 * Reading creates nothing: a destination that nothing was put into yet lists nothing.
 *
 * Every sentence here and below is a test in test/storage/contract.ts, run for every provider.
 */
export interface StorageProvider {
  /** Where this is, fit to print: never contains credentials. */
  describe(): string
  /** The same text for every way to name this place, where `describe()` is not. */
  identity?(): Promise<string>
  /**
   * Stores everything that the stream gives, taking it no faster than it can be stored. A stream that was not read to
   * its end is destroyed.
   * @throws DbbakError OBJECT_EXISTS when the name is taken and `overwrite` was not asked for;
   *   DESTINATION_FULL, DESTINATION_READ_ONLY, DESTINATION_NOT_A_FOLDER or DESTINATION_FAILED;
   *   whatever the stream failed with; the signal's reason when it was aborted.
   */
  put(key: string, body: Readable, options?: PutOptions): Promise<ObjectInfo>
  /** @throws DbbakError OBJECT_NOT_FOUND */
  get(key: string, options?: GetOptions): Promise<Readable>
  /** @returns undefined when there is no such object. */
  head(key: string): Promise<ObjectInfo | undefined>
  /**
   * Yields the objects whose key begins with `prefix`, in ascending order of the key's UTF-8 bytes. One that comes or
   * goes meanwhile may be among them or not. A prefix that no key can have yields nothing.
   */
  list(prefix: string): AsyncIterable<ObjectInfo>
  /** Removing a missing key is not an error. */
  remove(key: string): Promise<void>
  /** What interrupted puts left here. */
  leftovers(): AsyncIterable<Leftover>
  /** Removes the leftovers of puts that certainly no longer run. @returns those that were removed. */
  sweep(): Promise<Leftover[]>
  close(): Promise<void>

  /**
   * A folder on the destination's own file system for files that are prepared before they are put, if it has one.
   * The caller removes what it made there.
   */
  workFolder?(): Promise<string>
  /** Takes away what this has made here for its puts, where it is empty: for a look that is to leave nothing. */
  tidy?(): Promise<void>
  /** Moves a finished local file in (no copy on the same file system); same promises as put. A failure leaves the file. */
  adopt?(key: string, file: string, options?: PutOptions): Promise<ObjectInfo>
  /** The path of a local file with exactly the object's content, to be read only, where the destination has one. */
  fileFor?(key: string): Promise<string | undefined>
  /** Asked before anything is removed, where the destination may hold on to it. */
  protection?(): Promise<Protection>
  /** Whether there is such a place at all, where the first put would make it. */
  isThere?(): Promise<boolean>
  /** Bytes that have gone to and from it until now, of all puts and gets together: whether anything goes on, however slowly. */
  bytesMoved?(): number
  /** Bytes that can still be stored, where the destination can know it. */
  freeBytes?(): Promise<number | undefined>
}

export const identityOf = async (store: StorageProvider): Promise<string> =>
  (await store.identity?.()) ?? store.describe()
