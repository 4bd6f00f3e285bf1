import {createHash, randomBytes, randomUUID} from 'node:crypto'
import {buffer} from 'node:stream/consumers'
import {workFolderName} from '../object-name.js'
import {stateOf, thisProcess, type WorkOwner} from '../work-owner.js'
import type {ObjectClient, StoredObject, UnfinishedUpload} from './object-client.js'
import type {Retrying} from './patience.js'
import {settled} from './settled.js'
import {StoreError} from './store-error.js'

export interface ClaimsOptions {
  client: ObjectClient
  retrying: Retrying
  /** Of the destination, with the slash at its end. */
  prefix: string
}

/** An upload in parts that somebody began; it may still run. */
export interface Claim {
  /** The claim's own name. */
  name: string
  /** The name that is being uploaded. */
  target: string
  /** Whether its owner runs, or has to be presumed to. */
  isRunning: boolean
  size: number
  activeAt: Date
  /** Of the claim itself: another's of the same name has another. */
  etag: string
}

const dayMs = 24 * 3_600_000
/** An owner that cannot be asked (on another machine) counts as gone when the store was sent nothing for a day. */
const abandonedMs = dayMs
/** Where the store does not tell when parts came, only how old the claim is; those that do not keep them a week. */
const abandonedUnseenMs = 7 * dayMs
const claimBytesMax = 4096
/** What cannot be ended in this time is found by the next sweep. */
const cleanUpMs = 8_000

/**
 * Small objects that say who is uploading what in parts.
 *
 * They hold a name for one writer, because some stores carry out a conditional completion without looking at its
 * condition; and they tell a sweep which unfinished uploads are dbbak's and whose owner is gone, because a store lists
 * uploads without saying whose they are.
 */
export class Claims {
  constructor(private readonly options: ClaimsOptions) {}

  /**
   * Claims a name for an upload in parts.
   * @param exclusive for a name that is written once, where the store does not see to that itself
   * @returns what ends the claim; best effort, since a claim that is left does no harm
   * @throws StoreError `held` while somebody else holds it
   */
  async take(target: string, exclusive: boolean, signal: AbortSignal): Promise<() => Promise<void>> {
    const name = this.nameFor(target, exclusive)
    const token = randomUUID()
    try {
      if (!(await this.write(name, {target, token}, signal))) {
        await this.endIfAbandoned(name, signal)
        if (!(await this.write(name, {target, token}, signal)))
          throw new StoreError('held', 'another upload of this name is under way')
      }
      return () => this.end(name)
    } catch (error) {
      await this.endOurs(name, token) // it may have been written all the same
      throw error
    }
  }

  /** The uploads that were begun and not ended. */
  async *all(signal: AbortSignal): AsyncGenerator<Claim> {
    const {client, retrying, prefix} = this.options
    let next: string | undefined
    do {
      const page = await retrying.run(signal, () =>
        client.list(`${prefix}${workFolderName}/claim_`, next, signal),
      )
      for (const object of page.objects) {
        const claim = await this.read(object, signal)
        if (claim) yield claim
      }
      next = page.next
    } while (next !== undefined)
  }

  /** Ends what its owner left, the upload first; not what somebody has begun anew meanwhile. @throws StoreError */
  async discard({name, target, etag}: Claim, signal: AbortSignal): Promise<void> {
    const {client, retrying} = this.options
    const now = await retrying.run(signal, () => client.head(name, signal))
    if (now?.etag !== etag) return
    await retrying.run(signal, () => client.discardUnfinished(target, signal))
    await retrying.run(signal, () => client.remove(name, signal))
  }

  private nameFor(target: string, exclusive: boolean): string {
    const hash = createHash('sha256').update(target).digest('hex').slice(0, 32)
    const ending = exclusive ? '' : `_${randomBytes(6).toString('hex')}`
    return `${this.options.prefix}${workFolderName}/claim_${hash}${ending}`
  }

  /** @returns whether the claim is ours */
  private async write(
    name: string,
    {target, token}: {target: string; token: string},
    signal: AbortSignal,
  ): Promise<boolean> {
    const {client, retrying} = this.options
    const text = Buffer.from(JSON.stringify({target, owner: thisProcess()}))
    const create = {ifAbsent: true, token, readOften: true}
    try {
      await retrying.run(signal, () => settled(signal, (late) => client.put(name, text, create, late)))
      return true
    } catch (error) {
      if (!(error instanceof StoreError) || error.trouble !== 'exists') throw error
      const found = await retrying.run(signal, () => client.head(name, signal)) // an earlier try may have done it
      return found?.token === token
    }
  }

  private async endIfAbandoned(name: string, signal: AbortSignal): Promise<void> {
    const {client, retrying} = this.options
    const object = await retrying.run(signal, () => client.head(name, signal))
    const claim = object && (await this.read(object, signal))
    if (claim && !claim.isRunning) await this.discard(claim, signal)
  }

  private async end(name: string): Promise<void> {
    const {client, retrying} = this.options
    const signal = AbortSignal.timeout(cleanUpMs)
    await retrying.run(signal, () => client.remove(name, signal)).catch(() => {})
  }

  private async endOurs(name: string, token: string): Promise<void> {
    const {client, retrying} = this.options
    const signal = AbortSignal.timeout(cleanUpMs)
    const found = await retrying.run(signal, () => client.head(name, signal)).catch(() => undefined)
    if (found?.token === token) await this.end(name)
  }

  /** @returns undefined for one that has ended meanwhile, and for what is no claim */
  private async read(object: StoredObject, signal: AbortSignal): Promise<Claim | undefined> {
    const {client, retrying, prefix} = this.options
    const text = await this.text(object, signal)
    const held = text === undefined ? undefined : parse(text)
    // What a claim names is data: it can only speak of this destination, and of its own target.
    if (!held || !held.target.startsWith(prefix) || !object.name.startsWith(this.nameFor(held.target, true)))
      return undefined
    const upload = await retrying.run(signal, () => client.unfinished(held.target, signal))
    return {
      name: object.name,
      target: held.target,
      isRunning: isRunning(held.owner, object.modifiedAt, upload, client),
      size: upload?.size ?? 0,
      activeAt: latest(object.modifiedAt, upload?.activeAt),
      etag: object.etag,
    }
  }

  private async text({name, size}: StoredObject, signal: AbortSignal): Promise<string | undefined> {
    if (size === 0 || size > claimBytesMax) return undefined
    const {client, retrying} = this.options
    try {
      return await retrying.run(signal, async () => {
        const {body} = await client.get(name, {start: 0, end: claimBytesMax - 1, etag: undefined}, signal)
        return (await buffer(body)).toString('utf8')
      })
    } catch (error) {
      if (error instanceof StoreError && error.trouble === 'missing') return undefined
      throw error
    }
  }
}

function isRunning(
  owner: WorkOwner,
  claimedAt: Date,
  upload: UnfinishedUpload | undefined,
  {uploadsArePrivate}: ObjectClient,
): boolean {
  const state = stateOf(owner)
  if (state !== 'unknown') return state === 'running'
  const idleMs = Date.now() - latest(claimedAt, upload?.activeAt).getTime()
  const isUnseen = upload ? !upload.activeAt : uploadsArePrivate
  return idleMs < (isUnseen ? abandonedUnseenMs : abandonedMs)
}

const latest = (one: Date, other: Date | undefined): Date => (other && other > one ? other : one)

function parse(text: string): {target: string; owner: WorkOwner} | undefined {
  try {
    const {target, owner} = JSON.parse(text) as {target?: unknown; owner?: Partial<WorkOwner>}
    const {host, place, pid, start} = owner ?? {}
    if (typeof target !== 'string' || typeof host !== 'string' || typeof place !== 'string') return undefined
    if (typeof pid !== 'number' || typeof start !== 'string') return undefined
    return {target, owner: {host, place, pid, start}}
  } catch {
    return undefined
  }
}
