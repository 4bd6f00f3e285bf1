import type {Socket} from 'node:net'

/** The connection ended or broke in the middle of a message. */
export class BrokenOff extends Error {
  override readonly name = 'BrokenOff'
}

/** Bytes read ahead of the one who asks for them; beyond it the sender has to wait. */
const aheadMax = 256 * 1024

/** Bytes of a connection, read when they are asked for. */
export class ByteReader {
  /** When nothing comes any more; what came before may not be read yet. */
  readonly ended: Promise<void>
  private readonly queue: Buffer[] = []
  private queued = 0
  private isOver = false
  private isDiscarding = false
  private failure: Error | undefined
  private wake: (() => void) | undefined

  constructor(private readonly socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      if (this.isDiscarding) return
      this.queue.push(bytes)
      this.queued += bytes.length
      if (this.queued >= aheadMax) socket.pause()
      this.wake?.()
    })
    socket.on('error', (error) => (this.failure = error))
    this.ended = new Promise((resolve) => {
      const over = () => {
        this.isOver = true
        this.wake?.()
        resolve()
      }
      socket.once('end', over).once('close', over)
    })
  }

  /** Whatever is there; undefined at the end. */
  async read(): Promise<Buffer | undefined> {
    while (this.queue.length === 0) {
      if (this.failure) throw this.failure
      if (this.isOver) return undefined
      await new Promise<void>((resolve) => (this.wake = resolve))
      this.wake = undefined
    }
    const bytes = this.queue.shift()!
    this.queued -= bytes.length
    if (this.queued < aheadMax && this.socket.isPaused()) this.socket.resume()
    return bytes
  }

  unread(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.queue.unshift(bytes)
    this.queued += bytes.length
  }

  /** Everything up to the mark and with it; undefined when there is nothing at all. */
  async until(mark: string): Promise<Buffer | undefined> {
    let bytes = await this.read()
    if (!bytes) return undefined
    for (;;) {
      const at = bytes.indexOf(mark)
      if (at >= 0) {
        this.unread(bytes.subarray(at + mark.length))
        return bytes.subarray(0, at + mark.length)
      }
      const more = await this.read()
      if (!more) throw new BrokenOff()
      bytes = Buffer.concat([bytes, more])
    }
  }

  /** Takes what still comes and throws it away, so that the end is seen. */
  discard(): void {
    this.isDiscarding = true
    this.queue.length = 0
    this.queued = 0
    this.socket.resume()
  }
}

/** How one sees where a body ends. */
export type Framing = 'none' | 'chunked' | 'until-close' | {bytes: number}

/** First line and headers, kept as they were sent. */
export class Head {
  constructor(readonly text: string) {}

  static async read(from: ByteReader): Promise<Head | undefined> {
    const bytes = await from.until('\r\n\r\n')
    return bytes && new Head(bytes.toString('latin1'))
  }

  get firstLine(): string {
    return this.text.slice(0, this.text.indexOf('\r\n'))
  }

  get status(): number {
    return Number(this.firstLine.split(' ')[1])
  }

  get bytes(): Buffer {
    return Buffer.from(this.text, 'latin1')
  }

  readonly header = (name: string): string | undefined => {
    const found = new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*\\r$`, 'im').exec(this.text)
    return found?.[1]
  }

  /** The head with other values for some headers; all else stays as it is. */
  edited(change: (name: string, value: string) => string): Head {
    const [first, ...lines] = this.text.split('\r\n')
    const edited = lines.map((line) => {
      const [whole, name, space, value] = /^([^:]+)(:[ \t]*)(.*)$/.exec(line) ?? []
      return whole === undefined ? line : name + space + change(name.toLowerCase(), value)
    })
    return new Head([first, ...edited].join('\r\n'))
  }

  requestFraming(): Framing {
    return this.framing() ?? 'none'
  }

  responseFraming(method: string): Framing {
    if (method === 'HEAD' || this.status < 200 || [204, 304].includes(this.status)) return 'none'
    return this.framing() ?? 'until-close'
  }

  private framing(): Framing | undefined {
    if (/\bchunked\b/i.test(this.header('transfer-encoding') ?? '')) return 'chunked'
    const length = this.header('content-length')
    if (length === undefined) return undefined
    return Number(length) === 0 ? 'none' : {bytes: Number(length)}
  }
}

/** A piece of a body as it was sent: the body's own bytes, or what frames them. */
export interface Segment {
  bytes: Buffer
  isPayload: boolean
  /** What ends a body in chunks. */
  isEnd?: boolean
}

export async function* bodySegments(from: ByteReader, framing: Framing): AsyncGenerator<Segment> {
  if (framing === 'chunked') yield* chunks(from)
  else if (framing === 'until-close') {
    for (let bytes = await from.read(); bytes; bytes = await from.read()) yield {bytes, isPayload: true}
  } else if (framing !== 'none') yield* exactly(from, framing.bytes)
}

async function* exactly(from: ByteReader, length: number): AsyncGenerator<Segment> {
  for (let left = length; left > 0;) {
    const read = await from.read()
    if (!read) throw new BrokenOff()
    from.unread(read.subarray(left))
    const bytes = read.subarray(0, left)
    left -= bytes.length
    yield {bytes, isPayload: true}
  }
}

async function* chunks(from: ByteReader): AsyncGenerator<Segment> {
  const line = async () => {
    const bytes = await from.until('\r\n')
    if (!bytes) throw new BrokenOff()
    return bytes
  }
  for (let before: Buffer = Buffer.alloc(0); ; before = await line()) {
    const first = await line()
    const size = Number.parseInt(first.toString('latin1'), 16)
    if (Number.isNaN(size)) throw new BrokenOff()
    const frame = [before, first]
    if (size === 0) {
      do frame.push(await line())
      while (frame.at(-1)!.length > 2)
    }
    yield {bytes: Buffer.concat(frame), isPayload: false, isEnd: size === 0}
    if (size === 0) return
    yield* exactly(from, size)
  }
}
