import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import type {WorkFile} from './work-folder.js'

export interface WriteOptions {
  signal?: AbortSignal | undefined
  /** What a file system error means. */
  explain: (error: unknown) => Promise<unknown>
}

/** Writes all that a stream gives to a work file, no faster than the disk takes it, and makes it durable. */
export async function writeDurably(file: WorkFile, body: Readable, options: WriteOptions): Promise<void> {
  const {signal, explain} = options
  const explained = async (work: Promise<void>) => {
    try {
      await work
    } catch (error) {
      throw await explain(error)
    }
  }
  if (body.errored) throw body.errored
  await pipeline(
    body,
    async (chunks: AsyncIterable<Buffer | string>) => {
      // Explained here, where it is certain that the error is the disk's: the source can fail with ENOSPC too.
      for await (const chunk of chunks) await explained(writeAll(file, chunk))
    },
    signal === undefined ? {} : {signal},
  )
  await explained(file.handle.sync())
}

async function writeAll({handle}: WorkFile, chunk: Buffer | string): Promise<void> {
  const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
  // A disk that is nearly full takes a part of it, then fails.
  for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten
}
