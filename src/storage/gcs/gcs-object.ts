import type {ObjectLock} from '../provider.js'
import type {CreateOptions, StoredObject} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {GcsOptions} from '../objects/store-options.js'

/** Of Google's Objects resource what is used here. */
export interface ObjectResource {
  name: string
  /** Decimal; numbers of 64 bits come as text. */
  size: string
  generation: string
  timeCreated: string
  crc32c?: string
  metadata?: Record<string, string>
  temporaryHold?: boolean
  eventBasedHold?: boolean
  /** The end of the bucket's retention and of the object's own, whichever is later. */
  retentionExpirationTime?: string
  retention?: {mode?: string; retainUntilTime?: string}
}

/** What a listing needs of each object. */
export const listedFields =
  'name,size,generation,timeCreated,temporaryHold,eventBasedHold,retentionExpirationTime,retention'

export const objectFields = 'name,size,generation,timeCreated,crc32c,metadata'

/**
 * An object's generation is its identity: unlike its ETag it stays when only metadata change, and every request can be
 * made on condition of it.
 */
export function storedObject(resource: ObjectResource | undefined): StoredObject {
  const {name, size, generation, timeCreated} = resource ?? {}
  const bytes = Number(size)
  if (
    name === undefined ||
    generation === undefined ||
    timeCreated === undefined ||
    !Number.isSafeInteger(bytes)
  )
    throw new StoreError('failed', 'the answer does not describe an object')
  const lock = lockIn(resource)
  return {name, size: bytes, modifiedAt: new Date(timeCreated), etag: generation, ...(lock && {lock})}
}

function lockIn(resource: Partial<ObjectResource> = {}): ObjectLock | undefined {
  const {temporaryHold, eventBasedHold, retentionExpirationTime, retention} = resource
  if (temporaryHold) return {until: undefined, by: 'temporary hold'}
  if (eventBasedHold) return {until: undefined, by: 'event-based hold'}
  const ends = [retentionExpirationTime, retention?.retainUntilTime].map((time) => Date.parse(time ?? ''))
  const end = Math.max(...ends.filter((time) => !Number.isNaN(time)))
  return end > Date.now() ? {until: new Date(end), by: 'retention'} : undefined
}

/** The resource and the query that a new object is made with. */
export function newObject(
  name: string,
  {ifAbsent, token}: CreateOptions,
  {storageClass, kmsKeyName}: GcsOptions,
): {resource: Record<string, unknown>; query: Record<string, string>} {
  return {
    resource: {
      name,
      contentType: 'application/octet-stream',
      metadata: {dbbakput: token},
      ...(storageClass !== undefined && {storageClass}),
    },
    query: {
      fields: objectFields,
      ...(ifAbsent && {ifGenerationMatch: '0'}),
      ...(kmsKeyName !== undefined && {kmsKeyName}),
    },
  }
}
