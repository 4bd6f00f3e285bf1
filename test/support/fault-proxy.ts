import {createConnection, createServer, type AddressInfo, type Socket} from 'node:net'

/** What becomes of a connection. `cut`: both ends see it closed; `stall`: nobody hears anything any more, or of an end. */
export type Fault = 'cut' | 'stall'

/** When, in what a client says: after so many bytes or pieces, or where a text comes, which is let through or not. */
export type Moment = {afterBytes: number} | {afterPieces: number} | {before: string} | {after: string}

/**
 * A way to a server that can fail. The faults hit the first connection that comes to their moment; what comes later
 * goes through, unless it is told otherwise.
 */
export interface FaultProxy {
  port: number
  /** The URL of a server, by way of the proxy. */
  url(direct: string): string
  /** Plans a fault; gives a promise of its happening. */
  plan(fault: Fault, moment: Moment): Promise<void>
  /** Lets nobody in any more, as a server that is down. */
  refuse(): void
  /** Lets in and passes nothing on, as a network that drops everything. */
  stallAll(): void
  /** Everything as it should be, for new connections. */
  heal(): void
  /** Bytes that clients have sent in all. */
  clientBytes(): number
  /** Pieces in which they came: mostly a message or a few each. */
  clientPieces(): number
  close(): Promise<void>
}

export async function startFaultProxy(serverPort: number): Promise<FaultProxy> {
  const links = new Set<Link>()
  const plans: Plan[] = []
  let mode: 'through' | 'refuse' | 'stall' = 'through'
  const sent = {bytes: 0, pieces: 0}
  const server = createServer({allowHalfOpen: true}, (client) => {
    if (mode === 'refuse') return void client.destroy()
    const link = new Link(
      client,
      serverPort,
      (chunk) => {
        sent.bytes += chunk.length
        sent.pieces++
        return plans.findIndex((plan) => plan.isDue(chunk, sent))
      },
      (index) => plans.splice(index, 1)[0],
    )
    if (mode === 'stall') link.stall()
    links.add(link)
    client.once('close', () => links.delete(link))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const {port} = server.address() as AddressInfo
  return {
    port,
    url(direct) {
      const url = new URL(direct)
      url.port = String(port)
      return url.href
    },
    plan: (fault, moment) =>
      new Promise((happened) => plans.push(new Plan(fault, moment, {...sent}, happened))),
    refuse: () => (mode = 'refuse'),
    stallAll() {
      mode = 'stall'
      for (const link of links) link.stall()
    },
    heal() {
      mode = 'through'
      plans.length = 0
    },
    clientBytes: () => sent.bytes,
    clientPieces: () => sent.pieces,
    async close() {
      for (const link of links) link.cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Sent {
  bytes: number
  pieces: number
}

class Plan {
  constructor(
    readonly fault: Fault,
    private readonly moment: Moment,
    private readonly start: Sent,
    readonly happened: () => void,
  ) {}

  isDue(chunk: Buffer, {bytes, pieces}: Sent): boolean {
    if ('afterBytes' in this.moment) return bytes - this.start.bytes >= this.moment.afterBytes
    if ('afterPieces' in this.moment) return pieces - this.start.pieces >= this.moment.afterPieces
    return chunk.includes('before' in this.moment ? this.moment.before : this.moment.after)
  }

  get letsThrough(): boolean {
    return 'after' in this.moment
  }
}

class Link {
  private readonly upstream: Socket
  private isStalled = false

  constructor(
    private readonly client: Socket,
    serverPort: number,
    due: (chunk: Buffer) => number,
    take: (index: number) => Plan,
  ) {
    this.upstream = createConnection({port: serverPort, host: '127.0.0.1', allowHalfOpen: true})
    client.on('data', (chunk: Buffer) => {
      if (this.isStalled) return
      const index = due(chunk)
      if (index < 0) return void this.pass(client, this.upstream, chunk)
      this.suffer(take(index), chunk)
    })
    this.upstream.on('data', (chunk: Buffer) => {
      if (!this.isStalled) this.pass(this.upstream, client, chunk)
    })
    this.ends(client, this.upstream)
    this.ends(this.upstream, client)
  }

  stall(): void {
    this.isStalled = true
  }

  cut(): void {
    this.client.destroy()
    this.upstream.destroy()
  }

  private pass(from: Socket, to: Socket, chunk: Buffer): void {
    if (to.write(chunk)) return
    from.pause()
    to.once('drain', () => from.resume())
  }

  private ends(one: Socket, other: Socket): void {
    one.on('error', () => one.destroy())
    one.on('end', () => !this.isStalled && other.end())
    one.on('close', () => !this.isStalled && other.destroy())
  }

  private suffer(plan: Plan, chunk: Buffer): void {
    if (plan.fault === 'stall') {
      if (plan.letsThrough) this.upstream.write(chunk)
      this.stall()
    } else if (plan.letsThrough) this.upstream.write(chunk, () => this.whenServed())
    else this.cut()
    plan.happened()
  }

  /** The server gets to do what it was asked, and its answer is lost. */
  private whenServed(): void {
    this.isStalled = true
    this.upstream.once('data', () => this.cut())
  }
}
