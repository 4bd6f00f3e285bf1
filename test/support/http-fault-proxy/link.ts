import {createConnection, type Socket} from 'node:net'
import {setTimeout as sleep} from 'node:timers/promises'
import {flipAt, flipSecondPart, Mark, withWrongChecksums, wrongJsonChecksums, type Edit} from './edits.js'
import type {Fault} from './faults.js'
import {readKinds} from './kinds.js'
import {bodySegments, BrokenOff, ByteReader, Head, type Framing, type Segment} from './messages.js'
import type {Course, LoggedRequest} from './plans.js'
import type {Rate} from './rate.js'
import {refusal} from './refusal.js'
import type {ProxyState} from './state.js'

/** A request on its way. */
interface Exchange {
  head: Head
  framing: Framing
  request: LoggedRequest
  course: Course
}

interface Passing {
  from: ByteReader
  framing: Framing
  /** Undefined throws the bytes away. */
  to: Socket | undefined
  count: (bytes: number) => void
  /** Where to stop. */
  mark?: Mark | undefined
  /** The end of a body in chunks has to be withheld too. */
  withoutEnd?: boolean
  edit?: Edit | undefined
  rates?: () => Rate[]
}

/**
 * A client's connection and the one to the server that belongs to it. Whatever the client sends goes on as it is, and
 * the end of one connection is the end of the other, so that nothing happens but what was planned.
 */
export class Link {
  private readonly reader: ByteReader
  private upstream: {socket: Socket; reader: ByteReader} | undefined
  private exchange: Exchange | undefined
  private isHeld = false
  private readonly stop = new AbortController()
  private readonly closed: Promise<void>

  constructor(
    private readonly client: Socket,
    private readonly state: ProxyState,
  ) {
    this.reader = new ByteReader(client)
    this.closed = new Promise((resolve) => client.once('close', () => resolve()))
    client.once('close', () => void this.destroy())
  }

  /** Until the connection is closed. */
  async run(): Promise<void> {
    let isBroken = false
    try {
      while (await this.serveOne()) this.exchange?.course.over()
    } catch (error) {
      isBroken = !(error instanceof BrokenOff)
    }
    this.exchange?.course.over()
    await this.gate().catch(() => {})
    if (isBroken) this.reset()
    else this.end()
    await this.closed
  }

  reset(): void {
    for (const socket of [this.client, this.upstream?.socket]) {
      if (socket?.destroyed === false) socket.resetAndDestroy()
    }
  }

  /** @returns when both connections are closed */
  async destroy(): Promise<void> {
    this.stop.abort()
    const upstream = this.upstream?.socket
    const isOpen = upstream && !upstream.closed
    const upstreamClosed = isOpen
      ? new Promise<void>((resolve) => upstream.once('close', () => resolve()))
      : undefined
    this.client.destroy()
    upstream?.destroy()
    await Promise.all([this.closed, upstreamClosed])
  }

  /** Ends both connections when what was written is on its way. */
  private end(): void {
    this.upstream?.socket.destroySoon()
    this.client.end()
    this.reader.discard()
  }

  /** @returns whether the connection may serve another request */
  private async serveOne(): Promise<boolean> {
    const next = Head.read(this.reader)
    const head = await (this.upstream ? Promise.race([next, this.upstream.reader.ended]) : next)
    if (!head) return false
    const exchange = (this.exchange = {head, framing: head.requestFraming(), ...this.state.begin(head)})
    await this.gate()
    const {fault} = exchange.course
    if (fault?.type === 'status') return this.refuse(exchange)
    if (fault?.type === 'reset' && !fault.in) {
      exchange.course.happen()
      this.reset()
      return false
    }
    if (fault?.type === 'slow') exchange.course.happen()
    this.upstream ??= this.connect()
    const {socket, reader} = this.upstream
    const sent = this.sendRequest(exchange, socket)
    // A failure of it is looked at when the answer is through: a server may answer before it has read everything.
    sent.catch(() => {})
    await this.passAnswer(exchange, reader)
    return (await Promise.race([sent, reader.ended.then(() => false)])) && !this.client.writableEnded
  }

  private connect(): {socket: Socket; reader: ByteReader} {
    if (this.stop.signal.aborted) throw new BrokenOff()
    const {host, port} = this.state.upstream
    const options = {host, port, allowHalfOpen: true, noDelay: true, highWaterMark: bufferBytes}
    const socket = createConnection(options)
    return {socket, reader: new ByteReader(socket)}
  }

  /** Answers in the server's stead. */
  private async refuse({head, framing, request, course}: Exchange): Promise<boolean> {
    const {fault} = course
    if (fault?.type !== 'status') return false
    const closes = framing !== 'none' && fault.answered === 'before-body'
    if (!closes) {
      if (head.header('expect')) await write(this.client, Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'))
      const count = (bytes: number) => (request.bytes += bytes)
      await this.pass({from: this.reader, framing, to: undefined, count})
    }
    request.status = fault.status
    course.happen()
    await write(this.client, refusal(this.state.store, fault, {method: request.method, closes}))
    return !closes && !/close/i.test(head.header('connection') ?? '')
  }

  /** @returns whether all of it went to the server */
  private async sendRequest({head, framing, request, course}: Exchange, to: Socket): Promise<boolean> {
    const {fault} = course
    const cut = (fault?.type === 'reset' || fault?.type === 'stall') && fault.in === 'request'
    const mark = cut ? new Mark(fault, framing) : undefined
    let edit: Edit | undefined
    if (fault?.type === 'corrupt-request') {
      const isParts = /multipart\/related/i.test(head.header('content-type') ?? '')
      const byPlace = fault.afterBytes !== undefined || !isParts
      edit = byPlace ? flipAt(fault, framing, course.happen) : flipSecondPart(course.happen)
    }
    const rates = this.state.rates('request', fault)
    const count = (bytes: number) => (request.bytes += bytes)
    if (!(await this.write(to, head.bytes))) return false
    const passed = await this.pass({from: this.reader, framing, to, count, mark, edit, rates}).catch(
      (error) => {
        // A client that is gone: what it sent has reached the server, as it would without a proxy.
        if (error instanceof BrokenOff) to.end()
        else this.reset()
        return 'broken' as const
      },
    )
    if (passed === 'marked') await this.breakAt(course)
    return passed === 'whole'
  }

  private async passAnswer(exchange: Exchange, from: ByteReader): Promise<void> {
    const {request, course} = exchange
    let head = await this.readHead(from)
    while (head.status < 200) {
      await this.write(this.client, head.bytes)
      head = await this.readHead(from)
    }
    request.status = head.status
    const framing = head.responseFraming(request.method)
    if (course.fault?.type === 'lost-answer') {
      await this.pass({from, framing, to: undefined, count: () => {}})
      course.happen()
      return this.reset()
    }
    if (breaksBeforeAnswer(course.fault, framing)) return this.breakAt(course)
    const passing = {from, framing, to: this.client, count: (bytes: number) => (request.answerBytes += bytes)}
    await this.write(this.client, this.changedHead(head, course).bytes)
    const passed = await this.pass({...passing, ...this.answerFault(exchange, head, framing)})
    if (passed === 'marked') await this.breakAt(course)
    else if (framing === 'until-close') this.end()
  }

  private async readHead(from: ByteReader): Promise<Head> {
    const head = await Head.read(from)
    if (!head) throw new BrokenOff()
    await this.gate()
    return head
  }

  private changedHead(head: Head, {fault, happen}: Course): Head {
    const passed = this.state.ownLinks(head)
    if (fault?.type !== 'wrong-checksum') return passed
    const wrong = withWrongChecksums(passed)
    if (wrong.text !== passed.text) happen()
    return wrong
  }

  /** What happens to the body of an answer. */
  private answerFault({request, course}: Exchange, head: Head, framing: Framing): Partial<Passing> {
    const {fault, happen} = course
    const rates = this.state.rates('response', fault)
    const isRead = readKinds.has(request.kind)
    // At the end of a body nothing is left that could be cut off.
    const isBeyond = framing === 'none' || (typeof framing === 'object' && afterBytes(fault) >= framing.bytes)
    if (fault?.type === 'truncate') {
      return isBeyond ? {rates} : {rates, mark: new Mark(fault, framing), withoutEnd: true}
    }
    if ((fault?.type === 'reset' || fault?.type === 'stall') && fault.in === 'response') {
      return isBeyond ? {rates} : {rates, mark: new Mark(fault, framing)}
    }
    if (fault?.type === 'corrupt-response' && isRead && [200, 206].includes(head.status)) {
      return {rates, edit: flipAt(fault, framing, happen)}
    }
    const isJson = /json/.test(head.header('content-type') ?? '')
    if (fault?.type === 'wrong-checksum' && !isRead && isJson)
      return {rates, edit: wrongJsonChecksums(happen)}
    return {rates}
  }

  /** The fault at its place. */
  private async breakAt({fault, happen}: Course): Promise<void> {
    if (fault?.type === 'stall') this.isHeld = true
    happen()
    if (fault?.type === 'stall') await this.gate()
    else if (fault?.type === 'truncate') this.end()
    else this.reset()
  }

  private async pass(passing: Passing): Promise<'whole' | 'marked' | 'broken'> {
    const {mark, to} = passing
    if (mark?.isAtStart) return this.flushed(to)
    for await (const segment of bodySegments(passing.from, passing.framing)) {
      const {bytes, isPayload} = segment
      const stopAt = stoppingAt(segment, passing)
      const piece = isPayload && passing.edit ? passing.edit(bytes) : bytes
      if (!(await this.send({...segment, bytes: piece.subarray(0, stopAt)}, passing))) return 'broken'
      if (stopAt !== undefined) return this.flushed(to)
    }
    return 'whole'
  }

  /** What was written has left us, so that a reset does not take it away. */
  private async flushed(to: Socket | undefined): Promise<'marked'> {
    if (to && !to.destroyed) await new Promise<void>((resolve) => to.write('', () => resolve()))
    return 'marked'
  }

  private async send({bytes, isPayload}: Segment, {to, count, rates = () => []}: Passing): Promise<boolean> {
    for (let left = bytes; left.length > 0;) {
      const now = rates()
      const piece = left.subarray(0, Math.min(...now.map((rate) => rate.pieceBytes))) // all of it without a rate
      left = left.subarray(piece.length)
      const wait = Math.max(...now.map((rate) => rate.wait(piece.length)))
      if (wait > 0) await sleep(wait, undefined, {signal: this.stop.signal})
      if (to && !(await this.write(to, piece))) return false
      if (isPayload) count(piece.length)
    }
    return true
  }

  private async write(to: Socket, bytes: Buffer): Promise<boolean> {
    if (this.isHeld || this.state.isStalled) await this.gate()
    return write(to, bytes)
  }

  /** Waits while nothing may move; fails when the client has given up meanwhile. */
  private async gate(): Promise<void> {
    while (this.isHeld || this.state.isStalled) {
      const over = Promise.race([this.reader.ended, this.closed]).then(() => 'over')
      const moving = this.isHeld ? [] : [this.state.moving]
      if ((await Promise.race([over, ...moving])) !== 'over') continue
      void this.destroy()
      throw new BrokenOff()
    }
  }
}

export const bufferBytes = 1024 * 1024

/** Where in a segment the body is to stop; undefined when it goes on. */
function stoppingAt({bytes, isPayload, isEnd}: Segment, {mark, withoutEnd}: Passing): number | undefined {
  if (isPayload) return mark?.find(bytes)
  return withoutEnd && isEnd ? 0 : undefined
}

/** Whether the client hears nothing at all of an answer. One without a body has no other place to break. */
function breaksBeforeAnswer(fault: Fault | undefined, framing: Framing): boolean {
  if (fault?.type === 'stall' && !fault.in) return true
  if (fault?.type !== 'stall' && fault?.type !== 'reset') return false
  return fault.in === 'response' && framing === 'none' && afterBytes(fault) === 0
}

function afterBytes(fault: Fault | undefined): number {
  return (fault && 'afterBytes' in fault && fault.afterBytes) || 0
}

/** @returns false when nobody takes it any more */
async function write(to: Socket, bytes: Buffer): Promise<boolean> {
  if (to.destroyed || to.writableEnded) return false
  if (to.write(bytes)) return true
  await new Promise<void>((resolve) => {
    const done = () => {
      to.off('drain', done).off('close', done)
      resolve()
    }
    to.on('drain', done).on('close', done)
  })
  return !to.destroyed
}
