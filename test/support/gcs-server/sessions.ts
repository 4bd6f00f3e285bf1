import {randomBytes} from 'node:crypto'
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import {join} from 'node:path'
import {Checksums} from './checksums.js'
import type {Expected} from './insert.js'
import type {Attributes} from './store.js'

/** Bytes are kept in whole blocks, until the last. */
export const block = 256 * 1024

interface SessionRecord {
  id: string
  bucket: string
  name: string
  attributes: Attributes
  kmsKeyName?: string
  expected: Expected[]
  /** The query of the request that began it: its preconditions are judged again when the object is made. */
  query: string
  /** X-Upload-Content-Length */
  declaredBytes?: number
  /** The object that was made. */
  finished?: {generation: string}
}

export class Session {
  persisted = 0
  private checksums: Checksums | undefined = new Checksums()
  private busy: Promise<unknown> = Promise.resolve()

  constructor(
    readonly record: SessionRecord,
    readonly file: string,
    private readonly recordFile: string,
  ) {}

  /** One request at a time. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.busy.then(work)
    this.busy = done.catch(() => {})
    return done
  }

  took(bytes: Buffer): void {
    this.checksums?.take(bytes)
    this.persisted += bytes.length
  }

  /** After a restart the file tells what was kept. */
  reload(): void {
    this.checksums = undefined
    const {size} = statSync(this.file, {throwIfNoEntry: false}) ?? {size: 0}
    this.persisted = size - (size % block)
    if (size > 0) truncateSync(this.file, this.persisted)
  }

  async hashes(): Promise<{crc32c: string; md5Hash: string}> {
    const {checksums} = this
    this.checksums = undefined
    if (checksums) return checksums.end()
    const fresh = new Checksums()
    if (this.persisted > 0) for await (const bytes of createReadStream(this.file)) fresh.take(bytes as Buffer)
    return fresh.end()
  }

  finish(generation: string): void {
    this.record.finished = {generation}
    this.save()
  }

  save(): void {
    writeFileSync(this.recordFile, JSON.stringify(this.record))
  }

  remove(): void {
    rmSync(this.recordFile, {force: true})
    rmSync(this.file, {force: true})
  }
}

export class Sessions {
  private readonly sessions = new Map<string, Session>()
  /** What a session is answered with that was there once: 404 or 410, both are documented. */
  forgottenStatus = 410

  constructor(private readonly folder: string) {
    mkdirSync(folder, {recursive: true})
    for (const name of readdirSync(folder).filter((one) => one.endsWith('.json'))) {
      const record = JSON.parse(readFileSync(join(folder, name), 'utf8')) as SessionRecord
      const session = this.keep(record)
      if (!record.finished) session.reload()
    }
  }

  start(record: Omit<SessionRecord, 'id'>): Session {
    const session = this.keep({id: randomBytes(24).toString('base64url'), ...record})
    session.save()
    return session
  }

  find(id: string): Session | undefined {
    return this.sessions.get(id)
  }

  remove(id: string): void {
    this.sessions.get(id)?.remove()
    this.sessions.delete(id)
  }

  /** As after a week, or when Google lost it. */
  forgetAll(status: number): void {
    this.forgottenStatus = status
    for (const id of [...this.sessions.keys()]) this.remove(id)
  }

  get unfinished(): number {
    return [...this.sessions.values()].filter(({record}) => !record.finished).length
  }

  private keep(record: SessionRecord): Session {
    const session = new Session(
      record,
      join(this.folder, `${record.id}.data`),
      join(this.folder, `${record.id}.json`),
    )
    this.sessions.set(record.id, session)
    return session
  }
}
