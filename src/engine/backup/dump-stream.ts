import type {RunningTool} from '../../postgres/run-tool.js'
import {DbbakError} from '../../support/errors.js'
import {ArchiveFollower} from '../archive/archive-follower.js'
import {NotAnArchive} from '../archive/archive-toc.js'

export interface StreamCounter {
  bytes: number
}

/**
 * The dump's bytes. The stream ends only when pg_dump has ended well: whatever stores it sees a failure, not an end,
 * when pg_dump fails after its last byte, writes nothing, or writes something that is no whole dump.
 * @param pieces pg_dump's output; what is yielded is valid only until the next is asked for
 */
export async function* dumpBytes(
  tool: RunningTool,
  pieces: AsyncIterable<Buffer>,
  format: 'custom' | 'plain',
  counter: StreamCounter,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  const follower = format === 'custom' ? new ArchiveFollower() : new ScriptFollower()
  for await (const chunk of pieces) {
    counter.bytes += chunk.length
    follow(follower, chunk)
    onProgress(counter.bytes)
    yield chunk
  }
  await tool.finished
  if (counter.bytes === 0) throw wroteNothing()
  if (!follower.isWhole) throw stoppedEarly()
}

function follow(follower: ArchiveFollower | ScriptFollower, chunk: Buffer): void {
  try {
    follower.take(chunk)
  } catch (error) {
    throw error instanceof NotAnArchive ? noDump() : error
  }
}

const firstLine = '--'
const lastLine = '-- PostgreSQL database dump complete'
const tailBytes = 512

/** Sees whether a plain dump begins and ends as pg_dump begins and ends one. */
class ScriptFollower {
  private head = ''
  private tail = Buffer.alloc(0)

  take(chunk: Buffer): void {
    if (this.head.length < firstLine.length) this.head += chunk.toString('latin1', 0, firstLine.length)
    if (!this.head.startsWith(firstLine.slice(0, this.head.length))) throw new NotAnArchive()
    this.tail = Buffer.concat([this.tail, chunk.subarray(-tailBytes)]).subarray(-tailBytes)
  }

  get isWhole(): boolean {
    return this.tail.includes(lastLine)
  }
}

/** What pg_dump left in its output is no dump at all. */
export const wroteNothing = (): DbbakError =>
  notADump('DUMP_EMPTY', 'pg_dump ended without an error but wrote nothing.')

export const stoppedEarly = (): DbbakError =>
  notADump('DUMP_FAILED', 'pg_dump ended without an error but its output stops before its end.')

export const noDump = (): DbbakError => notADump('DUMP_FAILED', 'What pg_dump wrote is not a dump.')

function notADump(code: 'DUMP_EMPTY' | 'DUMP_FAILED', message: string): DbbakError {
  return new DbbakError(code, `${message} No backup was made.`, {
    suggestions: ["Check that it is PostgreSQL's own pg_dump: dbbak doctor"],
  })
}
