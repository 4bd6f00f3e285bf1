import {randomUUID} from 'node:crypto'
import type {Readable} from 'node:stream'
import {checkObjectName, isObjectName} from '../object-name.js'
import type {GetOptions, Leftover, ObjectInfo, Protection, PutOptions, StorageProvider} from '../provider.js'
import {Claims, type Claim} from './claims.js'
import {destinationError} from './destination-error.js'
import {InFlight} from './in-flight.js'
import type {ObjectClient, StoredObject} from './object-client.js'
import {Retrying, type PatienceOptions} from './patience.js'
import {receive} from './receive.js'
import {send} from './send.js'
import {StoreError} from './store-error.js'

export interface ObjectStorageOptions extends PatienceOptions {
  /** Below it lies everything of this destination; without slashes at its ends, perhaps empty. */
  prefix: string
}

/**
 * Keeps objects in a bucket or container, the same way in every cloud: what differs is an {@link ObjectClient}.
 *
 * A put is one request, or parts that nobody sees until they are completed. Names are written once by the store's own
 * conditional requests, and for uploads in parts by a claim as well. Whatever may go better is tried again.
 */
export class ObjectStorage implements StorageProvider {
  private readonly prefix: string
  private readonly retrying: Retrying
  private readonly claims: Claims
  private readonly inFlight = new InFlight()
  private readonly closing = new AbortController()

  constructor(
    private readonly client: ObjectClient,
    options: ObjectStorageOptions,
  ) {
    this.prefix = options.prefix === '' ? '' : `${options.prefix}/`
    this.retrying = new Retrying(client, options)
    this.claims = new Claims({client, retrying: this.retrying, prefix: this.prefix})
  }

  describe(): string {
    return `${this.client.place}/${this.prefix}`.replace(/\/$/, '')
  }

  async put(key: string, body: Readable, options: PutOptions = {}): Promise<ObjectInfo> {
    body.on('error', () => {}) // it may fail before it is read from, or when nobody reads it any more
    try {
      return this.infoOf(await this.sendObject(key, body, options))
    } catch (error) {
      body.destroy()
      throw options.signal?.aborted === true ? options.signal.reason : this.explain(error, key)
    }
  }

  private async sendObject(key: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    const name = this.nameOf(key)
    const signal = this.signalOf(options.signal)
    const ifAbsent = options.overwrite !== true
    signal.throwIfAborted()
    if (ifAbsent) await this.refuseTaken(name, signal)
    const {client, retrying, inFlight} = this
    return send(body, {
      client,
      retrying,
      inFlight,
      name,
      signal,
      create: {ifAbsent, token: randomUUID(), readOften: options.readOften},
      expectedBytes: options.expectedBytes,
      claim: () => this.claim(name, ifAbsent, signal),
    })
  }

  /** Whoever held the claim before may have stored the object in the meantime. */
  private async claim(name: string, ifAbsent: boolean, signal: AbortSignal): Promise<() => Promise<void>> {
    const release = await this.claims.take(name, ifAbsent && !this.client.uploadsArePrivate, signal)
    try {
      if (ifAbsent) await this.refuseTaken(name, signal)
      return release
    } catch (error) {
      await release()
      throw error
    }
  }

  /** Before anything is read or sent; the store has the last word all the same. */
  private async refuseTaken(name: string, signal: AbortSignal): Promise<void> {
    const found = await this.retrying
      .run(signal, () => this.client.head(name, signal))
      .catch((error: unknown) => {
        // Who may only write learns it from the put.
        if (error instanceof StoreError && error.trouble === 'denied') return undefined
        throw error
      })
    if (found) throw new StoreError('exists', 'the name is taken')
  }

  async get(
    key: string,
    {signal, start = 0, end = Number.MAX_SAFE_INTEGER - 1}: GetOptions = {},
  ): Promise<Readable> {
    const name = this.nameOf(key)
    signal?.throwIfAborted()
    const {client, retrying} = this
    const explain = (error: unknown) => this.explain(error, key)
    try {
      return await receive({client, retrying, name, start, end, signal, explain})
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : explain(error)
    }
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const name = this.nameOf(key)
    return this.explained(key, async () => {
      const found = await this.run((signal) => this.client.head(name, signal))
      return found && this.infoOf(found)
    })
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    try {
      yield* this.client.listsInOrder ? this.pages(prefix) : await this.sorted(prefix)
    } catch (error) {
      throw this.explain(error)
    }
  }

  private async *pages(prefix: string): AsyncGenerator<ObjectInfo> {
    if (!isText(prefix)) return
    let next: string | undefined
    do {
      const page = await this.run((signal) => this.client.list(this.prefix + prefix, next, signal))
      // What others keep here under names that are none of ours is not ours.
      for (const object of page.objects) if (this.isOurs(object.name)) yield this.infoOf(object)
      next = page.next
    } while (next !== undefined)
  }

  private async sorted(prefix: string): Promise<ObjectInfo[]> {
    const objects: {info: ObjectInfo; bytes: Buffer}[] = []
    for await (const info of this.pages(prefix)) objects.push({info, bytes: Buffer.from(info.key)})
    return objects.sort((one, other) => Buffer.compare(one.bytes, other.bytes)).map(({info}) => info)
  }

  async remove(key: string): Promise<void> {
    const name = this.nameOf(key)
    await this.explained(key, () => this.run((signal) => this.client.remove(name, signal)))
  }

  async *leftovers(): AsyncGenerator<Leftover> {
    try {
      for await (const claim of this.claims.all(this.closing.signal))
        if (!claim.isRunning) yield this.leftoverOf(claim)
    } catch (error) {
      throw this.explain(error)
    }
  }

  async sweep(): Promise<Leftover[]> {
    const swept: Leftover[] = []
    const {signal} = this.closing
    try {
      for await (const claim of this.claims.all(signal)) {
        if (claim.isRunning) continue
        await this.claims.discard(claim, signal)
        swept.push(this.leftoverOf(claim))
      }
    } catch (error) {
      if (!mayNot(error)) throw this.explain(error)
    }
    return swept
  }

  private leftoverOf({target, size, activeAt}: Claim): Leftover {
    return {key: target.slice(this.prefix.length), size, modifiedAt: activeAt}
  }

  async protection(): Promise<Protection> {
    const found = await this.explained(undefined, () => this.run((signal) => this.client.protection(signal)))
    const {keepsVersions, warnings, lockOf} = found
    if (!lockOf) return {keepsVersions, warnings}
    const ask = (key: string) => this.run((signal) => lockOf(this.nameOf(key), signal))
    return {keepsVersions, warnings, lockOf: (key) => this.explained(key, () => ask(key))}
  }

  bytesMoved(): number {
    return this.client.bytesMoved?.() ?? 0
  }

  async close(): Promise<void> {
    this.closing.abort(new Error('The destination was closed.'))
    await this.client.close()
  }

  private run<T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const {signal} = this.closing
    return this.retrying.run(signal, () => request(signal))
  }

  private signalOf(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.closing.signal]) : this.closing.signal
  }

  /** @throws DbbakError OBJECT_NAME_INVALID */
  private nameOf(key: string): string {
    checkObjectName(key, 'linux') // a store's names are the same wherever dbbak runs
    return this.prefix + key
  }

  private isOurs(name: string): boolean {
    return name.startsWith(this.prefix) && isObjectName(name.slice(this.prefix.length), 'linux')
  }

  private infoOf({name, size, modifiedAt, etag, lock}: StoredObject): ObjectInfo {
    const key = name.slice(this.prefix.length)
    return {key, size, modifiedAt: wholeSeconds(modifiedAt), etag, ...(lock && {lock})}
  }

  private async explained<T>(key: string | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.explain(error, key)
    }
  }

  private explain(error: unknown, key?: string): unknown {
    return destinationError(error, {place: this.describe(), key})
  }
}

/** A listing tells more digits of a time than a HEAD does. */
const wholeSeconds = (date: Date): Date => new Date(Math.floor(date.getTime() / 1000) * 1000)

// eslint-disable-next-line no-control-regex
const isText = (prefix: string): boolean => prefix.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(prefix)

/** Whoever may only add objects leaves the sweeping to others. */
const mayNot = (error: unknown): boolean =>
  error instanceof StoreError && (error.trouble === 'denied' || error.trouble === 'locked')
