import type {AccessTier, ModifiedAccessConditions} from '@azure/storage-blob'
import {storeAgents, type StoreAgents} from '../objects/agents.js'
import type {
  CreateOptions,
  ObjectClient,
  RangeAnswer,
  StoredObject,
  StoreProtection,
  UnfinishedUpload,
  Upload,
} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import type {AzureOptions, RequestOptions} from '../objects/store-options.js'
import {bodyOf, connectAzure} from './azure-connect.js'
import {
  AzureContainer,
  isDiscarded,
  isFolder,
  isTrouble,
  metadataOf,
  quoted,
  storedAs,
  type FoundBlob,
} from './azure-container.js'
import {explainAzure} from './azure-errors.js'
import {NameCheck} from './azure-names.js'
import {BlockUpload, md5, parseBlockId} from './azure-upload.js'

/** As many as Azure gives. */
const pageSizeMax = 5000

/**
 * A container of Azure Blob Storage; nothing is contacted yet.
 * @throws StoreError `credentials`
 */
export async function openAzureClient(
  container: string,
  options: AzureOptions,
  request: RequestOptions,
  pageSize = pageSizeMax,
): Promise<ObjectClient> {
  const agents = storeAgents({stallMs: request.stallMs, env: request.env})
  const client = await connectAzure(container, options, agents)
  return new AzureClient(container, new AzureContainer(client), {agents, tier: options.tier, pageSize})
}

const mebibyte = 1024 * 1024

interface ClientOptions {
  agents: StoreAgents
  tier: AccessTier | undefined
  pageSize: number
}

class AzureClient implements ObjectClient {
  readonly place: string
  readonly limits = {
    partBytesMin: mebibyte,
    partBytesMax: 4000 * mebibyte,
    partsMax: 50_000,
    sequential: false,
  }
  readonly putBytesMax = 64 * mebibyte
  /** All uploads of a name share its uncommitted blocks. */
  readonly uploadsArePrivate = false
  /** By UTF-16 units, and by folders where the account has a hierarchical namespace. */
  readonly listsInOrder = false
  private readonly names: NameCheck

  constructor(
    containerName: string,
    private readonly container: AzureContainer,
    private readonly options: ClientOptions,
  ) {
    this.place = `azblob://${containerName}`
    this.names = new NameCheck(container)
  }

  async head(
    name: string,
    signal: AbortSignal,
  ): Promise<(StoredObject & {token: string | undefined}) | undefined> {
    const found = await this.find(name, signal)
    if (!found || found.isDiscarded) return undefined
    const {size, modifiedAt, etag, token} = found
    return {name, size, modifiedAt, etag, token}
  }

  private async find(name: string, signal: AbortSignal): Promise<FoundBlob | undefined> {
    return (await this.names.isReachable(name, signal)) ? this.container.find(name, signal) : undefined
  }

  async get(
    name: string,
    range: {start: number; end: number; etag: string | undefined},
    signal: AbortSignal,
  ): Promise<RangeAnswer> {
    if (!(await this.names.isReachable(name, signal)))
      throw new StoreError('missing', 'there is no such blob')
    try {
      return await this.container.ask(signal, () => this.download(name, range, signal))
    } catch (error) {
      // An answer of this kind has no metadata: what is empty may be no object at all.
      if (!(error instanceof StoreError) || error.trouble !== 'beyond-end' || error.size) throw error
      const found = await this.head(name, signal)
      if (!found) throw new StoreError('missing', 'there is no such blob')
      throw new StoreError('beyond-end', error.message, {size: found.size})
    }
  }

  private async download(
    name: string,
    {start, end, etag}: {start: number; end: number; etag: string | undefined},
    signal: AbortSignal,
  ): Promise<RangeAnswer> {
    const answer = await this.container.blob(name).download(start, end - start + 1, {
      abortSignal: signal,
      maxRetryRequests: 0,
      ...(etag !== undefined && {conditions: {ifMatch: etag}}),
    })
    const body = bodyOf(answer)
    const size = Number(/\/(\d+)$/.exec(answer.contentRange ?? '')?.[1] ?? NaN)
    const isThere = !isDiscarded(answer.metadata) && !isFolder(answer.metadata)
    const {blobContentMD5: told} = answer
    const isWhole = told && ((pieces: Buffer[]) => md5(Buffer.concat(pieces)).equals(told))
    if (isThere && start < size) return {body, size, etag: quoted(answer.etag), isWhole}
    body.on('error', () => {}).destroy()
    if (!isThere) throw new StoreError('missing', 'there is no such blob')
    if (start >= size) throw new StoreError('beyond-end', 'the blob has no such bytes', {size})
    throw new StoreError('failed', 'the answer does not tell the size of the blob')
  }

  async list(
    prefix: string,
    next: string | undefined,
    signal: AbortSignal,
  ): Promise<{objects: StoredObject[]; next: string | undefined}> {
    return this.container.ask(signal, async () => {
      const pages = this.container.client
        .listBlobsFlat({abortSignal: signal, prefix, includeMetadata: true})
        .byPage({maxPageSize: this.options.pageSize, ...(next !== undefined && {continuationToken: next})})
      const page = await pages.next()
      if (page.done) return {objects: [], next: undefined}
      const objects = page.value.segment.blobItems
        .filter(({metadata}) => !isDiscarded(metadata) && !isFolder(metadata))
        .map(({name, properties}) => ({
          name,
          size: properties.contentLength ?? 0,
          modifiedAt: properties.lastModified,
          etag: quoted(properties.etag),
        }))
      return {objects, next: page.value.continuationToken || undefined}
    })
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    if (!(await this.names.isReachable(name, signal))) return
    try {
      await this.container.ask(signal, () => this.container.blob(name).delete({abortSignal: signal}))
    } catch (error) {
      if (!isTrouble(error, 'missing')) throw error
    }
  }

  protection(signal: AbortSignal): Promise<StoreProtection> {
    return this.container.protection(this.place, signal)
  }

  async put(name: string, bytes: Buffer, options: CreateOptions, signal: AbortSignal): Promise<StoredObject> {
    await this.names.refuseUnlessKept(name, signal)
    const checksum = md5(bytes)
    const tier = this.tierFor(options)
    const write = (conditions: ModifiedAccessConditions) =>
      this.container.blob(name).upload(bytes, bytes.length, {
        abortSignal: signal,
        conditions,
        metadata: metadataOf(options),
        transactionalContentMD5: checksum,
        blobHTTPHeaders: {blobContentMD5: checksum},
        ...(tier && {tier}),
      })
    try {
      return storedAs(name, bytes.length, await this.container.create(name, options, write, signal))
    } catch (error) {
      if (!options.ifAbsent || !isTrouble(error, 'exists')) throw error
      if (await this.container.findIfAllowed(name, signal)) throw error
      return this.putInBlocks(name, bytes, options, signal)
    }
  }

  /** The emulator takes a name under which there are only blocks for taken, but not when blocks are committed. */
  private async putInBlocks(
    name: string,
    bytes: Buffer,
    options: CreateOptions,
    signal: AbortSignal,
  ): Promise<StoredObject> {
    const upload = await this.startUpload(name, options, signal)
    await upload.part({number: 1, offset: 0, bytes, last: true}, signal)
    return upload.complete(signal)
  }

  async startUpload(name: string, create: CreateOptions, signal: AbortSignal): Promise<Upload> {
    await this.names.refuseUnlessKept(name, signal)
    this.container.blob(name) // refuses what is no name
    return new BlockUpload({container: this.container, name, create, tier: this.tierFor(create)})
  }

  /** What lies in the archive tier has to be brought back before anybody can read it. */
  private tierFor({readOften}: CreateOptions): AccessTier | undefined {
    const {tier} = this.options
    return readOften && tier === 'Archive' ? undefined : tier
  }

  async unfinished(name: string, signal: AbortSignal): Promise<UnfinishedUpload | undefined> {
    const found = await this.find(name, signal)
    if (found) return found.isDiscarded ? {size: 0, activeAt: found.modifiedAt} : undefined
    if (!(await this.names.isReachable(name, signal))) return undefined
    const blocks = await this.container.uncommitted(name, signal)
    if (blocks.length === 0) return undefined
    const times = blocks.flatMap(({id}) => parseBlockId(id)?.sentAt.getTime() ?? [])
    return {
      size: blocks.reduce((sum, block) => sum + block.size, 0),
      activeAt: times.length > 0 ? new Date(Math.max(...times)) : undefined,
    }
  }

  async discardUnfinished(name: string, signal: AbortSignal): Promise<void> {
    if ((await this.unfinished(name, signal)) !== undefined) await this.container.discard(name, signal)
  }

  explain(error: unknown): StoreError {
    return explainAzure(error)
  }

  bytesMoved(): number {
    return this.options.agents.bytesMoved()
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async close(): Promise<void> {
    this.options.agents.destroy()
  }
}
