import type {Operation} from './call.js'

/** What the real thing does now and then. */
export interface Fault {
  on: Operation
  /** How often; once by default. */
  times?: number
  /** So many requests are let through before. */
  after?: number
  /**
   * `answer`: not carried out, answered so. `carry-out-and-answer`: carried out, but answered so. `drop`: the connection
   * breaks before anything is done. `carry-out-and-drop`: carried out, the answer is lost. `hold`: nothing is ever
   * answered. `truncate`: a download breaks off after `bytes`. `persist`: a chunk's first `bytes` are kept, and the
   * others dropped. `break-off`: the same, and then the connection breaks. `damage`: one byte arrives changed, or is
   * sent changed.
   */
  do:
    | 'answer'
    | 'carry-out-and-answer'
    | 'drop'
    | 'carry-out-and-drop'
    | 'hold'
    | 'truncate'
    | 'persist'
    | 'break-off'
    | 'damage'
  status?: number
  reason?: string
  message?: string
  headers?: Record<string, string>
  bytes?: number
}

export class Faults {
  private waiting: Fault[] = []

  add(fault: Fault): void {
    this.waiting.push({times: 1, after: 0, ...fault})
  }

  clear(): void {
    this.waiting = []
  }

  /** The fault that this request meets. */
  take(operation: Operation): Fault | undefined {
    const fault = this.waiting.find(({on}) => on === operation)
    if (!fault) return undefined
    if (fault.after! > 0) {
      fault.after!--
      return undefined
    }
    if (--fault.times! === 0) this.waiting.splice(this.waiting.indexOf(fault), 1)
    return fault
  }
}

/** Changes one byte of the first chunk. */
export async function* damaged(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isDone = false
  for await (const bytes of body) {
    if (!isDone && bytes.length > 0) {
      const at = bytes.length >> 1
      bytes[at] = bytes[at] ^ 1
      isDone = true
    }
    yield bytes
  }
}
