import {createHash, randomBytes} from 'node:crypto'
import type {AccessTier} from '@azure/storage-blob'
import type {CreateOptions, StoredObject, Upload, UploadPart} from '../objects/object-client.js'
import {StoreError} from '../objects/store-error.js'
import {isTrouble, metadataOf, storedAs, type AzureContainer} from './azure-container.js'

export interface UploadRequest {
  container: AzureContainer
  name: string
  create: CreateOptions
  tier: AccessTier | undefined
}

/**
 * An upload in blocks. All writers of one name share the blocks that are not committed yet, and whoever commits drops
 * those of the others; so every id names its writer. All ids of a blob have to be of one length.
 */
export class BlockUpload implements Upload {
  private readonly writer = randomBytes(8).toString('hex')
  private readonly blocks = new Map<number, {id: string; size: number}>()

  constructor(private readonly request: UploadRequest) {}

  async part({number, bytes}: UploadPart, signal: AbortSignal): Promise<void> {
    if (bytes.length === 0) return // no block is empty; an object of no blocks is
    const {container, name} = this.request
    const id = this.blocks.get(number)?.id ?? blockId(this.writer, number)
    this.blocks.set(number, {id, size: bytes.length})
    const transactionalContentMD5 = md5(bytes)
    await container.ask(signal, () =>
      container
        .blob(name)
        .stageBlock(id, bytes, bytes.length, {abortSignal: signal, transactionalContentMD5}),
    )
  }

  async complete(signal: AbortSignal): Promise<StoredObject> {
    const {container, name, create, tier} = this.request
    const blocks = [...this.blocks].sort(([one], [other]) => one - other).map(([, block]) => block)
    if (blocks.length > 0 && !this.blocks.has(blocks.length))
      throw new StoreError('failed', 'a part of the upload was never sent')
    const size = blocks.reduce((sum, block) => sum + block.size, 0)
    try {
      const written = await container.create(
        name,
        create,
        (conditions) =>
          container.blob(name).commitBlockList(
            blocks.map(({id}) => id),
            {abortSignal: signal, conditions, metadata: metadataOf(create), ...(tier && {tier})},
          ),
        signal,
      )
      return storedAs(name, size, written)
    } catch (error) {
      if (!isTrouble(error, 'exists', 'gone')) throw error
      return this.earlierAnswer(error, signal)
    }
  }

  /** An earlier try may have made it, and only the answer was lost. */
  private async earlierAnswer(error: unknown, signal: AbortSignal): Promise<StoredObject> {
    const {container, name, create} = this.request
    const found = await container.findIfAllowed(name, signal)
    if (found === 'denied') throw error
    if (found?.token === create.token) return found
    const isTaken = found !== undefined && !found.isDiscarded && create.ifAbsent
    throw isTaken ? new StoreError('exists', 'the name is taken', {cause: error}) : error
  }

  /** Leaves the blocks to Azure, which drops them after a week, where another writer's would be lost with them. */
  async abort(signal: AbortSignal): Promise<void> {
    if (this.blocks.size === 0) return
    const {container, name} = this.request
    const left = await container.uncommitted(name, signal)
    const areOurs = left.every(({id}) => parseBlockId(id)?.writer === this.writer)
    if (left.length > 0 && areOurs) await container.discard(name, signal)
  }
}

export const md5 = (bytes: Buffer): Buffer => createHash('md5').update(bytes).digest()

/** The time is in it because Azure does not tell when a block came. */
function blockId(writer: string, number: number): string {
  const time = Date.now().toString(36).padStart(9, '0')
  return Buffer.from(`dbbak_${writer}_${time}_${String(number).padStart(5, '0')}`).toString('base64')
}

/** @returns undefined for an id of another program */
export function parseBlockId(id: string): {writer: string; sentAt: Date} | undefined {
  const match = /^dbbak_([0-9a-f]{16})_([0-9a-z]{9})_\d{5}$/.exec(
    Buffer.from(id, 'base64').toString('latin1'),
  )
  if (match?.[1] === undefined || match[2] === undefined) return undefined
  return {writer: match[1], sentAt: new Date(parseInt(match[2], 36))}
}
