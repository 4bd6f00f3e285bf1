/** An object as a listing tells of it. */
export interface ListedObject {
  key: string
  /** Bytes. */
  size: number
  /** Differs whenever the content does. */
  etag: string
}

/**
 * Remembers the text of manifests and verification results from one listing to the next, so that only what is new or
 * has changed is read. It only saves time: whatever happens to it, nothing fails for it, and what it gives is parsed
 * and checked as if it had just been read.
 */
export interface CatalogCache {
  /** @returns undefined unless it holds the text of exactly this object, undamaged */
  get(object: ListedObject): Promise<string | undefined>
  set(object: ListedObject, text: string): void
  /** Keeps what was set, and forgets what the destination no longer has. Never rejects. */
  flush(listed: {has(key: string): boolean}): Promise<void>
}
