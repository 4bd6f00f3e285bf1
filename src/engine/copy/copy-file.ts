import type {TransformCallback} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {Digest, type DigestResult} from '../../archive/digest.js'
import type {StorageProvider} from '../../storage/provider.js'
import {DbbakError} from '../../support/errors.js'
import {shellWord} from '../../support/shell.js'
import type {ArchiveFile} from '../manifest.js'
import {at, CopyFailure, failureAt} from './copy-failure.js'

export interface FileCopy {
  source: StorageProvider
  target: StorageProvider
  file: ArchiveFile
  signal: AbortSignal
  onBytes: (bytes: number) => void
}

/**
 * Streams one file from one place to the other, without a temporary file. Its bytes are held against the manifest
 * before the stream ends, so that a put, which is all or nothing, stores nothing of a damaged file.
 * @throws CopyFailure of the side that failed; at the target OBJECT_EXISTS where the name is taken
 */
export async function copyFile({source, target, file, signal, onBytes}: FileCopy): Promise<void> {
  const stream = await at('source', source, () => source.get(file.path, {signal}))
  const checked = new CheckedFile(file, source.describe(), onBytes)
  let readError: unknown = stream.errored ?? undefined
  // A put that fails first destroys its stream, and the source's with it: that is not the source's failure.
  stream.on('error', (error) => (readError ??= checked.destroyed ? undefined : error))
  const read = pipeline(stream, checked, {signal}).catch(() => {}) // the put tells of it
  try {
    await target.put(file.path, checked, {signal, expectedBytes: file.bytes})
  } catch (error) {
    if (checked.damage) throw new CopyFailure('source', checked.damage)
    throw readError === undefined
      ? failureAt('target', target, error)
      : failureAt('source', source, readError)
  } finally {
    stream.destroy() // a pipeline that begins with an aborted signal does not
    await read
  }
}

/** So much may be read ahead of what the target has taken. */
const bufferBytes = 1024 * 1024

/** Passes a file's bytes on, and fails instead of ending where they are not what the manifest says. */
class CheckedFile extends Digest {
  damage: DbbakError | undefined
  private passed = 0

  constructor(
    private readonly file: ArchiveFile,
    private readonly place: string,
    private readonly onBytes: (bytes: number) => void,
  ) {
    super({highWaterMark: bufferBytes})
  }

  override _transform(chunk: Buffer, encoding: BufferEncoding, callback: TransformCallback): void {
    this.passed += chunk.length
    if (this.passed > this.file.bytes) return callback(this.damaged('has more bytes than its manifest says'))
    this.onBytes(chunk.length)
    super._transform(chunk, encoding, callback)
  }

  override _flush(callback: TransformCallback): void {
    super._flush(() => callback(this.fault(this.result())))
  }

  private fault({bytes, sha256}: DigestResult): DbbakError | undefined {
    if (bytes !== this.file.bytes)
      return this.damaged(`has ${bytes} bytes; its manifest says ${this.file.bytes}`)
    if (sha256 === this.file.sha256) return undefined
    return (this.damage = new DbbakError(
      'CHECKSUM_MISMATCH',
      `${this.file.path} at ${this.place} was changed or damaged since it was written: its SHA-256 is not the manifest's.`,
      {suggestions: this.suggestions(), details: {expected: this.file.sha256, found: sha256}},
    ))
  }

  private damaged(what: string): DbbakError {
    return (this.damage = new DbbakError(
      'ARCHIVE_SIZE_MISMATCH',
      `${this.file.path} at ${this.place} ${what}.`,
      {suggestions: this.suggestions()},
    ))
  }

  private suggestions(): string[] {
    return [
      `See which backups there are whole: dbbak verify --all --level checksum --from ${shellWord(this.place)}`,
      'Take a new backup now: dbbak backup',
    ]
  }
}
