import type {BlockBlobClient, ContainerClient, ModifiedAccessConditions} from '@azure/storage-blob'
import type {CreateOptions, StoredObject, StoreProtection} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {ObjectLock} from '../provider.js'
import {explainAzure} from './azure-errors.js'

/** A blob as HEAD tells of it. */
export interface FoundBlob extends StoredObject {
  token: string | undefined
  /** Not an object: only put there so that the blocks under its name are dropped. */
  isDiscarded: boolean
}

export interface WrittenBlob {
  etag?: string | undefined
  lastModified?: Date | undefined
}

const tokenKey = 'dbbakput'
const discardedKey = 'dbbakdiscarded'

export const metadataOf = ({token}: CreateOptions): Record<string, string> => ({[tokenKey]: token})

type Metadata = Record<string, string> | undefined

export const isDiscarded = (metadata: Metadata): boolean => metadata?.[discardedKey] !== undefined

/** An account with a hierarchical namespace shows its folders as blobs. */
export const isFolder = (metadata: Metadata): boolean => metadata?.hdi_isfolder === 'true'

/** A listing writes it without the quotes that a header has. */
export function quoted(etag: string | undefined): string {
  if (etag === undefined || etag === '') throw new StoreError('failed', 'the answer names no ETag')
  return etag.startsWith('"') ? etag : `"${etag}"`
}

/** Requests on the blobs of one container that uploads need as well as readers. */
export class AzureContainer {
  private keepsEverything: boolean | undefined

  constructor(readonly client: ContainerClient) {}

  /** @throws StoreError; the signal's reason */
  async ask<T>(signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    try {
      return await request()
    } catch (error) {
      throw signal.aborted ? signal.reason : explainAzure(error)
    }
  }

  blob(name: string): BlockBlobClient {
    // A URL would lose such a part, and with it lead to another blob or even container.
    if (name.split('/').some((part) => part === '.' || part === '..'))
      throw new StoreError('failed', 'Azure has no names with a part that is . or ..')
    return this.client.getBlockBlobClient(name)
  }

  async find(name: string, signal: AbortSignal): Promise<FoundBlob | undefined> {
    try {
      const found = await this.ask(signal, () => this.blob(name).getProperties({abortSignal: signal}))
      if (isFolder(found.metadata)) return undefined
      return {
        name,
        size: found.contentLength ?? 0,
        modifiedAt: found.lastModified ?? new Date(0),
        etag: quoted(found.etag),
        token: found.metadata?.[tokenKey],
        isDiscarded: isDiscarded(found.metadata),
      }
    } catch (error) {
      if (isTrouble(error, 'missing')) return undefined
      throw error
    }
  }

  /** Whoever may only add objects cannot ask. */
  async findIfAllowed(name: string, signal: AbortSignal): Promise<FoundBlob | 'denied' | undefined> {
    try {
      return await this.find(name, signal)
    } catch (error) {
      if (isTrouble(error, 'denied')) return 'denied'
      throw error
    }
  }

  /** Makes a blob by a request that is given the conditions under which it may. */
  async create(
    name: string,
    {ifAbsent}: CreateOptions,
    write: (conditions: ModifiedAccessConditions) => Promise<WrittenBlob>,
    signal: AbortSignal,
  ): Promise<WrittenBlob> {
    if (!ifAbsent) return this.ask(signal, () => write({}))
    try {
      return await this.ask(signal, () => write({ifNoneMatch: '*'}))
    } catch (error) {
      if (!isTrouble(error, 'exists', 'changed')) throw error
      const taken = isTrouble(error, 'exists') ? error : new StoreError('exists', (error as Error).message)
      const found = await this.findIfAllowed(name, signal)
      if (found === 'denied' || !found?.isDiscarded) throw taken
      // Left there by somebody who was killed between putting and removing it.
      return this.replace(found.etag, write, signal)
    }
  }

  private async replace(
    etag: string,
    write: (conditions: ModifiedAccessConditions) => Promise<WrittenBlob>,
    signal: AbortSignal,
  ): Promise<WrittenBlob> {
    try {
      return await this.ask(signal, () => write({ifMatch: etag}))
    } catch (error) {
      if (isTrouble(error, 'changed')) throw new StoreError('exists', (error as Error).message)
      throw error
    }
  }

  /** The blocks that were sent and not committed, by their ids. */
  async uncommitted(name: string, signal: AbortSignal): Promise<{id: string; size: number}[]> {
    try {
      const {uncommittedBlocks = []} = await this.ask(signal, () =>
        this.blob(name).getBlockList('uncommitted', {abortSignal: signal}),
      )
      return uncommittedBlocks.map((block) => ({id: block.name, size: block.size}))
    } catch (error) {
      if (isTrouble(error, 'missing')) return []
      throw error
    }
  }

  /**
   * Drops the uncommitted blocks of a name that has no blob. Azure has no request for it: committing none of them does
   * it, and the empty blob that this makes is removed at once. Where it could not be removed they are left to Azure,
   * which keeps them for a week.
   */
  async discard(name: string, signal: AbortSignal): Promise<void> {
    const etag = await this.putDiscarded(name, signal)
    if (etag !== undefined) await this.removeDiscarded(name, etag, signal)
  }

  async removeDiscarded(name: string, etag: string, signal: AbortSignal): Promise<void> {
    try {
      await this.ask(signal, () => this.blob(name).delete({abortSignal: signal, conditions: {ifMatch: etag}}))
    } catch (error) {
      // Somebody has put an object in its place, or removed it as well.
      if (!isTrouble(error, 'missing', 'changed')) throw error
    }
  }

  /** Puts a blob that is no object. @returns its ETag; undefined when an object has the name, or nothing may be put */
  async putDiscarded(name: string, signal: AbortSignal): Promise<string | undefined> {
    if (await this.isImmutable(signal)) return undefined
    const conditions = {ifNoneMatch: '*'}
    const options = {abortSignal: signal, conditions, metadata: {[discardedKey]: 'true'}}
    try {
      return quoted((await this.ask(signal, () => this.blob(name).commitBlockList([], options))).etag)
    } catch (error) {
      if (!isTrouble(error, 'exists', 'changed')) throw error
      const found = await this.find(name, signal)
      return found?.isDiscarded ? found.etag : undefined
    }
  }

  /**
   * What the container holds on to. Where each blob may have a policy of its own, each is asked; under a policy of the
   * whole container nobody can tell when it ends for a blob: its removal is refused.
   */
  async protection(place: string, signal: AbortSignal): Promise<StoreProtection> {
    try {
      const found = await this.ask(signal, () => this.client.getProperties({abortSignal: signal}))
      const isByBlob = found.isImmutableStorageWithVersioningEnabled === true
      const held: ObjectLock | undefined = found.hasLegalHold
        ? {until: undefined, by: 'legal hold of the container'}
        : undefined
      const lockOf =
        held || isByBlob
          ? async (name: string, whileAsked: AbortSignal) => held ?? (await this.lockOf(name, whileAsked))
          : undefined
      return {keepsVersions: isByBlob, warnings: [], ...(lockOf && {lockOf})}
    } catch (error) {
      if (!isTrouble(error, 'denied', 'failed')) throw error
      const {message} = error as StoreError
      return {
        keepsVersions: undefined,
        warnings: [
          `Whether ${place} keeps older versions and locks blobs could not be asked: ${message}. It takes the right to read the container's properties.`,
        ],
      }
    }
  }

  private async lockOf(name: string, signal: AbortSignal): Promise<ObjectLock | undefined> {
    try {
      const found = await this.ask(signal, () => this.blob(name).getProperties({abortSignal: signal}))
      if (found.legalHold === true) return {until: undefined, by: 'legal hold'}
      const {immutabilityPolicyExpiresOn: until, immutabilityPolicyMode: mode} = found
      if (until === undefined || until.getTime() <= Date.now()) return undefined
      return {until, by: ['immutability policy', mode].join(' ').trim()}
    } catch (error) {
      if (isTrouble(error, 'missing')) return undefined
      throw error
    }
  }

  /** Whether what is put here may stay for years. Who may not ask that is taken to be no such container's user. */
  private async isImmutable(signal: AbortSignal): Promise<boolean> {
    this.keepsEverything ??= await this.ask(signal, () =>
      this.client.getProperties({abortSignal: signal}),
    ).then(
      (found) =>
        found.hasImmutabilityPolicy === true ||
        found.hasLegalHold === true ||
        found.isImmutableStorageWithVersioningEnabled === true,
      (error: unknown) => {
        if (isTrouble(error, 'denied', 'credentials', 'failed', 'missing')) return false
        throw error
      },
    )
    return this.keepsEverything
  }
}

export function isTrouble(error: unknown, ...troubles: StoreError['trouble'][]): boolean {
  return error instanceof StoreError && troubles.includes(error.trouble)
}

export function storedAs(name: string, size: number, {etag, lastModified}: WrittenBlob): StoredObject {
  return {name, size, modifiedAt: lastModified ?? new Date(), etag: quoted(etag)}
}
