import type {RunningTool} from '../../postgres/run-tool.js'
import {DbbakError} from '../../support/errors.js'

export interface StreamCounter {
  bytes: number
}

/** What the last bytes of a plain dump say when it is whole. */
const plainTrailer = '-- PostgreSQL database dump complete'

/**
 * The dump's bytes. The stream ends only when pg_dump has ended well: whatever stores it sees a failure, not an end,
 * when pg_dump fails after its last byte, writes nothing, or writes something that is no dump.
 * @param pieces pg_dump's output; what is yielded is valid only until the next is asked for
 */
export async function* dumpBytes(
  tool: RunningTool,
  pieces: AsyncIterable<Buffer>,
  format: 'custom' | 'plain',
  counter: StreamCounter,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let tail = Buffer.alloc(0)
  for await (const chunk of pieces) {
    if (counter.bytes === 0) checkHead(chunk, format)
    counter.bytes += chunk.length
    if (format === 'plain') tail = Buffer.concat([tail, chunk.subarray(-512)]).subarray(-512)
    onProgress(counter.bytes)
    yield chunk
  }
  await tool.finished
  if (counter.bytes === 0) throw notADump('DUMP_EMPTY', 'pg_dump ended without an error but wrote nothing.')
  if (format === 'plain' && !tail.includes(plainTrailer)) {
    throw notADump('DUMP_FAILED', 'pg_dump ended without an error but its output stops before its end.')
  }
}

function checkHead(chunk: Buffer, format: 'custom' | 'plain'): void {
  const whole =
    format === 'custom'
      ? chunk.subarray(0, 5).toString('latin1') === 'PGDMP'
      : chunk.subarray(0, 2).toString('latin1') === '--'
  if (!whole) throw notADump('DUMP_FAILED', 'What pg_dump wrote does not begin like a dump.')
}

function notADump(code: 'DUMP_EMPTY' | 'DUMP_FAILED', message: string): DbbakError {
  return new DbbakError(code, `${message} No backup was made.`, {
    suggestions: ["Check that it is PostgreSQL's own pg_dump: dbbak doctor"],
  })
}
