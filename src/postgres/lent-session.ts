import {mkdtemp, realpath, rm} from 'node:fs/promises'
import {createServer, type Server, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import type {Client} from 'pg'
import {DbbakError} from '../support/errors.js'
import {guardian} from '../support/guardian.js'
import {transactionCommand} from './transaction-commands.js'
import {ClientMessages, ServerMessages} from './wire-messages.js'
import {greeting, message, readStartup, readyForQuery, type TransactionStatus} from './wire.js'

/** What a statement of the tool is answered with instead of being sent: `SET`, `COMMENT`, … */
export type StandIn = string | undefined

export interface LendingOptions {
  /**
   * The session is inside a transaction of ours: the tool's own BEGIN and COMMIT are answered and not sent, so that
   * nothing it does becomes true before we commit.
   */
  inTransaction: boolean
  /** Statements that the server is spared; see harmless-statements.ts. */
  standIn?: (sql: string) => StandIn
  /** Where the folder with the socket is made; the system's temporary folder by default. */
  temporaryFolder?: string
}

/**
 * A server session that a client tool borrows. The tool connects to a private socket, is greeted as by a server, and
 * from then on speaks to our own session: what it does is part of our transaction. So a restore by pg_restore or psql
 * can be preceded by our DROPs, followed by our checks, and committed or rolled back by us as one.
 */
export interface LentSession {
  /** For the tool's environment: how to reach the session. */
  environment: {PGHOST: string; PGPORT: string; PGSSLMODE: string}
  /**
   * Ends the lending once the tool has ended well; the session is ours again, still in its transaction.
   * @throws DbbakError CONNECTION_LOST when the tool left it in the middle of something; it is closed then
   */
  takeBack(): Promise<void>
  /**
   * Whether what the tool ran has ended our transaction, in a way that leaves open what has become true: a ROLLBACK
   * and more in one statement, say. It is cut off as soon as the server says so.
   */
  transactionEnded(): boolean
  /** Closes the session: the server rolls back. For a tool that failed. Never throws. */
  abandon(): Promise<void>
}

const port = 5432

export async function lendSession(client: Client, options: LendingOptions): Promise<LentSession> {
  const parameters = await reportedParameters(client)
  const folder = await mkdtemp(join(await socketParent(options.temporaryFolder ?? tmpdir()), 'dbbak-'))
  const unregister = guardian().folder(folder)
  const remove = async () => {
    await rm(folder, {recursive: true, force: true})
    unregister()
  }
  const server = createServer()
  try {
    await listen(server, socketIn(folder))
  } catch (error) {
    await remove()
    throw error
  }
  const loan = new Loan(client, options, parameters)
  server.on('connection', (socket) => loan.welcome(socket))
  return lentSession(client, folder, loan, async () => {
    server.close()
    await remove()
  })
}

function lentSession(client: Client, folder: string, loan: Loan, close: () => Promise<void>): LentSession {
  return {
    environment: {PGHOST: folder, PGPORT: String(port), PGSSLMODE: 'disable'},
    async takeBack() {
      loan.end()
      await close()
      if (loan.endedWell) return
      await endHard(client)
      throw new DbbakError('CONNECTION_LOST', 'The session ended in the middle of the restore.')
    },
    async abandon() {
      loan.end()
      await endHard(client)
      await close().catch(() => {}) // the guardian or the next run removes the folder; the first error matters more
    },
    transactionEnded: () => loan.transactionEnded,
  }
}

const socketIn = (folder: string) => join(folder, `.s.PGSQL.${port}`)

/** The kernel takes no longer path for a socket, without its closing zero byte: some 100 bytes. */
const longestSocketPathBytes = 103

/** The temporary folder, or, where its path is too long for a socket in it, the usual one. */
async function socketParent(temporaryFolder: string): Promise<string> {
  const path = socketIn(join(temporaryFolder, 'dbbak-XXXXXX'))
  return Buffer.byteLength(path) <= longestSocketPathBytes ? temporaryFolder : realpath('/tmp')
}

/** What a server reports at the start of a session; tools ask their libpq for these and not the server. */
async function reportedParameters(client: Client): Promise<Record<string, string>> {
  const names = [
    'server_version',
    'server_encoding',
    'client_encoding',
    'is_superuser',
    'session_authorization',
    'DateStyle',
    'IntervalStyle',
    'TimeZone',
    'integer_datetimes',
    'standard_conforming_strings',
  ]
  const columns = names.map((name) => `pg_catalog.current_setting('${name}') as "${name}"`)
  const {rows} = await client.query<Record<string, string>>(`select ${columns.join(', ')}`)
  return rows[0] ?? {}
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

/** pg keeps the socket in `client.connection.stream`; its own reader is taken off while the session is lent. */
function socketOf(client: Client): Socket {
  return (client as unknown as {connection: {stream: Socket}}).connection.stream
}

async function endHard(client: Client): Promise<void> {
  const socket = socketOf(client)
  if (socket.destroyed) return
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.destroy()
  await closed
}

type Listener = (chunk: Buffer) => void

class Loan {
  /** The tool has said goodbye, and the server has answered all that it was asked. */
  endedWell = true
  /** The server said that it is in no transaction any more. */
  transactionEnded = false
  private readonly session: Socket
  private readonly ownReaders: Listener[]
  private readonly visitors = new Set<Socket>()
  private borrower: Socket | undefined
  private hasEnded = false
  private fromServer: ServerMessages | undefined
  private status: TransactionStatus
  private disconnect = () => {}

  constructor(
    client: Client,
    private readonly options: LendingOptions,
    private readonly parameters: Record<string, string>,
  ) {
    this.status = options.inTransaction ? 'T' : 'I'
    this.session = socketOf(client)
    this.ownReaders = this.session.listeners('data') as Listener[]
    for (const reader of this.ownReaders) this.session.off('data', reader)
    // The server's last words are passed on first.
    this.session.once('close', () => this.fromServer?.end())
  }

  /** Answers a connection's first messages; one borrower at a time, one after the other. */
  welcome(socket: Socket): void {
    let bytes = Buffer.alloc(0)
    this.visitors.add(socket)
    socket.once('close', () => this.visitors.delete(socket))
    socket.on('error', () => socket.destroy())
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      const {kind, length} = readStartup(bytes)
      if (kind === 'incomplete') return
      bytes = bytes.subarray(length)
      if (kind === 'refuse-encryption') return void socket.write('N')
      socket.off('data', onData)
      if (kind !== 'start' || this.isTaken) return void socket.destroy()
      socket.write(greeting(this.parameters, this.status))
      this.connect(socket, bytes)
    }
    socket.on('data', onData)
  }

  private get isTaken(): boolean {
    return this.borrower !== undefined || this.hasEnded || this.session.destroyed
  }

  private connect(socket: Socket, first: Buffer): void {
    const fromServer = new ServerMessages((status) => this.note(status, fromServer.hasFailed))
    const fromTool = new ClientMessages({
      passQuery: (sql) => this.passQuery(sql, fromServer),
      goodbye: () => {
        this.endedWell = fromServer.isReady && this.status !== 'E'
      },
      nonsense: () => this.cutOff(),
    })
    Object.assign(this, {borrower: socket, fromServer, endedWell: false})
    fromTool.on('data', () => fromServer.asked())
    fromServer.once('end', () => socket.destroySoon())
    if (first.length > 0) fromTool.write(first)
    socket.pipe(fromTool).pipe(this.session, {end: false})
    this.session.pipe(fromServer).pipe(socket)
    this.disconnect = () => {
      this.disconnect = () => {}
      fromTool.unpipe(this.session)
      this.session.unpipe(fromServer)
      this.borrower = undefined
    }
    socket.once('close', () => this.disconnect())
  }

  private note(status: TransactionStatus, hasFailed: boolean): void {
    this.status = status
    if (!this.options.inTransaction || status !== 'I') return
    // An error takes the whole statement back, and the transaction with it.
    this.transactionEnded = !hasFailed
    this.cutOff()
  }

  /** Whatever the tool says next must not be done. */
  private cutOff(): void {
    this.endedWell = false
    this.session.destroy()
  }

  private passQuery(sql: string, fromServer: ServerMessages): boolean {
    const command = this.options.inTransaction ? transactionCommand(sql) : undefined
    if (command === 'ROLLBACK') {
      this.cutOff()
      return false
    }
    const standIn = command ?? this.options.standIn?.(sql)
    if (standIn === undefined) return true
    // The tool waits for this answer before it says anything else, so it is the next thing that it hears.
    fromServer.answer(Buffer.concat([message('C', standIn), readyForQuery(this.status)]))
    return false
  }

  end(): void {
    if (this.hasEnded) return
    this.hasEnded = true
    // Now, and not when the socket has closed: taking a pipe off pauses the session, which is resumed here.
    this.disconnect()
    for (const visitor of this.visitors) visitor.destroy()
    for (const reader of this.ownReaders) this.session.on('data', reader)
    this.session.resume()
  }
}
